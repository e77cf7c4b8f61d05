"""Feature archives: what a file holds, and crops of it on the frame clock."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from audioseg_xai.archive import CHECKPOINT, Archive, ArchiveEntry, write_index, write_recording
from audioseg_xai.errors import ArchiveError
from audioseg_xai.frames import num_frames

SAMPLES = 8_000
FRAMES = num_frames(SAMPLES)  # 24
ENTRY = ArchiveEntry("a", "a.h5", FRAMES)


def arrays(**more: NDArray[Any]) -> dict[str, NDArray[Any]]:
    frames = np.arange(FRAMES)[:, None]
    return {
        "spectrogram": (frames + np.zeros(5)).astype(np.float16),
        "labels": (frames % 2 + np.zeros(4)).astype(np.int8),
        **more,
    }


def make(
    folder: Path, stored: dict[str, NDArray[Any]], parts: Any = (), **attributes: str
) -> Archive:
    write_recording(folder / "a.h5", stored, {"uri": "a", "config": "{}", **attributes}, parts)
    write_index(folder, [ENTRY])
    return Archive(folder)


def test_without_an_upstream_a_file_holds_what_it_always_did(tmp_path: Path) -> None:
    archive = make(tmp_path, arrays(), upstream="spectrogram")
    with h5py.File(tmp_path / "a.h5") as handle:
        assert {name: data.dtype for name, data in handle.items()} == {
            "spectrogram": np.float16,
            "labels": np.int8,
        }
        assert set(handle.attrs) == {"uri", "config", "upstream", "complete"}
    assert (archive.upstream, archive.feature_shape, archive.has_samples) == (None, None, False)
    spectrogram, labels, features = archive.read(ENTRY, 3, 5)
    assert (spectrogram[:, 0].tolist(), labels[:, 0].tolist(), features) == ([3, 4], [1, 0], None)


@pytest.mark.parametrize("shape", [(6,), (3, 6)], ids=["one layer", "all layers"])
def test_features_are_read_as_they_were_made(tmp_path: Path, shape: tuple[int, ...]) -> None:
    features = np.random.default_rng(0).standard_normal((FRAMES, *shape)).astype(np.float16)
    whole = make(tmp_path / "whole", arrays(features=features))
    parts = make(tmp_path / "parts", arrays(), iter(np.split(features, [7, 8, 20])))
    for archive in (whole, parts):
        assert archive.feature_shape == shape
        found = archive.read(ENTRY, 5, 9, features=True)[2]
        assert found is not None and found.dtype == np.float16
        np.testing.assert_array_equal(found, features[5:9])


def test_features_of_too_few_frames_leave_no_file(tmp_path: Path) -> None:
    parts = [np.zeros((FRAMES - 1, 2), np.float16)]
    with pytest.raises(ArchiveError, match="23 frames of features for 24 frames of labels"):
        make(tmp_path, arrays(), parts)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return make(tmp_path_factory.mktemp("archive"), arrays(samples=np.arange(SAMPLES)))


def test_samples_of_frames_by_hand(recorded: Archive) -> None:
    assert recorded.has_samples
    found = recorded.read_samples(ENTRY, 2, 5)
    # Frames 2, 3 and 4: from sample 640 to 4 * 320 + 400 = 1680.
    assert found.dtype == np.int16
    assert found.tolist() == list(range(640, 1680))
    assert recorded.read_samples(ENTRY)[-1] == 23 * 320 + 400 - 1


@settings(max_examples=50, deadline=None)
@given(st.integers(0, FRAMES), st.integers(0, FRAMES + 3))
def test_samples_make_the_frames_they_are_read_for(
    recorded: Archive, start: int, stop: int
) -> None:
    expected = max(0, min(stop, FRAMES) - start)
    assert num_frames(len(recorded.read_samples(ENTRY, start, stop))) == expected


def test_what_is_not_there_is_said_with_what_makes_it(tmp_path: Path) -> None:
    archive = make(tmp_path, arrays())
    with pytest.raises(ArchiveError, match=r"a\.h5: holds no samples: .* --store audio"):
        archive.read_samples(ENTRY, 0, 3)
    with pytest.raises(
        ArchiveError, match=r"a\.h5: holds no upstream features: .* --upstream NAME"
    ):
        archive.read(ENTRY, 0, 3, features=True)


@pytest.mark.parametrize("checkpoint", [None, "/models/wavlm.pt"])
def test_the_upstream_comes_with_where_its_checkpoint_lay(
    tmp_path: Path, checkpoint: str | None
) -> None:
    more = {} if checkpoint is None else {CHECKPOINT: checkpoint}
    archive = make(tmp_path, arrays(), upstream='{"name": "wavlm_large"}', **more)
    assert archive.upstream is not None
    assert json.loads(archive.upstream) == {"name": "wavlm_large", "checkpoint": checkpoint}
