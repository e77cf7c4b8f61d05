"""Who-sounds-when on paper: RTTM and UEM files, and segments.

RTTM lines have ten fields, ``SPEAKER <uri> <channel> <onset> <duration> <NA> <NA> <label>
<confidence> <NA>``; UEM lines have four, ``<uri> <channel> <onset> <offset>``. Times are in
seconds.
"""

from __future__ import annotations

import functools
import heapq
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from operator import attrgetter
from pathlib import Path
from typing import IO

from audioseg_xai.errors import AnnotationError, LabelError
from audioseg_xai.labels import canonical
from audioseg_xai.textfields import (
    COMMENT,
    Source,
    check_times,
    decimal_bounds,
    field_lines,
    parse_number,
    write_lines,
)

Region = tuple[float, float]
"""Onset and offset of a stretch of time, in seconds."""

_RttmFields = tuple[Decimal, str, Decimal, str]
"""Onset, label, duration, confidence."""

_MILLISECOND = 1e-3
_ABSENT = frozenset({"<NA>", "NA"})
_CHANNELS = frozenset({"0", "1"}) | _ABSENT


@functools.total_ordering
@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of time with a label.

    Parameters
    ----------
    onset : float
        Beginning, in seconds from the start of the recording; not negative.
    offset : float
        End, in seconds, exclusive; greater than `onset`.
    label : str
        What sounds: a class name, or as it stands in a file read with ``raw_labels``.
    confidence : float, optional
        How sure its maker was; None when unknown.

    Raises
    ------
    AnnotationError
        If the times are not finite, the onset is negative or the duration not positive.
    """

    onset: float
    offset: float
    label: str
    confidence: float | None = None

    def __post_init__(self) -> None:
        """Refuse times that are no stretch of time."""
        check_times(self.onset, self.offset)

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.offset - self.onset

    def __lt__(self, other: object) -> bool:
        """Order by onset, offset, label, then confidence, unknown first."""
        if not isinstance(other, Segment):
            return NotImplemented
        return self._key() < other._key()

    def _key(self) -> tuple[float, float, str, float]:
        confidence = -math.inf if self.confidence is None else self.confidence
        return self.onset, self.offset, self.label, confidence


def check_uri(uri: str) -> str:
    """Return `uri` if it can name a recording in RTTM and UEM files.

    Raises
    ------
    AnnotationError
        If it is empty, has whitespace in it, or begins like a comment (``;;``).
    """
    if uri.split() != [uri] or uri.startswith(COMMENT):
        raise AnnotationError(
            f"{uri!r} cannot name a recording: it must not be empty, contain whitespace or "
            f"begin with {COMMENT!r}; rename the recording, for example with '_' for spaces"
        )
    return uri


def safe_uri(path: str | Path) -> str:
    """Return a name for the recording in file `path`: the file name without its suffix.

    Whitespace, and bytes of the name that are not UTF-8, become ``_``.

    Raises
    ------
    AnnotationError
        If nothing remains that can name a recording.

    Examples
    --------
    >>> safe_uri("/archive/News of 9 May.flac")
    'News_of_9_May'
    """
    stem = Path(path).stem.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return check_uri("".join("_" if c.isspace() or c == "\ufffd" else c for c in stem))


def read_rttm(source: Source, *, raw_labels: bool = False) -> dict[str, list[Segment]]:
    """Read the segments of an RTTM file.

    Byte-order marks, CRLF line ends, blank lines, ``;;`` comments and ``SPKR-INFO`` lines are
    accepted, as are channels 0 and 1 and lines without the last field.

    Parameters
    ----------
    source : str, Path or file
        Path, or open text or binary file.
    raw_labels : bool, optional
        Keep labels (speaker names, say) as they stand; by default they must be classes or
        their aliases, and class names are returned.

    Returns
    -------
    dict of str to list of Segment
        Sorted segments by uri, in the order in which the uris first occur.

    Raises
    ------
    AnnotationError
        If the file cannot be read, or a line is not understood; names file and line.
    """
    annotations: dict[str, list[Segment]] = {}
    for where, fields in field_lines(source):
        if fields[0] == "SPKR-INFO":
            continue
        try:
            uri, segment = _parse_rttm(fields, raw_labels)
        except (AnnotationError, LabelError) as error:
            raise AnnotationError(f"{where}: {error}") from None
        annotations.setdefault(uri, []).append(segment)
    return {uri: sorted(segments) for uri, segments in annotations.items()}


def write_rttm(annotations: Mapping[str, Iterable[Segment]], target: str | Path | IO[str]) -> None:
    """Write segments as RTTM, sorted by uri, onset and label.

    A recording without segments leaves no line, because RTTM has no line for it.

    Parameters
    ----------
    annotations : mapping of str to iterable of Segment
        Segments by uri.
    target : str, Path or text file
        A path is written whole or not at all.

    Raises
    ------
    AnnotationError
        If a uri or a label cannot stand in RTTM.
    """
    uris = sorted(annotations)
    lines = [line for uri in uris for line in rttm_lines(uri, annotations[uri])]
    write_lines(lines, target)


def rttm_lines(uri: str, segments: Iterable[Segment]) -> Iterator[str]:
    """Yield the RTTM line of each segment, without line end, sorted by onset and label.

    Times have milliseconds, and more decimals where a segment would vanish otherwise. Onset
    and offset are rounded, and the duration is their difference, so that segments which
    touched still touch.

    Raises
    ------
    AnnotationError
        If `uri` or a label has whitespace in it.
    """
    check_uri(uri)
    for onset, label, duration, confidence in _sorted_as_written(segments):
        if label.split() != [label]:
            raise AnnotationError(f"{uri}: label {label!r} is empty or has whitespace")
        yield f"SPEAKER {uri} 1 {onset} {duration} <NA> <NA> {label} {confidence} <NA>"


def read_uem(source: Source) -> dict[str, list[Region]]:
    """Read the scored regions of a UEM file.

    Parameters
    ----------
    source : str, Path or file
        Path, or open text or binary file.

    Returns
    -------
    dict of str to list of (onset, offset)
        Sorted regions by uri, in seconds; overlapping ones merged.

    Raises
    ------
    AnnotationError
        If the file cannot be read, or a line is not understood; names file and line.
    """
    regions: dict[str, list[Region]] = {}
    for where, fields in field_lines(source):
        try:
            uri, region = _parse_uem(fields)
        except AnnotationError as error:
            raise AnnotationError(f"{where}: {error}") from None
        regions.setdefault(uri, []).append(region)
    return {uri: merge_regions(found) for uri, found in regions.items()}


def write_uem(regions: Mapping[str, Iterable[Region]], target: str | Path | IO[str]) -> None:
    """Write scored regions as UEM, sorted by uri and onset; a path is written atomically.

    Raises
    ------
    AnnotationError
        If a uri has whitespace in it, or a region is not one.
    """
    lines = []
    for uri in sorted(regions):
        for onset, offset in sorted(regions[uri]):
            check_times(onset, offset)
            first, last = decimal_bounds(onset, offset)
            lines.append(f"{check_uri(uri)} 1 {first} {last}")
    write_lines(lines, target)


def merge_regions(regions: Iterable[Region]) -> list[Region]:
    """Return the union of `regions`: sorted, with those that overlap or touch joined.

    Examples
    --------
    >>> merge_regions([(3.0, 4.0), (0.0, 2.0), (1.0, 2.5)])
    [(0.0, 2.5), (3.0, 4.0)]
    """
    merged: list[Region] = []
    for onset, offset in sorted(regions):
        if merged and onset <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], offset))
        else:
            merged.append((onset, offset))
    return merged


def crop(segments: Iterable[Segment], onset: float, offset: float) -> list[Segment]:
    """Return the parts of `segments` inside ``[onset, offset)`` seconds, times kept."""
    return [
        Segment(max(s.onset, onset), min(s.offset, offset), s.label, s.confidence)
        for s in segments
        if max(s.onset, onset) < min(s.offset, offset)
    ]


def _parse_rttm(fields: list[str], raw_labels: bool) -> tuple[str, Segment]:
    if fields[0] != "SPEAKER":
        raise AnnotationError(
            f"expected a line that begins with SPEAKER, found {fields[0]!r}; is it an RTTM file?"
        )
    if len(fields) not in (9, 10):
        raise AnnotationError(
            f"expected 10 fields, found {len(fields)}; write 'SPEAKER <uri> 1 <onset> <duration> "
            "<NA> <NA> <label> <NA> <NA>' with no spaces in <uri>"
        )
    _check_channel(fields[2])
    onset = parse_number(fields[3], "onset")
    duration = parse_number(fields[4], "duration")
    if duration <= 0:
        raise AnnotationError(f"duration {fields[4]} is not positive; correct or remove the line")
    label = fields[7] if raw_labels else _class_label(fields[7])
    confidence = None if fields[8] in _ABSENT else parse_number(fields[8], "confidence")
    return check_uri(fields[1]), Segment(onset, onset + duration, label, confidence)


def _parse_uem(fields: list[str]) -> tuple[str, Region]:
    if len(fields) != 4:
        raise AnnotationError(
            f"expected 4 fields, found {len(fields)}; write '<uri> 1 <onset> <offset>' "
            "with no spaces in <uri>"
        )
    _check_channel(fields[1])
    region = (parse_number(fields[2], "onset"), parse_number(fields[3], "offset"))
    check_times(*region)
    return check_uri(fields[0]), region


def _class_label(name: str) -> str:
    try:
        return canonical(name)
    except LabelError as error:
        raise AnnotationError(
            f"{error}; if these are speaker names, make a data directory of them first "
            "(xai-segment prepare)"
        ) from None


def _check_channel(channel: str) -> None:
    if channel not in _CHANNELS:
        raise AnnotationError(
            f"channel {channel!r}: expected 0 or 1, because all channels of a recording are "
            "mixed into one; annotate the mixture"
        )


def _sorted_as_written(segments: Iterable[Segment]) -> Iterator[_RttmFields]:
    """Yield what is written of each segment, sorted, so that reading and writing changes nothing.

    Rounding moves an onset by half a millisecond at most: of segments in the order of their onsets
    only those wait that began within the last one.
    """
    waiting: list[_RttmFields] = []
    for segment in sorted(segments, key=attrgetter("onset")):
        while waiting and waiting[0][0] < segment.onset - _MILLISECOND:
            yield heapq.heappop(waiting)
        heapq.heappush(waiting, _rttm_fields(segment))
    yield from sorted(waiting)


def _rttm_fields(segment: Segment) -> _RttmFields:
    onset, offset = decimal_bounds(segment.onset, segment.offset)
    confidence = "<NA>" if segment.confidence is None else f"{segment.confidence:.3f}"
    return onset, segment.label, offset - onset, confidence
