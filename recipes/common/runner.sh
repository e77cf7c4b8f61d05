# shellcheck shell=bash source-path=SCRIPTDIR
# The runner that all recipes share. A recipe is
#
#   #!/usr/bin/env bash
#   # What the recipe does (this comment is the text of --help).
#
#   hours=2     # hours of simulated audio     <- an option: --hours 3
#
#   . "$(dirname "$0")/../common/runner.sh"
#
#   stage_0() {  # data                        <- a stage and its title
#     "$python" "$bin/simulate.py" --hours "$hours" data/train
#   }
#
#   run_recipe "$@"
#
# Each stage runs in a bash of its own with errexit, nounset, pipefail and an ERR trap. That the
# stage succeeded is asked of that process, never of a function in a condition: bash switches
# errexit off inside `if stage`, `stage && ...` and `( set -e; stage ) || ...`.
#
# A stage finds: all options as variables; $bin, the folder of programs; $python; `run_jobs`
# (launch.sh); and the folder of run.sh as its working directory.

set -euo pipefail
shopt -s inherit_errexit

_common=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
_root=$(cd "$_common/../.." && pwd)
# shellcheck disable=SC2034  # for the stages
bin=$_root/bin

_fail() { # _fail CODE MESSAGE...
  local code=$1
  shift
  echo "$(basename "$0"): error: $*" >&2
  exit "$code"
}

# shellcheck source=parse_options.sh
. "$_common/parse_options.sh"
# shellcheck source=launch.sh
. "$_common/launch.sh"

run_recipe() { # run_recipe OPTIONS...: the last line of a recipe
  local started=$SECONDS number
  _arguments=("$@")
  parse_options "$@"
  cd "$(dirname "$_recipe")"
  [[ -z ${_RECIPE_STAGE:-} ]] || return 0 # the process of one stage: it wanted the definitions
  _check_python
  for number in $(_chosen_stages); do
    _run_stage "$number"
  done
  echo "all done in $(_duration $((SECONDS - started)))"
}

_run_stage() { # _run_stage NUMBER
  local number=$1 started=$SECONDS log=exp/log/stage_$1.log name code
  name="stage $number ($(_stage_title "$number"))"
  mkdir -p exp/log
  echo "== $name =="
  set +e
  _RECIPE_STAGE=$number "$BASH" -c "$_stage_program" "$0" "${_arguments[@]}" 2>&1 | tee "$log"
  code=${PIPESTATUS[0]}
  set -e
  if ((code != 0)); then
    _say_how_to_resume "$name" "$number" "$code" "$log"
    exit "$code"
  fi
  echo "$name: done in $(_duration $((SECONDS - started)))"
}

# What the process of a stage runs. $0 is the recipe: sourcing it defines the stages and, in
# `run_recipe`, sets the options. EXIT stops what a stage started in the background.
# shellcheck disable=SC2016  # expanded by that process
_stage_program='
  . "$0" "$@"
  _number=$_RECIPE_STAGE
  unset _RECIPE_STAGE
  set -Eeuo pipefail
  trap '\''echo "${BASH_SOURCE[0]##*/}: line $LINENO: \"$BASH_COMMAND\" failed with exit code $?" >&2'\'' ERR
  trap "_kill_jobs" EXIT
  trap "exit 130" INT
  trap "exit 143" TERM
  "stage_$_number"
'

_kill_jobs() { # a job of run_jobs leads a process group: the program dies with its shell
  local pid
  for pid in $(jobs -pr); do
    kill -- "-$pid" 2>/dev/null || kill "$pid" 2>/dev/null || :
  done
}

_say_how_to_resume() { # _say_how_to_resume NAME NUMBER CODE LOG
  {
    echo "$1: FAILED with exit code $3; its log is $PWD/$4"
    echo "when the cause is gone, resume with"
    printf '  cd %q && ./%q --stage %d' "$PWD" "$(basename "$_recipe")" "$2"
    _print_other_arguments "${_arguments[@]}"
    echo
  } >&2
}

_print_other_arguments() { # all but --stage; --python as it was found, for a relative path
  while (($# > 0)); do
    case $1 in
      --stage | --python) shift ;;
      --stage=* | --python=*) ;;
      *) printf ' %q' "$1" ;;
    esac
    shift
  done
  [[ ${_arguments[*]} != *--python* ]] || printf ' --python %q' "$python"
}

_check_python() {
  command -v "$python" >/dev/null || _fail 1 "no Python at '$python': give --python PATH"
  "$python" -c 'import audioseg_xai.bin' 2>/dev/null || _fail 1 \
    "'$python' does not find the package: 'make test' in $_root makes .venv, or give --python PATH"
}

_duration() { # _duration SECONDS
  if (($1 < 60)); then
    echo "$1 s"
  else
    printf '%d min %02d s\n' $(($1 / 60)) $(($1 % 60))
  fi
}
