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
# (launch.sh); `in_shards` (shards.sh); and the folder of run.sh as its working directory.

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
# shellcheck source=shards.sh
. "$_common/shards.sh"
# shellcheck source=queue.sh
. "$_common/queue.sh"

run_recipe() { # run_recipe OPTIONS...: the last line of a recipe
  local started=$SECONDS number
  _arguments=("$@")
  parse_options "$@"
  cd "$(dirname "$_recipe")"
  [[ -z ${_RECIPE_STAGE:-} ]] || return 0 # the process of one stage: it wanted the definitions
  _check_python
  if [[ -n ${_RECIPE_QUEUED:-} ]]; then # a job that --queue queued
    stage=$_RECIPE_QUEUED stop_stage=$_RECIPE_QUEUED
    trap : TERM # SLURM kills what is left of a job when this process ends: the stage ends first
  elif [[ $queue == yes ]]; then
    queue_stages
    return
  fi
  for number in $(_chosen_stages); do
    _run_stage "$number"
  done
  echo "all done in $(_duration $((SECONDS - started)))"
}

_run_stage() { # _run_stage NUMBER
  local number=$1 started=$SECONDS log=exp/log/stage_$1.log name code
  name="stage $number ($(_stage_title "$number"))"
  mkdir -p exp/log
  _begin_stage "$number"
  echo "== $name =="
  set +e
  # A cancelled job ends with this process, and what the stage still has to cancel needs its time:
  # SLURM sends the signal to the process of the stage as well, so it is enough to wait.
  [[ -z ${_RECIPE_QUEUED:-} ]] || trap : TERM
  # tee outlives Ctrl-C and scancel: it has to write what the stage says about it.
  _RECIPE_STAGE=$number "$BASH" -c "$_stage_program" "$_recipe" "${_arguments[@]}" \
    --python "$python" --slurm-conf "$slurm_conf" 2>&1 | (trap "" INT TERM && exec tee "$log")
  code=${PIPESTATUS[0]}
  set -e
  if ((code != 0)); then
    _say_how_to_resume "$name" "$number" "$code" "$log"
    exit "$code"
  fi
  rm -f "exp/log/stage_$number.unfinished"
  echo "$name: done in $(_duration $((SECONDS - started)))"
}

_begin_stage() { # _begin_stage NUMBER: tells whether it goes on with what it left unfinished
  local number unfinished=exp/log/stage_$1.unfinished
  export _RECIPE_RESUMES=no
  if [[ -e $unfinished ]]; then _RECIPE_RESUMES=yes; else touch "$unfinished"; fi
  for number in "${_stages[@]}"; do # what stands on this stage has to be made anew
    ((number <= $1)) || rm -f "exp/log/stage_$number.unfinished"
  done
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
  # A program that the same signal ended may have brought EXIT about already: an exit out of that
  # trap must not come before its work is done.
  trap "_kill_jobs; trap - EXIT; exit 130" INT
  trap "_kill_jobs; trap - EXIT; exit 143" TERM
  "stage_$_number"
  _remove_shards
'

_kill_jobs() {
  trap "" INT TERM # nor may a second signal cut it short
  _cancel_slurm_jobs
  _end_local_jobs
}

_say_how_to_resume() { # _say_how_to_resume NAME NUMBER CODE LOG
  {
    if (($3 == _interrupted)); then
      echo "$1: INTERRUPTED; what was done is saved; its log is $PWD/$4"
    else
      echo "$1: FAILED with exit code $3; its log is $PWD/$4"
    fi
    [[ -z ${_RECIPE_QUEUED:-} ]] || echo "SLURM cancels the stages that were queued after it"
    echo "when the cause is gone, resume with"
    printf '  cd %q && ./%q --stage %d' "$PWD" "$(basename "$_recipe")" "$2"
    _print_other_arguments "${_arguments[@]}"
    echo
  } >&2
}

_print_other_arguments() { # all but --stage; files as they were found, for relative paths
  while (($# > 0)); do
    case $1 in
      --stage | --python | --slurm-conf) shift ;;
      --stage=* | --python=* | --slurm-conf=*) ;;
      *) printf ' %q' "$1" ;;
    esac
    shift
  done
  [[ ${_arguments[*]} != *--python* ]] || printf ' --python %q' "$python"
  [[ -z $slurm_conf ]] || printf ' --slurm-conf %q' "$slurm_conf"
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
