#!/usr/bin/env bash
# The six eye-tracking datasets: one process builds each, and one archive of each lies in a bucket. A dataset's splits share
# their files by hard links, which tar keeps and a bucket does not.
#   launch/datasets.sh [--dry-run] build MANUAL_DIR DATA_DIR   build all at once; logs are in DATA_DIR/logs
#   launch/datasets.sh [--dry-run] push DATA_DIR BUCKET        copy them to gs://BUCKET/datasets
#   launch/datasets.sh [--dry-run] fetch DATA_DIR BUCKET       copy them from there, on each host
# Environment: PYTHON (default: .venv/bin/python), DATASETS (default: the six, separated by spaces).
set -euo pipefail
# shellcheck source=launch/common.sh
. "$(dirname "$0")/common.sh"
[ "${1:-}" != --dry-run ] || { dry_run=true; shift; }
[ $# -eq 3 ] || usage
bucket=${3#gs://}
read -ra names <<<"${DATASETS:-avad coutrot1 coutrot2 diem etmd summe}"

# built NAME FROM TO: one build with its log.
built() {
  local command=("${PYTHON:-.venv/bin/python}" -m avsd_jax.datasets build "--dataset=$1" "--manual_dir=$2"
    "--data_dir=$3" --workers=1)
  if [ "$dry_run" = true ]; then
    run "${command[@]}"
  else
    "${command[@]}" >"$3/logs/$1.txt" 2>&1
  fi
}

case $1 in
  build)
    [ "$dry_run" = true ] || command -v "${PYTHON:-.venv/bin/python}" >/dev/null ||
      usage "${PYTHON:-.venv/bin/python} is missing: build in the folder of the code, or set PYTHON"
    run mkdir -p "$3/logs"
    pids=()
    for name in "${names[@]}"; do
      built "$name" "$2" "$3" &
      pids+=($!)
      [ "$dry_run" = false ] || wait $!
    done
    worst=0
    for i in "${!names[@]}"; do
      status=0
      wait "${pids[$i]}" || status=$?
      [ "$status" -eq 0 ] || echo "error: ${names[$i]} ended with status $status: see $3/logs/${names[$i]}.txt" >&2
      [ "$status" -le "$worst" ] || worst=$status
    done
    exit "$worst"
    ;;
  push)
    for name in "${names[@]}"; do
      run tar -C "$2" -cf "$2/$name.tar" "$name"
      run gcloud storage cp "$2/$name.tar" "gs://$bucket/datasets/$name.tar"
      run rm "$2/$name.tar"
    done
    ;;
  fetch)
    run mkdir -p "$2"
    for name in "${names[@]}"; do
      run gcloud storage cp "gs://$bucket/datasets/$name.tar" "$2/$name.tar"
      run tar -C "$2" -xf "$2/$name.tar"
      run rm "$2/$name.tar"
    done
    ;;
  *) usage ;;
esac
