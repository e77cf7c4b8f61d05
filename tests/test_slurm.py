"""Recipes under a real SLURM, of one machine: shards, failures, preemption, queues of stages."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
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
from slurm_cluster import CPUS, NODE, missing_programs, slurm_cluster

MISSING = missing_programs()
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    with slurm_cluster() as environment:
        yield environment


@pytest.fixture
def slurm(cluster: dict[str, str]) -> Iterator[Callable[..., str]]:
    """Return a function that calls a program of SLURM; nothing is queued afterwards."""

    def call(*command: str) -> str:
        return subprocess.run(
            command, env=os.environ | cluster, capture_output=True, text=True, check=True
        ).stdout

    yield call
    call("scontrol", "update", f"nodename={NODE}", "state=resume") if drained(call) else None
    call("scancel", "--full", "--user", str(os.getuid()))
    assert wait_until(lambda: call("squeue", "--noheader") == "")


def drained(slurm: Callable[..., str]) -> bool:
    return "drain" in slurm("sinfo", "--noheader", "--format=%T")


def start(script: Path, cluster: dict[str, str], *options: str) -> subprocess.Popen[str]:
    words = [script, "--python", sys.executable, "--cmd", "slurm", *options]
    return subprocess.Popen(
        words, env=settings(cluster), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip


def output_of(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=120)[0]


def read(script: Path, name: str) -> str:
    return (script.parent / name).read_text()


# --- shards -------------------------------------------------------------------------------------


def test_a_task_that_is_killed_is_named_and_runs_again_alone(
    tmp_path: Path, cluster: dict[str, str], slurm: Callable[..., str]
) -> None:
    script = write_sharing_recipe(tmp_path)
    (script.parent / "hold").touch()
    process = start(script, cluster)
    pids = [wait_for_number(script.parent / f"pid.{n}") for n in (1, 2, 3)]
    os.kill(pids[1], signal.SIGKILL)
    assert wait_until(lambda: "# exit code 137" in read(script, "exp/log/part.2.log"))
    (script.parent / "hold").unlink()
    said = output_of(process)
    assert process.returncode == 1
    assert "1 of 3 jobs failed:" in said
    assert "the last lines of exp/log/part.2.log" in said
    assert "./run.sh --stage 1" in said
    assert not (script.parent / "exp/all.rttm").exists()
    assert ran(script) == ["1", "2", "3"]

    done = run(script, "--cmd", "slurm", "--stage", "1", **cluster)
    assert (done.returncode, ran(script)) == (0, ["2"]), done.stdout
    assert read(script, "exp/all.rttm") == ALL


def test_a_task_that_is_cancelled_stays_cancelled(
    tmp_path: Path, cluster: dict[str, str], slurm: Callable[..., str]
) -> None:
    script = write_sharing_recipe(tmp_path)
    (script.parent / "hold").touch()
    process = start(script, cluster)
    wait_for_number(script.parent / "pid.3")
    (job,) = {line.split("_")[0] for line in slurm("squeue", "-h", "-r", "-o", "%i").split()}
    slurm("scancel", f"{job}_3")
    (script.parent / "hold").unlink()
    said = output_of(process)
    assert process.returncode == 1
    assert "the last lines of exp/log/part.3.log" in said
    assert ran(script).count("3") == 1


def test_a_node_that_is_drained_ends_what_runs_and_starts_nothing(
    tmp_path: Path, cluster: dict[str, str], slurm: Callable[..., str]
) -> None:
    script = write_sharing_recipe(tmp_path)
    (script.parent / "hold").touch()
    process = start(script, cluster, "--nj", str(CPUS + 1))
    for number in range(1, CPUS + 1):
        wait_for_number(script.parent / f"pid.{number}")
    slurm("scontrol", "update", f"nodename={NODE}", "state=drain", "reason=test")
    (script.parent / "hold").unlink()
    states = ("squeue", "--noheader", "--array", "--format=%T")
    assert wait_until(lambda: slurm(*states).split() == ["PENDING"])
    assert len(ran(script)) == CPUS
    assert process.poll() is None
    slurm("scontrol", "update", f"nodename={NODE}", "state=resume")
    said = output_of(process)
    assert process.returncode == 0, said
    assert " waits: " in said
    assert ran(script) == [str(CPUS + 1)]
    assert read(script, "exp/all.rttm") == ALL


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("may not mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_leaves_no_half_files_and_room_lets_it_go_on(
    tmp_path: Path, cluster: dict[str, str], slurm: Callable[..., str], small_disk: Path
) -> None:
    script = write_sharing_recipe(tmp_path)
    (script.parent / "exp").mkdir()
    (script.parent / "exp/shards").symlink_to(small_disk)
    filler = small_disk / "filler"
    filler.write_bytes(bytes(64 << 10))
    done = run(script, "--cmd", "slurm", **cluster)
    assert done.returncode == 1
    assert "3 of 3 jobs failed:" in done.stdout
    assert "No space left on device: 'exp/shards/all.1.rttm'" in done.stdout
    assert list(small_disk.iterdir()) == [filler]
    filler.unlink()
    done = run(script, "--cmd", "slurm", "--stage", "1", **cluster)
    assert done.returncode == 0, done.stdout
    assert read(script, "exp/all.rttm") == ALL


# --- preemption ---------------------------------------------------------------------------------

TRAINING = """\
import hashlib, signal, sys, time
from pathlib import Path
from audioseg_xai.files import write_text_atomic

signals = []
for number in (signal.SIGUSR1, signal.SIGTERM):
    signal.signal(number, lambda number, frame: signals.append(number))
checkpoint, steps = Path("checkpoint"), int(sys.argv[1])
step, state = checkpoint.read_text().split() if checkpoint.exists() else (0, "")
for step in range(int(step), steps):
    state = hashlib.sha256(f"{state} {step}".encode()).hexdigest()
    Path("step").write_text(str(step))
    time.sleep(0.02)
    if signals:
        write_text_atomic(checkpoint, f"{step + 1} {state}")
        print("saved after step", step, "on signal", signals[0])
        sys.exit(75)
write_text_atomic("trained", state)
"""

TRAIN = """
stage_0() { # training
  run_jobs --gpu --saves exp/log/train.log "$python" train.py "$hours"
}
run_recipe "$@"
"""


def training(folder: Path) -> Path:
    script = write_recipe(folder, TRAIN)
    (script.parent / "train.py").write_text(TRAINING)
    return script


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return what a training that nothing disturbs ends with."""
    script = training(tmp_path_factory.mktemp("straight"))
    assert run(script, "--hours", "300").returncode == 0
    return read(script, "trained")


def preempt(slurm: Callable[..., str]) -> None:
    slurm("sbatch", "--partition=urgent", f"--ntasks={CPUS}", "--output=/dev/null", "--wrap=true")


def requeue(slurm: Callable[..., str]) -> None:
    slurm("scontrol", "requeue", slurm("squeue", "--noheader", "--format=%i").strip())


@pytest.mark.parametrize(("interrupt", "number"), [(preempt, "SIGUSR1"), (requeue, "SIGTERM")])
def test_a_training_that_is_interrupted_goes_on_and_ends_the_same(
    tmp_path: Path, cluster: dict[str, str], slurm: Callable[..., str], trained: str,
    interrupt: Callable[[Callable[..., str]], None], number: str,
) -> None:  # fmt: skip
    script = training(tmp_path)
    process = start(script, cluster, "--hours", "300")
    wait_for_number(script.parent / "step")
    interrupt(slurm)
    states = ("squeue", "--noheader", "--partition=main", "--format=%i %T %r")
    # SLURM lets what it queues again wait for two minutes; within a second it could not start.
    assert wait_until(lambda: "PENDING BeginTime" in slurm(*states))
    assert process.poll() is None
    assert not (script.parent / "trained").exists()
    slurm("scontrol", "update", f"jobid={slurm(*states).split()[0]}", "starttime=now+2")
    said = output_of(process)
    assert process.returncode == 0, said
    log = read(script, "exp/log/train.log")
    assert f"on signal {int(getattr(signal, number))}\n" in log
    assert log.count("# started") == 2
    assert log.splitlines()[-1] == "# exit code 0"
    assert read(script, "trained") == trained


def test_an_interrupted_run_cancels_its_jobs(
    tmp_path: Path, cluster: dict[str, str], slurm: Callable[..., str]
) -> None:
    script = write_sharing_recipe(tmp_path)
    (script.parent / "hold").touch()
    process = start(script, cluster)
    pid = wait_for_number(script.parent / "pid.1")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does on Ctrl-C
    assert "FAILED with exit code 130" in output_of(process)
    assert wait_until(lambda: slurm("squeue", "--noheader") == "")
    assert not is_running(pid)


# --- queues of stages ---------------------------------------------------------------------------


def queue(script: Path, cluster: dict[str, str]) -> list[str]:
    done = run(script, "--cmd", "slurm", "--queue", **cluster)
    assert done.returncode == 0, done.stderr
    return [line.split()[-1] for line in done.stdout.splitlines() if "SLURM job" in line]


CHAIN = """
stage_0() { # one
  echo one > one
}
stage_1() { # two
  [[ ! -e broken ]]
  run_jobs JOB=1:2 exp/log/two.JOB.log bash -c 'cat one > two.JOB'
}
stage_2() { # three
  cat two.1 two.2 > three
}
run_recipe "$@"
"""


def test_a_queue_runs_all_stages_in_order(
    tmp_path: Path, cluster: dict[str, str], slurm: Callable[..., str]
) -> None:
    script = write_recipe(tmp_path, CHAIN)
    assert len(queue(script, cluster)) == 3
    assert wait_until(lambda: slurm("squeue", "--noheader") == "", seconds=90)
    assert read(script, "three") == "one\none\n"
    assert "stage 2 (three): done in" in read(script, "exp/log/queue_2.log")


def test_a_stage_that_fails_cancels_those_queued_after_it_and_says_how_to_go_on(
    tmp_path: Path, cluster: dict[str, str], slurm: Callable[..., str]
) -> None:
    script = write_recipe(tmp_path, CHAIN)
    (script.parent / "broken").touch()
    last = queue(script, cluster)[-1]
    assert wait_until(lambda: slurm("squeue", "--noheader") == "", seconds=90)
    assert not (script.parent / "three").exists()
    assert "JobState=CANCELLED" in slurm("scontrol", "show", "job", last)
    log = read(script, "exp/log/queue_1.log")
    assert "stage 1 (two): FAILED with exit code 1" in log
    assert "SLURM cancels the stages that were queued after it" in log

    (script.parent / "broken").unlink()
    subprocess.run(["bash", "-c", log.splitlines()[-1]], env=settings(cluster), check=True)
    assert wait_until(lambda: slurm("squeue", "--noheader") == "", seconds=90)
    assert read(script, "three") == "one\none\n"


def test_to_cancel_a_queue_cancels_the_jobs_of_its_stage(
    tmp_path: Path, cluster: dict[str, str], slurm: Callable[..., str]
) -> None:
    script = write_sharing_recipe(tmp_path)
    (script.parent / "hold").touch()
    ids = queue(script, cluster)
    pid = wait_for_number(script.parent / "pid.1")
    slurm("scancel", *ids)
    assert wait_until(lambda: slurm("squeue", "--noheader") == ""), slurm("squeue", "--long")
    assert not is_running(pid)
    assert not (script.parent / "exp/all.rttm").exists()
