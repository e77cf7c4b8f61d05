"""Other systems, and the reference, that a page shows beside the decisions it explains."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audioseg_xai.annotation import Region, Segment, crop, merge_regions, read_rttm, read_uem
from audioseg_xai.explanation_archive import check_covered
from audioseg_xai.labels import CLASSES, parse_classes
from audioseg_xai.report.regions import Finding, Lane, disagreements

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class System:
    """What another system, or the reference, says of all recordings.

    Attributes
    ----------
    name : str
        What it is called.
    annotations : dict of str to list of Segment
        By uri.
    classes : tuple of str
        The classes that it can say something about.
    reference : bool
        Whether it is what is right.
    """

    name: str
    annotations: Mapping[str, Sequence[Segment]]
    classes: tuple[str, ...]
    reference: bool = False

    def lane(self, uri: str, duration: float) -> Lane:
        """Return what it says of a recording of `duration` seconds."""
        inside = crop(self.annotations.get(uri, ()), 0.0, duration)
        return Lane(self.name, tuple(inside), self.classes, self.reference)


@dataclass(frozen=True)
class Systems:
    """All that the decisions are compared with.

    Attributes
    ----------
    systems : list of System
        The reference first.
    uem : dict of str to list of (onset, offset), or None
        Where they are compared; None is everywhere.
    """

    systems: list[System] = field(default_factory=list)
    uem: Mapping[str, Sequence[Region]] | None = None

    def lanes(self, uri: str, duration: float) -> list[Lane]:
        """Return what each says of a recording of `duration` seconds.

        A reference that says nothing of it is left out, unless the UEM has the recording: it may
        not have been annotated.
        """
        judged = self.uem is not None and uri in self.uem
        return [
            system.lane(uri, duration)
            for system in self.systems
            if judged or not system.reference or uri in system.annotations
        ]

    def regions(self, uri: str, duration: float) -> list[Region]:
        """Return where decisions are compared."""
        found = [(0.0, duration)] if self.uem is None else self.uem.get(uri, ())
        return merge_regions((a, min(b, duration)) for a, b in found if a < duration)


def read_systems(
    reference: Path | None,
    hypotheses: Mapping[str, Path],
    uris: Sequence[str],
    *,
    uem: Path | None = None,
    classes: str | None = None,
) -> Systems:
    """Read what decisions are compared with.

    Parameters
    ----------
    reference : Path or None
        RTTM file of what is right.
    hypotheses : mapping of str to Path
        RTTM file of each other system, by name.
    uris : sequence of str
        The recordings.
    uem : Path, optional
        Where decisions are compared; else everywhere.
    classes : str, optional
        Classes that are compared, comma-separated; else those that occur in each file.

    Raises
    ------
    AnnotationError
        If a file cannot be understood, or has none of the recordings.
    LabelError
        If `classes` names another class.
    """
    wanted = None if classes is None else parse_classes(classes)
    systems = [_read("reference", reference, uris, wanted, True)] if reference else []
    systems += [_read(name, path, uris, wanted, False) for name, path in hypotheses.items()]
    return Systems(systems, None if uem is None else read_uem(uem))


def _read(
    name: str, path: Path, uris: Sequence[str], wanted: tuple[str, ...] | None, reference: bool
) -> System:
    annotations = read_rttm(path)
    consequence = "not compared with it" if reference else "taken as silent"
    check_covered(path, annotations, uris, consequence)
    occurring = {segment.label for found in annotations.values() for segment in found}
    return System(name, annotations, wanted or _in_order(occurring), reference)


def _in_order(names: set[str]) -> tuple[str, ...]:
    return tuple(name for name in CLASSES if name in names)


def all_disagreements(
    segments: Sequence[Segment],
    lanes: Sequence[Lane],
    classes: Sequence[str],
    compared: Sequence[Region],
) -> list[Finding]:
    """Return where any of `lanes` decides otherwise: those of the first lane first."""
    return [
        finding for lane in lanes for finding in disagreements(segments, lane, classes, compared)
    ]


def lanes_json(lanes: Sequence[Lane]) -> list[dict[str, Any]]:
    """Return lanes for a page."""
    return [
        {
            "name": lane.name,
            "reference": lane.reference,
            "classes": list(lane.classes),
            "segments": [[s.label, round(s.onset, 6), round(s.offset, 6)] for s in lane.segments],
        }
        for lane in lanes
    ]
