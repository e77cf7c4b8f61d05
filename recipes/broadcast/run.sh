#!/usr/bin/env bash
# The paper's experiment: a teacher on WavLM features and its explainable students, on Albayzin
# (Aragon Radio), OpenBMAT, ALLIES and DIHARD III. Name the corpora that you have; what you lack is
# left out, and with it the classes that only it labels. Which corpus trains what stands in
# conf/corpora.yaml. Paths start in this folder.

albayzin=""            # folder of Albayzin (Aragon Radio)
openbmat=""            # folder of OpenBMAT
allies=""              # folder of ALLIES
dihard=""              # folder of DIHARD III
upstream=wavlm_large   # model of s3prl
upstream_checkpoint="" # its weights; else those that s3prl downloads
layers=all             # hidden states to store: all, one, or weights of a sum
store=features         # features, or audio to compute them from in training (much smaller)
augment=""             # data directory of noise and music to add in training (--store audio)
precision=f32          # of the upstream model: f32, or bf16
fft_size=1024          # FFT of the spectrogram that the dictionary reconstructs
conf=conf              # folder with corpora.yaml, dictionary.sh, teacher.yaml and students/
strict=no              # yes: a problem in a corpus ends stage 0
held_out="train=0.9,valid=0.1" # parts of a corpus without a validation set
device=auto            # auto, cpu, cuda
nj=2                   # processes or jobs at once

# shellcheck source-path=SCRIPTDIR source=../common/runner.sh
. "$(dirname "$0")/../common/runner.sh"

table_file() { # the corpora of the configuration, else the usual ones
  if [[ -e $conf/corpora.yaml ]]; then echo "$conf/corpora.yaml"; else echo conf/corpora.yaml; fi
}

corpora() { # NAME FOLDER, a line a corpus that the user has
  [[ -z $albayzin ]] || echo albayzin "$albayzin"
  [[ -z $openbmat ]] || echo openbmat "$openbmat"
  [[ -z $allies ]] || echo allies "$allies"
  [[ -z $dihard ]] || echo dihard "$dihard"
}

table() { # table ROLE [OPTION...]: CORPUS/SET CLASSES of the corpora that the user has, a line each
  local name classes
  "$python" "$bin/prepare.py" table "$(table_file)" --role "$@" | while read -r name classes; do
    [[ ! -e data/$name/wav.scp ]] || echo "$name" "$classes"
  done
}

sets() { # sets ROLE DATA: CORPUS/SET, a line each
  local name
  table "$1" --data "$2" | while read -r name _; do echo "$name"; done
}

archives() { # archives OPTION ROLE DATA: OPTION FOLDER, a word a line
  local name
  sets "$2" "$3" | while read -r name; do printf '%s\n' "$1" "exp/features/$name"; done
}

used_sets() { # all that is trained or validated on: CORPUS/SET, a line each
  local role
  for role in teacher student; do
    sets "$role" train
    sets "$role" valid
  done | sort -u
}

students() { # names of the students
  local file
  for file in "$conf"/students/*.yaml; do basename "$file" .yaml; done
}

stage_0() { # data: a data directory for each list of each corpus
  local name folder options code
  [[ -z $augment || $store == audio ]] || { echo "--augment needs --store audio" >&2 && return 2; }
  [[ -n $(corpora) ]] || { echo "name at least one corpus: --dihard FOLDER" >&2 && return 2; }
  while read -r name folder; do
    options=(--overwrite)
    [[ $name != openbmat ]] || options+=(--split "$held_out")
    [[ $strict != yes ]] || options+=(--strict)
    code=0
    "$python" "$bin/prepare.py" "$name" "$folder" --output "data/$name" "${options[@]}" || code=$?
    ((code == 0 || code == 3)) || return "$code" # 3: some recordings were left out, and listed
    [[ $name != dihard ]] || "$python" "$bin/datadir.py" split data/dihard/dev \
      --parts "$held_out" --output data/dihard --overwrite
  done < <(corpora)
}

stage_1() { # features: spectrograms, labels and hidden states
  local set options
  options=(--fft-size "$fft_size" --upstream "$upstream" --precision "$precision")
  [[ -z $upstream_checkpoint ]] || options+=(--upstream-checkpoint "$upstream_checkpoint")
  [[ $store == audio ]] || options+=(--layers "$layers")
  options+=(--store "$store" --device "$device")
  for set in $(used_sets); do
    cache_features --gpu "${set//\//_}" "${options[@]}" --datadir "data/$set" \
      --output "exp/features/$set"
  done
  [[ -z $augment ]] || cache_features augment --fft-size "$fft_size" --store audio \
    --datadir "$augment" --output exp/features/augment
}

stage_2() { # dictionary: sparse NMF over what the student is trained on
  local words names
  mapfile -t words < <(archives --archive student train)
  mapfile -t names < <(students)
  # shellcheck source-path=SCRIPTDIR source=conf/dictionary.sh
  . "$conf/dictionary.sh"
  run_jobs exp/log/dictionary.log "$python" "$bin/learn_dictionary.py" -v "${words[@]}" \
    --student "$conf/students/${names[0]}.yaml" "${dictionary_options[@]}" \
    --output exp/dictionary.safetensors
}

stage_3() { # teacher: labels of all corpora, masked where a corpus has none
  local words config=teacher
  mapfile -t words < <(archives --train teacher train && archives --valid teacher valid)
  [[ -z $augment ]] || words+=(--augment-with exp/features/augment)
  [[ -z $augment ]] || config=teacher_augmented
  run_jobs --gpu --saves exp/log/teacher.log "$python" "$bin/train_teacher.py" -v "${words[@]}" \
    --config "$conf/$config.yaml" --output exp/teacher --device "$device" --num-workers "$nj"
  tune teacher
}

stage_4() { # students: distilled from the teacher, a configuration each
  local words name
  mapfile -t words < <(archives --train student train && archives --valid student valid)
  for name in $(students); do
    run_jobs --gpu --saves "exp/log/$name.log" "$python" "$bin/distill.py" -v "${words[@]}" \
      --config "$conf/students/$name.yaml" --dictionary exp/dictionary.safetensors \
      --teacher exp/teacher --output "exp/$name" --device "$device" --num-workers "$nj"
    tune "$name"
  done
}

tune() { # tune MODEL: choose its thresholds on all validation recordings
  local words
  mapfile -t words < <(archives --archive teacher valid)
  run_jobs --gpu "exp/log/tune_$1.log" "$python" "$bin/tune.py" --model "exp/$1" "${words[@]}" \
    --name "validation recordings" --output "exp/${1}_tuned"
}

stage_5() { # segmentation and F1 on each test set
  local set classes name systems
  while read -r set classes; do
    systems=()
    for name in teacher $(students); do
      segment "$set" "$name"
      systems+=(--system "$name=exp/test/$set/$name.rttm")
    done
    [[ ! -e data/$set/groups ]] || systems+=(--groups "data/$set/groups")
    "$python" "$bin/compare.py" --reference "data/$set/ref.rttm" --uem "data/$set/all.uem" \
      --classes "$(decided "$classes")" --allow-missing --fidelity-to teacher "${systems[@]}" \
      --json "exp/test/$set/f1.json" \
      --markdown "exp/test/$set/f1.md"
  done < <(table test)
}

segment() { # segment SET MODEL; the model knows its upstream model
  in_shards --gpu "segment_${1//\//_}_$2" --rttm "exp/test/$1/$2.rttm" -- \
    "$python" "$bin/segment.py" --datadir "data/$1" --model "exp/${2}_tuned" --device "$device"
}

decided() { # decided CLASSES: those of them that the teacher decides
  "$python" - "exp/teacher_tuned" "$1" <<'PYTHON'
import sys
from audioseg_xai.models.directory import read_model_config
known = read_model_config(sys.argv[1]).decoding
print(",".join(name for name in sys.argv[2].split(",") if name in known))
PYTHON
}

stage_6() { # explanations, and prototypes of the decisions that the teacher shares
  local set name
  while read -r set _; do
    for name in $(students); do
      in_shards --gpu "explain_${set//\//_}_$name" --hdf5 "exp/test/$set/$name.h5" \
        --rttm "exp/test/$set/${name}_explained.rttm" -- "$python" "$bin/explain.py" \
        --datadir "data/$set" --model "exp/${name}_tuned" --device "$device"
      "$python" "$bin/prototypes.py" "exp/test/$set/$name.h5" \
        --agree-with "exp/test/$set/teacher.rttm" --output "exp/test/$set/${name}_prototypes.h5" \
        --figure "exp/test/$set/${name}_prototypes.png"
    done
  done < <(table test)
}

stage_7() { # report: tables and prototypes in one page, exp/report.md
  local set name
  {
    echo "# Results"
    while read -r set _; do
      printf '\n## %s\n\n' "$set"
      cat "exp/test/$set/f1.md"
      for name in $(students); do
        printf '\n![Prototypes of %s](test/%s/%s_prototypes.png)\n' "$name" "$set" "$name"
      done
    done < <(table test)
    printf '\n## Models\n'
    for name in teacher $(students); do
      printf '\n### %s\n\n' "$name"
      "$python" "$bin/models.py" "exp/${name}_tuned"
    done
  } >exp/report.md
  echo "report: $PWD/exp/report.md"
}

run_recipe "$@"
