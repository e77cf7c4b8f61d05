"""Rows of arrays in HDF5 files: read by their place in the file, and written as they come.

An open HDF5 file costs half a megabyte of memory (the hash table of its metadata cache) and nine
small reads. An array that lies in one piece, uncompressed, is at an offset that the library tells
(H5Dget_offset): it is asked once, and from then on a row is one read of an ordinary file.
"""

from __future__ import annotations

import os
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import DTypeLike, NDArray

OPEN_FILES = 256
"""Ordinary files that a process keeps open for all its archives; an open one costs no memory."""

OPEN_HANDLES = 8
"""HDF5 files that a process keeps open: only those of arrays in chunks."""

_IN_MEMORY = 64 * 2**20
"""Bytes up to which a `Spool` needs no file: ten minutes of a spectrogram of 513 bins."""

_NO_ROWS: tuple[int, ...] = (0,)

_COPIED = 4096
"""Rows that are copied at once."""

Version = tuple[int, int, int, int]


class Extent(NamedTuple):
    """Where an array lies in its file.

    Attributes
    ----------
    shape : tuple of int
        All of it.
    dtype : numpy.dtype
        Of its elements.
    offset : int or None
        Its first byte, None where it does not lie in one piece.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int | None


@dataclass(frozen=True)
class Layout:
    """What a file holds, and which version of it.

    Attributes
    ----------
    arrays : dict of str to Extent
        By name.
    attributes : dict
        Those of the root.
    version : Version
        Device, inode, size and time of change: another file of that name has another.
    """

    arrays: dict[str, Extent]
    attributes: dict[str, Any]
    version: Version


class _Pool:
    """Open files of a process, the longest unused of which are closed."""

    def __init__(self) -> None:
        self.files: OrderedDict[Path, tuple[int, Version]] = OrderedDict()
        self.handles: OrderedDict[Path, h5py.File] = OrderedDict()
        self.owner = os.getpid()

    def file(self, path: Path, version: Version) -> int | None:
        """Return the descriptor of a version of a file, None if there is another one now."""
        found = self.files.pop(path, None)
        if found is None or found[1] != version:  # it may be an old one that is open
            if found is not None:
                os.close(found[0])
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            found = descriptor, _version(os.fstat(descriptor))
        self.files[path] = found
        while len(self.files) > OPEN_FILES:
            os.close(self.files.popitem(last=False)[1][0])
        return found[0] if found[1] == version else None

    def handle(self, path: Path) -> h5py.File:
        """Return an open HDF5 file."""
        if self.owner != os.getpid():  # unlike a descriptor, it must not cross a fork
            self.handles, self.owner = OrderedDict(), os.getpid()
        found = self.handles.pop(path, None)
        self.handles[path] = h5py.File(path, "r", locking=False) if found is None else found
        while len(self.handles) > OPEN_HANDLES:
            self.handles.popitem(last=False)[1].close()
        return self.handles[path]

    def forget(self, path: Path) -> None:
        """Close the HDF5 file of that name, if it is open."""
        if self.owner == os.getpid() and (handle := self.handles.pop(path, None)) is not None:
            handle.close()


_pool = _Pool()


def read_layout(path: Path) -> Layout:
    """Return what an HDF5 file holds.

    Raises
    ------
    OSError
        If it is missing or is not HDF5.
    """
    version = _version(os.stat(path))
    with h5py.File(path, "r", locking=False) as handle:
        arrays = {
            name: _extent(array)
            for name, array in handle.items()
            if isinstance(array, h5py.Dataset) and array.ndim > 0
        }
        return Layout(arrays, dict(handle.attrs), version)


def read_rows(path: Path, layout: Layout, name: str, start: int, stop: int) -> NDArray[Any] | None:
    """Return rows start to stop of an array; None if the file is not the one of the layout.

    Raises
    ------
    OSError
        If the file cannot be read, or ends too early.
    """
    extent = layout.arrays[name]
    start, stop, _ = slice(start, stop).indices(extent.shape[0])
    descriptor = _pool.file(path, layout.version)
    if descriptor is None:
        _pool.forget(path)
        return None
    if extent.offset is None:
        found: NDArray[Any] = _pool.handle(path)[name][start:stop]
        return found
    rows = np.empty((max(0, stop - start), *extent.shape[1:]), extent.dtype)
    row_bytes = int(np.prod(extent.shape[1:], dtype=np.int64)) * extent.dtype.itemsize
    _read_into(descriptor, rows, extent.offset + start * row_bytes)
    return rows


def _read_into(descriptor: int, rows: NDArray[Any], offset: int) -> None:
    left = rows.reshape(-1).view(np.uint8).data
    while len(left):
        count = os.preadv(descriptor, [left], offset)
        if count == 0:
            raise OSError(f"it ends {len(left)} bytes too early")
        left, offset = left[count:], offset + count


def _extent(array: h5py.Dataset) -> Extent:
    plain = array.chunks is None and array.external is None and not array.file.userblock_size
    return Extent(array.shape, array.dtype, array.id.get_offset() if plain else None)


def _version(status: os.stat_result) -> Version:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class Spool:
    """An array that grows by rows, and whose length is known only in the end.

    It is held in memory while it is small, and else in a file without a name beside the one that
    it is for: a program that is killed leaves nothing behind.

    Parameters
    ----------
    folder : Path
        Where that file lies.
    dtype : dtype
        Of its elements; rows are converted.
    """

    def __init__(self, folder: Path, dtype: DTypeLike) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.dtype, self.shape = np.dtype(dtype), _NO_ROWS
        self._file = tempfile.SpooledTemporaryFile(  # noqa: SIM115  (closed by __exit__)
            max_size=_IN_MEMORY, dir=str(folder)
        )

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows, shape (n, ...)."""
        self.shape = (self.shape[0] + len(rows), *rows.shape[1:])
        self._file.write(np.ascontiguousarray(rows, self.dtype).data)

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Yield all rows, some at a time, in their order."""
        row_bytes = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        self._file.seek(0)
        while data := self._file.read(_COPIED * row_bytes):
            yield np.frombuffer(data, self.dtype).reshape(-1, *self.shape[1:])


def write_array(handle: h5py.File, name: str, array: NDArray[Any] | Spool) -> None:
    """Write an array into an HDF5 file, in one piece and uncompressed."""
    if not isinstance(array, Spool):
        handle.create_dataset(name, data=array)
        return
    dataset, done = handle.create_dataset(name, array.shape, array.dtype), 0
    for block in array.blocks():
        dataset[done : done + len(block)] = block
        done += len(block)
