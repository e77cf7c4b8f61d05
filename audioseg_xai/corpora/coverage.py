"""Stretches of time that several people, or annotators, share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from audioseg_xai.annotation import Region, Segment, merge_regions
from audioseg_xai.corpora.report import Report

_DECIMALS = 6
"""Onset plus duration misses the offset that was meant by a rounding error: microseconds do."""

_OVERLAPPING = 1e-3  # seconds, over all segments: less is rounding


def covered(groups: Iterable[Iterable[Region]], at_least: int = 1) -> list[Region]:
    """Return where regions of `at_least` many groups are, in seconds.

    Parameters
    ----------
    groups : iterable of iterables of (onset, offset)
        The regions of a group may overlap each other: a group counts once.
    at_least : int
        How many groups; 1 gives the union of all.

    Returns
    -------
    list of (onset, offset)
        Sorted and disjoint; times in whole microseconds.

    Examples
    --------
    >>> covered([[(0.0, 3.0)], [(2.0, 5.0), (2.5, 4.0)]], at_least=2)
    [(2.0, 3.0)]
    """
    changes: Counter[float] = Counter()
    for regions in groups:
        for onset, offset in merge_regions(map(_rounded, regions)):
            changes[onset] += 1
            changes[offset] -= 1
    result, active, start = [], 0, 0.0
    for time in sorted(changes):
        before, active = active, active + changes[time]
        if before < at_least <= active:
            start = time
        elif active < at_least <= before:
            result.append((start, time))
    return result


def speech_and_overlap(turns: Mapping[str, Iterable[Region]]) -> list[Segment]:
    """Return speech, the union of all turns, and overlap, where two speakers or more talk.

    Parameters
    ----------
    turns : mapping of str to iterable of (onset, offset)
        Turns by speaker, in seconds; overlapping turns of one speaker are no overlap.

    Returns
    -------
    list of Segment
        Sorted.
    """
    speech = labelled(covered(turns.values()), "speech")
    return sorted(speech + labelled(covered(turns.values(), at_least=2), "overlap"))


def labelled(regions: Iterable[Region], label: str) -> list[Segment]:
    """Return a segment with `label` for each region."""
    return [Segment(onset, offset, label) for onset, offset in regions]


def by_label(segments: Iterable[Segment]) -> dict[str, list[Region]]:
    """Return the regions of segments by label: a speaker's turns, a class's regions."""
    found: dict[str, list[Region]] = {}
    for segment in segments:
        found.setdefault(segment.label, []).append((segment.onset, segment.offset))
    return found


def warn_of_own_overlaps(path: Path, regions: Mapping[str, list[Region]], report: Report) -> None:
    """Note as a repair where segments with one label overlap: they are merged."""
    for found in regions.values():
        # Merging joins regions that touch as well, so what is compared is the time they take.
        merged = sum(offset - onset for onset, offset in merge_regions(map(_rounded, found)))
        if sum(offset - onset for onset, offset in found) - merged > _OVERLAPPING:
            report.repair(path, "has overlapping segments with one label, which were merged")
            return


def _rounded(region: Region) -> Region:
    return round(region[0], _DECIMALS), round(region[1], _DECIMALS)
