#!/usr/bin/env bash
# A model like the default one, from openly licensed audio: Debian packages (fetched with apt-get,
# no root needed) and, where you have them, folders of more speech and noise.
# 240 hours of simulated audio take 28 GB, their spectrograms 23 GB. Paths start in this folder.
# In an hour or two on two cores, with 60 hours and far fewer steps:
#   ./run.sh --hours 60 --teacher conf/short/teacher.yaml --labels conf/short/student_labels.yaml \
#     --student conf/short/student.yaml

hours=240              # hours of simulated audio to train on, half of them rich in overlap
valid_hours=1.5        # hours of simulated audio to validate and choose thresholds with
test_hours=1.5         # hours of simulated audio to test with
pool=""                # a pool that is there already: nothing is fetched
debs=""                # folder with the .deb files: nothing is fetched
extra_speech=""        # folder with LibriSpeech or the like; several with commas between
extra_noise=""         # folder with ESC-10 or the like; several with commas between
test=""                # data directory to test on as well, such as real recordings
components=256         # atoms of the dictionary, as in the student's configuration
frames=60000           # frames that the dictionary is learned from
teacher=conf/teacher.yaml    # network and schedule of the teacher
labels=conf/student_labels.yaml    # what the student starts from: labels alone
student=conf/student.yaml    # network, schedule and loss of the student, which goes on from there
second_seed=6          # of a second student, trained apart and joined with it; "" for none
relevance=0.05         # tau of the explanations of both side by side
ablations=all          # of stage 7: names in conf/ablations, with commas between
stop_stage=6           # last stage to run; 7 are the ablations
precision=32-true      # of training; bf16-mixed takes two thirds of the time where there is bf16
nj=2                   # processes at once

# shellcheck source-path=SCRIPTDIR source=../common/runner.sh
. "$(dirname "$0")/../common/runner.sh"

sources() { echo "${pool:-data/pool}"; }

test_sets() { # NAME DIRECTORY, a line a test set
  echo simulated data/test
  [[ -z $test ]] || echo "$(basename "$test")" "$test"
}

stage_0() { # data: the pool of sources, and simulated recordings with exact labels
  [[ -n $pool || -e data/pool/pool.jsonl ]] || make_pool
  local half
  half=$("$python" -c "print($hours / 2)")
  simulate train "$half" train 1 conf/simulate.yaml
  simulate dense "$half" train 11 conf/simulate_dense.yaml
  simulate valid "$valid_hours" valid 2 conf/simulate_valid.yaml
  simulate test "$test_hours" valid 3 conf/simulate_valid.yaml
}

make_pool() {
  local more=() speech=() noise=() folder
  [[ -z $debs ]] || more+=(--debs "$debs")
  IFS=, read -ra speech <<<"$extra_speech"
  IFS=, read -ra noise <<<"$extra_noise"
  for folder in "${speech[@]}"; do more+=(--extra-speech "$folder"); done
  for folder in "${noise[@]}"; do more+=(--extra-noise "$folder"); done
  "$python" "$bin/prepare.py" open --sources conf/sources.yaml --output data/pool \
    --num-workers "$nj" "${more[@]}"
}

simulate() { # simulate NAME HOURS SPLIT SEED CONFIG
  run_jobs "exp/log/simulate_$1.log" "$python" "$bin/simulate.py" --pool "$(sources)" \
    --config "$5" --output "data/$1" --hours "$2" --split "$3" --seed "$4" --num-workers "$nj"
}

stage_1() { # features: spectrograms and frame labels
  for set in train dense valid test; do
    cache_features "$set" --datadir "data/$set" --output "exp/features/$set"
  done
}

stage_2() { # dictionary: sparse NMF
  run_jobs exp/log/dictionary.log "$python" "$bin/learn_dictionary.py" -v \
    --archive exp/features/train --student "$student" --components "$components" \
    --frames "$frames" --output exp/dictionary.safetensors
}

stage_3() { # teacher
  train teacher exp/features train_teacher.py --config "$teacher" --output exp/teacher
}

train() { # train NAME FEATURES PROGRAM OPTION...
  run_jobs --gpu --saves "exp/log/$1.log" "$python" "$bin/$3" -v --train "$2/train" \
    --train "$2/dense" --valid "$2/valid" --precision "$precision" --num-workers "$nj" "${@:4}"
}

stage_4() { # distillation: two students that are faithful, joined to one, and thresholds
  local joined=(--model exp/student)
  distill labels "$labels"
  distill student "$student" --teacher exp/teacher --start exp/labels
  if [[ -n $second_seed ]]; then
    printf 'base: "%s"\ntraining: {seed: %s}\n' "$(realpath "$student")" "$second_seed" \
      >exp/second.yaml
    distill second exp/second.yaml --teacher exp/teacher --start exp/labels
    joined+=(--model exp/second --relevance-threshold "$relevance")
  fi
  tune teacher --model exp/teacher
  tune student "${joined[@]}"
}

tune() { # tune NAME --model MODEL...: thresholds, and a card that tells of the test recordings
  run_jobs "exp/log/tune_$1.log" "$python" "$bin/tune.py" "${@:2}" \
    --archive exp/features/valid --name "simulated validation recordings" \
    --test "simulated test recordings=exp/features/test" --pool "$(sources)" \
    --manifest "$(sources)/manifest.json" --output "exp/$1_tuned"
}

distill() { # distill NAME CONFIG [OPTION...]
  train "$1" exp/features distill.py --config "$2" --output "exp/$1" \
    --dictionary exp/dictionary.safetensors "${@:3}"
}

# All recordings were segmented, as their shards testify: one that is missing in an RTTM file has no
# segments (--allow-missing).
stage_5() { # segmentation of the test recordings, and its F1
  local name set model
  while read -r name set; do
    for model in teacher student; do
      in_shards --gpu "segment_${name}_$model" --rttm "exp/$name/$model.rttm" -- \
        "$python" "$bin/segment.py" --datadir "$set" --model "exp/${model}_tuned"
    done
    "$python" "$bin/compare.py" --reference "$set/ref.rttm" --uem "$set/all.uem" \
      --classes "$(paste -sd, "$set/classes")" --system "teacher=exp/$name/teacher.rttm" \
      --system "student=exp/$name/student.rttm" --fidelity-to teacher --allow-missing \
      --json "exp/$name/f1.json" --markdown "exp/$name/f1.md"
  done < <(test_sets)
}

stage_6() { # explanations of the test recordings, and prototypes
  local name set
  while read -r name set; do
    in_shards --gpu "explain_$name" --rttm "exp/$name/explained.rttm" \
      --hdf5 "exp/$name/explanations.h5" -- \
      "$python" "$bin/explain.py" --datadir "$set" --model exp/student_tuned
    "$python" "$bin/prototypes.py" "exp/$name/explanations.h5" \
      --output "exp/$name/prototypes.h5" --figure "exp/$name/prototypes.png"
  done < <(test_sets)
}

stage_7() { # ablations: students that differ in one thing, each from scratch (--stop-stage 7)
  local name set systems ablation
  while read -r _ _ _ name; do
    make_dictionary "$name"
  done < <(for name in $(chosen_ablations); do traits "$name"; done | sort -u -k 1,2)
  for name in $(chosen_ablations); do
    ablate "$name"
  done
  while read -r name set; do
    systems=()
    for ablation in $(chosen_ablations); do
      in_shards --gpu "segment_${name}_$ablation" --rttm "exp/$name/$ablation.rttm" -- \
        "$python" "$bin/segment.py" --datadir "$set" --model "exp/ablations/${ablation}_tuned"
      systems+=(--system "$ablation=exp/$name/$ablation.rttm")
    done
    "$python" "$bin/compare.py" --reference "$set/ref.rttm" --uem "$set/all.uem" \
      --classes "$(paste -sd, "$set/classes")" --baseline base "${systems[@]}" --allow-missing \
      --json "exp/$name/ablations.json" --markdown "exp/$name/ablations.md"
    "$python" local/ablation_table.py "exp/$name/ablations.json" exp/ablations |
      tee "exp/$name/ablation_table.md"
  done < <(test_sets)
}

chosen_ablations() { # base first: the others are compared with it
  local file
  echo base
  if [[ $ablations == all ]]; then
    for file in conf/ablations/*.yaml; do basename "$file" .yaml; done | grep -vx base
  else
    tr , '\n' <<<"$ablations" | grep -vx base || :
  fi
}

make_dictionary() { # make_dictionary NAME: for it, and whoever has as many components and bins
  local atoms fft features
  read -r atoms fft _ < <(traits "$1")
  features=$(features_of "$fft")
  run_jobs "exp/log/dictionary_${atoms}_$fft.log" "$python" "$bin/learn_dictionary.py" -v \
    --archive "$features/train" --student "conf/ablations/$1.yaml" --components "$atoms" \
    --frames "$frames" --output "exp/ablations/dictionary_${atoms}_$fft.safetensors"
}

ablate() { # ablate NAME: training, thresholds, faithfulness
  local model=exp/ablations/$1 atoms fft alpha features more=()
  read -r atoms fft alpha _ < <(traits "$1")
  features=$(features_of "$fft")
  [[ $alpha == 0 ]] || more=(--teacher exp/teacher)
  train "ablation_$1" "$features" distill.py --config "conf/ablations/$1.yaml" --output "$model" \
    --dictionary "exp/ablations/dictionary_${atoms}_$fft.safetensors" "${more[@]}"
  # Nothing was trained since: a stage that is run again, for more of them, has this already.
  [[ ! ${model}_faithfulness.json -nt $model/train/checkpoint.ckpt ]] || return 0
  run_jobs "exp/log/tune_$1.log" "$python" "$bin/tune.py" --model "$model" \
    --archive "$features/valid" --name "simulated validation recordings" --output "${model}_tuned"
  run_jobs "exp/log/faithfulness_$1.log" "$python" "$bin/faithfulness.py" --datadir data/test \
    --model "${model}_tuned" --segments 8 --no-baselines --json "${model}_faithfulness.json" \
    --markdown "${model}_faithfulness.md"
}

traits() { # traits NAME: components, FFT size, weight of the teacher, and the name
  "$python" - "conf/ablations/$1.yaml" "$1" <<'PYTHON'
import sys
from audioseg_xai.config import read_yaml
values = read_yaml(sys.argv[1])
network = values["network"]
fft_size = network.get("spectrogram", {}).get("fft_size", 512)
print(network["components"], fft_size, f"{values['loss'].get('alpha', 1.0):g}", sys.argv[2])
PYTHON
}

features_of() { # features_of FFT_SIZE: the folder of the features, made where they are missing
  local set folder=exp/features
  if (($1 != 512)); then
    folder=exp/features_$1
    for set in train dense valid; do
      [[ -e $folder/$set/index.h5 ]] || cache_features "${set}_$1" --fft-size "$1" \
        --datadir "data/$set" --output "$folder/$set" >&2
    done
  fi
  echo "$folder"
}

run_recipe "$@"
