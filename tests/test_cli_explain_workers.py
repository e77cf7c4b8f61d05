"""`xai-segment explain --num-workers`: several recordings at once, and what one worker makes."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner, Result
from dummies import write_sound
from explaining_dummies import DiesOfC

from audioseg_xai import cli, console, explaining
from audioseg_xai.annotation import read_rttm
from audioseg_xai.explanation_archive import ExplanationArchive
from audioseg_xai.pipeline import Pipeline

Run = Callable[..., Result]

SOUNDS = {"c.wav": 10, "b.wav": 3, "d.wav": 4}
"""Files and their seconds. The first takes longest: what is done meanwhile waits for its turn."""


@pytest.fixture
def run(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    for seed, (name, seconds) in enumerate(SOUNDS.items()):
        write_sound(tmp_path / name, seconds, seed)

    def call(*arguments: str) -> Result:
        words = ["explain", "--model", str(model), "--device", "cpu", *arguments]
        return CliRunner().invoke(cli.main, words)

    return call


def outputs(folder: str, *kinds: str) -> list[str]:
    """Return options that put outputs of all kinds into a folder, or of some."""
    names = {"rttm": "o.rttm", "hdf5": "o.h5", "figure": "{uri}.png", "listen": "sounds"}
    chosen = {kind: names[kind] for kind in kinds or names}
    return [word for kind, name in chosen.items() for word in (f"--{kind}", f"{folder}/{name}")]


def files(folder: str) -> dict[str, bytes]:
    """Return what lies in a folder and below it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def content(item: h5py.Group | h5py.Dataset) -> dict[str, Any]:
    """Return all that can be known of a group or dataset, and of what lies below it."""
    found: dict[str, Any] = {f"@{name}": np.array(v).tolist() for name, v in item.attrs.items()}
    if isinstance(item, h5py.Group):
        return found | {name: content(below) for name, below in item.items()}
    layout = (item.shape, item.maxshape, item.dtype, item.chunks, item.compression)
    return found | {"layout": layout, "bytes": item[()].tobytes()}


def archive(path: str) -> dict[str, Any]:
    """Return all that an explanation archive holds but the second in which it was made."""
    with h5py.File(path) as file:
        found = content(file)
    provenance = json.loads(found.pop("@provenance"))
    del provenance["created"]
    return found | {"provenance": provenance}


def assert_alike(one: str, other: str) -> None:
    expected, found = files(one), files(other)
    assert list(Path(other).rglob(".*")) == []
    assert set(found) == set(expected)
    different = {name for name in expected if found[name] != expected[name]}
    # They tell when they were made; a copied group lies elsewhere in its file.
    assert {Path(name).name for name in different} <= {"o.h5", "index.json"}
    assert archive(f"{other}/o.h5") == archive(f"{one}/o.h5")


# --- what one worker makes ----------------------------------------------------------------------


@pytest.mark.parametrize("more", [(), ("--compress", "--tau", "0.5")])
def test_workers_make_no_difference(run: Run, more: Sequence[str]) -> None:
    one = run(*SOUNDS, *outputs("1", "rttm", "hdf5"), *more)
    two = run(*SOUNDS, *outputs("2", "rttm", "hdf5"), *more, "--num-workers", "2")
    assert (two.exit_code, two.stdout, two.stderr) == (0, "", one.stderr.replace(" 1/", " 2/"))
    assert_alike("1", "2")


def test_recordings_on_a_gpu_share_a_process(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("d.wav", "b.wav", *outputs("1")).exit_code == 0
    monkeypatch.setattr(Pipeline, "on_gpu", True)
    monkeypatch.setattr(console, "_in_processes", lambda *_: pytest.fail("started a process"))
    done = run("d.wav", "b.wav", *outputs("2"), "--num-workers", "2")
    assert done.exit_code == 0, done.output
    assert_alike("1", "2")


def test_without_an_archive(run: Run) -> None:
    done = run("b.wav", "d.wav", *outputs("2", "figure"), "--num-workers", "2")
    assert done.exit_code == 0, done.output
    assert list(dict.fromkeys(line.split()[1] for line in done.stdout.splitlines())) == ["b", "d"]
    drawn = files("2")
    assert set(drawn) == {"b.png", "d.png"}
    assert all(content.startswith(b"\x89PNG") for content in drawn.values())


def test_pages_and_shares(run: Run) -> None:
    options = ["--job", "1/1", "--media", "none", "--report", "pages/{uri}.html"]
    done = run(*SOUNDS, *options, *outputs("2", "rttm", "hdf5"), "--num-workers", "2")
    assert done.exit_code == 0, done.output
    assert set(files("pages")) == {"b.html", "c.html", "d.html"}
    joined = CliRunner().invoke(cli.main, ["join", "2/o.h5", "--output", "all.h5"])
    assert joined.exit_code == 0, joined.output
    assert run(*SOUNDS, *outputs("1", "rttm", "hdf5")).exit_code == 0
    expected, found = archive("1/o.h5"), archive("all.h5")
    assert found.pop("provenance")["shards"] == 1
    assert found == {name: value for name, value in expected.items() if name != "provenance"}


# --- what goes wrong ----------------------------------------------------------------------------


def test_a_bad_recording_leaves_nothing_and_the_others_are_done(run: Run) -> None:
    bad = Path("c.wav")
    bad.write_bytes(bad.read_bytes()[:300_000])
    done = run(*SOUNDS, *outputs("2", "rttm", "hdf5"), "--num-workers", "2")
    assert done.exit_code == 3
    assert "c.wav: ends after" in done.stderr
    assert list(read_rttm("2/o.rttm")) == ["b", "d"]
    assert {path.name for path in Path("2").iterdir()} == {"o.h5", "o.rttm"}
    with ExplanationArchive("2/o.h5") as found:
        assert found.uris == ["b", "d"]


def test_a_process_that_dies_leaves_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explaining, "_WorkApart", DiesOfC)
    done = run(*SOUNDS, *outputs("2", "rttm", "hdf5"), "--num-workers", "2")
    assert done.exit_code == 3
    assert "c.wav: the process working on it died (out of memory?)" in done.stderr
    assert set(files("2")) == {"o.rttm", "o.h5"}
    with ExplanationArchive("2/o.h5") as found:
        assert found.uris == ["b", "d"]


def test_a_full_disk_is_a_line_a_recording_and_leaves_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    Path("2").mkdir()
    Path("2/o.h5").write_text("from before")
    monkeypatch.setattr(os, "posix_fallocate", full)
    done = run(*SOUNDS, *outputs("2", "rttm", "hdf5"), "--num-workers", "2")
    assert (done.exit_code, done.stdout) == (1, "")
    *each, last = done.stderr.splitlines()
    assert all(line.endswith("2/o.h5: No space left on device") for line in each)
    assert len(each) == len(SOUNDS)
    assert "failed" in last
    assert files("2") == {"o.h5": b"from before"}
    assert multiprocessing.active_children() == []


def test_standard_input_cannot_be_shared(run: Run) -> None:
    done = run("-", "c.wav", "--num-workers", "2", *outputs("2", "rttm", "hdf5"))
    assert (done.exit_code, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "- (standard input) cannot be shared: leave out --num-workers" in line
    assert files("2") == {}
