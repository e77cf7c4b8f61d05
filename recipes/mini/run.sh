#!/usr/bin/env bash
# Every step of the toolkit on two megabytes of real sound, in minutes on two cores.
# Speech, music and noise from pool/ (their licences: pool/LICENCES.md) are mixed into recordings
# with exact labels. Voices, pieces and noises of the validation and test recordings are not in
# the training recordings.

hours=0.5              # hours of simulated audio to train on
test_hours=0.12        # hours of simulated audio to validate, and as many to test
components=64          # atoms of the dictionary, as in conf/student.yaml
nj=2                   # processes at once
threads=1              # threads of each; networks as small as these gain little from more

# shellcheck source-path=SCRIPTDIR source=../common/runner.sh
. "$(dirname "$0")/../common/runner.sh"

stage_0() { # data: simulated recordings with exact labels
  simulate train "$hours" train 1
  simulate valid "$test_hours" valid 2
  simulate test "$test_hours" valid 3
}

simulate() { # simulate NAME HOURS SPLIT SEED
  run_jobs "exp/log/simulate_$1.log" "$python" "$bin/simulate.py" --pool pool \
    --config conf/simulate.yaml --output "data/$1" --hours "$2" --split "$3" --seed "$4" \
    --num-workers "$nj"
}

stage_1() { # features: spectrograms and frame labels
  for set in train valid; do
    cache_features "$set" --datadir "data/$set" --output "exp/features/$set"
  done
}

stage_2() { # dictionary: sparse NMF
  run_jobs exp/log/dictionary.log "$python" "$bin/learn_dictionary.py" -v \
    --archive exp/features/train --student conf/student.yaml --components "$components" \
    --frames 10000 --iterations 30 --output exp/dictionary.safetensors
}

stage_3() { # teacher
  export OMP_NUM_THREADS=$threads
  run_jobs --gpu --saves exp/log/teacher.log "$python" "$bin/train_teacher.py" -v \
    --train exp/features/train --valid exp/features/valid --config conf/teacher.yaml \
    --output exp/teacher
}

stage_4() { # distillation: the student, and thresholds for both
  export OMP_NUM_THREADS=$threads
  run_jobs --gpu --saves exp/log/student.log "$python" "$bin/distill.py" -v \
    --train exp/features/train --valid exp/features/valid --config conf/student.yaml \
    --dictionary exp/dictionary.safetensors --teacher exp/teacher --output exp/student
  for model in teacher student; do
    run_jobs "exp/log/tune_$model.log" "$python" "$bin/tune.py" --model "exp/$model" \
      --archive exp/features/valid --name "simulated validation recordings" \
      --output "exp/${model}_tuned"
  done
}

stage_5() { # segmentation of the test recordings, and its F1
  for model in teacher student; do
    in_shards "segment_$model" --rttm "exp/$model.rttm" -- \
      "$python" "$bin/segment.py" --datadir data/test --model "exp/${model}_tuned"
  done
  "$python" "$bin/score.py" --reference data/test/ref.rttm --uem data/test/all.uem \
    --hypothesis exp/student.rttm --allow-missing --json exp/scores.json
  "$python" "$bin/compare.py" --reference data/test/ref.rttm --uem data/test/all.uem \
    --system teacher=exp/teacher.rttm --system student=exp/student.rttm \
    --fidelity-to teacher --allow-missing --json exp/f1.json --markdown exp/f1.md
}

stage_6() { # explanations of the test recordings, a figure of the first, and prototypes
  local first
  in_shards explain --rttm exp/explained.rttm --hdf5 exp/explanations.h5 -- \
    "$python" "$bin/explain.py" --datadir data/test --model exp/student_tuned
  read -r _ first <data/test/wav.scp
  "$python" "$bin/explain.py" "data/test/$first" --model exp/student_tuned \
    --rttm exp/first.rttm --figure exp/first.png
  "$python" "$bin/prototypes.py" exp/explanations.h5 --output exp/prototypes.h5 \
    --figure exp/prototypes.png
  "$python" "$bin/prototypes.py" exp/explanations.h5 --agree-with exp/teacher.rttm \
    --output exp/shared_prototypes.h5
}

run_recipe "$@"
