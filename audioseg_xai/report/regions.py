"""Where decisions differ from those of others, and where they are least certain."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audioseg_xai.annotation import Region, Segment, merge_regions
from audioseg_xai.frames import frame_to_seconds

SHORTEST = 0.1
"""Seconds: shorter differences are a matter of where a boundary is put, and are not listed."""

STRETCH = 100
"""Frames (2 s) over which uncertainty is averaged."""

MARGIN = 0.25
"""Mean distance of a probability from its threshold from which on it is not called uncertain."""

WORST = 50
"""Regions that are called the worst, at most."""


@dataclass(frozen=True)
class Finding:
    """A region that is worth a look.

    Attributes
    ----------
    onset, offset : float
        In seconds.
    label : str
        The class it is about.
    what : str
        What is the matter, in a few words.
    lane : str or None
        The other system, if there is one.
    """

    onset: float
    offset: float
    label: str
    what: str
    lane: str | None = None

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.offset - self.onset


@dataclass(frozen=True)
class Lane:
    """What another system, or the reference, says of a recording.

    Attributes
    ----------
    name : str
        What it is called.
    segments : tuple of Segment
        What it found.
    classes : tuple of str
        The classes that it can say something about.
    reference : bool
        Whether it is what is right.
    """

    name: str
    segments: tuple[Segment, ...]
    classes: tuple[str, ...]
    reference: bool = False


def subtract(regions: Iterable[Region], others: Sequence[Region]) -> list[Region]:
    """Return what of `regions` lies outside `others`; both sorted and without overlap.

    Examples
    --------
    >>> subtract([(0.0, 5.0), (6.0, 7.0)], [(1.0, 2.0), (4.0, 6.5)])
    [(0.0, 1.0), (2.0, 4.0), (6.5, 7.0)]
    """
    rest, first = [], 0
    for onset, offset in regions:
        while first < len(others) and others[first][1] <= onset:
            first += 1
        for start, stop in _touching(others, first, offset):
            if start > onset:
                rest.append((onset, start))
            onset = max(onset, stop)
        if onset < offset:
            rest.append((onset, offset))
    return rest


def _touching(others: Sequence[Region], first: int, offset: float) -> Iterable[Region]:
    while first < len(others) and others[first][0] < offset:
        yield others[first]
        first += 1


def disagreements(
    segments: Sequence[Segment],
    lane: Lane,
    classes: Iterable[str],
    compared: Sequence[Region],
) -> list[Finding]:
    """Return where `lane` decides otherwise, the longest first.

    Parameters
    ----------
    segments : sequence of Segment
        The decisions that are explained.
    lane : Lane
        Who may decide otherwise.
    classes : iterable of str
        Classes that were decided; those that `lane` says nothing about are left out.
    compared : sequence of (onset, offset)
        Where both are compared, in seconds; sorted and without overlap.
    """
    outside = subtract([(0.0, math.inf)], compared)
    here, there = ("false alarm", "missed") if lane.reference else ("only here", "only there")
    found = []
    for label in (name for name in classes if name in lane.classes):
        ours, theirs = (_regions(own, label, outside) for own in (segments, lane.segments))
        for what, regions in ((here, subtract(ours, theirs)), (there, subtract(theirs, ours))):
            found += [Finding(*region, label, what, lane.name) for region in regions]
    listed = [finding for finding in found if finding.duration >= SHORTEST]
    return sorted(listed, key=lambda finding: (-finding.duration, finding.onset, finding.label))


def _regions(segments: Iterable[Segment], label: str, outside: Sequence[Region]) -> list[Region]:
    spans = merge_regions((s.onset, s.offset) for s in segments if s.label == label)
    return subtract(spans, outside)


def least_certain(
    probabilities: NDArray[np.floating],
    classes: Sequence[str],
    thresholds: Mapping[str, tuple[float, float]],
    duration: float,
) -> list[Finding]:
    """Return the regions where probabilities lie nearest to their thresholds, nearest first.

    The distance to the nearer threshold of a class is averaged over stretches of `STRETCH` frames.
    The `WORST` smallest means below `MARGIN` are taken, and neighbours of one class joined.

    Parameters
    ----------
    probabilities : numpy.ndarray, shape (T, C)
        Of each class.
    classes : sequence of str
        Axis C.
    thresholds : mapping of str to (float, float)
        Of each class that was decided: where a segment begins, and where it ends.
    duration : float
        Seconds of the recording.
    """
    starts = np.arange(0, len(probabilities), STRETCH)
    rows = [
        (float(distance), int(stretch), label)
        for label, limits in thresholds.items()
        for stretch, distance in enumerate(
            _mean_distance(probabilities[:, classes.index(label)], limits, starts)
        )
        if distance < MARGIN
    ]
    worst = sorted(rows)[:WORST]
    return [
        _uncertain(label, run, distance, duration) for distance, label, run in sorted(_join(worst))
    ]


def _mean_distance(
    probabilities: NDArray[np.floating], limits: tuple[float, float], starts: NDArray[np.intp]
) -> NDArray[np.floating]:
    nearest = np.minimum(*(np.abs(probabilities - limit) for limit in limits))
    lengths = np.diff(np.append(starts, len(nearest)))
    result: NDArray[np.floating] = np.add.reduceat(nearest, starts) / lengths
    return result


def _join(worst: Iterable[tuple[float, int, str]]) -> list[tuple[float, str, tuple[int, int]]]:
    """Join neighbouring stretches of a class; a run is as uncertain as its worst stretch."""
    runs: list[tuple[float, str, tuple[int, int]]] = []
    for label, stretch, distance in sorted((name, n, d) for d, n, name in worst):
        if runs and runs[-1][1] == label and runs[-1][2][1] == stretch:
            before, _, (first, _) = runs.pop()
            runs.append((min(before, distance), label, (first, stretch + 1)))
        else:
            runs.append((distance, label, (stretch, stretch + 1)))
    return runs


def _uncertain(label: str, run: tuple[int, int], distance: float, duration: float) -> Finding:
    onset, offset = (frame_to_seconds(stretch * STRETCH) for stretch in run)
    what = f"as near as {distance:.2f} to the threshold"
    return Finding(onset, min(offset, duration), label, what)


def audacity_labels(findings: Iterable[Finding]) -> list[str]:
    """Return findings as lines of a label track of Audacity, in order of time."""
    ordered = sorted(findings, key=lambda finding: (finding.onset, finding.offset, finding.label))
    return [f"{f.onset:.6f}\t{f.offset:.6f}\t{_text(f)}" for f in ordered]


def _text(finding: Finding) -> str:
    lane = f" ({finding.lane})" if finding.lane else ""
    return " ".join(f"{finding.label}: {finding.what}{lane}".split())
