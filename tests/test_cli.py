"""The front of all commands: help without heavy imports, one-line errors, exit codes, logs."""

from __future__ import annotations

import errno
import importlib.util
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from audioseg_xai import cli
from audioseg_xai.errors import AudioError, UsageError
from audioseg_xai.version import __version__

HEAVY = {"torch", "numpy", "h5py", "pydantic", "yaml", "rich", "pyannote", "soundfile", "av"}


def run_python(code: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, **options)


def invoke(body: Callable[[], object], *arguments: str) -> Result:
    """Run a command named `probe` whose body is `body`."""

    def probe() -> None:
        body()

    return CliRunner().invoke(cli.command("probe")(probe), arguments)


def fail_with(error: BaseException) -> Callable[[], None]:
    def body() -> None:
        raise error

    return body


# --- help ---------------------------------------------------------------------------------------


def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    done = run_python(
        "import sys\n"
        "from audioseg_xai.cli import main\n"
        "try: main(['--help'])\n"
        "finally: print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)\n"
    )
    assert done.returncode == 0
    assert HEAVY.isdisjoint(done.stderr.split())
    for name, entry in cli.COMMANDS.items():
        assert f"  {name} " in done.stdout
        assert entry.help in done.stdout


def test_help_takes_less_than_400_ms() -> None:
    def seconds() -> float:
        start = time.perf_counter()
        run_python("from audioseg_xai.cli import main; main(['--help'])", check=True)
        return time.perf_counter() - start

    assert min(seconds() for _ in range(3)) < 0.4


def test_bare_call_shows_the_help_and_is_a_usage_error() -> None:
    result = CliRunner().invoke(cli.main, [])
    assert result.exit_code == cli.USAGE
    assert "Recipe steps:" in result.output


def test_version() -> None:
    result = CliRunner().invoke(cli.main, ["--version"])
    assert result.stdout.strip() == f"xai-segment, version {__version__}"


def test_unknown_command_is_a_usage_error_with_a_suggestion() -> None:
    result = CliRunner().invoke(cli.main, ["segmnet"])
    assert result.exit_code == cli.USAGE
    assert "'segmnet'. Did you mean 'segment'?" in result.stderr


def test_completion_knows_the_commands() -> None:
    words = {"_XAI_SEGMENT_COMPLETE": "bash_complete", "COMP_WORDS": "xai-segment se"}
    result = CliRunner().invoke(cli.main, prog_name="xai-segment", env=words | {"COMP_CWORD": "1"})
    assert result.stdout.split() == ["plain,segment"]


# --- the table and the modules ------------------------------------------------------------------


def test_table_and_bin_folder_name_the_same_commands() -> None:
    folder = Path(cli.__file__).parents[1] / "bin"
    modules = {path.stem.replace("_", "-") for path in folder.glob("[!_]*.py")}
    assert modules == set(cli.COMMANDS)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_its_name_and_a_help_page(name: str) -> None:
    assert importlib.util.find_spec(cli.module_name(name)) is not None
    groups = {"prepare": "open", "datadir": "validate"}  # of commands with help pages of their own
    words = [name, groups[name]] if name in groups else [name]
    result = CliRunner().invoke(cli.main, [*words, "--help"])
    assert result.exit_code == 0, result.output
    assert f" {' '.join(words)} [OPTIONS]" in result.output
    assert "-v, --verbose" in result.output


@pytest.mark.parametrize("name", ["segment", "explain", "score", "models", "doctor"])
def test_help_of_users_commands_does_not_wait_for_torch(name: str) -> None:
    done = run_python(
        "import sys\n"
        "from audioseg_xai.cli import main\n"
        f"try: main(['{name}', '--help'])\n"
        "finally: print('torch' in sys.modules, file=sys.stderr)\n"
    )
    assert (done.returncode, done.stderr.strip()) == (0, "False")


def test_a_command_is_named_after_its_module() -> None:
    def function() -> None:
        pass

    function.__module__ = "audioseg_xai.bin.cache_features"
    assert cli.command()(function).name == "cache-features"


def test_a_program_run_as_a_file_is_named_after_the_file(tmp_path: Path) -> None:
    program = tmp_path / "train_teacher.py"
    program.write_text(
        "from audioseg_xai.cli import command\n@command()\ndef cli(): pass\nprint(cli.name)\n"
    )
    done = subprocess.run([sys.executable, program], capture_output=True, text=True)
    assert done.stdout.strip() == "train-teacher"


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (AudioError("a.wav: empty"), 1, "a.wav: empty"),
        (UsageError("--a contradicts --b"), 2, "--a contradicts --b"),
        (AudioError("two\nlines"), 1, "two lines"),
        (FileNotFoundError(2, "No such file or directory", "x.yaml"), 1,
         "x.yaml: No such file or directory"),
        (OSError(errno.ENOSPC, "write failed: time = now\n, errno = 28", "o.h5"), 1,
         "o.h5: No space left on device"),
        (ValueError("bad"), 1, "unexpected ValueError: bad (-v shows where)"),
        (ModuleNotFoundError("No module named 'foo'", name="foo"), 1,
         "needs the Python package 'foo': `xai-segment doctor` says what to install"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)  # fmt: skip
def test_an_error_is_one_line_and_an_exit_code(error: BaseException, code: int, line: str) -> None:
    result = invoke(fail_with(error))
    assert result.exit_code == code
    assert result.stderr == f"xai-segment probe: error: {line}\n"
    assert result.stdout == ""


def test_verbose_shows_the_traceback() -> None:
    result = invoke(fail_with(AudioError("a.wav: empty")), "-v")
    assert result.exit_code == 1
    assert result.stderr.startswith("xai-segment probe: error: a.wav: empty\nTraceback")


def test_unknown_option_is_a_usage_error() -> None:
    assert invoke(lambda: None, "--nonsense").exit_code == 2


def test_a_reader_that_stops_early_gets_no_complaint() -> None:
    code = (
        "from audioseg_xai.cli import command\n"
        "@command('probe')\n"
        "def probe():\n"
        "    for n in range(100_000): print(n)\n"
        "probe()\n"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert writer.stdout is not None and writer.stderr is not None
    assert writer.stdout.readline() == b"0\n"
    writer.stdout.close()
    assert writer.stderr.read() == b""
    writer.stderr.close()
    assert writer.wait() == 1


def test_interrupt_from_outside_exits_130() -> None:
    code = (
        "import time\n"
        "from audioseg_xai.cli import command\n"
        "@command('probe')\n"
        "def probe():\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(30)\n"
        "probe()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (130, "xai-segment probe: error: interrupted\n")


# --- logs and options ---------------------------------------------------------------------------


def test_logs_go_to_stderr_and_data_to_stdout() -> None:
    def body() -> None:
        click.echo("data")
        cli.log.debug("hidden")
        cli.log.info("news")
        cli.log.warning("look")

    result = invoke(body)
    assert result.stdout == "data\n"
    assert result.stderr == "news\nxai-segment probe: warning: look\n"
    assert "hidden\n" in invoke(body, "-v").stderr


@pytest.mark.parametrize(
    ("value", "code"),
    [("auto", 0), ("cpu", 0), ("cuda", 0), ("cuda:1", 0), ("cuda:", 2), ("gpu", 2), ("cpu:0", 2)],
)
def test_device_option(value: str, code: int) -> None:
    @cli.command("probe")
    @cli.device_option
    def probe(device: str) -> None:
        click.echo(device)

    result = CliRunner().invoke(probe, ["--device", value])
    assert result.exit_code == code
    assert (result.stdout == f"{value}\n") == (code == 0)


def test_shared_options_have_their_defaults_in_the_help() -> None:
    @cli.command("probe")
    @cli.num_workers_option
    @cli.seed_option
    @cli.overwrite_option
    def probe(num_workers: int, seed: int, overwrite: bool) -> None:
        click.echo(f"{num_workers} {seed} {overwrite}")

    assert CliRunner().invoke(probe, []).stdout == "1 0 False\n"
    assert CliRunner().invoke(probe, ["--num-workers", "-1"]).exit_code == 2
    help_page = CliRunner().invoke(probe, ["--help"]).stdout
    assert "default: 1" in help_page and "default: 0" in help_page


# --- many items ---------------------------------------------------------------------------------


def halve(number: int) -> int:
    if number % 2:
        raise AudioError(f"{number} is odd")
    return number // 2


@pytest.mark.parametrize("num_workers", [1, 2])
def test_items_that_fail_do_not_stop_the_others(num_workers: int) -> None:
    outcome = cli.run_items([2, 3, 4, 5], halve, num_workers=num_workers)
    assert outcome.done == [1, 2]
    assert outcome.failed == ["3", "5"]


def halve_or_die(number: int) -> int:
    if number == 6:
        os._exit(9)
    return halve(number)


def test_a_process_that_dies_costs_only_its_item(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli.log, "propagate", True)
    outcome = cli.run_items([2, 4, 6, 8, 3, 10], halve_or_die, num_workers=2)
    assert outcome.done == [1, 2, 4, 5]
    assert outcome.failed == ["6", "3"]
    assert "6: the process working on it died (out of memory?)" in caplog.messages


@pytest.mark.parametrize("num_workers", [1, 2])
def test_results_are_collected_here_in_order(num_workers: int) -> None:
    collected: list[tuple[int, int]] = []
    outcome = cli.run_items(
        [2, 4, 5, 6], halve, num_workers=num_workers,
        collect=lambda half: collected.append((half, os.getpid())),
    )  # fmt: skip
    assert collected == [(half, os.getpid()) for half in outcome.done] != []


@pytest.mark.parametrize("threads", [False, True])
def test_no_worker_is_left_when_collecting_ends_the_call(threads: bool) -> None:
    before = threading.active_count()
    with pytest.raises(UsageError, match="no use"):
        cli.run_items(
            range(0, 20, 2), halve, num_workers=2, threads=threads,
            collect=lambda _: fail_with(UsageError("no use"))(),
        )  # fmt: skip
    assert multiprocessing.active_children() == []
    assert threading.active_count() == before


@pytest.mark.parametrize("num_workers", [1, 2])
def test_an_item_that_cannot_be_collected_has_failed(
    num_workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    def collect(half: int) -> None:
        if half == 2:
            raise AudioError("no room for it")

    outcome = cli.run_items([2, 4, 6], halve, num_workers=num_workers, collect=collect)
    assert (outcome.done, outcome.failed, outcome.exit_code) == ([1, 3], ["4"], 3)
    assert "4: no room for it" in caplog.text


@pytest.mark.parametrize(
    ("items", "code", "errors"),
    [
        ([2, 4], 0, []),
        ([], 0, []),
        ([3], 1, ["3 is odd"]),
        ([3, 5], 1, ["3 is odd", "5 is odd", "2 of 2 failed: 3, 5"]),
        ([2, 3], 3, ["3 is odd", "1 of 2 failed, the others are done: 3"]),
    ],
)
def test_exit_code_of_items(items: list[int], code: int, errors: list[str]) -> None:
    result = invoke(lambda: (cli.run_items(items, halve), click.echo("written"))[0])
    assert result.exit_code == code
    assert result.stderr.splitlines() == [f"xai-segment probe: error: {e}" for e in errors]
    assert result.stdout == "written\n"  # the command goes on, to write what is done


def test_an_unexpected_error_of_one_item_is_named_and_the_others_go_on() -> None:
    result = invoke(lambda: cli.run_items([1, 0], lambda n: 1 // n, describe=lambda n: f"f{n}"))
    assert result.exit_code == 3
    assert "error: f0: unexpected ZeroDivisionError" in result.stderr


def test_a_usage_error_of_one_item_ends_the_call() -> None:
    result = invoke(lambda: cli.run_items([1, 2], lambda n: fail_with(UsageError("no"))()))
    assert result.exit_code == 2
    assert result.stderr == "xai-segment probe: error: no\n"


def test_progress_is_silent_off_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(cli.progress(range(3), description="x")) == [0, 1, 2]
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""
