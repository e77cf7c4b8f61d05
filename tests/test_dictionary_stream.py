"""Dictionaries from streams: stopped, resumed and refused."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from audioseg_xai.archive import Archive
from audioseg_xai.config import parse_config
from audioseg_xai.errors import ConfigError, TrainingError, UsageError
from audioseg_xai.nmf import Dictionary, LossName, NMFConfig
from audioseg_xai.training import dictionary_stream, frame_sampling
from audioseg_xai.training.dictionary import corpus_names, load_dictionary, make_dictionary
from audioseg_xai.training.dictionary_stream import StreamConfig, StreamRun
from tests.dummies import student_config
from tests.training_dummies import make_archive

Making = Callable[..., Dictionary]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return make_archive(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def make(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> Making:
    """Return a function that makes a dictionary of 5 components; 4 batches a pass."""
    monkeypatch.setattr(frame_sampling, "BATCH", 100)
    monkeypatch.setattr(dictionary_stream, "_HELD", 200)

    def run(output: Path, loss: LossName = "frobenius", **options: Any) -> Dictionary:
        stream = StreamConfig(passes=options.pop("passes", 3), frames_per_pass=400, **options)
        config = NMFConfig(components=5, sparsity=0.1, loss=loss)
        return make_dictionary([archive], student_config(), config, stream, output, resume=True)

    return run


class StoppedError(Exception):
    """What a test stops a run with."""


def stop_after(batches: int, patch: pytest.MonkeyPatch) -> None:
    """Let runs save after every batch, and end after so many."""
    steps = StreamRun._steps

    def some(run: StreamRun) -> Iterator[bool]:
        yield from itertools.islice(steps(run), batches)
        raise StoppedError

    patch.setattr(StreamRun, "_steps", some)
    times = itertools.count(0, 3600)
    patch.setattr(dictionary_stream.time, "monotonic", lambda: next(times))


@pytest.mark.parametrize("loss", ["frobenius", "kl"])
@pytest.mark.parametrize("batches", [1, 5, 7])  # in a pass, at its end, in the next one
def test_a_resumed_run_ends_at_the_same_dictionary_bit_for_bit(
    loss: LossName, batches: int, make: Making, tmp_path: Path
) -> None:
    straight = make(tmp_path / "straight.safetensors", loss, passes=2)
    output = tmp_path / "w.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        stop_after(batches, patch)
        with pytest.raises(StoppedError):
            make(output, loss, passes=2)
    assert not output.exists()
    resumed = make(output, loss, passes=2)
    assert torch.equal(resumed.atoms, straight.atoms)
    assert torch.equal(resumed.mean_activations, straight.mean_activations)
    assert resumed.facts == straight.facts
    assert load_dictionary(output).facts == resumed.facts
    assert sorted(p.name for p in tmp_path.iterdir()) == ["straight.safetensors", "w.safetensors"]


def test_more_passes_go_on_from_fewer(make: Making, tmp_path: Path) -> None:
    output = tmp_path / "w.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        stop_after(5, patch)  # a whole pass
        with pytest.raises(StoppedError):
            make(output, passes=1)
    longer = make(output, passes=2)
    assert longer.facts["passes"] == 2
    straight = make(tmp_path / "straight.safetensors", passes=2)
    assert torch.equal(longer.atoms, straight.atoms)


def test_when_the_time_is_up_there_is_a_dictionary_and_a_way_on(
    make: Making, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "w.safetensors"
    with monkeypatch.context() as patch:
        times = itertools.count(0, 20)  # each step takes 20 s
        patch.setattr(dictionary_stream.time, "monotonic", lambda: next(times))
        early = make(output, max_minutes=1)
    assert early.facts["frames"] == 300 and not early.facts["finished"]
    assert torch.equal(load_dictionary(output).atoms, early.atoms)
    checkpoint = tmp_path / "w.checkpoint.safetensors"
    assert load_file(checkpoint)["seen"].item() == 300
    late = make(output)
    assert late.facts["frames"] == 1200 and late.facts["finished"]
    assert not checkpoint.exists()


def test_the_objective_falls_over_passes(make: Making, tmp_path: Path) -> None:
    objective = make(tmp_path / "w.safetensors", passes=4).objective
    assert len(objective) == 4
    assert objective[-1] < objective[0]
    assert all(b < 1.01 * a for a, b in itertools.pairwise(objective))


# --- checkpoints that do not fit ----------------------------------------------------------------


@pytest.fixture
def stopped(make: Making, tmp_path: Path) -> Path:
    """Return the output of a run that was stopped after a batch."""
    with pytest.MonkeyPatch.context() as patch:
        stop_after(1, patch)
        with pytest.raises(StoppedError):
            make(tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"components": 6}, "options.components"),
        ({"loss": "kl"}, "options.loss"),
        ({"frames_per_pass": 300}, "frames-per-pass"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(
    change: dict[str, Any], named: str, stopped: Path, archive: Archive
) -> None:
    values = {"components": 5, "sparsity": 0.1} | change
    frames = values.pop("frames_per_pass", 400)
    config = parse_config(values, NMFConfig, "test")
    stream = StreamConfig(frames_per_pass=frames)
    with pytest.raises(TrainingError, match=rf"w\.checkpoint.*other settings.*{named}.*delete it"):
        make_dictionary([archive], student_config(), config, stream, stopped, resume=True)


def test_a_checkpoint_of_other_archives_is_refused(stopped: Path, tmp_path: Path) -> None:
    other = make_archive(tmp_path / "other", classes=("music", "noise"))
    config = NMFConfig(components=5, sparsity=0.1)
    stream = StreamConfig(frames_per_pass=400)
    with pytest.raises(TrainingError, match=r"other settings or archives.*labels"):
        make_dictionary([other], student_config(), config, stream, stopped, resume=True)


def test_a_checkpoint_is_not_overwritten_by_accident(stopped: Path, archive: Archive) -> None:
    config = NMFConfig(components=5, sparsity=0.1)
    with pytest.raises(TrainingError, match=r"w\.checkpoint.*give --resume to go on, or delete"):
        make_dictionary([archive], student_config(), config, StreamConfig(), stopped)


def test_a_damaged_checkpoint_is_told(stopped: Path, make: Making) -> None:
    stopped.with_suffix(".checkpoint.safetensors").write_bytes(b"nothing")
    with pytest.raises(TrainingError, match=r"w\.checkpoint.*is no checkpoint.*delete it"):
        make(stopped)


def test_another_file_in_place_of_a_checkpoint_is_told(make: Making, tmp_path: Path) -> None:
    make(tmp_path / "other.safetensors", passes=1)
    (tmp_path / "other.safetensors").rename(tmp_path / "w.checkpoint.safetensors")
    with pytest.raises(TrainingError, match="is no checkpoint of learn-dictionary"):
        make(tmp_path / "w.safetensors")


# --- archives -----------------------------------------------------------------------------------


def test_an_archive_given_twice_is_refused(archive: Archive, tmp_path: Path) -> None:
    again = Archive(archive.folder / ".." / archive.folder.name)
    config = NMFConfig(components=5)
    with pytest.raises(UsageError, match="given twice"):
        make_dictionary([archive, again], student_config(), config, 100, tmp_path / "w")


def test_corpora_are_told_apart_by_name(archive: Archive) -> None:
    def named(*folders: str) -> list[str]:
        made = []
        for folder in folders:
            copy = Archive(archive.folder)
            copy.folder = Path(folder)
            made.append(copy)
        return corpus_names(made)

    assert named("/x/radio", "/x/talks") == ["radio", "talks"]
    assert named("/x/radio/train", "/x/talks/train") == ["radio/train", "talks/train"]
    assert named("/x/a/train", "/y/a/train") == ["1:a/train", "2:a/train"]


def test_no_pass_and_no_time_are_no_settings() -> None:
    with pytest.raises(ConfigError, match=r"passes.*max_minutes"):
        parse_config({"passes": 0, "max_minutes": 0}, StreamConfig, "options")
