"""How well a hypothesis matches a reference: precision, recall and F1 of each class, in seconds.

`score` lets pyannote.metrics do the computing and is what tables report. `fast_score` and
`fast_counts` do the same sums with NumPy, without collar, hundreds of times faster: they are for
searching thresholds, and agree with pyannote.metrics to a microsecond a boundary.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from audioseg_xai.annotation import Region, Segment
from audioseg_xai.errors import ScoringError
from audioseg_xai.labels import CLASSES, parse_classes

log = logging.getLogger(__name__)

Annotations = Mapping[str, Sequence[Segment]]
Regions = Mapping[str, Sequence[Region]]
_Counter = Callable[[Sequence[Segment], Sequence[Segment], Sequence[Region]], "Counts"]

_LISTED = 5  # names in a message before "and N more"


@dataclass(frozen=True)
class Counts:
    """Durations that a score is made of, in seconds; add them up to pool recordings.

    Parameters
    ----------
    reference : float
        How long the class sounds in the scored part of the reference.
    hypothesis : float
        How long the hypothesis says it does.
    correct : float
        How long both agree that it does.
    """

    reference: float = 0.0
    hypothesis: float = 0.0
    correct: float = 0.0

    @property
    def precision(self) -> float:
        """Correct share of the hypothesis; 1 when the hypothesis is empty."""
        return self.correct / self.hypothesis if self.hypothesis else 1.0

    @property
    def recall(self) -> float:
        """Found share of the reference; 1 when the reference is empty."""
        return self.correct / self.reference if self.reference else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 when both are 0."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0

    def __add__(self, other: Counts) -> Counts:
        """Pool two counts."""
        return Counts(
            self.reference + other.reference,
            self.hypothesis + other.hypothesis,
            self.correct + other.correct,
        )

    def to_dict(self) -> dict[str, float]:
        """Return the ratios, and the durations in seconds, for a JSON file."""
        return {
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "reference_seconds": self.reference,
            "hypothesis_seconds": self.hypothesis,
            "correct_seconds": self.correct,
        }


@dataclass(frozen=True)
class Scores:
    """Counts of every scored recording and class.

    Parameters
    ----------
    files : dict of str to dict of str to Counts
        By uri, then by class.
    groups : dict of str to tuple of str, optional
        Uris of each group of recordings; a recording may be in several, or in none.
    """

    files: dict[str, dict[str, Counts]]
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """The scored classes."""
        return tuple(next(iter(self.files.values()), {}))

    @property
    def pooled(self) -> dict[str, Counts]:
        """Counts by class, summed over the recordings: long recordings weigh more."""
        return {
            name: reduce(add, (counts[name] for counts in self.files.values()), Counts())
            for name in self.classes
        }

    @property
    def pooled_groups(self) -> dict[str, dict[str, Counts]]:
        """Counts by group, then by class, summed over the recordings of the group."""
        return {group: self.only(uris).pooled for group, uris in self.groups.items()}

    def only(self, uris: Iterable[str]) -> Scores:
        """Return the scores of some of the recordings, without groups."""
        return Scores({uri: self.files[uri] for uri in uris})

    def to_dict(self) -> dict[str, Any]:
        """Return ``pooled``, ``groups`` and ``files``, for a JSON file."""
        return {
            "pooled": _to_dict(self.pooled),
            "groups": {group: _to_dict(pooled) for group, pooled in self.pooled_groups.items()},
            "files": {uri: _to_dict(by_class) for uri, by_class in self.files.items()},
        }


def _to_dict(by_class: dict[str, Counts]) -> dict[str, Any]:
    return {name: counts.to_dict() for name, counts in by_class.items()}


def score(
    reference: Annotations,
    hypothesis: Annotations,
    uem: Regions | None = None,
    classes: str | Iterable[str] = CLASSES,
    collar: float = 0.0,
    *,
    allow_missing: bool = False,
) -> Scores:
    """Score a hypothesis with `pyannote.metrics.detection.DetectionPrecisionRecallFMeasure`.

    Each class is scored on its own. What the caller should know but can go on with is logged
    as a warning: recordings that are in one place only, and classes without reference.

    Parameters
    ----------
    reference, hypothesis : mapping of str to sequence of Segment
        Segments by uri. A uri with no segments is a recording where nothing sounds.
    uem : mapping of str to sequence of (onset, offset), optional
        What is scored, in seconds, by uri. By default every recording of the reference, from
        0 to the last offset in reference or hypothesis.
    classes : str or iterable of str, optional
        Classes to score; leave out those that the reference does not annotate.
    collar : float, optional
        Total width, in seconds, of the stretch around each reference boundary that is not
        scored: half before, half after.
    allow_missing : bool, optional
        Count a recording that the hypothesis lacks as one where it found nothing.

    Returns
    -------
    Scores
        A recording and class, and pooled.

    Raises
    ------
    ScoringError
        If nothing can be scored, a recording is missing in `hypothesis`, or `collar` is not a
        duration.
    LabelError
        If a class is unknown.
    """
    hypotheses = {"the hypothesis": hypothesis}
    uem = whole_recordings(reference, [hypothesis]) if uem is None else uem
    (scores,) = score_systems(
        reference, hypotheses, uem, classes, collar, allow_missing=allow_missing
    ).values()
    return scores


def score_systems(
    reference: Annotations,
    hypotheses: Mapping[str, Annotations],
    uem: Regions,
    classes: str | Iterable[str] = CLASSES,
    collar: float = 0.0,
    *,
    allow_missing: bool = False,
) -> dict[str, Scores]:
    """Score the hypotheses of several systems on one reference, each as `score` does.

    Parameters
    ----------
    hypotheses : mapping of str to mapping of str to sequence of Segment
        By the name of the system, which messages name it by, then by uri.

    Returns
    -------
    dict of str to Scores
        Of each system, over the same recordings in the same order.

    Raises
    ------
    ScoringError
        As `score`.
    """
    if not (math.isfinite(collar) and collar >= 0):
        raise ScoringError(f"collar {collar} is not a duration; give seconds, 0 or more")
    names = parse_classes(classes)
    _check_uris(reference, hypotheses, uem, allow_missing)
    count = _pyannote_counter(collar)
    scores = {name: _score(reference, h, uem, names, count) for name, h in hypotheses.items()}
    _warn_unannotated(next(iter(scores.values())))
    return scores


def whole_recordings(reference: Annotations, hypotheses: Iterable[Annotations]) -> Regions:
    """Return what is scored without a UEM, and warn of it.

    That is each recording of the reference, from 0 to its last offset in the reference or in
    any of `hypotheses`.
    """
    log.warning(
        "no UEM given: scoring each recording of the reference from 0 to the last offset in "
        "reference or hypothesis; false alarms after the true end of a recording count as well"
    )
    listed = list(hypotheses)
    ends = {
        uri: max(
            (s.offset for part in (reference, *listed) for s in part.get(uri, ())), default=0.0
        )
        for uri in reference
    }
    return {uri: [(0.0, end)] for uri, end in ends.items() if end}


def fast_score(
    reference: Annotations,
    hypothesis: Annotations,
    uem: Regions,
    classes: str | Iterable[str] = CLASSES,
) -> Scores:
    """Score as `score` does without collar, with `fast_counts` and without warnings.

    Raises
    ------
    ScoringError
        If a recording of `uem` is missing in `hypothesis`.
    """
    missing = [uri for uri in uem if uri not in hypothesis]
    if missing:
        raise ScoringError(f"the hypothesis lacks {_some(missing)}")
    return _score(reference, hypothesis, uem, parse_classes(classes), _fast_counter)


def fast_counts(reference: ArrayLike, hypothesis: ArrayLike, uem: ArrayLike) -> Counts:
    """Count seconds of one class in one recording, by a sweep over all boundaries.

    Parameters
    ----------
    reference, hypothesis, uem : array_like [shape=(S, 2)]
        Onset and offset of each segment, in seconds, in any order; they may overlap. The
        offset must not lie before the onset.

    Returns
    -------
    Counts
        Inside `uem`.
    """
    parts = [np.asarray(rows, dtype=np.float64).ravel() for rows in (reference, hypothesis, uem)]
    times = np.concatenate(parts)
    steps = np.zeros((times.size, 3), dtype=np.int64)
    column = np.repeat(np.arange(3), [part.size for part in parts])
    # Every part is onset, offset, onset, offset ...: a stretch begins, a stretch ends.
    steps[np.arange(times.size), column] = np.where(np.arange(times.size) % 2, -1, 1)
    order = np.argsort(times)
    lengths = np.diff(times[order])
    in_reference, in_hypothesis, scored = (np.cumsum(steps[order], axis=0)[:-1] > 0).T
    return Counts(
        reference=float(lengths[in_reference & scored].sum()),
        hypothesis=float(lengths[in_hypothesis & scored].sum()),
        correct=float(lengths[in_reference & in_hypothesis & scored].sum()),
    )


def _score(
    reference: Annotations,
    hypothesis: Annotations,
    uem: Regions,
    classes: tuple[str, ...],
    count: _Counter,
) -> Scores:
    return Scores(
        {
            uri: {
                name: count(
                    [s for s in reference.get(uri, ()) if s.label == name],
                    [s for s in hypothesis.get(uri, ()) if s.label == name],
                    regions,
                )
                for name in classes
            }
            for uri, regions in uem.items()
        }
    )


def _fast_counter(
    reference: Sequence[Segment], hypothesis: Sequence[Segment], uem: Sequence[Region]
) -> Counts:
    return fast_counts(_times(reference), _times(hypothesis), uem)


def _times(segments: Iterable[Segment]) -> list[Region]:
    return [(segment.onset, segment.offset) for segment in segments]


def _pyannote_counter(collar: float) -> _Counter:
    # Imported here: it brings pandas and takes a second, which threshold searches need not wait.
    from pyannote import core
    from pyannote.metrics import detection

    metric = detection.DetectionPrecisionRecallFMeasure(collar=collar)

    def annotate(segments: Sequence[Segment]) -> core.Annotation:
        annotation = core.Annotation()
        for track, segment in enumerate(segments):
            annotation[core.Segment(segment.onset, segment.offset), track] = segment.label
        return annotation

    def count(
        reference: Sequence[Segment], hypothesis: Sequence[Segment], uem: Sequence[Region]
    ) -> Counts:
        regions = core.Timeline([core.Segment(*region) for region in uem])
        found = metric.compute_components(annotate(reference), annotate(hypothesis), uem=regions)
        return Counts(
            reference=float(found[detection.DFS_RECALL_RELEVANT]),
            hypothesis=float(found[detection.DFS_PRECISION_RETRIEVED]),
            correct=float(found[detection.DFS_RELEVANT_RETRIEVED]),
        )

    return count


def _check_uris(
    reference: Annotations,
    hypotheses: Mapping[str, Annotations],
    uem: Regions,
    allow_missing: bool,
) -> None:
    if not uem:
        raise ScoringError("nothing to score: reference or UEM lists no recording")
    if not any(uri in reference for uri in uem):
        raise ScoringError(
            f"the reference has none of the recordings of the UEM (it lacks {_some(uem)}); "
            "check that both name them alike"
        )
    for name, hypothesis in hypotheses.items():
        _check_missing(name, [uri for uri in uem if uri not in hypothesis], allow_missing)
    _warn("the reference has nothing, so nothing may be found, in", set(uem) - set(reference))
    _warn("not scored, because the UEM lacks", set(reference) - set(uem))
    found = {uri for hypothesis in hypotheses.values() for uri in hypothesis}
    _warn("not scored, because neither reference nor UEM has", found - set(reference) - set(uem))


def _check_missing(name: str, missing: list[str], allow_missing: bool) -> None:
    if missing and not allow_missing:
        raise ScoringError(
            f"{name} lacks {_some(missing)}; if nothing was found there, score with "
            "--allow-missing, which counts it as empty"
        )
    _warn(f"counted as empty, because {name} lacks", missing)


def _warn_unannotated(scores: Scores) -> None:
    empty = [name for name, counts in scores.pooled.items() if not counts.reference]
    if empty:
        log.warning(
            f"the reference has no {', '.join(empty)}: if that is because nobody annotated it, "
            "leave it out with --classes"
        )


def _warn(what: str, uris: Iterable[str]) -> None:
    listed = sorted(uris)
    if listed:
        log.warning(f"{what} {_some(listed)}")


def _some(uris: Iterable[str]) -> str:
    listed = list(uris)
    more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    return ", ".join(listed[:_LISTED]) + more
