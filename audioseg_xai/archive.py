"""Feature archives: one HDF5 file a recording, and an index file that links them.

A file holds ``spectrogram (T, F) f16``, ``labels (T, C) i1`` (-1 unknown) and, for networks that
listen to an upstream model, ``features (T, D) f16``. It is written under a temporary name and
renamed, so a file that is there is whole; the index is written last.
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
from audioseg_xai.labels import CLASSES

INDEX_NAME = "index.h5"
_OPEN_FILES = 256


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
) -> None:
    """Write the archive file of one recording, whole or not at all.

    Parameters
    ----------
    path : str or Path
        The file to write.
    arrays : mapping
        ``spectrogram`` (T, F), ``labels`` (T, C) and optionally ``features`` (T, D).
    attributes : mapping
        ``uri``, ``config`` (JSON) and whatever else tells how the arrays were made.
    """
    with atomic_path(path) as temporary, h5py.File(temporary, "w", libver="latest") as handle:
        for name, array in arrays.items():
            stored = array.astype(np.int8 if name == "labels" else np.float16)
            handle.create_dataset(name, data=stored)
        handle.attrs.update(attributes)
        handle.attrs["complete"] = True


def stored_frames(path: str | Path, attributes: Mapping[str, str | int | float]) -> int | None:
    """Return T of a whole archive file made with these attributes, None if there is none such."""
    try:
        with h5py.File(path, "r") as handle:
            found = handle.attrs
            same = all(found.get(name) == value for name, value in attributes.items())
            return len(handle["labels"]) if same and found.get("complete", False) else None
    except OSError:  # absent, or damaged: to be written again either way
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

    def read(
        self, entry: ArchiveEntry, start: int = 0, stop: int | None = None, features: bool = False
    ) -> tuple[NDArray[np.float16], NDArray[np.int8], NDArray[np.float16] | None]:
        """Return spectrogram, labels and (if asked for) features of frames start to stop.

        Raises
        ------
        ArchiveError
            If the file is missing, damaged, or lacks the features.
        """
        handle = self._open(entry)
        if features and "features" not in handle:
            raise ArchiveError(f"{self.folder / entry.file}: holds no upstream features")
        part = slice(start, stop)
        extra = handle["features"][part] if features else None
        return handle["spectrogram"][part], handle["labels"][part], extra

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
