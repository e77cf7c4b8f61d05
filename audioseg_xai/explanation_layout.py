"""How explanation archives and prototype files are laid out: what both of them share."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from audioseg_xai.annotation import Segment
from audioseg_xai.disk_room import METADATA, DiskRoom
from audioseg_xai.errors import ArchiveError
from audioseg_xai.explain import Readout
from audioseg_xai.frames import FRAME_SHIFT

Compression = Literal["gzip"] | None

ROOT = ("dictionary", "weights", "bias", "frequencies")
PROTOTYPES = ("prototypes", "prototype_spectra", "prototype_counts")
DROPPED, QUARTILES = "prototype_dropped", "prototype_quartiles"
DESCRIPTION = {
    "component_centre": "centre",
    "component_bandwidth": "bandwidth",
    "component_distinctness": "distinctness",
    "component_serves": "serves",
    "prototype_similarity": "similarity",
}
CACHED_CHUNKS = 2
"""Chunks of a growing dataset that HDF5 keeps in memory, and has perhaps not written."""

_ROWS = 512
_BLOCK = 4 << 20


def growing(
    group: h5py.Group, name: str, width: int, dtype: str, compression: Compression
) -> h5py.Dataset:
    """Return an empty dataset (0, width) that rows can be appended to.

    Of what was written it keeps `CACHED_CHUNKS` in memory, and not megabytes as by default.
    """
    rows = max(1, min(_ROWS, _BLOCK // max(width, 1)))
    return group.create_dataset(
        name,
        shape=(0, width),
        maxshape=(None, width),
        chunks=(rows, max(width, 1)),
        dtype=dtype,
        compression=compression,
        compression_opts=1 if compression else None,
        rdcc_nbytes=CACHED_CHUNKS * rows * max(width, 1) * np.dtype(dtype).itemsize,
    )


def chunk_bytes(dataset: h5py.Dataset) -> int:
    """Return the bytes of a chunk of a dataset, uncompressed."""
    return math.prod(dataset.chunks) * dataset.dtype.itemsize


def bound_metadata(file: h5py.File) -> None:
    """Let a file that is appended to keep no more than the metadata that it works on.

    Where the chunks of a dataset lie is kept in a tree, of which only the last nodes change. The
    library counts a node as what it takes in the file, less than it takes in memory, and would
    keep all of them: of half a day of sound 2 MB.
    """
    config = file.id.get_mdc_config()
    config.set_initial_size = True
    config.initial_size = config.min_size = config.max_size = METADATA
    file.id.set_mdc_config(config)


_SMALLEST_HALF = np.float32(2**-14)  # the smallest normal number of float16
_LARGEST_HALF = np.float32(np.finfo(np.float16).max)
_EXPONENTS = np.uint32(((127 - 15) << 10) + 1024)  # between both kinds of bits, and counted twice


def half(values: NDArray[np.floating]) -> NDArray[np.float16]:
    """Return `values`, which are not negative, in half precision, always finite.

    What ``astype`` gives, six times as fast where zeros lie between other values: without a branch
    for each. Of what is below the smallest normal number of float16 the bits are those behind the
    point of 1/2 + x, above it those of a float32 with 13 fewer, rounded to even; the sum of both,
    each held at that number where the other counts, is right everywhere.
    """
    low = np.minimum(values, _SMALLEST_HALF, dtype=np.float32)
    low += np.float32(0.5)
    # Beyond the range of float16 the nearest value is better than infinity.
    bits = np.clip(values, _SMALLEST_HALF, _LARGEST_HALF, dtype=np.float32).view(np.uint32)
    bits += ((bits >> np.uint32(13)) & np.uint32(1)) + np.uint32(0xFFF)
    bits >>= np.uint32(13)
    bits -= _EXPONENTS
    bits += low.view(np.uint32) - np.float32(0.5).view(np.uint32)
    return bits.astype(np.uint16).view(np.float16)


def group_name(uri: str) -> str:
    """Return a name for the group of `uri` that HDF5 takes for neither a path nor a dataset."""
    name = uri.replace("%", "%25").replace("/", "%2F")
    if name in (*ROOT, *PROTOTYPES, DROPPED, QUARTILES, *DESCRIPTION, "."):
        name = f"%{ord(name[0]):02X}{name[1:]}"
    return name


def segment_table(segments: Sequence[Segment], labels: Iterable[str]) -> NDArray[Any]:
    """Return rows of the table ``segments``, for a table in which all of `labels` occur."""
    longest = max((len(label.encode()) for label in labels), default=1)
    dtype = [
        ("class", h5py.string_dtype("utf-8", longest)),
        ("onset", "f8"),
        ("offset", "f8"),
        ("confidence", "f4"),
    ]
    rows = [(s.label.encode(), s.onset, s.offset, s.confidence) for s in segments]
    return np.array(rows, dtype=dtype)


def read_segments(rows: NDArray[Any]) -> tuple[Segment, ...]:
    """Return the segments that the rows of a table ``segments`` stand for."""
    return tuple(
        Segment(float(onset), float(offset), label.decode(), float(confidence))
        for label, onset, offset, confidence in rows
    )


def write_root(file: h5py.File, readout: Readout, provenance: Mapping[str, Any]) -> None:
    """Write what lies at the root of every file."""
    for name in ROOT:
        file[name] = np.asarray(getattr(readout, name), dtype=np.float32)
    file.attrs["classes"] = list(readout.classes)
    file.attrs["frame_shift"] = FRAME_SHIFT
    file.attrs["provenance"] = json.dumps(dict(provenance))


def copy_recordings(
    source: h5py.File, uris: Iterable[str], target: h5py.File, name: str | Path
) -> None:
    """Copy the groups of recordings, their chunks as they are, to the end of the file `name`.

    Raises
    ------
    OSError
        If the disk has no room for all of `source`; then nothing is copied.
    """
    room = DiskRoom(target, name)
    room.reserve(source.id.get_filesize())
    for uri in uris:
        source.copy(group_name(uri), target)
    room.release()


def open_archive(path: str | Path) -> h5py.File:
    """Open an HDF5 file to read.

    Raises
    ------
    ArchiveError
        If it is missing or no HDF5 file.
    """
    try:
        return h5py.File(path, "r")
    except FileNotFoundError:
        raise ArchiveError(
            f"{path}: no such file: make it with xai-segment explain --hdf5"
        ) from None
    except OSError as error:
        reason = " ".join(str(error).split())
        raise ArchiveError(f"{path}: is no HDF5 file that can be read: {reason}") from None


def read_root(file: h5py.File, path: str | Path) -> Readout:
    """Return the readout at the root of a file; messages call it `path`.

    Raises
    ------
    ArchiveError
        If something is missing there.
    """
    missing = [name for name in ROOT if name not in file]
    if missing or "classes" not in file.attrs:
        raise ArchiveError(f"{path}: is no explanation archive: it has no {missing or 'classes'}")
    return Readout(tuple(file.attrs["classes"]), *(file[name][()] for name in ROOT))
