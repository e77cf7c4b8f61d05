# shellcheck shell=bash
# Jobs as processes of this machine, all at once. Sourced by launch.sh.

_run_jobs_local() { # _run_jobs_local FIRST LAST LOG COMMAND...
  local first=$1 last=$2 log=$3 number threads pids=()
  shift 3
  # Jobs that each start a thread a core would only wait for each other.
  # Monitor mode gives each job a process group, by which an interrupted stage ends it.
  set -m
  threads=$(($(nproc) / (last - first + 1)))
  for ((number = first; number <= last; number++)); do
    OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((threads > 0 ? threads : 1))} \
      _run_logged "${log//JOB/$number}" "${@//JOB/$number}" &
    pids+=($!)
  done
  set +m
  for number in "${pids[@]}"; do
    wait "$number" || : # the logs tell which jobs failed
  done
}
