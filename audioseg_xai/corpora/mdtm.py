"""MDTM files: who speaks when, with onset and duration.

A line has eight fields, ``<show> <channel> <onset> <duration> speaker <confidence> <kind>
<speaker>``; lines that begin with ``#`` or ``;;`` are comments.
"""

from __future__ import annotations

from pathlib import Path

from audioseg_xai.annotation import Region
from audioseg_xai.corpora.loose import own_lines, parse_lines
from audioseg_xai.corpora.report import Report
from audioseg_xai.errors import AnnotationError
from audioseg_xai.textfields import check_times, parse_number

_FORM = "<show> 1 <onset> <duration> speaker NA <kind> <speaker>"


def read_turns(path: Path, uri: str, report: Report) -> dict[str, list[Region]]:
    """Return the turns of the show `uri` by speaker, in seconds.

    Lines of another type than ``speaker`` are passed over, with a warning; a line that is not
    understood, or is about another show, becomes a problem.

    Parameters
    ----------
    path : Path
        The file.
    uri : str
        The show.
    report : Report
        Takes problems and repairs.
    """
    turns: dict[str, list[Region]] = {}
    lines = own_lines(path, parse_lines(path, report, mdtm_line, uri), uri, report)
    for number, (kind, speaker, region) in lines:
        if kind == "speaker":
            turns.setdefault(speaker, []).append(region)
        else:
            what = f"has lines of type {kind!r}, not 'speaker', which were passed over"
            report.repair(path, what, line=number)
    return turns


def mdtm_line(line: str) -> tuple[str, tuple[str, str, Region]] | None:
    """Return show, and type, speaker and region, of a line; None for a comment.

    Raises
    ------
    AnnotationError
        If it is not understood.
    """
    if line.lstrip().startswith(("#", ";;")):
        return None
    fields = line.split()
    if len(fields) != 8:
        raise AnnotationError(f"expected 8 fields, found {len(fields)}; write '{_FORM}'")
    if fields[1] not in ("0", "1"):
        raise AnnotationError(
            f"channel {fields[1]!r}: expected 0 or 1; annotate the mixture of all channels"
        )
    onset, duration = parse_number(fields[2], "onset"), parse_number(fields[3], "duration")
    if duration <= 0:
        raise AnnotationError(
            f"duration {fields[3]} is not positive; the fourth field is no end: correct the line"
        )
    check_times(onset, onset + duration)
    return fields[0], (fields[4], fields[7], (onset, onset + duration))
