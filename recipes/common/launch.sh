# shellcheck shell=bash source-path=SCRIPTDIR
# run_jobs: the same command for every part of some data, here or under SLURM. Sourced by
# runner.sh.
#
#   run_jobs JOB=1:"$nj" exp/log/cache.JOB.log "$python" "$bin/cache_features.py" data/split/JOB
#   run_jobs exp/log/train.log "$python" "$bin/train_teacher.py" ...           # one job
#
# JOB becomes the number of the job wherever it stands in the log's name and in the command. All
# jobs are waited for; if any failed, their logs are named with their last lines, and the
# result is 1.

# shellcheck source=local.sh
. "$_common/local.sh"
# shellcheck source=slurm.sh
. "$_common/slurm.sh"

_log_end='# exit code'

run_jobs() { # run_jobs [JOB=FIRST:LAST] LOG COMMAND...
  local first=1 last=1 log number
  if [[ $1 == JOB=* ]]; then
    [[ $1 =~ ^JOB=([1-9][0-9]*):([1-9][0-9]*)$ ]] || _fail 2 "run_jobs: '$1' is not JOB=FIRST:LAST"
    first=${BASH_REMATCH[1]} last=${BASH_REMATCH[2]}
    ((first <= last)) || _fail 2 "run_jobs: '$1' names no job"
    shift
  fi
  log=$1
  shift
  ((first == last)) || [[ $log == *JOB* ]] || _fail 2 "run_jobs: no JOB in the log's name '$log'"
  for ((number = first; number <= last; number++)); do
    mkdir -p "$(dirname "${log//JOB/$number}")"
    rm -f "${log//JOB/$number}" # the end of an older log would speak for this run
  done
  "_run_jobs_$cmd" "$first" "$last" "$log" "$@"
  _check_logs "$first" "$last" "$log"
}

_run_logged() { # _run_logged LOG COMMAND...: the log says what ran, when, and how it ended
  local log=$1 code=0
  shift
  {
    printf '#'
    printf ' %q' "$@"
    printf '\n# started %s on %s\n' "$(date '+%F %T')" "$(uname -n)"
    # An own process in a list: errexit has no say in it, and its exit code is what counts.
    "$@" || code=$?
    echo "# ended $(date '+%F %T')"
    echo "$_log_end $code"
  } >"$log" 2>&1 </dev/null
  return "$code"
}

_check_logs() { # _check_logs FIRST LAST LOG
  local number log failed=()
  for ((number = $1; number <= $2; number++)); do
    log=${3//JOB/$number}
    [[ $(tail -n 1 "$log" 2>/dev/null) == "$_log_end 0" ]] || failed+=("$log")
  done
  ((${#failed[@]} > 0)) || return 0
  echo "${#failed[@]} of $(($2 - $1 + 1)) jobs failed:" >&2
  for log in "${failed[@]:0:5}"; do
    echo "-- the last lines of $log" >&2
    tail -n 10 "$log" >&2 || echo "   (no log: the job did not start)" >&2
  done
  ((${#failed[@]} <= 5)) || printf '%s\n' "-- failed as well:" "${failed[@]:5}" >&2
  return 1
}
