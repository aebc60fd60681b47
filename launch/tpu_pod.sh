#!/usr/bin/env bash
# One Cloud TPU VM slice, from its request to its deletion; every host runs the same command.
#   launch/tpu_pod.sh [--dry-run] create [--spot] --yes   request a slice; it costs money from ACTIVE to delete
#   launch/tpu_pod.sh [--dry-run] check                   state of the request; after sync also the devices and a psum
#   launch/tpu_pod.sh [--dry-run] sync [--datasets]       copy the last commit to all hosts, install, mount gs://BUCKET
#   launch/tpu_pod.sh [--dry-run] run OPTION ...          start python -m avsd_jax.main OPTION ... on all hosts
#   launch/tpu_pod.sh [--dry-run] logs                    follow the log of host WORKER (default: 0)
#   launch/tpu_pod.sh [--dry-run] stop                    let all hosts save and stop; run continues
#   launch/tpu_pod.sh [--dry-run] delete --yes            delete the slice and its disks
# Environment: PROJECT, ZONE and TPU, a name of your own; for create ACCELERATOR (such as v5litepod-32) and RUNTIME (such
# as v2-alpha-tpuv5-lite); for sync BUCKET. On the hosts the bucket is the folder bucket: --workdir=bucket/runs/avinet.
set -euo pipefail
# shellcheck source=launch/common.sh
. "$(dirname "$0")/common.sh"
cd "$(dirname "$0")/.."

spot=false yes=false datasets=false action=
arguments=()
for word in "$@"; do
  case "$action:$word" in
    :--dry-run) dry_run=true ;;
    :create | :check | :sync | :run | :logs | :stop | :delete) action=$word ;;
    create:--spot) spot=true ;;
    create:--yes | delete:--yes) yes=true ;;
    sync:--datasets) datasets=true ;;
    *:--dry-run) usage "--dry-run comes first" ;;
    run:*) arguments+=("$word") ;;
    *) usage "unknown argument $word" ;;
  esac
done
[ -n "$action" ] || usage
require PROJECT ZONE TPU
where=("--project=$PROJECT" "--zone=$ZONE")

# confirm FACT ...: prints what an action means for the bill; without --yes the script ends there.
confirm() {
  printf '%s\n' "$@" >&2
  [ "$yes" = true ] || [ "$dry_run" = true ] || usage "$action needs --yes"
}

# on_hosts WORKER COMMAND: runs a shell command in the folder of the code on one host (its number) or on all.
on_hosts() {
  run gcloud compute tpus tpu-vm ssh "$TPU" "${where[@]}" "--worker=$1" "--command=cd avsd_jax && $2"
}

case $action in
  create)
    require ACCELERATOR RUNTIME
    kind=$([ "$spot" = true ] && echo "spot: cheaper, may be taken away with 30 s of notice" || echo "on demand")
    confirm "requests a $ACCELERATOR ($kind) in $ZONE for the project $PROJECT" \
      "it costs money from the moment that it is ACTIVE until launch/tpu_pod.sh delete, whether it computes or not" \
      "prices: https://cloud.google.com/tpu/pricing"
    request=(create "$TPU" "--node-id=$TPU" "${where[@]}" "--accelerator-type=$ACCELERATOR" "--runtime-version=$RUNTIME")
    [ "$spot" = false ] || request+=(--spot)
    run gcloud compute tpus queued-resources "${request[@]}"
    ;;
  check)
    run gcloud compute tpus queued-resources describe "$TPU" "${where[@]}" "--format=value(state.state)"
    on_hosts all "launch/worker.sh check"
    ;;
  sync)
    require BUCKET
    BUCKET=${BUCKET#gs://}
    archive=${TMPDIR:-/tmp}/avsd_jax_$TPU.tar.gz
    run git archive --format=tar.gz "--output=$archive" HEAD
    run gcloud compute tpus tpu-vm scp "$archive" "$TPU:avsd_jax.tar.gz" "${where[@]}" --worker=all
    unpack="mkdir -p avsd_jax && tar -xzf avsd_jax.tar.gz -C avsd_jax"
    run gcloud compute tpus tpu-vm ssh "$TPU" "${where[@]}" --worker=all "--command=$unpack"
    on_hosts all "launch/worker.sh setup $(quoted "$BUCKET")"
    [ "$datasets" = false ] || on_hosts all "launch/datasets.sh fetch data $(quoted "$BUCKET")"
    ;;
  run)
    [ ${#arguments[@]} -gt 0 ] || usage "run needs the options of python -m avsd_jax.main"
    on_hosts all "launch/worker.sh start $(quoted "${arguments[@]}")"
    ;;
  logs) on_hosts "${WORKER:-0}" "launch/worker.sh log" ;;
  stop) on_hosts all "launch/worker.sh stop" ;;
  delete)
    confirm "deletes $TPU with its disks; what is in the bucket stays"
    run gcloud compute tpus queued-resources delete "$TPU" "${where[@]}" --force --quiet
    ;;
esac
