"""Join the shards of a segmentation or of an explanation archive."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from audioseg_xai.errors import ShardError, UsageError
from audioseg_xai.files import atomic_path
from audioseg_xai.shards import ShardRecord, read_record, read_records
from audioseg_xai.textfields import read_text, write_lines

HDF5 = (".h5", ".hdf5")
"""Suffixes of explanation archives; everything else is RTTM."""


def join(parts: Sequence[Path], output: Path | None) -> list[str]:
    """Join shards into one file, whole or not at all: what one call for all recordings makes.

    Parameters
    ----------
    parts : sequence of Path
        All shards of one list, RTTM or HDF5, in any order.
    output : Path or None
        What to write; None is stdout, which takes RTTM.

    Returns
    -------
    list of str
        The recordings that failed, of which there is nothing in any shard.

    Raises
    ------
    ShardError
        If one is missing or not whole, or they are not shards of one thing.
    UsageError
        If RTTM and HDF5 are mixed.
    """
    kinds = {path.suffix in HDF5 for path in (*parts, *([output] if output else []))}
    if len(kinds) > 1:
        raise UsageError("shards and output are either all RTTM or all explanation archives (.h5)")
    records = read_records(parts)
    if kinds == {False}:
        write_lines(_rttm_lines(records), output or sys.stdout)
    elif output is None:
        raise UsageError("an explanation archive does not go to stdout: say --output FILE")
    else:
        _join_archives(records, output)
    return [uri for _, uri, _ in _in_order(records) if uri in _failed(records)]


def _in_order(records: Mapping[str | Path, ShardRecord]) -> list[tuple[int, str, str | Path]]:
    """Return place, uri and file of each recording, in the order of the whole list."""
    return sorted(
        (place, uri, path)
        for path, record in records.items()
        for uri, place in record.recordings.items()
    )


def _failed(records: Mapping[str | Path, ShardRecord]) -> set[str]:
    return {uri for record in records.values() for uri in record.failed}


def _rttm_lines(records: Mapping[str | Path, ShardRecord]) -> Iterator[str]:
    lines: dict[str, list[str]] = {}
    for path in records:
        # The lines as they are: a confidence that is read and written may be rounded twice.
        for text in read_text(path)[1].splitlines():
            lines.setdefault(text.split()[1], []).append(text)
    for _, uri, _ in _in_order(records):
        yield from lines.get(uri, ())


def _join_archives(records: Mapping[str | Path, ShardRecord], output: Path) -> None:
    import h5py

    from audioseg_xai.explanation_archive import ExplanationArchive
    from audioseg_xai.explanation_layout import copy_recordings, open_archive, write_root

    first = next(iter(records))
    with ExplanationArchive(first) as archive:
        readout, provenance = archive.readout, archive.provenance
    failed = _failed(records)
    with atomic_path(output) as temporary, h5py.File(temporary, "w") as joined:
        write_root(joined, readout, provenance | {"shards": len(records)})
        for path in records:
            with open_archive(path) as part:
                done = [uri for uri in records[path].recordings if uri not in failed]
                copy_recordings(part, done, joined, output)


def whole(paths: Sequence[Path]) -> list[Path]:
    """Return those of `paths` that are whole shards."""
    found = []
    for path in paths:
        try:
            read_record(path)
        except ShardError:
            continue  # that is the answer
        found.append(path)
    return found
