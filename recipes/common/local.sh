# shellcheck shell=bash
# Jobs as processes of this machine, all at once. Sourced by launch.sh.

_run_jobs_local() { # _run_jobs_local LOG COMMAND...: jobs _numbers
  local log=$1 number threads pids=()
  shift
  # Jobs that each start a thread a core would only wait for each other.
  # Monitor mode gives each job a process group, by which an interrupted stage ends it.
  set -m
  threads=$(($(nproc) / ${#_numbers[@]}))
  for number in "${_numbers[@]}"; do
    OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((threads > 0 ? threads : 1))} \
      _run_logged "${log//JOB/$number}" "${@//JOB/$number}" &
    pids+=($!)
  done
  set +m
  for number in "${pids[@]}"; do
    wait "$number" || : # the logs tell which jobs failed
  done
}

_end_local_jobs() { # programs that save their work get to do so; what they leave behind is killed
  local pid pids
  mapfile -t pids < <(jobs -pr)
  for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || :; done
  for pid in "${pids[@]}"; do
    wait "$pid" 2>/dev/null || :
    kill -KILL -- "-$pid" 2>/dev/null || :
  done
}
