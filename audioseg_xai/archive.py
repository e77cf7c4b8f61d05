"""Feature archives: one HDF5 file a recording, and an index file that links them.

A file holds ``spectrogram (T, F) f16``, ``labels (T, C) i1`` (-1 unknown) and, for networks that
listen to an upstream model, either its ``features (T, D)`` or ``(T, L, D) f16``, or the recording
itself, ``samples (N,) i2``, for features that are computed when they are needed. It is written
under a temporary name and renamed, so a file that is there is whole; the index is written last.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from audioseg_xai.errors import ArchiveError
from audioseg_xai.files import atomic_path
from audioseg_xai.frames import HOP, WINDOW
from audioseg_xai.labels import CLASSES

INDEX_NAME = "index.h5"
CHECKPOINT = "upstream_checkpoint"
"""Attribute that says where the upstream's weights lay; not part of what the file is made of."""

_OPEN_FILES = 256
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
    """

    uri: str
    file: str
    num_frames: int


def write_recording(
    path: str | Path,
    arrays: Mapping[str, NDArray[Any]],
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
        and ``samples`` (N,).
    attributes : mapping
        ``uri``, ``config`` (JSON) and whatever else tells how the arrays were made.
    features : iterable of numpy.ndarray, optional
        ``features`` in parts (t, D) or (t, L, D), for when they are too many to hold at once; they
        must make T frames together.
    """
    with atomic_path(path) as temporary, h5py.File(temporary, "w", libver="latest") as handle:
        for name, array in arrays.items():
            handle.create_dataset(name, data=array.astype(_DTYPES.get(name, np.float16)))
        _append(handle, features, len(arrays["labels"]))
        handle.attrs.update(attributes)
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


def stored_frames(path: str | Path, attributes: Mapping[str, str | int | float]) -> int | None:
    """Return T of a whole archive file made with these attributes, None if there is none such."""
    try:
        with h5py.File(path, "r") as handle:
            found = handle.attrs
            same = all(found.get(name) == value for name, value in attributes.items())
            return len(handle["labels"]) if same and found.get("complete", False) else None
    except (OSError, KeyError):  # absent, or damaged: to be written again either way
        return None


def write_index(folder: str | Path, entries: Iterable[ArchiveEntry]) -> None:
    """Write the index of an archive: a table, and a link to each recording's file."""
    listed = sorted(entries, key=lambda entry: entry.uri)
    with atomic_path(Path(folder) / INDEX_NAME) as temporary, h5py.File(temporary, "w") as handle:
        handle["entries"] = json.dumps([entry.__dict__ for entry in listed])
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
        self._forget_handles()

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to pickle: without open files."""
        return self.__dict__ | {"_handles": OrderedDict()}

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def num_bins(self) -> int:
        """F of the spectrograms (of the first recording: an archive is made with one size)."""
        return int(self._open(self.entries[0])["spectrogram"].shape[1])

    @property
    def feature_shape(self) -> tuple[int, ...] | None:
        """(D,) or (L, D) of the features of a frame (of the first recording), None without any."""
        handle = self._open(self.entries[0])
        return tuple(handle["features"].shape[1:]) if "features" in handle else None

    @property
    def has_samples(self) -> bool:
        """Whether the (first) recording itself is there, for features that are yet to compute."""
        return "samples" in self._open(self.entries[0])

    @property
    def upstream(self) -> str | None:
        """The `UpstreamConfig` of the (first) recording as JSON, None if it was made without.

        It names the checkpoint where it lay when the archive was made.
        """
        attributes = self._open(self.entries[0]).attrs
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
        handle = self._open(entry)
        if features and "features" not in handle:
            raise ArchiveError(
                f"{self.folder / entry.file}: holds no upstream features: run 'xai-segment "
                "cache-features --upstream NAME' into a new folder"
            )
        part = slice(start, stop)
        extra = handle["features"][part] if features else None
        return handle["spectrogram"][part], handle["labels"][part], extra

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
        handle = self._open(entry)
        if "samples" not in handle:
            raise ArchiveError(
                f"{self.folder / entry.file}: holds no samples: run 'xai-segment cache-features "
                "--store audio' into a new folder"
            )
        last = entry.num_frames if stop is None else min(stop, entry.num_frames)
        end = (last - 1) * HOP + WINDOW if last > start else start * HOP
        samples: NDArray[np.int16] = handle["samples"][start * HOP : end]
        return samples

    def _open(self, entry: ArchiveEntry) -> h5py.File:
        if self._owner != os.getpid():  # an HDF5 handle must not cross a fork into a loader
            self._forget_handles()
        handle = self._handles.pop(entry.file, None)
        if handle is None:
            try:
                handle = h5py.File(self.folder / entry.file, "r")
            except OSError as error:
                raise ArchiveError(
                    f"{self.folder / entry.file}: cannot be read ({error}): delete it and run "
                    "'xai-segment cache-features' again"
                ) from None
        self._handles[entry.file] = handle
        if len(self._handles) > _OPEN_FILES:
            self._handles.popitem(last=False)[1].close()
        return handle

    def _forget_handles(self) -> None:
        self._handles: OrderedDict[str, h5py.File] = OrderedDict()
        self._owner = os.getpid()


def full_labels(labels: NDArray[np.int8], classes: Iterable[str]) -> NDArray[np.int8]:
    """Return the columns of `labels` (T, 4) for `classes`, in that order."""
    return labels[:, [CLASSES.index(name) for name in classes]]
