# shellcheck shell=bash
# Sourced by the scripts of this folder: --dry-run, required variables, usage.
dry_run=false
# By a path that holds after a cd, too.
script=$(cd "$(dirname "$0")" && pwd)/${0##*/}

# usage [MESSAGE]: prints the comment at the top of the script, and ends it with status 2.
usage() {
  [ $# -eq 0 ] || printf 'error: %s\n' "$1" >&2
  awk 'NR > 1 { if (!/^#/ || /^#SBATCH/) exit; sub(/^# ?/, ""); print }' "$script" >&2
  exit 2
}

# require NAME ...: ends the script unless these variables are set.
require() {
  local name missing=
  for name in "$@"; do
    [ -n "${!name:-}" ] || missing="$missing $name"
  done
  [ -z "$missing" ] || usage "set$missing"
}

# quoted WORD ...: prints the words as a shell reads them.
quoted() {
  printf '%q' "$1"
  shift
  [ $# -eq 0 ] || printf ' %q' "$@"
}

# run COMMAND ...: runs it, or only prints it after --dry-run.
run() {
  if [ "$dry_run" = true ]; then
    quoted "$@"
    printf '\n'
  else
    "$@"
  fi
}
