#!/usr/bin/env bash
# What launch/tpu_pod.sh does on each host, in the folder of the code; it works on any machine.
#   launch/worker.sh [--dry-run] setup BUCKET    install what the lock file says, mount gs://BUCKET as the folder bucket
#   launch/worker.sh [--dry-run] check           the devices of all hosts and a psum
#   launch/worker.sh [--dry-run] start OPTION .. start python -m avsd_jax.main OPTION ... ; it outlives the connection
#   launch/worker.sh [--dry-run] log             follow the log of the last start
#   launch/worker.sh [--dry-run] stop            ask it to save, wait, and print its exit status
# Environment: PYTHON (default: .venv/bin/python), PATIENCE, the seconds that stop waits (default: 120).
set -euo pipefail
# shellcheck source=launch/common.sh
. "$(dirname "$0")/common.sh"
cd "$(dirname "$0")/.."
[ "${1:-}" != --dry-run ] || { dry_run=true; shift; }
action=${1:-}
[ $# -eq 0 ] || shift
python=${PYTHON:-.venv/bin/python}
# Of the last start: its process, what it printed, and its exit status once it has ended.
job=.job

running() { [ -s "$job/pid" ] && [ ! -e "$job/status" ] && kill -0 "$(cat "$job/pid")" 2>/dev/null; }

# supervise OPTION ...: runs the training, hands SIGTERM to it, and records its status.
supervise() {
  "$python" -m avsd_jax.main "$@" &
  local child=$! status=0
  trap 'kill -TERM "$child"' TERM
  wait "$child" || status=$?
  # A wait that a signal ends says nothing about the child: it is still saving.
  while kill -0 "$child" 2>/dev/null; do
    status=0
    wait "$child" || status=$?
  done
  echo "$status" >"$job/status"
}

case $action in
  setup)
    [ $# -eq 1 ] || usage "setup needs the name of a bucket"
    run python3 -m pip install --quiet --user uv
    run python3 -m uv sync --quiet --frozen --no-dev --extra train --extra tpu
    run mkdir -p bucket
    mountpoint -q bucket || run gcsfuse --implicit-dirs "$1" bucket
    ;;
  check)
    if [ "$dry_run" = false ] && ! command -v "$python" >/dev/null; then
      echo "error: $python is missing on $(hostname): launch/tpu_pod.sh sync comes first" >&2
      exit 2
    fi
    run "$python" -m avsd_jax.main --check
    ;;
  start)
    [ $# -gt 0 ] || usage "start needs the options of python -m avsd_jax.main"
    if running; then
      echo "error: $(hostname) runs process $(cat $job/pid) already: launch/worker.sh stop" >&2
      exit 2
    fi
    if [ "$dry_run" = true ]; then
      run "$python" -m avsd_jax.main "$@"
      exit
    fi
    mkdir -p "$job"
    rm -f "$job/status"
    (trap '' HUP && supervise "$@") >"$job/log" 2>&1 </dev/null &
    echo $! >"$job/pid"
    echo "$(hostname): started, process $!"
    ;;
  log) run tail -n 100 -F "$job/log" ;;
  stop)
    if [ "$dry_run" = true ]; then
      run kill -TERM "$(cat "$job/pid" 2>/dev/null || echo PID)"
      exit
    fi
    if running; then
      kill -TERM "$(cat "$job/pid")"
      for ((waited = 0; waited < ${PATIENCE:-120} * 10; waited++)); do
        running || break
        sleep 0.1
      done
    fi
    if running; then
      echo "error: process $(cat $job/pid) on $(hostname) has not ended after ${PATIENCE:-120} s" >&2
      exit 1
    fi
    echo "$(hostname): ended with status $(cat "$job/status" 2>/dev/null || echo unknown)"
    ;;
  *) usage ;;
esac
