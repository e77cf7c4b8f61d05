"""`xai-segment cache-features`, as a user runs it: alone, in shares, with an upstream."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from upstream_dummies import write, write_datadir

from audioseg_xai import cli
from audioseg_xai.archive import Archive
from audioseg_xai.errors import ArchiveError

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("upstream") / "tiny.pt")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})  # one thread: it is little
    write_datadir(tmp_path / "data", {"a": 1.0, "b": 0.5, "c": 0.8})

    def call(*arguments: str) -> Result:
        words = ["cache-features", "--datadir", "data", "--output", "out", "--device", "cpu"]
        return CliRunner().invoke(cli.main, [*words, *arguments])

    return call


@pytest.fixture
def wavlm(checkpoint: Path) -> list[str]:
    return ["--upstream", "wavlm_local", "--upstream-checkpoint", str(checkpoint)]


def test_without_an_upstream_there_are_spectrograms(run: Run) -> None:
    assert run().exit_code == 0
    archive = Archive("out")
    assert [entry.uri for entry in archive.entries] == ["a", "b", "c"]
    assert archive.feature_shape is None


def test_options_reach_the_archive(run: Run, wavlm: list[str], checkpoint: Path) -> None:
    more = "--layers 0.5,0,0.5,0 --chunk 0.4 --margin 0.2 --precision bf16".split()
    done = run(*wavlm, *more)
    assert (done.exit_code, done.stdout) == (0, "")
    archive = Archive("out")
    assert archive.feature_shape == (32,)
    assert archive.upstream is not None
    found = json.loads(archive.upstream)
    assert len(found.pop("digest")) == 64
    assert found == {
        "name": "wavlm_local",
        "checkpoint": str(checkpoint),
        "layers": [0.5, 0.0, 0.5, 0.0],
        "chunk": 0.4,
        "margin": 0.2,
        "precision": "bf16",
    }


def test_shares_make_the_files_and_the_last_call_the_index(run: Run, wavlm: list[str]) -> None:
    assert run(*wavlm, "--job", "2/2").exit_code == 0
    # The longest, a, is one share, and the other two make the other.
    assert sorted(path.name for path in Path("out").iterdir()) == ["b.h5", "c.h5"]
    assert run(*wavlm, "--job", "1/2").exit_code == 0
    with pytest.raises(ArchiveError):
        Archive("out")
    before = {path: path.stat().st_mtime_ns for path in Path("out").iterdir()}
    assert run(*wavlm).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(Archive("out")) == 3


def test_more_shares_than_recordings_leave_some_empty(run: Run) -> None:
    assert run("--job", "7/8").exit_code == 0
    assert not Path("out").exists()


def test_workers_make_the_same_features(run: Run, wavlm: list[str]) -> None:
    assert run(*wavlm, "--num-workers", "2").exit_code == 0
    Path("out").rename("two")
    assert run(*wavlm).exit_code == 0
    for entry in Archive("out").entries:
        one, found = (Archive(name).read(entry, features=True)[2] for name in ("out", "two"))
        assert one is not None and found is not None
        # Another number of threads sums in another order.
        assert abs(one.astype(float) - found.astype(float)).max() < 0.01


def test_the_others_go_on_when_one_recording_is_bad(run: Run, wavlm: list[str]) -> None:
    content = Path("data/b.wav").read_bytes()
    Path("data/b.wav").write_bytes(content[:8044])  # 4000 of the samples that its header tells
    done = run(*wavlm)
    assert done.exit_code == 3
    assert "b.wav" in done.stderr
    assert [entry.uri for entry in Archive("out").entries] == ["a", "c"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--store", "features"], 2, "--upstream"),
        (["--layers", "3"], 2, "--layers is about an upstream model"),
        (["--precision", "bf16"], 2, "--precision is about an upstream model"),
        (["--job", "4/3"], 2, "--job 4/3"),
        (["--upstream", "wavlm_local"], 1, "needs a checkpoint"),
        (["--upstream", "wavlm_lrge"], 1, "did you mean 'wavlm_large'"),
        (["--upstream", "wavlm_local", "--upstream-checkpoint", "no.pt"], 1, "no.pt: no such"),
        (["--upstream", "wavlm_large", "--layers", "x"], 1, "--layers x"),
        (["--upstream", "wavlm_large", "--chunk", "0"], 1, "--upstream: chunk"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    run: Run, arguments: list[str], code: int, message: str
) -> None:
    done = run(*arguments)
    assert (done.exit_code, done.stdout) == (code, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not Path("out").exists()
