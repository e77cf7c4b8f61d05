# shellcheck shell=bash
# shellcheck disable=SC2034  # used by run.sh
dictionary_options=(--components 32 --frames 4000 --iterations 15)
