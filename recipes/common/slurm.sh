# shellcheck shell=bash
# Jobs as one SLURM array. Options of sbatch (partition, memory, GPUs) stand in conf/slurm.conf
# of the recipe, or of recipes/common. Sourced by launch.sh.

_slurm_jobs=()
_slurm_mark=run.sh-$$-$RANDOM # comment of the jobs of this process

_run_jobs_slurm() { # _run_jobs_slurm LOG COMMAND...: jobs _numbers
  local script=${1//JOB/array}.sh id options=() more=(--requeue)
  mapfile -t options < <(_slurm_options "$_kind")
  [[ $_saves != yes ]] || more+=(--signal=B:USR1@60)
  _write_array_script "$@" >"$script"
  # What SLURM itself says about a job goes beside its log.
  id=$(_sbatch --array="$(_ranges "${_numbers[@]}")$(_throttle)" \
    --job-name="$(basename "$1" .log)" --chdir="$PWD" --output="${1//JOB/%a}.slurm" \
    --open-mode=append --comment="$_slurm_mark" "${more[@]}" "${options[@]}" "$script") || return 0 # there will be no logs
  _slurm_jobs+=("$id")
  _await_slurm "$id"
  _await_logs "$1"
  unset '_slurm_jobs[-1]'
}

_sbatch() ( # _sbatch ARGUMENTS...: prints the number of the job
  # Of a job that we may be in ourselves, the new one is to inherit nothing.
  for name in "${!SLURM_@}"; do
    [[ $name == SLURM_CONF ]] || unset "$name"
  done
  id=$(sbatch --parsable "$@" </dev/null) || exit
  echo "${id%%;*}"
)

_await_slurm() { # _await_slurm ID: until the queue does not know the job any more
  local answer reasons said="" polls=0
  while :; do
    if answer=$(squeue --noheader --jobs="$1" --format='%T %r' 2>&1); then
      [[ -n $answer ]] || return 0
      reasons=$(sed -n 's/^PENDING //p' <<<"$answer" | grep -vx None | sort -u | paste -sd, -) || :
    else
      [[ $answer != *"Invalid job id"* ]] || return 0
      reasons=$answer # of no consequence: the jobs go on without us
    fi
    [[ -z $reasons || $reasons == "$said" ]] || echo "SLURM job $1 waits: $reasons"
    said=$reasons polls=$((polls + 1))
    sleep $((polls < 30 ? 1 : 10))
  done
}

_await_logs() { # _await_logs LOG: a shared file system may show the end of a log late
  local number polls=0
  for number in "${_numbers[@]}"; do
    while [[ -z $(_log_code "${1//JOB/$number}") ]] && ((polls < 15)); do
      polls=$((polls + 1))
      sleep 0.2
    done
  done
}

_cancel_slurm_jobs() {
  local marked
  [[ $cmd == slurm ]] || return 0
  # A signal may come before sbatch has said the number of a job that runs already.
  mapfile -t marked < <(squeue --noheader --me --array --format='%A %k' 2>/dev/null |
    awk -v mark="$_slurm_mark" '$2 == mark { print $1 }' | sort -u)
  ((${#_slurm_jobs[@]} + ${#marked[@]} == 0)) || scancel "${_slurm_jobs[@]}" "${marked[@]}" || :
}

_ranges() { # _ranges 1 2 3 7: 1-3,7
  local number first=$1 last=$1 result=""
  for number in "${@:2}" ""; do
    if [[ $number != $((last + 1)) ]]; then
      result+=,$first
      ((first == last)) || result+=-$last
      first=$number
    fi
    last=$number
  done
  echo "${result#,}"
}

# --- options of sbatch ----------------------------------------------------------------------------

_slurm_conf_file() {
  if [[ -n $slurm_conf ]]; then
    echo "$slurm_conf"
  elif [[ -e $(dirname "$_recipe")/conf/slurm.conf ]]; then
    echo "$(dirname "$_recipe")/conf/slurm.conf"
  else
    echo "$_common/conf/slurm.conf"
  fi
}

_slurm_lines() { # SECTION:LINE_NUMBER:TEXT of each line but comments and blank ones
  awk '{ sub(/(^|[[:space:]])#.*$/, ""); gsub(/^[[:space:]]+|[[:space:]]+$/, "") }
    /^\[.*\]$/ { section = substr($0, 2, length($0) - 2) }
    $0 != "" { print section ":" NR ":" $0 }' "$(_slurm_conf_file)"
}

_slurm_options() { # _slurm_options KIND: those for all jobs, and those of a kind, one a line
  _slurm_lines | sed -n -E "s/^($1)?:[0-9]+:(-.*)$/\2/p" | grep -v -E '^--array=%' || :
}

_throttle() { # %N, when the options for this kind of jobs allow N tasks at once
  _slurm_lines | sed -n -E "s/^($_kind)?:[0-9]+:--array=(%[1-9][0-9]*)$/\2/p" | tail -n 1
}

_check_slurm_conf() {
  local file section number text
  file=$(_slurm_conf_file)
  [[ -r $file ]] || _fail 2 "--slurm-conf: cannot read $file"
  while IFS=: read -r section number text; do
    case $section in
      "" | cpu | gpu | queue) ;;
      *) _fail 2 "$file:$number: section [$section]: expected [cpu], [gpu] or [queue]" ;;
    esac
    case $text in
      --array=%[1-9]* | "[$section]") ;;
      --array* | -a*) _fail 2 "$file:$number: $text: of the array only --array=%N can be said" ;;
      --wait | -W | --parsable | --wrap*) _fail 2 "$file:$number: $text: cannot be used here" ;;
      -*) ;;
      *) _fail 2 "$file:$number: expected an option of sbatch or a [section], found '$text'" ;;
    esac
  done < <(_slurm_lines)
}

# --- what a job runs ------------------------------------------------------------------------------

_write_array_script() { # _write_array_script LOG COMMAND...
  cat <<SCRIPT
#!/usr/bin/env bash
set -euo pipefail
_log_end=$(printf '%q' "$_log_end") _interrupted=$_interrupted _was_signalled=no
_launcher=() # several tasks of a training start together
[[ $_saves != yes || \${SLURM_NTASKS:-1} == 1 ]] || _launcher=(srun)
$(declare -f _headline _run_logged _run_forwarding _requeue_if_interrupted)
export OMP_NUM_THREADS=\${OMP_NUM_THREADS:-\${SLURM_CPUS_PER_TASK:-1}}
log=$(printf '%q' "$1")
command=($(printf ' %q' "${@:2}"))
code=0
_run_logged "\${log//JOB/\$SLURM_ARRAY_TASK_ID}" "\${command[@]//JOB/\$SLURM_ARRAY_TASK_ID}" || code=\$?
[[ $_saves != yes ]] || _requeue_if_interrupted "\$code" $restarts
exit "\$code"
SCRIPT
}

_requeue_if_interrupted() { # _requeue_if_interrupted CODE TIMES
  # The number of an array's last task is that of the array: requeue by the pair.
  local task=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
  # Interrupted before it could listen to signals, a program has nothing to save.
  [[ $1 == "$_interrupted" ]] || { [[ $_was_signalled == yes ]] && (($1 > 128)); } || return 0
  # A job that the user cancelled, or that SLURM takes back itself, does not run any more.
  [[ $(squeue --noheader --jobs="$task" --format=%T) =~ ^(RUNNING|SIGNALING)$ ]] || return 0
  if ((${SLURM_RESTART_COUNT:-0} < $2)); then
    echo "interrupted: to be queued again ($((${SLURM_RESTART_COUNT:-0} + 1)) of $2 times)"
    scontrol requeue "$task"
  else
    echo "interrupted, and queued again $2 times before: --restarts allows no more"
  fi
}
