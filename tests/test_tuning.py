"""Thresholds: chosen on validation recordings, and the command that does it."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from simulation_dummies import write_pool

from audioseg_xai import cli
from audioseg_xai.annotation import Segment
from audioseg_xai.archive import ArchiveEntry, write_index, write_recording
from audioseg_xai.corpora.pool import PoolItem
from audioseg_xai.decode import ClassDecoding
from audioseg_xai.errors import TrainingError
from audioseg_xai.models.directory import load_model
from audioseg_xai.training.mistakes import decided_by_situation, mistaken_sources
from audioseg_xai.training.tuning import decide_frames, figures, tune
from tests.dummies import save_student


def test_tuning_finds_the_threshold_that_separates() -> None:
    labels = np.zeros((200, 1), dtype=np.int8)
    labels[50:120] = 1
    probabilities = np.where(labels == 1, 0.42, 0.31)
    probabilities[80:85] = 0.1  # a gap of 100 ms inside
    decoding, metrics = tune([(probabilities, labels)], ("music",), ["music"])
    assert 0.31 < decoding["music"].onset <= 0.42
    assert metrics["music"]["F1"] == 1.0
    assert decide_frames(probabilities[:, 0], decoding["music"]).sum() == 70


def test_of_equal_thresholds_the_one_nearest_to_a_half_is_taken() -> None:
    labels = np.repeat([[0], [1]], 50, axis=0).astype(np.int8)
    probabilities = np.where(labels == 1, 0.9, 0.1)
    rule = tune([(probabilities, labels)], ("a",), ["a"])[0]["a"]
    assert (rule.onset, rule.offset) == (0.5, 0.5)


def second_half(quiet: int, alarms: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    """Return a recording of which `quiet` frames are found only by a threshold of 0.3 or less."""
    labels = np.repeat([[0], [1]], 50, axis=0).astype(np.int8)
    probabilities = np.where(labels == 1, 0.9, 0.1)
    probabilities[50 : 50 + quiet] = 0.3
    probabilities[:alarms] = 0.9
    return probabilities, labels


def test_a_gain_that_few_recordings_show_moves_no_threshold() -> None:
    one_of_ten = [second_half(0)] * 9 + [second_half(20)]
    assert tune(one_of_ten, ("a",), ["a"])[0]["a"].onset == 0.5
    assert tune([second_half(20)] * 10, ("a",), ["a"])[0]["a"].onset == 0.3


def test_a_gain_that_all_recordings_show_counts_however_much_they_differ() -> None:
    easy_and_hard = [second_half(5), second_half(5, alarms=45)] * 5
    assert tune(easy_and_hard, ("a",), ["a"])[0]["a"].onset == 0.3


def test_tuning_needs_an_active_frame() -> None:
    silent = (np.zeros((10, 1)), np.zeros((10, 1), dtype=np.int8))
    with pytest.raises(TrainingError, match=r"music is active in no.*add validation recordings"):
        tune([silent], ("music",), ["music"])


def test_short_segments_are_dropped_after_gaps_are_filled() -> None:
    probabilities = np.zeros(100)
    probabilities[[10, 12, 14]] = 1.0
    probabilities[50] = 1.0
    rule = ClassDecoding(min_gap=0.04, min_duration=0.1)
    assert np.flatnonzero(decide_frames(probabilities, rule)).tolist() == [10, 11, 12, 13, 14]


def test_figures_have_an_interval_over_recordings() -> None:
    labels = np.repeat([[0], [1]], 50, axis=0).astype(np.int8)
    good, bad = (np.where(labels == 1, right, 0.1) for right in (0.9, 0.1))
    rules = {"a": ClassDecoding()}
    alike = figures([(good, labels)] * 5, ("a",), rules)["a"]
    assert alike == {"precision": 1, "recall": 1, "F1": 1, "F1 from": 1, "F1 to": 1}
    mixed = figures([(good, labels), (bad, labels)] * 5, ("a",), rules)["a"]
    assert mixed["recall"] == 0.5
    assert mixed["F1"] == pytest.approx(2 / 3)
    assert mixed["F1 from"] < mixed["F1"] < mixed["F1 to"]


# --- what is mistaken for what ------------------------------------------------------------------

CLASSES = ("speech", "music", "noise", "overlap")


def test_how_often_each_class_is_decided_in_each_situation() -> None:
    labels = np.zeros((5000, 4), dtype=np.int8)
    labels[:2000, 0] = 1  # speech for 40 s
    labels[2000:4000, 1] = 1  # music for 40 s; nothing for 20 s, too little to tell
    probabilities = np.where(labels == 1, 0.9, 0.1)
    probabilities[2000:2500, 0] = 0.9  # a quarter of the music is taken for speech
    unknown = np.full((2000, 4), -1, dtype=np.int8)
    rules = {name: ClassDecoding() for name in ("speech", "music")}
    found = decided_by_situation(
        [(probabilities, labels), (np.full((2000, 4), 0.9), unknown)], CLASSES, rules
    )
    assert found == {
        "speech": {"seconds": 40.0, "speech": 1.0, "music": 0.0},
        "music": {"seconds": 40.0, "speech": 0.25, "music": 1.0},
    }


def test_the_sources_that_are_taken_for_something_else() -> None:
    def item(path: str, kind: str, seconds: float) -> PoolItem:
        return PoolItem(path, kind, path[0], "x", seconds, "CC0-1.0", "valid")

    items = [
        item("a1", "music", 60.0), item("a2", "music", 40.0), item("b", "noise", 50.0),
        item("c", "speech", 100.0), item("d", "music", 20.0), item("e", "distractor", 99.0),
        item("f", "event", 0.01),
    ]  # fmt: skip
    heard = {
        "a1": [Segment(0.0, 60.0, "music")],
        "a2": [Segment(0.0, 30.0, "music"), Segment(30.0, 40.0, "speech")],
        "b": [Segment(0.0, 25.0, "music"), Segment(0.0, 50.0, "noise")],
        "c": [Segment(0.0, 100.0, "speech"), Segment(0.0, 4.0, "overlap")],
        "d": [Segment(0.0, 20.0, "speech")],
    }
    found = mistaken_sources(Path("pool"), items, lambda path: heard[path.name], CLASSES)
    assert found == {
        "b (noise)": {"seconds": 50.0, "speech": 0.0, "music": 0.5, "noise": 1.0, "overlap": 0.0},
        "a (music)": {"seconds": 100.0, "speech": 0.1, "music": 0.9, "noise": 0.0, "overlap": 0.0},
    }
    assert list(found) == ["b (noise)", "a (music)"]


# --- xai-segment tune ---------------------------------------------------------------------------


def run_tune(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.main, ["tune", *map(str, arguments)])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{not json", "is not JSON"),
        ('{"a": 1}', "is no manifest"),
        ('[{"source": "x"}]', "is no manifest"),
        (None, "No such file"),
    ],
)
def test_a_bad_manifest_is_found_before_anything_is_done(
    tmp_path: Path, content: str | None, message: str
) -> None:
    bad = tmp_path / "bad.json"
    if content is not None:
        bad.write_text(content)
    nowhere = tmp_path / "nowhere"
    done = run_tune("--model", nowhere, "--archive", nowhere, "--output", nowhere,
                    "--manifest", bad)  # fmt: skip
    assert (done.exit_code, len(done.stderr.splitlines())) == (1, 1)
    assert f"{bad}: {message}" in done.stderr
    assert "--manifest takes" in done.stderr


def write_archive(folder: Path, frames: int = 60) -> Path:
    generator = np.random.default_rng(0)
    spectrogram = generator.uniform(0, 15, (frames, 257)).astype(np.float16)
    labels = (generator.random((frames, 4)) < 0.5).astype(np.int8)
    attributes = {"uri": "a", "config": "{}"}
    arrays = {"spectrogram": spectrogram, "labels": labels}
    write_recording(folder / "a.h5", arrays, attributes)
    write_index(folder, [ArchiveEntry("a", "a.h5", frames)])
    return folder


def test_tuning_says_where_the_thresholds_come_from(tmp_path: Path) -> None:
    done = run_tune("--model", save_student(tmp_path / "model"),
                    "--archive", write_archive(tmp_path / "archive"),
                    "--name", "radio", "--licence", "Free for all.", "--device", "cpu",
                    "--relevance-threshold", "0.05",
                    "--output", tmp_path / "tuned")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    config = load_model(tmp_path / "tuned").config
    assert list(config.metrics) == ["radio, frames (the thresholds were chosen on them)"]
    assert (config.licence, config.relevance_threshold) == ("Free for all.", 0.05)


def test_the_card_tells_of_a_test_and_of_sources(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool")  # some sources of 12 s: too little to tell, but heard
    done = run_tune("--model", save_student(tmp_path / "model"), "--device", "cpu",
                    "--archive", write_archive(tmp_path / "valid"),
                    "--test", f"meetings={write_archive(tmp_path / 'test', 40_000)}",
                    "--pool", pool, "--split", "train", "--output", tmp_path / "tuned")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    config = load_model(tmp_path / "tuned").config
    assert "F1 from" in config.metrics["meetings, frames"]["speech"]
    assert len(config.mistakes["meetings, by what sounds together"]) == 16  # of equal chance
    card = (tmp_path / "tuned/README.md").read_text()
    assert "| speech + music |" in card
    assert "Sources of split train, heard alone" in card


def test_a_split_that_the_pool_lacks_is_found_before_anything_is_done(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    done = run_tune("--model", nowhere, "--archive", nowhere, "--output", nowhere,
                    "--pool", write_pool(tmp_path / "pool"), "--split", "test")  # fmt: skip
    assert (done.exit_code, len(done.stderr.splitlines())) == (1, 1)
    assert "test" in done.stderr and "train" in done.stderr
