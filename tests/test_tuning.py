"""Thresholds: chosen on validation recordings, and the command that does it."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from audioseg_xai import cli
from audioseg_xai.archive import ArchiveEntry, write_index, write_recording
from audioseg_xai.decode import ClassDecoding
from audioseg_xai.errors import TrainingError
from audioseg_xai.models.directory import load_model
from audioseg_xai.training.tuning import decide_frames, tune
from tests.dummies import save_student


def test_tuning_finds_the_threshold_that_separates() -> None:
    labels = np.zeros((200, 1), dtype=np.int8)
    labels[50:120] = 1
    probabilities = np.where(labels == 1, 0.42, 0.31)
    probabilities[80:85] = 0.1  # a gap of 100 ms inside
    decoding, figures = tune([(probabilities, labels)], ("music",), ["music"])
    assert 0.31 < decoding["music"].onset <= 0.42
    assert figures["music"]["F1"] == 1.0
    assert decide_frames(probabilities[:, 0], decoding["music"]).sum() == 70


def test_of_equal_thresholds_the_one_nearest_to_a_half_is_taken() -> None:
    labels = np.repeat([[0], [1]], 50, axis=0).astype(np.int8)
    probabilities = np.where(labels == 1, 0.9, 0.1)
    rule = tune([(probabilities, labels)], ("a",), ["a"])[0]["a"]
    assert (rule.onset, rule.offset) == (0.5, 0.5)


def test_a_gain_that_few_recordings_show_moves_no_threshold() -> None:
    def recording(quiet: int) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
        labels = np.repeat([[0], [1]], 50, axis=0).astype(np.int8)
        probabilities = np.where(labels == 1, 0.9, 0.1)
        probabilities[50 : 50 + quiet] = 0.3  # found only by a lower threshold
        return probabilities, labels

    one_of_ten = [recording(0)] * 9 + [recording(20)]
    assert tune(one_of_ten, ("a",), ["a"])[0]["a"].onset == 0.5
    assert tune([recording(20)] * 10, ("a",), ["a"])[0]["a"].onset == 0.3


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


def test_tuning_says_where_the_thresholds_come_from(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    spectrogram = generator.uniform(0, 15, (60, 257)).astype(np.float16)
    labels = (generator.random((60, 4)) < 0.5).astype(np.int8)
    attributes = {"uri": "a", "config": "{}"}
    arrays = {"spectrogram": spectrogram, "labels": labels}
    write_recording(tmp_path / "archive" / "a.h5", arrays, attributes)
    write_index(tmp_path / "archive", [ArchiveEntry("a", "a.h5", 60)])
    done = run_tune("--model", save_student(tmp_path / "model"), "--archive", tmp_path / "archive",
                    "--name", "radio", "--licence", "Free for all.", "--device", "cpu",
                    "--output", tmp_path / "tuned")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    config = load_model(tmp_path / "tuned").config
    assert list(config.metrics) == ["radio, frames (the thresholds were chosen on them)"]
    assert config.licence == "Free for all."
