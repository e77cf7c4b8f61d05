"""Feature archives: one HDF5 file a recording, and an index file that links them.

A file holds ``spectrogram (T, F) f16``, ``labels (T, C) i1`` (-1 unknown) and, for networks that
listen to an upstream model, either its ``features (T, D)`` or ``(T, L, D) f16``, or the recording
itself, ``samples (N,) i2``, for features that are computed when they are needed. It is written
under a temporary name and renamed, so a file that is there is whole; the index is written last.

Arrays lie in one piece and uncompressed: a random crop is then one read of just its frames.
Compression by lzf, gzip or zstd saves 17 to 29 % of the room, and a crop takes ten to twenty times
as long.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from audioseg_xai.errors import ArchiveError
from audioseg_xai.files import atomic_path
from audioseg_xai.frames import HOP, WINDOW
from audioseg_xai.h5arrays import Layout, Spool, read_layout, read_rows, write_array
from audioseg_xai.labels import CLASSES

INDEX_NAME = "index.h5"
CHECKPOINT = "upstream_checkpoint"
"""Attribute that says where the upstream's weights lay; not part of what the file is made of."""

LABELS_DIGEST = "labels_sha256"
"""Attribute with the digest of the labels; files that were made before there was any lack it."""

_NO_UPSTREAM = "spectrogram"
_DTYPES = {"labels": np.int8, "samples": np.int16}


@dataclass(frozen=True)
class ArchiveEntry:
    """One recording of an archive.

    Attributes
    ----------
    uri : str
        The recording.
    file : str
        Its HDF5 file, relative to the archive.
    num_frames : int
        T.
    labels_digest : str
        SHA-256 of its labels; empty in an index that was written before there was any.
    """

    uri: str
    file: str
    num_frames: int
    labels_digest: str = ""


def write_recording(
    path: str | Path,
    arrays: Mapping[str, NDArray[Any] | Spool],
    attributes: Mapping[str, str | int | float],
    features: Iterable[NDArray[np.float16]] = (),
) -> None:
    """Write the archive file of one recording, whole or not at all.

    Parameters
    ----------
    path : str or Path
        The file to write.
    arrays : mapping
        ``spectrogram`` (T, F), ``labels`` (T, C) and optionally ``features`` (T, D) or (T, L, D)
        and ``samples`` (N,); what is too much to hold at once as a `Spool`.
    attributes : mapping
        ``uri``, ``config`` (JSON) and whatever else tells how the arrays were made.
    features : iterable of numpy.ndarray, optional
        ``features`` in parts (t, D) or (t, L, D), for when they are too many to hold at once; they
        must make T frames together.
    """
    with atomic_path(path) as temporary, h5py.File(temporary, "w", libver="latest") as handle:
        for name, array in arrays.items():
            dtype = _DTYPES.get(name, np.float16)
            write_array(handle, name, array if isinstance(array, Spool) else array.astype(dtype))
        _append(handle, features, len(handle["labels"]))
        handle.attrs.update(attributes)
        handle.attrs[LABELS_DIGEST] = labels_digest(handle["labels"][()])
        handle.attrs["complete"] = True


def _append(handle: h5py.File, parts: Iterable[NDArray[np.float16]], frames: int) -> None:
    done = 0
    for part in parts:
        if done == 0:
            handle.create_dataset("features", (frames, *part.shape[1:]), np.float16)
        handle["features"][done : done + len(part)] = part
        done += len(part)
    if done not in (0, frames):
        raise ArchiveError(f"{done} frames of features for {frames} frames of labels")


def labels_digest(labels: NDArray[np.int8]) -> str:
    """Return the SHA-256 of labels (T, C)."""
    return hashlib.sha256(np.ascontiguousarray(labels, np.int8).tobytes()).hexdigest()


def stored_entry(
    uri: str, path: Path, attributes: Mapping[str, str | int | float]
) -> ArchiveEntry | None:
    """Return the entry of a whole archive file made with these attributes, None if there is none.

    Parameters
    ----------
    uri : str
        The recording.
    path : Path
        The file.
    attributes : mapping
        Those that it was written with; others do not matter.
    """
    try:
        with h5py.File(path, "r") as handle:
            found, labels = handle.attrs, handle["labels"]
            same = all(found.get(name) == value for name, value in attributes.items())
            if not (same and found.get("complete", False)):
                return None
            digest = found.get(LABELS_DIGEST) or labels_digest(labels[()])
            return ArchiveEntry(uri, path.name, len(labels), digest)
    except (OSError, KeyError):  # absent, or damaged: to be written again either way
        return None


def write_index(folder: str | Path, entries: Iterable[ArchiveEntry]) -> None:
    """Write the index of an archive: a table, and a link to each recording's file."""
    listed = sorted(entries, key=lambda entry: entry.uri)
    with atomic_path(Path(folder) / INDEX_NAME) as temporary, h5py.File(temporary, "w") as handle:
        handle["entries"] = json.dumps([asdict(entry) for entry in listed])
        recordings = handle.create_group("recordings")
        for entry in listed:
            recordings[entry.uri] = h5py.ExternalLink(entry.file, "/")


class Archive:
    """Read crops of the recordings of an archive.

    Parameters
    ----------
    folder : str or Path
        Where the index lies.

    Raises
    ------
    ArchiveError
        If there is no index, or it lists nothing.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        index = self.folder / INDEX_NAME
        if not index.is_file():
            raise ArchiveError(f"{index}: no such index: run 'xai-segment cache-features' first")
        with h5py.File(index, "r") as handle:
            rows = json.loads(handle["entries"][()])
        self.entries = [ArchiveEntry(**row) for row in rows]
        if not self.entries:
            raise ArchiveError(f"{index}: the archive lists no recording")
        self._layouts: dict[str, Layout] = {}

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def num_bins(self) -> int:
        """F of the spectrograms (of the first recording: an archive is made with one size)."""
        return self._layout(self.entries[0]).arrays["spectrogram"].shape[1]

    @property
    def feature_shape(self) -> tuple[int, ...] | None:
        """(D,) or (L, D) of the features of a frame (of the first recording), None without any."""
        extent = self._layout(self.entries[0]).arrays.get("features")
        return None if extent is None else tuple(extent.shape[1:])

    @property
    def has_samples(self) -> bool:
        """Whether the (first) recording itself is there, for features that are yet to compute."""
        return "samples" in self._layout(self.entries[0]).arrays

    @property
    def upstream(self) -> str | None:
        """The `UpstreamConfig` of the (first) recording as JSON, None if it was made without.

        It names the checkpoint where it lay when the archive was made.
        """
        attributes = self._layout(self.entries[0]).attributes
        settings = attributes.get("upstream", _NO_UPSTREAM)
        if settings == _NO_UPSTREAM:
            return None
        checkpoint = attributes.get(CHECKPOINT) or None
        return json.dumps(json.loads(settings) | {"checkpoint": checkpoint})

    def read(
        self, entry: ArchiveEntry, start: int = 0, stop: int | None = None, features: bool = False
    ) -> tuple[NDArray[np.float16], NDArray[np.int8], NDArray[np.float16] | None]:
        """Return spectrogram, labels and (if asked for) features of frames start to stop.

        Features are (t, D) or, where the archive holds several hidden states, (t, L, D).

        Raises
        ------
        ArchiveError
            If the file is missing, damaged, or lacks the features.
        """
        if features and "features" not in self._layout(entry).arrays:
            raise ArchiveError(
                f"{self.folder / entry.file}: holds no upstream features: run 'xai-segment "
                "cache-features --upstream NAME' into a new folder"
            )
        extra = self._rows(entry, "features", start, stop) if features else None
        spectrogram = self._rows(entry, "spectrogram", start, stop)
        return spectrogram, self._rows(entry, "labels", start, stop), extra

    def read_labels(self, entry: ArchiveEntry) -> NDArray[np.int8]:
        """Return all labels (T, C) of a recording, and read nothing else.

        Raises
        ------
        ArchiveError
            If the file is missing or damaged.
        """
        return self._rows(entry, "labels", 0, None)

    def read_samples(
        self, entry: ArchiveEntry, start: int = 0, stop: int | None = None
    ) -> NDArray[np.int16]:
        """Return what frames start to stop are made of: samples [320 start, 320 (stop - 1) + 400).

        Returns
        -------
        numpy.ndarray, shape (320 (stop - start - 1) + 400,), int16
            32768 times audio in [-1, 1]; none if `stop` is not beyond `start`.

        Raises
        ------
        ArchiveError
            If the file is missing, damaged, or does not hold the recording.
        """
        if "samples" not in self._layout(entry).arrays:
            raise ArchiveError(
                f"{self.folder / entry.file}: holds no samples: run 'xai-segment cache-features "
                "--store audio' into a new folder"
            )
        last = entry.num_frames if stop is None else min(stop, entry.num_frames)
        end = (last - 1) * HOP + WINDOW if last > start else start * HOP
        return self._rows(entry, "samples", start * HOP, end)

    def _rows(self, entry: ArchiveEntry, name: str, start: int, stop: int | None) -> NDArray[Any]:
        path = self.folder / entry.file
        try:
            while True:
                layout = self._layout(entry)
                last = layout.arrays[name].shape[0] if stop is None else stop
                rows = read_rows(path, layout, name, start, last)
                if rows is not None:
                    return rows
                del self._layouts[entry.file]  # the file was made again since
        except (OSError, KeyError) as error:
            raise _unreadable(path, f"its {name} cannot be read ({error})") from None

    def _layout(self, entry: ArchiveEntry) -> Layout:
        if entry.file not in self._layouts:
            path = self.folder / entry.file
            try:
                self._layouts[entry.file] = read_layout(path)
            except OSError as error:
                raise _unreadable(path, f"cannot be read ({error})") from None
        return self._layouts[entry.file]


def _unreadable(path: Path, problem: str) -> ArchiveError:
    return ArchiveError(f"{path}: {problem}: delete it and run 'xai-segment cache-features' again")


def full_labels(labels: NDArray[np.int8], classes: Iterable[str]) -> NDArray[np.int8]:
    """Return the columns of `labels` (T, 4) for `classes`, in that order."""
    return labels[:, [CLASSES.index(name) for name in classes]]
