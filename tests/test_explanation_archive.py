"""Explanation archives: what goes in comes out, and nothing half-made stays."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from audioseg_xai.annotation import Segment
from audioseg_xai.errors import ArchiveError
from audioseg_xai.explain import Explanation, Prototypes, Readout
from audioseg_xai.explanation_archive import (
    ExplanationArchive,
    ExplanationWriter,
    iter_explanations,
    read_explanations,
    read_prototypes,
    write_explanations,
    write_prototypes,
)
from audioseg_xai.explanation_layout import half

RNG = np.random.default_rng(0)
CLASSES = ("speech", "music")
READOUT = Readout(
    CLASSES,
    RNG.random((5, 3), np.float32),
    RNG.random((2, 3), np.float32),
    RNG.random(2, np.float32),
    np.linspace(0, 8000, 5, dtype=np.float32),
)
PROBABILITIES = RNG.random((1300, 2), np.float32)
ACTIVATIONS = RNG.random((1300, 3), np.float32)


def explanation(uri: str, segments: tuple[Segment, ...] = ()) -> Explanation:
    count = len(segments)
    arrays = [RNG.random(shape, np.float32) for shape in ((count, 3), (count, 5), (count,))]
    return Explanation(uri, 26.01, 1300, 0.25, segments, *arrays)


def add(writer: ExplanationWriter, found: Explanation, cut: int = 600) -> None:
    with writer.recording(found.uri) as recording:
        recording.push(PROBABILITIES[:cut], ACTIVATIONS[:cut])
        recording.push(PROBABILITIES[cut:], ACTIVATIONS[cut:])
        recording.finish(found)


SPEECH = Segment(0.02, 1.5, "speech", 0.75)
MUSIC = Segment(0.5, 26.01, "music", 0.5)


def test_a_full_disk_takes_one_recording_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, path = explanation("small", (SPEECH,)), tmp_path / "x.h5"
    activations = np.ones((200_000, 3), np.float32)
    allocate, disk = os.posix_fallocate, 30_000_000

    def limited(handle: int, offset: int, length: int) -> None:
        if offset + length > disk:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        allocate(handle, offset, length)

    def push(writer: ExplanationWriter, uri: str, times: int) -> None:
        with writer.recording(uri) as recording:
            for _ in range(times):
                recording.push(activations[:, :2], activations)
            recording.finish(explanation(uri))

    monkeypatch.setattr(os, "posix_fallocate", limited)
    with write_explanations(path, READOUT, {}) as writer:
        add(writer, small)
        with pytest.raises(OSError, match="No space left") as caught:
            push(writer, "large", 15)
        assert caught.value.filename == str(path)
        push(writer, "last", 5)  # more than the first left over, had its own room stayed taken
    assert path.stat().st_size < disk * 0.9  # what was reserved is given back
    with ExplanationArchive(path) as archive:
        assert [found.uri for found in archive] == ["last", "small"]
        np.testing.assert_array_equal(archive.explanation("small").relevance, small.relevance)
        np.testing.assert_array_equal(archive.activations("last"), np.ones((1_000_000, 3)))


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_what_goes_in_comes_out(tmp_path: Path, compression: str | None) -> None:
    first, second = explanation("b", (SPEECH, MUSIC)), explanation("a")
    path = tmp_path / "new" / "x.h5"
    with write_explanations(path, READOUT, {"tool": "t"}, compression=compression) as writer:
        add(writer, first)
        add(writer, second, cut=1299)
    readout, found = read_explanations(path)
    assert readout.same_as(READOUT)
    by_uri = {item.uri: item for item in found}
    for expected in (first, second):
        item = by_uri[expected.uri]
        assert item.segments == expected.segments
        assert (item.duration, item.num_frames, item.threshold) == (26.01, 1300, 0.25)
        for name in ("relevance", "spectra", "mean_logit"):
            np.testing.assert_array_equal(getattr(item, name), getattr(expected, name))
    with ExplanationArchive(path) as archive:
        assert archive.provenance == {"tool": "t"}
        np.testing.assert_array_equal(archive.probabilities("b"), PROBABILITIES)
        np.testing.assert_allclose(archive.activations("b"), ACTIVATIONS, rtol=1e-3)


def test_the_layout_is_the_documented_one(tmp_path: Path) -> None:
    with write_explanations(tmp_path / "x.h5", READOUT, {}) as writer:
        add(writer, explanation("rec", (SPEECH,)))
    with h5py.File(tmp_path / "x.h5") as file:
        assert set(file) == {"dictionary", "weights", "bias", "frequencies", "rec"}
        assert list(file.attrs["classes"]) == list(CLASSES)
        assert file.attrs["frame_shift"] == 0.02
        group = file["rec"]
        shapes = {name: (item.shape, item.dtype.char) for name, item in group.items()}
        assert shapes.pop("segments")[0] == (1,)
        assert shapes == {
            "probabilities": ((1300, 2), "f"),
            "activations": ((1300, 3), "e"),
            "relevance": ((1, 3), "f"),
            "spectra": ((1, 5), "f"),
            "mean_logit": ((1,), "f"),
        }
        (row,) = group["segments"]
        assert group["segments"].dtype.names == ("class", "onset", "offset", "confidence")
        assert row.tolist() == (b"speech", 0.02, 1.5, 0.75)


@pytest.mark.parametrize("uri", ["weights", "prototypes", ".", "..", "a/b", "50%2F", "ünï", "%"])
def test_any_uri_names_a_recording(tmp_path: Path, uri: str) -> None:
    with write_explanations(tmp_path / "x.h5", READOUT, {}) as writer:
        add(writer, explanation("other"))
        add(writer, explanation(uri, (SPEECH,)))
    with ExplanationArchive(tmp_path / "x.h5") as archive:
        assert sorted(archive.uris) == sorted([uri, "other"])
        assert archive.explanation(uri).segments == (SPEECH,)


def test_a_recording_that_fails_leaves_no_group(tmp_path: Path) -> None:
    with write_explanations(tmp_path / "x.h5", READOUT, {}) as writer:
        add(writer, explanation("good"))
        with pytest.raises(ValueError, match="broken"), writer.recording("bad") as recording:
            recording.push(PROBABILITIES, ACTIVATIONS)
            raise ValueError("broken")
    with ExplanationArchive(tmp_path / "x.h5") as archive:
        assert archive.uris == ["good"]


def test_an_archive_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    path.write_text("precious")
    with pytest.raises(KeyboardInterrupt), write_explanations(path, READOUT, {}) as writer:
        add(writer, explanation("good"))
        raise KeyboardInterrupt
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]


def test_a_uri_is_taken_once(tmp_path: Path) -> None:
    with write_explanations(tmp_path / "x.h5", READOUT, {}) as writer:
        add(writer, explanation("a"))
        with pytest.raises(ArchiveError, match="a: is in the archive already"):
            add(writer, explanation("a"))


def test_activations_beyond_half_precision_stay_finite(tmp_path: Path) -> None:
    with (
        write_explanations(tmp_path / "x.h5", READOUT, {}) as writer,
        writer.recording("a") as recording,
    ):
        recording.push(PROBABILITIES[:1], np.array([[1e6, 0.0, 1.0]], np.float32))
        recording.finish(explanation("a"))
    with ExplanationArchive(tmp_path / "x.h5") as archive:
        assert archive.activations("a").tolist() == [[65504.0, 0.0, 1.0]]


def test_half_precision_is_that_of_numpy() -> None:
    largest = np.float32(65504).view(np.uint32)
    spread = np.arange(0, largest, 9973, dtype=np.uint32)  # of every exponent
    ties = (np.arange(0x3300, 0x4700, dtype=np.uint32) << 16) + np.uint32(0x1000)
    values = np.concatenate([spread, ties, [largest]]).astype(np.uint32).view(np.float32)
    np.testing.assert_array_equal(half(values), values.astype(np.float16))
    assert half(np.array([[0.0, 1e-9, 65519.0, np.inf]])).tolist() == [[0, 0, 65504, 65504]]


def test_a_missing_archive(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"x\.h5: no such file"):
        ExplanationArchive(tmp_path / "x.h5")


def test_what_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "x.h5").write_text("hello")
    with pytest.raises(ArchiveError, match=r"x\.h5: is no HDF5 file"):
        ExplanationArchive(tmp_path / "x.h5")
    h5py.File(tmp_path / "y.h5", "w").close()
    with pytest.raises(ArchiveError, match=r"y\.h5: is no explanation archive"):
        ExplanationArchive(tmp_path / "y.h5")


def test_an_unknown_recording(tmp_path: Path) -> None:
    with write_explanations(tmp_path / "x.h5", READOUT, {}) as writer:
        add(writer, explanation("a"))
    with (
        ExplanationArchive(tmp_path / "x.h5") as archive,
        pytest.raises(ArchiveError, match="no recording 'b'; it has a"),
    ):
        archive.explanation("b")


def test_archives_of_different_models_do_not_mix(tmp_path: Path) -> None:
    other = Readout(
        CLASSES, READOUT.dictionary, 2 * READOUT.weights, READOUT.bias, READOUT.frequencies
    )
    for name, readout in (("x.h5", READOUT), ("y.h5", other)):
        with write_explanations(tmp_path / name, readout, {}) as writer:
            add(writer, explanation(name))
    with pytest.raises(ArchiveError, match=r"y\.h5: was made with another model"):
        list(iter_explanations([tmp_path / "x.h5", tmp_path / "y.h5"]))


def test_prototypes_come_back(tmp_path: Path) -> None:
    made = Prototypes(RNG.random((2, 3)), RNG.random((2, 5)), np.array([3, 0]))
    write_prototypes(tmp_path / "p.h5", made, READOUT, {})
    readout, found = read_prototypes(tmp_path / "p.h5")
    assert readout.same_as(READOUT)
    for name in ("relevance", "spectra", "counts"):
        np.testing.assert_array_equal(getattr(found, name), getattr(made, name))
    with write_explanations(tmp_path / "x.h5", READOUT, {}):
        pass
    with pytest.raises(ArchiveError, match=r"x\.h5: holds no prototypes"):
        read_prototypes(tmp_path / "x.h5")
