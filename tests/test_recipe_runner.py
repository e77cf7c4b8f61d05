"""The recipe runner, with toy recipes: options, stages, failure and resuming, launchers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
COMMON = REPOSITORY / "recipes" / "common"

HEAD = """\
#!/usr/bin/env bash
# A toy recipe.
# It has two lines.

hours=2               # hours of audio
my_name="two words"   # a name
nj=3                  # jobs

. "$(dirname "$0")/../common/runner.sh"
"""

STAGES = """
stage_0() {  # data
  echo "hours=$hours my_name=$my_name bin=$bin"
}

stage_1() {  # features
  echo before
  [[ ! -e broken ]]
  echo after
}

stage_2() {  # models
  echo two > two
}

run_recipe "$@"
"""


def write_recipe(folder: Path, stages: str, head: str = HEAD) -> Path:
    toy = folder / "recipes of mine" / "toy"
    toy.mkdir(parents=True)
    (toy.parent / "common").symlink_to(COMMON)
    script = toy / "run.sh"
    script.write_text(head + stages)
    script.chmod(0o755)
    return script


def call(script: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [script, *options],
        capture_output=True,
        text=True,
        cwd=script.parents[1],
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        | environment,
    )  # fmt: skip


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return write_recipe(tmp_path, STAGES)


def run(script: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return call(script, "--python", sys.executable, *options, **environment)


# --- options ------------------------------------------------------------------------------------


def test_help_shows_purpose_options_with_defaults_and_stages(toy: Path) -> None:
    done = call(toy, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("A toy recipe.\nIt has two lines.\n")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "--hours VALUE hours of audio [default: 2]" in lines
    assert "--my-name VALUE a name [default: two words]" in lines
    assert "--stop-stage VALUE last stage to run [default: 2]" in lines
    assert sum(line.startswith("--nj ") for line in lines) == 1  # the recipe's, not the runner's
    assert lines[-3:] == ["0 data", "1 features", "2 models"]


def test_list_names_the_stages_and_runs_none(toy: Path) -> None:
    done = call(toy, "--list")
    assert (done.returncode, done.stdout) == (0, "   0  data\n   1  features\n   2  models\n")
    assert not (toy.parent / "exp").exists()


def test_options_set_variables(toy: Path) -> None:
    done = run(toy, "--stop-stage", "0", "--hours=0.5", "--my-name", "a 'b' $c")
    assert f"hours=0.5 my_name=a 'b' $c bin={REPOSITORY}/bin\n" in done.stdout
    assert "hours=2 my_name=two words" in run(toy, "--stop-stage", "0").stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--stage", "x"], "option --stage must be a whole number, not 'x'"),
        (["--stage", "1.0"], "option --stage must be a whole number, not '1.0'"),
        (["--stop-stage", "-1"], "option --stop-stage must be a whole number, not '-1'"),
        (["--stage", "08"], "option --stage must be a whole number, not '08'"),
        (["--stage", ""], "option --stage must be a whole number, not ''"),
        (["--nj", "0"], "option --nj must be at least 1"),
        (["--hour", "1"], "unknown option --hour (see --help)"),
        (["--path", "/"], "unknown option --path (see --help)"),
        (["---x", "1"], "unknown option ---x (see --help)"),
        (["--hours"], "option --hours needs a value"),
        (["2"], "unexpected argument '2': options look like --name value (see --help)"),
        (["--cmd", "qsub"], "option --cmd must be local or slurm, not 'qsub'"),
        (["--stage", "7", "--stop-stage", "9"],
         "no stage from 7 to 9: the stages are 0 1 2 (see --list)"),
        (["--stage", "2", "--stop-stage", "1"],
         "no stage from 2 to 1: the stages are 0 1 2 (see --list)"),
    ],
)  # fmt: skip
def test_wrong_options_are_refused_before_anything_runs(
    toy: Path, options: list[str], message: str
) -> None:
    done = call(toy, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"run.sh: error: {message}\n"
    assert not (toy.parent / "exp").exists()


def test_a_variable_of_the_environment_is_no_option(toy: Path) -> None:
    done = run(toy, stage="2", hours="9", stop_stage="2")
    assert "== stage 0 (data) ==" in done.stdout
    assert "hours=2 " in done.stdout


def test_a_python_without_the_package_is_named(toy: Path) -> None:
    done = call(toy, "--python", "/bin/false")
    assert done.returncode == 1
    assert "'/bin/false' does not find the package" in done.stderr


# --- stages -------------------------------------------------------------------------------------


def test_stages_run_in_order_with_timing_and_a_log_each(toy: Path) -> None:
    done = run(toy)
    assert done.returncode == 0, done.stderr
    heads = [line for line in done.stdout.splitlines() if line.startswith("==")]
    assert heads == [
        "== stage 0 (data) ==", "== stage 1 (features) ==", "== stage 2 (models) =="
    ]  # fmt: skip
    assert "stage 1 (features): done in " in done.stdout
    assert done.stdout.splitlines()[-1].startswith("all done in ")
    assert (toy.parent / "exp/log/stage_1.log").read_text() == "before\nafter\n"
    assert (toy.parent / "two").read_text() == "two\n"


def test_a_range_of_stages(toy: Path) -> None:
    done = run(toy, "--stage", "1", "--stop-stage", "1")
    assert "== stage 1 (features) ==" in done.stdout
    assert done.stdout.count("==\n") == 1


def test_stages_are_ordered_as_numbers(tmp_path: Path) -> None:
    stages = "".join(f"stage_{n}() {{ # s\n  echo ran {n}\n}}\n" for n in (10, 9, 2))
    done = run(write_recipe(tmp_path, stages + 'run_recipe "$@"\n'))
    assert [x for x in done.stdout.splitlines() if "ran" in x] == ["ran 2", "ran 9", "ran 10"]


def test_a_failing_command_in_the_middle_stops_the_run_and_says_how_to_resume(toy: Path) -> None:
    (toy.parent / "broken").touch()
    done = run(toy, "--stage", "0", "--my-name", "a b", "--nj=2")
    assert done.returncode == 1
    assert "before\n" in done.stdout and "after" not in done.stdout
    assert '[[ ! -e broken ]]" failed with exit code 1' in done.stdout
    assert not (toy.parent / "two").exists()
    assert "stage 1 (features): FAILED with exit code 1" in done.stderr

    (toy.parent / "broken").unlink()
    resume = done.stderr.splitlines()[-1]
    assert "./run.sh --stage 1 --my-name a\\ b --nj=2 --python " in resume
    resumed = subprocess.run(["bash", "-c", resume], capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    assert "stage 0" not in resumed.stdout
    assert (toy.parent / "two").exists()


FAILURES = {
    "command": "false",
    "pipe": "false | cat",
    "substitution": 'echo "$(false; echo x)" | cat; local x; x=$(false; echo x)',
    "unset variable": 'echo "$no_such_variable"',
    "nested function": "helper",
    "exit": "exit 7",
}


@pytest.mark.parametrize("line", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("ending", ['run_recipe "$@"', 'run_recipe "$@" || exit 9'])
def test_errexit_holds_inside_a_stage(tmp_path: Path, line: str, ending: str) -> None:
    body = (
        "helper() {\n  false\n  return 0\n}\n"
        f"stage_0() {{ # fails\n  {line}\n  echo went on\n}}\n{ending}\n"
    )
    done = run(write_recipe(tmp_path, body))
    assert done.returncode != 0
    assert "went on" not in done.stdout
    assert "stage 0 (fails): FAILED" in done.stderr


# --- launchers ----------------------------------------------------------------------------------

JOBS = """
stage_0() {  # jobs
  run_jobs JOB=1:"$nj" exp/log/part.JOB.log "$python" -c 'import sys
n = int(sys.argv[1]); print(f"part {n} of", sys.argv[2]); sys.exit(n in (2, 5))' JOB "$my_name"
  echo went on
}
run_recipe "$@"
"""

FAKE_SBATCH = """\
#!/usr/bin/env bash
# Runs the tasks of an array one after the other, as slurmd would: options, then the script.
printf '%s\\n' "$@" > sbatch.args
for option in "${@:1:$#-1}"; do
  case $option in --array=*) range=${option#*=} ;; esac
done
script=${!#} code=0
for ((task = ${range%-*}; task <= ${range#*-}; task++)); do
  SLURM_ARRAY_TASK_ID=$task SLURM_CPUS_PER_TASK=3 bash "$script" || code=1
done
exit "$code"
"""


@pytest.fixture
def sbatch_path(tmp_path: Path) -> str:
    folder = tmp_path / "slurm"
    folder.mkdir()
    (folder / "sbatch").write_text(FAKE_SBATCH)
    (folder / "sbatch").chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.mark.parametrize("launcher", ["local", "slurm"])
def test_jobs_are_split_and_logged(tmp_path: Path, launcher: str, sbatch_path: str) -> None:
    script = write_recipe(tmp_path, JOBS)
    done = run(script, "--cmd", launcher, "--nj", "1", PATH=sbatch_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "went on" in done.stdout
    log = (script.parent / "exp/log/part.1.log").read_text().splitlines()
    assert "part 1 of two words" in log
    assert log[-1] == "# exit code 0"


@pytest.mark.parametrize("launcher", ["local", "slurm"])
def test_failing_jobs_are_named_and_the_others_finish(
    tmp_path: Path, launcher: str, sbatch_path: str
) -> None:
    script = write_recipe(tmp_path, JOBS)
    done = run(script, "--cmd", launcher, "--nj", "5", PATH=sbatch_path)
    assert done.returncode == 1
    assert "went on" not in done.stdout
    assert "2 of 5 jobs failed:" in done.stdout
    for number in range(1, 6):
        log = (script.parent / f"exp/log/part.{number}.log").read_text()
        assert f"part {number} of two words\n" in log
        failed = number in (2, 5)
        assert (f"the last lines of exp/log/part.{number}.log" in done.stdout) == failed
        assert log.endswith(f"# exit code {int(failed)}\n")


def test_slurm_gets_one_array_and_the_options_of_the_recipe(
    tmp_path: Path, sbatch_path: str
) -> None:
    script = write_recipe(tmp_path, JOBS)
    (script.parent / "conf").mkdir()
    (script.parent / "conf/slurm.conf").write_text("# ours\n\n--mem=8G  # enough\n  --gres=gpu:1\n")
    assert run(script, "--cmd", "slurm", "--nj", "1", PATH=sbatch_path).returncode == 0
    given = (script.parent / "sbatch.args").read_text().splitlines()
    assert {"--wait", "--array=1-1", f"--chdir={script.parent}"} <= set(given)
    assert given[-3:] == ["--mem=8G", "--gres=gpu:1", "exp/log/part.array.log.sh"]


def test_slurm_without_sbatch_is_refused(toy: Path, tmp_path: Path) -> None:
    if (Path("/usr/bin/sbatch")).exists():
        pytest.skip("this machine has sbatch")
    done = call(toy, "--cmd", "slurm")
    assert (done.returncode, done.stderr) == (
        2, "run.sh: error: --cmd slurm needs sbatch on the PATH\n"
    )  # fmt: skip


def test_a_job_that_slurm_lost_is_a_failure_though_an_old_log_says_otherwise(
    tmp_path: Path, sbatch_path: str
) -> None:
    script = write_recipe(tmp_path, JOBS)
    assert run(script, "--cmd", "slurm", "--nj", "1", PATH=sbatch_path).returncode == 0
    (tmp_path / "slurm/sbatch").write_text("#!/bin/sh\nexit 0\n")
    done = run(script, "--cmd", "slurm", "--nj", "1", PATH=sbatch_path)
    assert done.returncode == 1
    assert "(no log: the job did not start)" in done.stdout


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_job_behind(
    tmp_path: Path, signal_number: signal.Signals
) -> None:
    body = (
        "stage_0() { # long\n"
        "  run_jobs JOB=1:2 exp/log/s.JOB.log bash -c 'echo $$ > pid.JOB; sleep 60; :'\n"
        '}\nrun_recipe "$@"\n'
    )
    script = write_recipe(tmp_path, body)
    process = subprocess.Popen(
        [script, "--python", sys.executable],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    pids = [wait_for_number(script.parent / f"pid.{n}") for n in (1, 2)]
    os.killpg(process.pid, signal_number)  # as a terminal does on Ctrl-C
    assert process.wait(timeout=10) != 0
    assert wait_until(lambda: not any(is_running(pid) for pid in pids))


def wait_for_number(path: Path) -> int:
    assert wait_until(lambda: path.exists() and path.read_text().strip() != "")
    return int(path.read_text())


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def is_running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"
