"""Room on the disk before HDF5 writes: it does not recover from a disk that fills up meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

import h5py

STEP = 8 << 20
"""Bytes that are asked for at once."""

METADATA = 128 << 10
"""Bytes of metadata that HDF5 may hold back, and must be able to write in the end."""


class DiskRoom:
    """Keeps room behind the end of an HDF5 file that is being written.

    Parameters
    ----------
    file : h5py.File
        Open for writing.
    name : str or Path
        What the file will be called, for messages.
    """

    def __init__(self, file: h5py.File, name: str | Path) -> None:
        self._file, self._name = file, str(name)
        self._handle = file.id.get_vfd_handle()
        self._until = 0

    def reserve(self, size: int) -> None:
        """See to it that `size` bytes can be written.

        Raises
        ------
        OSError
            If the disk has no room for them. What was written before is whole, and the file can
            be closed.
        """
        # What was deleted before the end of the file is written over first.
        end: int = self._file.id.get_filesize() - self._file.id.get_freespace()
        if end + size + METADATA > self._until:
            wanted = end + size + METADATA + STEP
            try:
                os.posix_fallocate(self._handle, end, wanted - end)
            except OSError as error:
                raise OSError(error.errno, error.strerror, self._name) from error
            self._until = wanted

    def release(self) -> None:
        """Give back what was not needed; all that was written is on the disk then."""
        self._file.flush()
        os.ftruncate(self._handle, self._file.id.get_filesize())
        self._until = 0
