"""Data directories that may be faulty: what can be read of them, line by line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from audioseg_xai.annotation import Region, Segment, merge_regions
from audioseg_xai.corpora.loose import check_id, class_line, parse_lines, uem_line
from audioseg_xai.corpora.report import Report
from audioseg_xai.datadir import DataDir, audio_path, read_classes, seconds, table_fields
from audioseg_xai.errors import DataDirError

FILES = ("wav.scp", "reco2dur", "ref.rttm", "all.uem", "classes")

SORT = "sort it with 'LC_ALL=C sort -k1,1', or use 'datadir fix'"

ValueT = TypeVar("ValueT")


@dataclass
class Draft:
    """What can be read of a data directory; attributes as in `DataDir`.

    Attributes
    ----------
    absent : tuple of str
        Files that are not there.
    misplaced : list of (path, line, what)
        What is only a matter of order or repetition.
    ambiguous : set of str
        Uris with several, different audio files or durations.
    """

    wav: dict[str, Path] = field(default_factory=dict)
    duration: dict[str, float] = field(default_factory=dict)
    reference: dict[str, list[Segment]] = field(default_factory=dict)
    uem: dict[str, list[Region]] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    misplaced: list[tuple[Path, int, str]] = field(default_factory=list)
    ambiguous: set[str] = field(default_factory=set)

    def data_dir(self) -> DataDir:
        """Return it as it stands; it may not be valid."""
        return DataDir(self.wav, self.duration, self.reference, self.uem, self.classes, self.groups)


def read_draft(folder: Path, report: Report) -> Draft:
    """Read a data directory; lines that are not understood become problems.

    Parameters
    ----------
    folder : Path
        The directory.
    report : Report
        Takes problems and repairs. What is merely out of order, or missing, is in the draft.

    Raises
    ------
    DataDirError
        If there is no such directory, or no ``wav.scp`` in it.
    """
    if not (folder / "wav.scp").is_file():
        raise DataDirError(f"{folder}: no wav.scp in it; is it a data directory?")
    draft = Draft(absent=tuple(name for name in FILES if not (folder / name).is_file()))
    draft.wav = _table(folder / "wav.scp", lambda text: audio_path(folder, text), draft, report)
    if "reco2dur" not in draft.absent:
        draft.duration = _table(folder / "reco2dur", seconds, draft, report)
    if "ref.rttm" not in draft.absent:
        draft.reference = _segments(folder / "ref.rttm", report)
    if "all.uem" not in draft.absent:
        lines = parse_lines(folder / "all.uem", report, uem_line)
        draft.uem = {u: merge_regions(found) for u, found in _collected(lines).items()}
    if "classes" not in draft.absent:
        draft.classes = _class_names(folder / "classes", report)
    if (folder / "groups").is_file():
        lines_of_groups = parse_lines(folder / "groups", report, _group_line)
        found = _collected(lines_of_groups)
        draft.groups = {uri: tuple(sorted(set(names))) for uri, names in found.items()}
    return draft


def _table(
    path: Path, parse: Callable[[str], ValueT], draft: Draft, report: Report
) -> dict[str, ValueT]:
    def parse_line(line: str) -> tuple[str, ValueT]:
        uri, text = table_fields(line)
        return check_id(uri), parse(text)

    table: dict[str, ValueT] = {}
    last = ""
    for number, (uri, value) in parse_lines(path, report, parse_line, remedy="write a line each"):
        if uri in table:
            draft.misplaced.append((path, number, f"{uri} was there before"))
            if table[uri] != value:
                draft.ambiguous.add(uri)
        elif uri < last:
            draft.misplaced.append((path, number, f"{uri} comes after {last}"))
        table.setdefault(uri, value)
        last = max(last, uri)
    return table


def _segments(path: Path, report: Report) -> dict[str, list[Segment]]:
    if not path.read_bytes().strip():  # nothing sounds in any recording
        return {}
    return {
        uri: sorted(found)
        for uri, found in _collected(parse_lines(path, report, class_line)).items()
    }


def _group_line(line: str) -> tuple[str, str]:
    fields = line.split()
    if len(fields) != 2:
        raise DataDirError(f"expected '<uri> <group>', found {line!r}; correct the line")
    return fields[0], fields[1]


def _class_names(path: Path, report: Report) -> tuple[str, ...]:
    try:
        return read_classes(path)
    except DataDirError as error:
        report.error(path, error)
        return ()


def _collected(lines: list[tuple[int, tuple[str, ValueT]]]) -> dict[str, list[ValueT]]:
    found: dict[str, list[ValueT]] = {}
    for _, (uri, value) in lines:
        found.setdefault(uri, []).append(value)
    return found
