# shellcheck shell=bash
# Programs that share a list of recordings among $nj jobs. Sourced by runner.sh.

_remove_at_end=()

# in_shards [--gpu] NAME OPTION FILE [OPTION FILE]... -- COMMAND...
#
#   in_shards segment --rttm exp/test.rttm -- "$python" "$bin/segment.py" --datadir data/test
#
# runs the command with --job JOB/$nj for each JOB, and joins what they make: FILE is of the option
# before it. The shards lie in the folder shards beside FILE until the stage has succeeded. The
# logs are exp/log/NAME.JOB.log.
in_shards() {
  local flags=() name options=() files=() parts=() index
  if [[ $1 == --gpu ]]; then
    flags+=(--gpu)
    shift
  fi
  name=$1
  shift
  while [[ $1 != -- ]]; do
    files+=("$2")
    parts+=("$(dirname "$2")/shards/$(basename "${2%.*}").JOB.${2##*.}")
    options+=("$1" "${parts[-1]}") flags+=(--makes "${parts[-1]}")
    shift 2
  done
  run_jobs "${flags[@]}" "JOB=1:$nj" "exp/log/$name.JOB.log" "${@:2}" "${options[@]}" \
    --job "JOB/$nj"
  for index in "${!files[@]}"; do
    _join "${files[index]}" "${parts[index]}"
  done
}

_join() { # _join FILE PART: the shards of which PART is the name, with JOB in it
  local number shards=()
  for ((number = 1; number <= nj; number++)); do shards+=("${2//JOB/$number}"); done
  "$python" "$bin/join.py" --output "$1" "${shards[@]}"
  # With those of an earlier try with another --nj.
  _remove_at_end+=("${2%JOB*}"[0-9]*"${2##*JOB}" "${2%JOB*}"[0-9]*"${2##*JOB}.json")
}

_remove_shards() { # only now: a stage that fails goes on with them
  ((${#_remove_at_end[@]} == 0)) || rm -f "${_remove_at_end[@]}"
}

cache_features() { # cache_features [--gpu] NAME OPTION...: in $nj shares; the last makes the index
  local flags=() name
  if [[ $1 == --gpu ]]; then
    flags+=(--gpu)
    shift
  fi
  name=$1
  shift
  ((nj == 1)) || run_jobs "${flags[@]}" "JOB=1:$nj" "exp/log/features_$name.JOB.log" \
    "$python" "$bin/cache_features.py" "$@" --job "JOB/$nj"
  run_jobs "${flags[@]}" "exp/log/features_$name.log" "$python" "$bin/cache_features.py" "$@"
}
