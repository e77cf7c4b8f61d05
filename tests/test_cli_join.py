"""`segment --job`, `explain --job` and `join`: together they do what one call does."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from dummies import save_student, write_sound

from audioseg_xai import cli
from audioseg_xai.datadir import DataDir
from audioseg_xai.explanation_archive import ExplanationArchive
from audioseg_xai.shards import read_record

Run = Callable[..., Result]

LENGTHS = {"a": 3, "b": 7, "c": 2, "d": 3}


@pytest.fixture
def run(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    for seed, (uri, seconds) in enumerate(LENGTHS.items()):
        write_sound(tmp_path / f"{uri}.wav", seconds, seed)
    DataDir(
        wav={uri: tmp_path / f"{uri}.wav" for uri in LENGTHS}, reference={}, classes=("speech",),
        duration={uri: float(n) for uri, n in LENGTHS.items()},
        uem={uri: [(0.0, float(n))] for uri, n in LENGTHS.items()},
    ).write(tmp_path / "data")  # fmt: skip

    def call(command: str, *arguments: str) -> Result:
        options = [] if command == "join" else ["--model", str(model), "--device", "cpu"]
        return CliRunner().invoke(cli.main, [command, *options, *arguments])

    return call


def share(run: Run, command: str, job: str, *arguments: str) -> Result:
    number = job.partition("/")[0]
    outputs = ["--rttm", f"part.{number}.rttm"]
    outputs += ["--hdf5", f"part.{number}.h5"] if command == "explain" else []
    return run(command, "--job", job, *outputs, *arguments)


def test_segmentations_join_to_what_one_call_makes(run: Run) -> None:
    for job in ("1/3", "3/3", "2/3"):
        assert share(run, "segment", job, "--datadir", "data").exit_code == 0
    assert list(read_record("part.1.rttm").recordings) == ["b"]  # as long as two of the others
    done = run("join", "part.2.rttm", "part.3.rttm", "part.1.rttm", "--output", "all.rttm")
    assert (done.exit_code, done.output) == (0, "")
    assert Path("all.rttm").read_text() == run("segment", "--datadir", "data").stdout
    assert run("join", "part.1.rttm", "part.2.rttm", "part.3.rttm").stdout == (
        Path("all.rttm").read_text()
    )


def test_explanations_join_to_what_one_call_makes(run: Run) -> None:
    for number in range(1, 6):  # one more than there are recordings
        done = share(run, "explain", f"{number}/5", "--datadir", "data")
        assert done.exit_code == 0, done.output
    for kind in ("rttm", "h5"):
        parts = [f"part.{number}.{kind}" for number in range(1, 6)]
        assert run("join", *parts, "--output", f"all.{kind}").exit_code == 0
    assert run("explain", "--datadir", "data", "--rttm", "one.rttm").exit_code == 0
    assert Path("all.rttm").read_text() == Path("one.rttm").read_text()
    with ExplanationArchive("one.h5") as one, ExplanationArchive("all.h5") as joined:
        assert joined.uris == one.uris
        assert joined.readout.same_as(one.readout)
        assert joined.provenance["config"] == one.provenance["config"]
        for uri in one.uris:
            assert np.array_equal(joined.activations(uri), one.activations(uri))
            assert np.array_equal(joined.probabilities(uri), one.probabilities(uri))
            assert joined.explanation(uri).segments == one.explanation(uri).segments


@pytest.mark.parametrize("command", ["segment", "explain"])
def test_recordings_that_fail_are_listed_in_the_end(run: Run, command: str) -> None:
    Path("b.wav").write_bytes(b"RIFF")
    assert [share(run, command, f"{n}/2", "--datadir", "data").exit_code for n in (1, 2)] == [1, 0]
    done = run("join", "part.1.rttm", "part.2.rttm", "--output", "all.rttm")
    assert (done.exit_code, done.output.count("\n")) == (3, 1)
    assert "1 recordings failed, and are not in it: b" in done.stderr
    found = {line.split()[1] for line in Path("all.rttm").read_text().splitlines()}
    assert found == {"a", "c", "d"}


def test_a_disk_that_is_full_is_one_line_and_leaves_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert share(run, "explain", "1/1", "a.wav", "c.wav").exit_code == 0
    there = set(Path().iterdir())
    asked: list[int] = []

    def full(handle: int, offset: int, length: int) -> None:
        asked.append(length)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    done = run("join", "part.1.h5", "--output", "all.h5")
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.endswith("all.h5: No space left on device\n")
    assert asked[0] >= Path("part.1.h5").stat().st_size
    assert set(Path().iterdir()) == there


def test_shards_of_two_models_do_not_join(run: Run, tmp_path: Path) -> None:
    other = save_student(tmp_path / "other", seed=3)
    assert share(run, "segment", "1/2", "--datadir", "data").exit_code == 0
    assert share(run, "segment", "2/2", "--datadir", "data", "--model", str(other)).exit_code == 0
    done = run("join", "part.1.rttm", "part.2.rttm", "--output", "all.rttm")
    assert (done.exit_code, done.output.count("\n")) == (1, 1)
    assert "part.2.rttm: was made with another model than part.1.rttm" in done.stderr
    assert not Path("all.rttm").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("segment", "a.wav", "--job", "1/2"), "--job: shares go to files"),
        (("segment", "a.wav", "--job", "3/2", "--rttm", "x"), "--job 3/2: say which part"),
        (("segment", "-", "--job", "1/2", "--rttm", "x"), "standard input) cannot be shared"),
        (("explain", "-", "--job", "1/2", "--rttm", "x"), "standard input) cannot be shared"),
        (("join", "a.rttm", "b.h5"), "either all RTTM or all explanation archives"),
        (("join", "a.rttm", "--output", "a.rttm"), "a.rttm: would be overwritten"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    run: Run, arguments: tuple[str, ...], message: str
) -> None:
    done = run(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr and done.stderr.count("\n") == 1
    assert not Path("x").exists()
