# shellcheck shell=bash
# A whole recipe as a chain of SLURM jobs, one a stage, each of which queues the jobs of its stage
# and waits for them. Sourced by runner.sh.

queue_stages() { # a job for each chosen stage, which starts when the one before has succeeded
  local number id previous="" ids=() options=()
  mapfile -t options < <(_slurm_options queue)
  mkdir -p exp/log
  for number in $(_chosen_stages); do
    id=$(_queue_stage "$number" "$previous" "${options[@]}") || _give_up_queueing "${ids[@]}"
    echo "stage $number ($(_stage_title "$number")): SLURM job $id"
    ids+=("$id") previous=$id
  done
  echo "follow them with"
  echo "  squeue --jobs=$(IFS=, && echo "${ids[*]}")"
  printf '  tail -F %q/exp/log/queue_*.log\n' "$PWD"
  echo "cancel them with"
  echo "  scancel ${ids[*]}"
}

_queue_stage() { # _queue_stage NUMBER PREVIOUS OPTION...: prints the number of the job
  local script=exp/log/queue_$1.sh log=exp/log/queue_$1.log more=()
  [[ -z $2 ]] || more+=(--dependency="afterok:$2" --kill-on-invalid-dep=yes)
  rm -f "$log" # of an earlier queue
  {
    echo '#!/usr/bin/env bash'
    printf 'export _RECIPE_QUEUED=%d\nexec %q' "$1" "$_recipe"
    printf ' %q' "${_arguments[@]}" --python "$python" --slurm-conf "$slurm_conf"
    echo
  } >"$script"
  _sbatch --job-name="$(basename "$PWD")_stage_$1" --chdir="$PWD" --output="$log" --no-requeue \
    "${more[@]}" "${@:3}" "$script"
}

_give_up_queueing() { # _give_up_queueing ID...
  (($# == 0)) || scancel "$@" || :
  _fail 1 "SLURM took not all stages: none is queued"
}
