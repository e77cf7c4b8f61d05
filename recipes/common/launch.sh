# shellcheck shell=bash source-path=SCRIPTDIR
# run_jobs: the same command for every part of some data, here or under SLURM. Sourced by
# runner.sh.
#
#   run_jobs JOB=1:"$nj" exp/log/cache.JOB.log "$python" "$bin/cache_features.py" --job JOB/"$nj"
#   run_jobs --gpu --saves exp/log/train.log "$python" "$bin/train_teacher.py" ...    # one job
#
# JOB becomes the number of the job wherever it stands in the log's name and in the command. All
# jobs are waited for; those that failed run again --retries times. If any failed in the end,
# their logs are named with their last lines, and the result is 1; it is 75 if they were but
# interrupted and go on where they stopped. A job has failed unless its log ends with exit code 0
# and, with --makes, its shard is whole. When a stage that failed runs again, the parts that are
# done are left alone.
#
#   --gpu         under SLURM, take the options of [gpu] rather than those of [cpu]
#   --saves       the program saves its work on SIGUSR1 and SIGTERM, and ends with 75
#   --makes FILE  a shard that each job makes, with JOB in its name (`xai-segment join`)

# shellcheck source=local.sh
. "$_common/local.sh"
# shellcheck source=slurm.sh
. "$_common/slurm.sh"

_log_end='# exit code'
_launcher=()
_interrupted=75 # EX_TEMPFAIL of sysexits.h: the work is saved, start again to go on

run_jobs() { # run_jobs [--gpu] [--saves] [--makes FILE]... [JOB=FIRST:LAST] LOG COMMAND...
  local _kind=cpu _saves=no _makes=() _array=no _numbers=(1) _undone=() _attempt=0
  while [[ $1 == --* ]]; do
    case $1 in
      --gpu) _kind=gpu ;;
      --saves) _saves=yes ;;
      --makes) _makes+=("$2") && shift ;;
      *) _fail 2 "run_jobs: unknown option '$1'" ;;
    esac
    shift
  done
  if [[ $1 == JOB=* ]]; then
    _read_range "$1"
    shift
  fi
  ((${#_numbers[@]} == 1)) || [[ $1 == *JOB* ]] ||
    _fail 2 "run_jobs: no JOB in the log's name '$1'"
  _leave_out_done "$@"
  while ((${#_numbers[@]} > 0)); do
    _clear_logs "$1"
    "_run_jobs_$cmd" "$@"
    _find_undone "$1"
    ((${#_undone[@]} > 0 && _attempt < retries)) || break
    _attempt=$((_attempt + 1)) _numbers=("${_undone[@]}")
    echo "${#_undone[@]} jobs failed: ${_undone[*]}; trying them again ($_attempt of $retries)" >&2
  done
  _report_undone "$1"
}

_read_range() { # _read_range JOB=FIRST:LAST: sets _numbers
  [[ $1 =~ ^JOB=([1-9][0-9]*):([1-9][0-9]*)$ ]] || _fail 2 "run_jobs: '$1' is not JOB=FIRST:LAST"
  ((BASH_REMATCH[1] <= BASH_REMATCH[2])) || _fail 2 "run_jobs: '$1' names no job"
  mapfile -t _numbers < <(seq "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}")
  _array=yes
}

_clear_logs() { # _clear_logs LOG: the end of an older log would speak for this run
  local number log
  for number in "${_numbers[@]}"; do
    log=${1//JOB/$number}
    mkdir -p "$(dirname "$log")"
    if ((_attempt > 0)) && [[ -e $log ]]; then
      mv "$log" "$log.attempt_$_attempt"
    else
      rm -f "$log" "$log".attempt_* "${log}.slurm"
    fi
  done
}

# --- what is done ---------------------------------------------------------------------------------

_leave_out_done() { # _leave_out_done LOG COMMAND...: keeps in _numbers what has to run
  [[ $_array == yes && ${_RECIPE_RESUMES:-no} == yes ]] || return 0
  local number total=${#_numbers[@]} fresh=() parts=("${_numbers[@]}")
  for number in "${_numbers[@]}"; do
    # A log from before this stage first failed may speak of other models, or other data.
    if [[ ${1//JOB/$number} -nt exp/log/stage_$_number.unfinished &&
      $(head -n 1 "${1//JOB/$number}") == "$(_headline "${@//JOB/$number}")" ]]; then
      fresh+=("$number")
    fi
  done
  _numbers=("${fresh[@]}")
  _find_undone "$1"
  mapfile -t _numbers < <(printf '%s\n' "${parts[@]}" "${fresh[@]}" "${_undone[@]}" |
    awk 'NF { seen[$1]++ } END { for (n in seen) if (seen[n] != 2) print n }' | sort -n)
  ((${#_numbers[@]} == total)) ||
    echo "$((total - ${#_numbers[@]})) of $total jobs are done; to run: ${_numbers[*]:-none}"
  _undone=()
}

_find_undone() { # _find_undone LOG: sets _undone, those of _numbers that are not done
  local number
  _undone=()
  _list_whole
  for number in "${_numbers[@]}"; do
    [[ $(_log_code "${1//JOB/$number}") == 0 && -z $(_broken_shards "$number") ]] ||
      _undone+=("$number")
  done
}

_list_whole() { # sets _whole: the files of --makes that are whole, one a line
  local number files=()
  _whole=""
  for number in "${_numbers[@]}"; do files+=("${_makes[@]//JOB/$number}"); done
  ((${#files[@]} == 0)) || _whole=$("$python" "$bin/join.py" --list-whole "${files[@]}")
}

_broken_shards() { # _broken_shards NUMBER: the files of --makes that are missing, or not whole
  local file
  for file in "${_makes[@]//JOB/$1}"; do
    grep -qxF -- "$file" <<<"$_whole" || echo "$file"
  done
}

_log_code() { # _log_code LOG: the exit code that a log ends with; nothing if it ends otherwise
  local last
  last=$(tail -n 1 "$1" 2>/dev/null) || :
  [[ $last != "$_log_end "* ]] || echo "${last#"$_log_end "}"
}

_report_undone() { # _report_undone LOG: names the logs of _undone; 1 if there is one, or 75
  local number result=$_interrupted
  ((${#_undone[@]} > 0)) || return 0
  echo "${#_undone[@]} of ${#_numbers[@]} jobs failed:" >&2
  for number in "${_undone[@]:0:5}"; do
    _report_job "$number" "${1//JOB/$number}" >&2
  done
  ((${#_undone[@]} <= 5)) || echo "-- failed as well:" >&2
  for number in "${_undone[@]:5}"; do echo "${1//JOB/$number}" >&2; done
  for number in "${_undone[@]}"; do
    [[ $(_log_code "${1//JOB/$number}") == "$_interrupted" ]] || result=1
  done
  return "$result"
}

_report_job() { # _report_job NUMBER LOG
  local code
  code=$(_log_code "$2")
  case $code in
    "$_interrupted") echo "-- $2: interrupted; it goes on from there when it is run again" ;;
    0) printf -- '-- %s: ended well, but is not whole: %s\n' "$2" "$(_broken_shards "$1" | paste -sd " " -)" ;;
    *)
      echo "-- the last lines of $2"
      tail -n 10 "$2" 2>/dev/null || echo "   (no log: the job did not start)"
      [[ -n $code || ! -e $2 ]] || echo "   (cut short: the job was killed, or its disk is full)"
      [[ ! -s $2.slurm ]] || sed 's/^/   SLURM: /' "$2.slurm" | tail -n 3
      ;;
  esac
}

# --- one job --------------------------------------------------------------------------------------

_headline() { # _headline LOG COMMAND...: how a log begins
  printf '#'
  printf ' %q' "${@:2}"
  printf '\n'
}

_run_logged() { # _run_logged LOG COMMAND...: the log says what ran, when, and how it ended
  local log=$1 code=0
  [[ ${SLURM_RESTART_COUNT:-0} != 0 ]] || : >"$log"
  {
    _headline "$@"
    echo "# started $(date '+%F %T') on $(uname -n)"
    _run_forwarding "${@:2}" || code=$?
    echo "# ended $(date '+%F %T')"
    echo "$_log_end $code"
  } >>"$log" 2>&1 </dev/null
  return "$code"
}

_run_forwarding() { # _run_forwarding COMMAND...: hands SIGUSR1 and SIGTERM on, and waits
  local code child
  "${_launcher[@]}" "$@" &
  child=$!
  trap '_signalled=yes; kill -USR1 "$child" 2>/dev/null' USR1
  trap '_signalled=yes; kill -TERM "$child" 2>/dev/null' TERM
  while :; do
    _signalled=no code=0
    wait "$child" || code=$?
    # A signal ends the wait, not the program.
    [[ $_signalled == yes ]] || break
    _was_signalled=yes
  done
  trap : USR1 TERM # too late: there is nobody left to hand it on to
  return "$code"
}
