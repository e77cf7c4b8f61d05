"""The recipe runner, with toy recipes: options, stages, failure and resuming."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from recipe_dummies import REPOSITORY, call, run, write_recipe

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


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return write_recipe(tmp_path, STAGES)


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
        (["--retries", "x"], "option --retries must be a whole number, not 'x'"),
        (["--queue"], "option --queue needs --cmd slurm"),
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
