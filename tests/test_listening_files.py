"""`xai-segment explain --listen`, as a user runs it and hears it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result
from dummies import sound, write_sound
from hypothesis import given
from hypothesis import strategies as st

from audioseg_xai import cli, listening_files
from audioseg_xai.listening import listen
from audioseg_xai.listening_files import safe_name
from audioseg_xai.models.directory import load_model
from audioseg_xai.pipeline import Pipeline, Settings
from audioseg_xai.recordings import Recording

Run = Callable[..., Result]


@pytest.fixture
def run(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    write_sound(tmp_path / "good.wav")

    def call(*arguments: str) -> Result:
        words = ["explain", "--model", str(model), "--device", "cpu", "--threads", "1", *arguments]
        return CliRunner().invoke(cli.main, words)

    return call


def index(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    return found


def fade(entry: dict[str, Any]) -> np.ndarray:
    """Return the gain of a file, worked out anew from the times in the index."""
    edges = [round(entry[name] * 16_000) for name in ("begin", "onset", "offset", "end")]
    times = np.arange(edges[0], edges[3]) + 0.5
    phase = np.interp(times, edges, [edges[0] == edges[1], 1, 1, edges[2] == edges[3]])
    return 0.5 - 0.5 * np.cos(np.pi * phase)


def test_the_parts_of_each_segment_sum_to_what_sounds_there(run: Run, tmp_path: Path) -> None:
    done = run("good.wav", "--listen", "heard")
    assert done.exit_code == 0, done.stderr
    assert "sounds: heard" in done.stderr.splitlines()
    samples, folder = sound(), tmp_path / "heard" / "good"
    found = index(folder)
    assert (found["sample_rate"], found["duration"]) == (16_000, 6.0)
    assert len(found["segments"]) == len(done.stdout.splitlines()) > 4
    for entry in found["segments"]:
        (relevant, rate), (rest, _) = (soundfile.read(folder / entry[p]) for p in PARTS)
        assert rate == 16_000 and relevant.ndim == rest.ndim == 1
        there = samples[round(entry["begin"] * 16_000) : round(entry["end"] * 16_000)]
        np.testing.assert_allclose(relevant + rest, there * fade(entry), atol=1.5e-4)


PARTS = ("relevant", "rest")


def test_the_files_are_those_of_the_index(run: Run, tmp_path: Path) -> None:
    done = run("good.wav", "--listen", "heard", "--tau", "0.3")
    found, folder = index(tmp_path / "heard" / "good"), tmp_path / "heard" / "good"
    listed = {entry[part] for entry in found["segments"] for part in PARTS}
    listed |= {"index.json", *found["tracks"].values()}
    assert {path.name for path in folder.iterdir()} == listed
    spoken = {(f[7], float(f[3])) for f in map(str.split, done.stdout.splitlines())}
    assert {(entry["class"], entry["onset"]) for entry in found["segments"]} == spoken
    first = found["segments"][0]
    stem = f"{first['class']}_{first['onset']:.3f}-{first['offset']:.3f}"
    assert first["relevant"] == f"{stem}_relevant.wav"
    assert found["provenance"]["config"]["relevance_threshold"] == 0.3


def test_a_class_track_has_the_relevant_parts_in_their_places(run: Run, tmp_path: Path) -> None:
    run("good.wav", "--listen", "heard")
    folder = tmp_path / "heard" / "good"
    found = index(folder)
    for label, name in found["tracks"].items():
        expected = np.zeros(96_000, np.int16)
        for entry in found["segments"]:
            if entry["class"] == label:
                part, _ = soundfile.read(folder / entry["relevant"], dtype="int16")
                expected[round(entry["begin"] * 16_000) :][: len(part)] = part
        track, rate = soundfile.read(folder / name, dtype="int16")
        assert rate == 16_000
        np.testing.assert_array_equal(track, expected)


def test_blocks_give_what_the_whole_recording_gives(
    run: Run, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening_files, "BLOCK", 9001)
    run("good.wav", "--listen", "heard")
    pipeline, chunks = Pipeline(load_model(model), Settings(device="cpu")), []
    recording = Recording("good", "good.wav")
    pipeline.explain(recording, [lambda chunk: chunks.append(chunk.activations)])
    activations, folder = np.concatenate(chunks), tmp_path / "heard" / "good"
    for entry in index(folder)["segments"]:
        selected = np.isin(np.arange(activations.shape[1]), entry["components"])
        samples, _ = soundfile.read("good.wav")
        whole, _ = listen(samples, activations, pipeline.readout.dictionary, selected)
        there = whole[round(entry["begin"] * 16_000) : round(entry["end"] * 16_000)]
        part, _ = soundfile.read(folder / entry["relevant"])
        np.testing.assert_allclose(part, there * fade(entry), atol=1e-4)


def test_listening_changes_no_other_output(run: Run, tmp_path: Path) -> None:
    run("good.wav", "--rttm", "a.rttm")
    run("good.wav", "--rttm", "b.rttm", "--listen", "heard")
    assert (tmp_path / "a.rttm").read_bytes() == (tmp_path / "b.rttm").read_bytes()
    with h5py.File("a.h5") as a, h5py.File("b.h5") as b:
        assert set(a) == set(b) and set(a["good"]) == set(b["good"])
        for name in a["good"]:
            assert (a["good"][name][()] == b["good"][name][()]).all(), name


def test_what_is_heard_is_what_the_network_hears(run: Run, tmp_path: Path) -> None:
    stereo = np.random.default_rng(0).uniform(-0.5, 0.5, (44_100 * 3, 2))
    soundfile.write(tmp_path / "cd.flac", stereo, 44_100)
    assert run("cd.flac", "--listen", "heard").exit_code == 0
    files = list((tmp_path / "heard" / "cd").glob("*.wav"))
    found = {(soundfile.info(file).samplerate, soundfile.info(file).channels) for file in files}
    assert found == {(16_000, 1)}


def test_a_failed_recording_leaves_no_sound_and_the_others_are_done(
    run: Run, tmp_path: Path
) -> None:
    bad = write_sound(tmp_path / "bad.wav", 5)
    bad.write_bytes(bad.read_bytes()[:50_000])
    done = run("bad.wav", "good.wav", "--listen", "heard")
    assert done.exit_code == 3
    assert [path.name for path in (tmp_path / "heard").iterdir()] == ["good"]
    done = run("bad.wav", "--listen", "some", "--allow-truncated")
    assert done.exit_code == 0
    assert index(tmp_path / "some" / "bad")["duration"] == pytest.approx(1.561, abs=1e-3)
    assert done.stderr.count("bad.wav: ends after") == 1


def test_sounds_from_before_stay(run: Run, tmp_path: Path) -> None:
    kept = tmp_path / "heard" / "good" / "precious.wav"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    done = run("b.wav", "good.wav", "--listen", "heard")
    assert done.exit_code == 2
    assert "heard/good: is there already: remove it, or write to another folder" in done.stderr
    assert kept.read_text() == "mine"
    assert [path.name for path in (tmp_path / "heard").iterdir()] == ["good"]


def test_standard_input_cannot_be_listened_to(run: Run, tmp_path: Path) -> None:
    done = run("-", "--listen", "heard")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--listen: standard input cannot be read twice" in done.stderr
    assert not (tmp_path / "heard").exists()


def test_a_file_is_no_folder(run: Run) -> None:
    done = run("good.wav", "--listen", "good.wav")
    assert done.exit_code == 2
    assert "good.wav" in done.stderr and "is a file" in done.stderr


@pytest.mark.parametrize("uri", ["a/b", "..", "50%", 'what?"'])
def test_any_uri_names_one_folder_inside(run: Run, tmp_path: Path, uri: str) -> None:
    assert run("good.wav", "--listen", "heard", "--uri", uri).exit_code == 0
    (folder,) = (tmp_path / "heard").iterdir()
    assert index(folder)["uri"] == uri
    assert folder.name == safe_name(uri)


@given(st.text(min_size=1), st.text(min_size=1))
def test_safe_names_are_safe_and_different(one: str, other: str) -> None:
    assert (safe_name(one) == safe_name(other)) == (one == other)
    assert not set(safe_name(one)) & set('/\\:*?"<>|\0\n')
    assert not safe_name(one).startswith(".")


def test_sounds_beyond_full_scale_are_reported(run: Run, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "loud.wav", 20 * sound(), 16_000, subtype="FLOAT")
    done = run("loud.wav", "--listen", "heard")
    assert done.exit_code == 0
    assert "loud.wav: its sounds exceed full scale by" in done.stderr
