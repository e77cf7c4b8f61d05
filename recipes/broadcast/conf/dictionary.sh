# shellcheck shell=bash
# Options of learn-dictionary: K = 256 atoms, mu = 1 (Mariotte et al., 2024).
# shellcheck disable=SC2034  # used by run.sh
dictionary_options=(--components 256 --passes 5 --frames-per-pass 500000)
