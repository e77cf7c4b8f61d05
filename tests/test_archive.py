"""Feature archives: what a file holds, and crops of it on the frame clock."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from audioseg_xai import h5arrays
from audioseg_xai.archive import (
    CHECKPOINT,
    LABELS_DIGEST,
    Archive,
    ArchiveEntry,
    stored_entry,
    write_index,
    write_recording,
)
from audioseg_xai.errors import ArchiveError
from audioseg_xai.frames import num_frames
from audioseg_xai.h5arrays import OPEN_FILES, Spool, read_layout, write_array
from audioseg_xai.training.identity import archive_digest

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
        assert set(handle.attrs) == {"uri", "config", "upstream", "complete", LABELS_DIGEST}
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


# --- how rows are read --------------------------------------------------------------------------


SOUND = np.random.default_rng(0).standard_normal((FRAMES, 5)).astype(np.float16)


@pytest.fixture(scope="module", params=[{}, {"chunks": (7, 4), "compression": "gzip"}])
def laid_out(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    folder = tmp_path_factory.mktemp("layout")
    with h5py.File(folder / "a.h5", "w") as handle:
        handle.create_dataset("spectrogram", data=SOUND, **request.param)
        handle.create_dataset("labels", data=arrays()["labels"], **request.param)
    write_index(folder, [ENTRY])
    return Archive(folder)


@settings(max_examples=30, deadline=None)
@given(st.integers(-3, FRAMES + 3), st.integers(-3, FRAMES + 3))
def test_any_rows_of_any_layout(laid_out: Archive, start: int, stop: int) -> None:
    archive = laid_out
    spectrogram, labels, _ = archive.read(ENTRY, start, stop)
    np.testing.assert_array_equal(spectrogram, SOUND[start:stop])
    np.testing.assert_array_equal(labels, arrays()["labels"][start:stop])
    assert spectrogram.flags.writeable
    np.testing.assert_array_equal(archive.read_labels(ENTRY), arrays()["labels"])


def test_a_file_that_was_made_again_is_read_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(h5arrays, "OPEN_FILES", 1)
    archive = make(tmp_path, arrays())
    other = Archive(make(tmp_path / "other", arrays()).folder)
    assert archive.read(ENTRY, 3, 4)[0][0, 0] == 3
    # Another place in the file, by an attribute and a type of other sizes.
    with h5py.File(tmp_path / "new.h5", "w") as handle:
        handle["more"] = np.zeros(1000)
        handle["spectrogram"] = arrays()["spectrogram"].astype(np.float32) + 100
        handle["labels"] = arrays()["labels"]
    (tmp_path / "new.h5").rename(tmp_path / "a.h5")
    # Who looks at it now sees the new file, though the old one is open ...
    assert Archive(tmp_path).read(ENTRY, 3, 4)[0][0, 0] == 103
    # ... and so does who knew the old one, whether it is still open or not.
    assert archive.read(ENTRY, 3, 4)[0][0, 0] == 103
    other.read(ENTRY, 0, 1)
    assert archive.read(ENTRY, 4, 5)[0][0, 0] == 104


def test_a_file_that_ends_early_is_named(tmp_path: Path) -> None:
    archive = make(tmp_path, arrays())
    layout = read_layout(tmp_path / "a.h5")
    offset = layout.arrays["labels"].offset
    assert offset is not None
    assert archive.read(ENTRY, 0, 2)[0].shape == (2, 5)
    with (tmp_path / "a.h5").open("r+b") as handle:
        handle.truncate(offset + 4)
    with pytest.raises(ArchiveError, match=r"a\.h5: its labels cannot be read \(it ends 92 bytes"):
        archive.read_labels(ENTRY)


def test_no_more_files_are_open_than_a_process_may(tmp_path: Path) -> None:
    path = make(tmp_path, arrays()).folder / "a.h5"
    entries = [ArchiveEntry(f"r{n}", f"r{n}.h5", FRAMES) for n in range(OPEN_FILES + 20)]
    for entry in entries:
        (tmp_path / entry.file).hardlink_to(path)
    write_index(tmp_path, entries)
    archive = Archive(tmp_path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for entry in entries:
        assert archive.read(entry, 5, 6)[0][0, 0] == 5
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + OPEN_FILES
    assert len(h5arrays._pool.files) == OPEN_FILES
    assert not [path for path in h5arrays._pool.handles if path.parent == tmp_path]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 9)), st.integers(0, 400))
def test_a_spool_gives_back_what_it_got(lengths: list[int], in_memory: int) -> None:
    rows = np.arange(sum(lengths) * 3, dtype=np.float32).reshape(-1, 3)
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(h5arrays, "_IN_MEMORY", in_memory)
        patch.setattr(h5arrays, "_COPIED", 4)
        with Spool(Path(folder) / "new", np.float16) as spool:
            for part in np.split(rows, np.cumsum(lengths)):
                spool.append(part)
            assert spool.shape == rows.shape
            with h5py.File(Path(folder) / "x.h5", "w") as handle:
                write_array(handle, "x", spool)
                np.testing.assert_array_equal(handle["x"][()], rows.astype(np.float16))
                assert handle["x"].chunks is None
        assert list((Path(folder) / "new").iterdir()) == []


# --- digests of labels --------------------------------------------------------------------------


def test_the_digest_of_an_archive_follows_its_labels(tmp_path: Path) -> None:
    digests = []
    for name, change in (("a", 0), ("b", 0), ("c", 1)):
        made = arrays()
        made["labels"][3, 2] += change
        make(tmp_path / name, made)
        entry = stored_entry("a", tmp_path / name / "a.h5", {"uri": "a"})
        assert entry is not None
        write_index(tmp_path / name, [entry])
        digests.append(archive_digest(Archive(tmp_path / name)))
    assert digests[0] == digests[1] != digests[2]


def test_archives_of_before_digests_are_read_and_keep_theirs(tmp_path: Path) -> None:
    archive = make(tmp_path, arrays())
    with h5py.File(tmp_path / "index.h5", "w") as handle:
        handle["entries"] = '[{"uri": "a", "file": "a.h5", "num_frames": 24}]'
    old = Archive(tmp_path)
    assert old.entries == archive.entries == [ENTRY]
    # sha256 of [["a", "a.h5", 24]], as it was.
    expected = hashlib.sha256(b'[["a", "a.h5", 24]]').hexdigest()
    assert archive_digest(old) == expected
    with h5py.File(tmp_path / "a.h5", "r+") as handle:
        del handle.attrs[LABELS_DIGEST]
    entry = stored_entry("a", tmp_path / "a.h5", {"uri": "a"})
    assert entry is not None
    assert entry.labels_digest == hashlib.sha256(arrays()["labels"].tobytes()).hexdigest()


@pytest.mark.parametrize("checkpoint", [None, "/models/wavlm.pt"])
def test_the_upstream_comes_with_where_its_checkpoint_lay(
    tmp_path: Path, checkpoint: str | None
) -> None:
    more = {} if checkpoint is None else {CHECKPOINT: checkpoint}
    archive = make(tmp_path, arrays(), upstream='{"name": "wavlm_large"}', **more)
    assert archive.upstream is not None
    assert json.loads(archive.upstream) == {"name": "wavlm_large", "checkpoint": checkpoint}
