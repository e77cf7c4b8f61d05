"""Jobs of recipes: processes of this machine, and SLURM arrays, with a SLURM that is not there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from recipe_dummies import (
    ALL,
    is_running,
    ran,
    run,
    settings,
    wait_for_number,
    wait_until,
    write_recipe,
    write_sharing_recipe,
)

JOBS = """
stage_0() {  # jobs
  run_jobs JOB=1:"$nj" exp/log/part.JOB.log "$python" -c 'import sys
n = int(sys.argv[1]); print(f"part {n} of", sys.argv[2]); sys.exit(n in (2, 5))' JOB "$my_name"
  echo went on
}
run_recipe "$@"
"""

FAKE_SLURM = {
    "sbatch": """\
        # Runs the tasks of an array one after the other; what is requeued runs again.
        printf '%s\\n' "$@" "" >> sbatch.args
        for option in "${@:1:$#-1}"; do
          case $option in --array=*) tasks=${option#*=} ;; --output=*) output=${option#*=} ;; esac
        done
        script=${!#} SLURM_JOB_ID=$(grep -c -x '' sbatch.args)
        echo "$SLURM_JOB_ID;cluster"
        [[ -v tasks ]] || exit 0 # of a queue
        export SLURM_ARRAY_JOB_ID=$SLURM_JOB_ID SLURM_CPUS_PER_TASK=3
        for range in $(tr , ' ' <<<"${tasks%%%*}"); do
          for task in $(seq "${range%-*}" "${range#*-}"); do
            export SLURM_ARRAY_TASK_ID=$task SLURM_RESTART_COUNT=0
            while
              bash "$script" >> "${output//%a/$task}" 2>&1
              [[ -e requeued ]]
            do rm requeued; SLURM_RESTART_COUNT=$((SLURM_RESTART_COUNT + 1)); done
          done
        done
        """,
    "squeue": "[[ $* != *_* ]] || echo RUNNING  # a task asks about itself",
    "scontrol": 'echo "$@" > requeued',
    "scancel": "",
}


@pytest.fixture
def slurm(tmp_path: Path) -> str:
    """Return a PATH that begins with programs that pretend to be SLURM."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, text in FAKE_SLURM.items():
        (folder / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (folder / name).chmod(0o755)
    return f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"


def sbatch_calls(script: Path) -> list[list[str]]:
    text = (script.parent / "sbatch.args").read_text()
    return [call.split("\n") for call in text.removesuffix("\n\n").split("\n\n")]


# --- success and failure ------------------------------------------------------------------------


@pytest.mark.parametrize("launcher", ["local", "slurm"])
def test_jobs_are_split_and_logged(tmp_path: Path, launcher: str, slurm: str) -> None:
    script = write_recipe(tmp_path, JOBS)
    done = run(script, "--cmd", launcher, "--nj", "1", PATH=slurm)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "went on" in done.stdout
    log = (script.parent / "exp/log/part.1.log").read_text().splitlines()
    assert "part 1 of two words" in log
    assert log[-1] == "# exit code 0"


@pytest.mark.parametrize("launcher", ["local", "slurm"])
def test_failing_jobs_are_named_and_the_others_finish(
    tmp_path: Path, launcher: str, slurm: str
) -> None:
    script = write_recipe(tmp_path, JOBS)
    done = run(script, "--cmd", launcher, "--nj", "5", PATH=slurm)
    assert done.returncode == 1
    assert "went on" not in done.stdout
    assert "2 of 5 jobs failed:" in done.stdout
    for number in range(1, 6):
        log = (script.parent / f"exp/log/part.{number}.log").read_text()
        assert f"part {number} of two words\n" in log
        failed = number in (2, 5)
        assert (f"the last lines of exp/log/part.{number}.log" in done.stdout) == failed
        assert log.endswith(f"# exit code {int(failed)}\n")


@pytest.mark.parametrize("launcher", ["local", "slurm"])
def test_only_failed_shards_run_again(tmp_path: Path, launcher: str, slurm: str) -> None:
    script = write_sharing_recipe(tmp_path)
    (script.parent / "broken.2").touch()
    options = ("--cmd", launcher, "--nj", "4")
    done = run(script, *options, PATH=slurm)
    assert (done.returncode, ran(script)) == (1, ["1", "2", "3", "4"])
    assert "recording 2 cannot be read" in done.stdout
    assert not (script.parent / "exp/all.rttm").exists()

    (script.parent / "broken.2").unlink()
    (script.parent / "exp/shards/all.4.rttm").write_text("damaged")
    done = run(script, *options, "--stage", "1", PATH=slurm)
    assert (done.returncode, ran(script)) == (0, ["2", "4"]), done.stdout
    assert "2 of 4 jobs are done; to run: 2 4" in done.stdout
    assert (script.parent / "exp/all.rttm").read_text() == ALL
    assert list((script.parent / "exp/shards").iterdir()) == []
    assert (run(script, *options, "--stage", "1", PATH=slurm).returncode, len(ran(script))) == (
        0,
        4,
    )


def test_all_shards_run_again_when_an_earlier_stage_or_an_option_changed(tmp_path: Path) -> None:
    script = write_sharing_recipe(tmp_path)
    (script.parent / "broken.2").touch()
    assert run(script).returncode == 1
    (script.parent / "broken.2").unlink()
    ran(script)
    assert run(script, "--my-name", "another model").returncode == 0
    assert ran(script) == ["1", "2", "3"]

    (script.parent / "broken.1").touch()
    assert run(script, "--stage", "1").returncode == 1
    (script.parent / "broken.1").unlink()
    ran(script)
    assert run(script, "--stage", "1", "--nj", "2").returncode == 0
    assert ran(script) == ["1", "2"]
    assert (script.parent / "exp/all.rttm").read_text() == ALL


def test_logs_from_before_the_stage_failed_prove_nothing(tmp_path: Path) -> None:
    script = write_sharing_recipe(tmp_path)
    assert run(script).returncode == 0
    (script.parent / "part.py").rename(script.parent / "away.py")
    assert run(script, "--my-name", "another model").returncode == 1
    (script.parent / "away.py").rename(script.parent / "part.py")
    ran(script)
    assert run(script, "--stage", "1").returncode == 0
    assert ran(script) == ["1", "2", "3"]


def test_failed_jobs_are_tried_again(tmp_path: Path) -> None:
    body = (
        "stage_0() { # flaky\n  run_jobs JOB=1:3 exp/log/x.JOB.log bash -c "
        "'echo JOB >> ran; [[ $(grep -c JOB ran) == JOB ]]'\n}\nrun_recipe \"$@\"\n"
    )
    script = write_recipe(tmp_path, body)
    done = run(script, "--retries", "2")  # job N succeeds at the Nth time
    assert (done.returncode, ran(script)) == (0, ["1", "2", "2", "3", "3", "3"]), done.stdout
    assert "2 jobs failed: 2 3; trying them again (1 of 2)" in done.stdout
    assert "1 jobs failed: 3; trying them again (2 of 2)" in done.stdout
    assert (script.parent / "exp/log/x.3.log.attempt_1").read_text().endswith("# exit code 1\n")
    assert run(script, "--retries", "1").returncode == 1


def test_a_shard_that_is_not_whole_is_a_failure_though_the_program_is_content(
    tmp_path: Path,
) -> None:
    script = write_sharing_recipe(tmp_path)
    program = script.parent / "part.py"
    program.write_text(
        program.read_text().replace("shard.finish", "job.number == 3 or shard.finish")
    )
    done = run(script)
    assert done.returncode == 1
    assert "exp/log/part.3.log: ended well, but is not whole: exp/shards/all.3.rttm" in done.stdout


# --- interruptions ------------------------------------------------------------------------------

TRAINING = """
stage_0() { # training
  run_jobs --saves exp/log/train.log bash -c 'echo x >> ran; exit 75'
}
run_recipe "$@"
"""


def test_interrupted_work_is_told_from_failed_work(tmp_path: Path) -> None:
    done = run(write_recipe(tmp_path, TRAINING))
    assert done.returncode == 75
    assert "exp/log/train.log: interrupted; it goes on from there" in done.stdout
    assert "stage 0 (training): INTERRUPTED; what was done is saved" in done.stderr
    assert "./run.sh --stage 0" in done.stderr


def test_slurm_queues_interrupted_work_again_but_not_for_ever(tmp_path: Path, slurm: str) -> None:
    script = write_recipe(tmp_path, TRAINING)
    done = run(script, "--cmd", "slurm", "--restarts", "2", PATH=slurm)
    assert (done.returncode, len(ran(script))) == (75, 3)
    assert "--restarts allows no more" in (script.parent / "exp/log/train.log.slurm").read_text()
    log = (script.parent / "exp/log/train.log").read_text()
    assert log.count("# exit code 75\n") == 3
    (call,) = sbatch_calls(script)
    assert {"--requeue", "--signal=B:USR1@60"} <= set(call)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_job_behind(
    tmp_path: Path, signal_number: signal.Signals
) -> None:
    body = (
        "stage_0() { # long\n"
        "  run_jobs JOB=1:2 exp/log/s.JOB.log bash -c 'sleep 90 & echo $! > pid.JOB; wait'\n"
        '}\nrun_recipe "$@"\n'
    )
    script = write_recipe(tmp_path, body)
    process = start(script)
    pids = [wait_for_number(script.parent / f"pid.{n}") for n in (1, 2)]
    os.killpg(process.pid, signal_number)  # as a terminal does on Ctrl-C
    assert process.wait(timeout=60) != 0
    assert wait_until(lambda: not any(is_running(pid) for pid in pids))


def test_a_program_gets_to_save_its_work_before_an_interrupted_run_ends(tmp_path: Path) -> None:
    body = (
        "stage_0() { # training\n  run_jobs exp/log/s.log bash -c "
        "'trap \"sleep 0.5; echo saved; exit 75\" TERM; echo $$ > pid; while :; do sleep 0.1; done'"
        '\n}\nrun_recipe "$@"\n'
    )
    script = write_recipe(tmp_path, body)
    process = start(script)
    wait_for_number(script.parent / "pid")
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=60) == 130
    log = (script.parent / "exp/log/s.log").read_text()
    assert "\nsaved\n" in log and log.endswith("# exit code 75\n")


def start(script: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [script, "--python", sys.executable],
        env=settings({}), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip


# --- SLURM --------------------------------------------------------------------------------------

KINDS = """
stage_0() { # both kinds
  run_jobs JOB=1:3 exp/log/a.JOB.log true
  run_jobs --gpu exp/log/b.log true
}
run_recipe "$@"
"""


def test_slurm_gets_one_array_a_kind_of_jobs_with_its_options(tmp_path: Path, slurm: str) -> None:
    script = write_recipe(tmp_path, KINDS)
    (script.parent / "conf").mkdir()
    (script.parent / "conf/slurm.conf").write_text(
        "# ours\n--account=us\n--array=%2\n\n"
        "[cpu]\n--mem=8G  # enough\n[gpu] # H100\n  --gres=gpu:1\n"
    )
    assert run(script, "--cmd", "slurm", PATH=slurm).returncode == 0
    cpu, gpu = sbatch_calls(script)
    assert {"--array=1-3%2", f"--chdir={script.parent}", "--job-name=a.JOB"} <= set(cpu)
    assert cpu[-3:] == ["--account=us", "--mem=8G", "exp/log/a.array.log.sh"]
    assert "--array=1%2" in gpu
    assert gpu[-3:] == ["--account=us", "--gres=gpu:1", "exp/log/b.log.sh"]
    assert "--signal=B:USR1@60" not in gpu


def test_options_of_sbatch_from_another_file(tmp_path: Path, slurm: str) -> None:
    script = write_recipe(tmp_path, KINDS)
    (script.parents[1] / "mine.conf").write_text("--qos=short\n")
    assert run(script, "--cmd", "slurm", "--slurm-conf", "mine.conf", PATH=slurm).returncode == 0
    assert all("--qos=short" in call for call in sbatch_calls(script))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mem=8G\n", ":1: expected an option of sbatch or a [section], found 'mem=8G'"),
        ("\n[gpus]\n--gres=gpu:1\n", ":2: section [gpus]: expected [cpu], [gpu] or [queue]"),
        ("--array=1-3\n", ":1: --array=1-3: of the array only --array=%N can be said"),
        ("--wait\n", ":1: --wait: cannot be used here"),
        (None, "--slurm-conf: cannot read "),
    ],
)
def test_a_malformed_slurm_conf_is_refused(
    tmp_path: Path, slurm: str, text: str | None, message: str
) -> None:
    script = write_recipe(tmp_path, KINDS)
    conf = tmp_path / "slurm.conf"
    if text is not None:
        conf.write_text(text)
    done = run(script, "--cmd", "slurm", "--slurm-conf", str(conf), PATH=slurm)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr and str(conf) in done.stderr
    assert done.stderr.count("\n") == 1


def test_slurm_without_sbatch_is_refused(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("bash", "sed", "dirname", "basename", "sort", "realpath", "env"):
        (bare / name).symlink_to(f"/usr/bin/{name}")
    done = run(write_recipe(tmp_path, KINDS), "--cmd", "slurm", PATH=str(bare))
    message = "run.sh: error: --cmd slurm needs sbatch and squeue on the PATH\n"
    assert (done.returncode, done.stderr) == (2, message)


def test_a_job_that_slurm_lost_is_a_failure_though_an_old_log_says_otherwise(
    tmp_path: Path, slurm: str
) -> None:
    script = write_recipe(tmp_path, JOBS)
    options = ("--cmd", "slurm", "--nj", "1")
    assert run(script, *options, PATH=slurm).returncode == 0
    (tmp_path / "slurm/sbatch").write_text("#!/bin/sh\necho 7\n")
    done = run(script, *options, PATH=slurm)
    assert done.returncode == 1
    assert "(no log: the job did not start)" in done.stdout
    (tmp_path / "slurm/sbatch").write_text("#!/bin/sh\necho no such partition >&2\nexit 1\n")
    done = run(script, *options, PATH=slurm)
    assert done.returncode == 1
    assert "no such partition" in done.stdout


def test_a_queue_is_a_chain_of_jobs(tmp_path: Path, slurm: str) -> None:
    script = write_sharing_recipe(tmp_path)
    options = ("--cmd", "slurm", "--my-name", "a b", "--queue")
    done = run(script, *options, PATH=slurm)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[:2] == ["stage 0 (model): SLURM job 1", "stage 1 (shards): SLURM job 2"]
    assert "  squeue --jobs=1,2" in lines and "  scancel 1 2" in lines
    first, second = sbatch_calls(script)
    assert not any("--dependency" in word for word in first)
    assert {"--dependency=afterok:1", "--kill-on-invalid-dep=yes"} <= set(second)
    assert not (script.parent / "exp/all.rttm").exists()

    job = (script.parent / "exp/log/queue_1.sh").read_text()
    assert "_RECIPE_QUEUED=1\n" in job and "--my-name a\\ b --queue" in job
    subprocess.run(["bash", "-c", job], env=settings({"PATH": slurm}), check=False)
    assert not (script.parent / "exp/all.rttm").exists()  # there is no model yet
    assert ran(script) == ["1", "2", "3"]


def test_a_queue_that_slurm_refuses_in_the_middle_is_taken_back(tmp_path: Path, slurm: str) -> None:
    fakes = tmp_path / "slurm"
    (fakes / "sbatch").write_text("#!/bin/sh\n[ ! -e took ] || exit 1\ntouch took; echo 41\n")
    (fakes / "scancel").write_text('#!/bin/sh\necho "$@" > cancelled\n')
    script = write_sharing_recipe(tmp_path)
    done = run(script, "--cmd", "slurm", "--queue", PATH=slurm)
    assert done.returncode == 1
    assert "SLURM took not all stages: none is queued" in done.stderr
    assert (script.parent / "cancelled").read_text() == "41\n"
