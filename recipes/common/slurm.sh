# shellcheck shell=bash
# Jobs as one SLURM array. Options of sbatch (partition, memory, GPUs) stand in conf/slurm.conf
# of the recipe, or of recipes/common. Sourced by launch.sh.

_run_jobs_slurm() { # _run_jobs_slurm FIRST LAST LOG COMMAND...
  local first=$1 last=$2 script=${3//JOB/array}.sh options=()
  mapfile -t options < <(_slurm_options)
  _write_array_script "${@:3}" >"$script"
  # What SLURM itself says about a job goes beside its log.
  sbatch --wait --array="$first-$last" --job-name="$(basename "$3" .log)" --chdir="$PWD" \
    --output="${3//JOB/%a}.slurm" "${options[@]}" "$script" || : # the logs tell which failed
}

_slurm_options() { # one option a line; blank lines and comments are dropped
  local file=conf/slurm.conf
  [[ -e $file ]] || file=$_common/conf/slurm.conf
  sed -E 's/(^|[[:space:]])#.*$//; s/^[[:space:]]+//; s/[[:space:]]+$//; /^$/d' "$file"
}

_write_array_script() { # _write_array_script LOG COMMAND...
  cat <<SCRIPT
#!/usr/bin/env bash
set -euo pipefail
_log_end=$(printf '%q' "$_log_end")
$(declare -f _run_logged)
export OMP_NUM_THREADS=\${OMP_NUM_THREADS:-\${SLURM_CPUS_PER_TASK:-1}}
log=$(printf '%q' "$1")
command=($(printf ' %q' "${@:2}"))
_run_logged "\${log//JOB/\$SLURM_ARRAY_TASK_ID}" "\${command[@]//JOB/\$SLURM_ARRAY_TASK_ID}"
SCRIPT
}
