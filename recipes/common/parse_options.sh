# shellcheck shell=bash
# Options of a recipe: the variables that run.sh sets before it sources the runner, and the
# runner's own. The comment behind a variable is its line in --help. Sourced by runner.sh.

# Absolute, because the runner changes into the folder of the recipe.
_recipe=$(cd "$(dirname "$0")" && pwd)/$(basename "$0")

_runner_options="\
stage=FIRST       # first stage to run
stop_stage=LAST   # last stage to run
nj=1              # jobs at once, where a stage splits its work
cmd=local         # where jobs run: local or slurm
slurm_conf=FILE   # options of sbatch; else conf/slurm.conf
retries=0         # times that jobs that failed are tried again
restarts=10       # times that SLURM queues a training again that it interrupted
python=PYTHON     # the Python that has the package installed"

_declarations() { # the option lines of the recipe: VARIABLE=... # help
  sed -n -E '/^(\.|source) .*runner\.sh/q; /^[a-z][a-z0-9_]*=/p' "$_recipe"
}

_declared() { # _declared NAME: whether the recipe sets this variable
  [[ $'\n'$(_declarations) == *$'\n'"$1="* ]]
}

_known() { # _known NAME: whether this is an option
  [[ $'\n'$_runner_options == *$'\n'"$1="* ]] || _declared "$1"
}

_stage_numbers() {
  declare -F | sed -n -E 's/^declare -f stage_([0-9]+)$/\1/p' | sort -n
}

_chosen_stages() {
  local number
  for number in "${_stages[@]}"; do
    ((number < stage || number > stop_stage)) || echo "$number"
  done
}

_stage_title() { # _stage_title NUMBER
  sed -n -E "s/^stage_$1\(\) *\{ *# *(.*)$/\1/p" "$_recipe"
}

_set_defaults() {
  mapfile -t _stages < <(_stage_numbers)
  ((${#_stages[@]} > 0)) || _fail 2 "the recipe has no function stage_0, stage_1, ..."
  _declared stage || stage=${_stages[0]}
  _declared stop_stage || stop_stage=${_stages[-1]}
  _declared nj || nj=1
  _declared cmd || cmd=local
  _declared slurm_conf || slurm_conf=""
  _declared retries || retries=0
  _declared restarts || restarts=10
  queue=no
  _declared python || python=$(_default_python)
}

_default_python() {
  if [[ -x $_root/.venv/bin/python ]]; then
    echo "$_root/.venv/bin/python"
  else
    echo python3
  fi
}

parse_options() { # parse_options ARGUMENTS...: sets the variables, checks them
  local name value
  _set_defaults
  while (($# > 0)); do
    case $1 in
      -h | --help) _print_help && exit 0 ;;
      --list) _print_stages && exit 0 ;;
      --queue) queue=yes && shift && continue ;;
      --*=*) name=${1%%=*} value=${1#*=} ;;
      --*)
        name=$1
        _require_option "$name" # before it may lack a value
        (($# > 1)) || _fail 2 "option $name needs a value"
        value=$2
        shift
        ;;
      *) _fail 2 "unexpected argument '$1': options look like --name value (see --help)" ;;
    esac
    shift
    _require_option "$name"
    name=${name#--}
    printf -v "${name//-/_}" '%s' "$value"
  done
  _check_options
}

_require_option() { # _require_option --NAME
  local name=${1#--}
  if ! [[ $name =~ ^[a-z][a-z0-9_-]*$ ]] || ! _known "${name//-/_}"; then
    _fail 2 "unknown option $1 (see --help)"
  fi
}

_check_options() {
  _check_integer --stage "$stage"
  _check_integer --stop-stage "$stop_stage"
  _check_integer --nj "$nj"
  ((nj > 0)) || _fail 2 "option --nj must be at least 1"
  _check_integer --retries "$retries"
  _check_integer --restarts "$restarts"
  [[ -n $(_chosen_stages) ]] ||
    _fail 2 "no stage from $stage to $stop_stage: the stages are ${_stages[*]} (see --list)"
  case $cmd in
    local) [[ $queue == no ]] || _fail 2 "option --queue needs --cmd slurm" ;;
    slurm)
      { command -v sbatch && command -v squeue; } >/dev/null ||
        _fail 2 "--cmd slurm needs sbatch and squeue on the PATH"
      [[ -z $slurm_conf ]] || slurm_conf=$(realpath -s "$slurm_conf")
      _check_slurm_conf
      ;;
    *) _fail 2 "option --cmd must be local or slurm, not '$cmd'" ;;
  esac
  [[ $python != */* ]] || python=$(realpath -s "$python")
}

_check_integer() { # _check_integer --NAME VALUE
  # Without leading zeros, which bash would read as octal.
  [[ $2 =~ ^(0|[1-9][0-9]{0,5})$ ]] || _fail 2 "option $1 must be a whole number, not '$2'"
}

_print_help() {
  sed -n -E '1d; /^#/!q; s/^# ?//p' "$_recipe"
  printf '\nUsage: ./%s [--option value]...\n\nOptions:\n' "$(basename "$_recipe")"
  _declarations | _print_options
  echo "$_runner_options" | while IFS= read -r line; do
    _declared "${line%%=*}" || _print_options <<<"$line"
  done
  printf '  %-24s %s\n' --queue "with --cmd slurm: queue all stages, and leave" \
    --list "list the stages" --help "show this page"
  printf '\nStages:\n'
  _print_stages
}

_print_options() { # reads VARIABLE=... # help
  local line name help
  while IFS= read -r line; do
    name=${line%%=*} help=""
    [[ $line != *"# "* ]] || help="${line##*# } "
    printf '  %-24s %s[default: %s]\n' "--${name//_/-} VALUE" "$help" "${!name}"
  done
}

_print_stages() {
  local number
  for number in "${_stages[@]}"; do
    printf '  %2d  %s\n' "$number" "$(_stage_title "$number")"
  done
}
