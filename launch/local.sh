#!/usr/bin/env bash
# Runs a command as N processes of one job on this machine: the way to try a pod's launch before paying for one.
#   launch/local.sh 2 python -m avsd_jax.main --config=configs/avinet.py:demo --workdir=runs/two --distributed
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: launch/local.sh PROCESSES COMMAND [ARGUMENT ...]" >&2; exit 2; }
processes=$1
shift
export JAX_COORDINATOR_ADDRESS=${JAX_COORDINATOR_ADDRESS:-127.0.0.1:$((20000 + RANDOM % 20000))}
export JAX_NUM_PROCESSES=$processes
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
for ((i = 0; i < processes; i++)); do
  JAX_PROCESS_ID=$i "$@" &
done
for ((i = 0; i < processes; i++)); do
  wait -n
done
