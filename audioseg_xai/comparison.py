"""How sure a score is, and whether one system is better than another: the bootstrap.

What varies is which recordings happen to be in the test set: resampling draws as many of them,
with replacement, and pools their durations as `scoring` does. Intervals are percentile intervals
(Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13). Systems are compared on
the same resamples (Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR
performance evaluation", ICASSP 2004), so that what makes a recording hard for both cancels out.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from audioseg_xai.config import Config
from audioseg_xai.errors import ScoringError
from audioseg_xai.scoring import Annotations, Counts, Regions, Scores, fast_score

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]
Interval = tuple[float, float]

METRICS = ("precision", "recall", "f1")
FEW = 10
"""Recordings below which bootstrap intervals are known to be too narrow."""

_BLOCK = 1_000_000  # draws of a recording in memory at a time
_EQUAL = 1e-12  # a smaller difference is a rounding error


class Bootstrap(Config):
    """How recordings are resampled.

    Attributes
    ----------
    resamples : int
        How often.
    seed : int
        Of the draws.
    confidence : float
        Share of the resamples inside an interval, in percent.
    """

    resamples: int = Field(default=1000, ge=1)
    seed: int = Field(default=0, ge=0)
    confidence: float = Field(default=95.0, gt=0, lt=100)


@dataclass(frozen=True)
class Estimate:
    """A score of a system in a class, and how sure it is.

    Attributes
    ----------
    counts : Counts
        Pooled over the recordings.
    intervals : dict of str to (low, high)
        By the names of `METRICS`, as ratios; empty where none can be given: where the reference
        has the class in fewer than two recordings.
    """

    counts: Counts
    intervals: dict[str, Interval]

    def to_dict(self) -> dict[str, Any]:
        """Return ratios, seconds and intervals, for a JSON file."""
        intervals = {name: self.intervals.get(name) for name in METRICS}
        return self.counts.to_dict() | {"intervals": intervals}


@dataclass(frozen=True)
class Difference:
    """F1 of one system minus that of another in a class.

    Attributes
    ----------
    first, second : str
        The systems; positive values speak for `second`.
    label : str
        The class.
    f1 : float
        F1 of `second` minus F1 of `first`, both pooled over all recordings.
    interval : (low, high) or None
        Of the difference; None where none can be given.
    flips : float or None
        Share of the resamples whose difference d* has not the sign of `f1`, 0 being a sign of
        its own; for a positive difference, 1 minus the probability of improvement of Bisani and
        Ney (2004).
    p_value : float or None
        Two-sided, of no difference: min(1, 2 (1 + min(#{d* <= 0}, #{d* >= 0})) / (B + 1)) with B
        resamples; the achieved significance level of Efron and Tibshirani (1993, chapter 15),
        with the 1 that Davison and Hinkley (1997, chapter 4) add because p cannot be 0. It is
        not corrected for the number of comparisons.
    """

    first: str
    second: str
    label: str
    f1: float
    interval: Interval | None = None
    flips: float | None = None
    p_value: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, for a JSON file."""
        return {"class" if name == "label" else name: value for name, value in vars(self).items()}


@dataclass(frozen=True)
class Comparison:
    """Scores of several systems on the same recordings.

    Attributes
    ----------
    recordings : int
        How many there are.
    systems : dict of str to dict of str to Estimate
        By name, then by class.
    differences : list of Difference
        Of the pairs that were compared, in each class.
    groups : dict of str to Comparison
        The same over groups of the recordings.
    """

    recordings: int
    systems: dict[str, dict[str, Estimate]]
    differences: list[Difference]
    groups: dict[str, Comparison] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, for a JSON file."""
        return {
            "recordings": self.recordings,
            "systems": {
                name: {label: estimate.to_dict() for label, estimate in by_class.items()}
                for name, by_class in self.systems.items()
            },
            "differences": [difference.to_dict() for difference in self.differences],
            "groups": {name: group.to_dict() for name, group in self.groups.items()},
        }


def compare(
    scores: Mapping[str, Scores],
    bootstrap: Bootstrap | None = None,
    *,
    baseline: str | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
) -> Comparison:
    """Compare systems that were scored on the same recordings and classes.

    Parameters
    ----------
    scores : mapping of str to Scores
        By name of the system, as `scoring.score_systems` gives them.
    bootstrap : Bootstrap, optional
        How recordings are resampled.
    baseline : str, optional
        Compare each other system with this one only; by default each with each before it.
    groups : mapping of str to sequence of str, optional
        Uris of groups that are compared on their own as well.

    Returns
    -------
    Comparison
        Resamples in which the reference lacks a class say nothing about it and are left out.

    Raises
    ------
    ScoringError
        If `baseline` is none of the systems.
    """
    if baseline is not None and baseline not in scores:
        raise ScoringError(f"no system {baseline!r} to compare with: there are {', '.join(scores)}")
    settings = bootstrap or Bootstrap()
    pairs = _pairs(list(scores), baseline)
    whole = _compare(scores, settings, pairs)
    _warn_few(next(iter(scores.values())))
    parts = {
        group: _compare({name: s.only(uris) for name, s in scores.items()}, settings, pairs)
        for group, uris in (groups or {}).items()
    }
    return Comparison(whole.recordings, whole.systems, whole.differences, parts)


@dataclass(frozen=True)
class Fidelity:
    """How far a system decides a class as the system does that it is to stand for.

    Attributes
    ----------
    counts : Counts
        Of its decisions, in seconds, with those of the other system as the reference.
    scored : float
        Seconds of all recordings.
    """

    counts: Counts
    scored: float

    @property
    def agreement(self) -> float:
        """Share of the time in which both find the class, or neither does."""
        apart = self.counts.reference + self.counts.hypothesis - 2 * self.counts.correct
        return 1 - apart / self.scored

    def to_dict(self) -> dict[str, float]:
        """Return F1, agreement and seconds, for a JSON file."""
        return self.counts.to_dict() | {"agreement": self.agreement, "scored_seconds": self.scored}


def fidelity(
    systems: Mapping[str, Annotations], model: str, uem: Regions, classes: Sequence[str]
) -> dict[str, dict[str, Fidelity]]:
    """Return how far each other system decides as one of them does, whatever is right.

    Parameters
    ----------
    systems : mapping of str to mapping of str to sequence of Segment
        Decisions by name of the system, then by uri; a recording that is absent is one where
        nothing was found.
    model : str
        The system that the others are to stand for, a teacher say.
    uem : mapping of str to sequence of (onset, offset)
        Where decisions are compared, in seconds; every moment counts, there is no collar.
    classes : sequence of str
        Class names.

    Returns
    -------
    dict of str to dict of str to Fidelity
        By name of each other system, then by class.
    """
    scored = sum(offset - onset for regions in uem.values() for onset, offset in regions)

    def of(proxy: Annotations) -> dict[str, Fidelity]:
        found = {uri: proxy.get(uri, ()) for uri in uem}
        pooled = fast_score(systems[model], found, uem, classes).pooled
        return {label: Fidelity(counts, scored) for label, counts in pooled.items()}

    return {name: of(proxy) for name, proxy in systems.items() if name != model}


# --- the bootstrap ------------------------------------------------------------------------------


def _pairs(names: list[str], baseline: str | None) -> list[tuple[str, str]]:
    if baseline is None:
        return list(itertools.combinations(names, 2))
    return [(baseline, name) for name in names if name != baseline]


def _warn_few(scores: Scores) -> None:
    occurrences = dict(zip(scores.classes, _occurrences(_durations(scores)), strict=True))
    few = [f"{label} in {count}" for label, count in occurrences.items() if count < FEW]
    if few:
        log.warning(
            f"few recordings of the reference have {', '.join(few)}: with fewer than {FEW} "
            "intervals are too narrow and p too small, with fewer than 2 there are none"
        )


def _compare(
    scores: Mapping[str, Scores], settings: Bootstrap, pairs: list[tuple[str, str]]
) -> Comparison:
    names = list(scores)
    classes, recordings = scores[names[0]].classes, len(scores[names[0]].files)
    # Axes: B resamples, systems, C classes, precision - recall - F1.
    durations = np.stack([_durations(s) for s in scores.values()], axis=1)
    drawn = _ratios(np.stack(list(_resampled(durations, settings))))
    drawn[:, :, _occurrences(durations[:, 0]) < 2] = np.nan  # one recording alone does not vary
    estimates = {
        name: {
            label: Estimate(counts, _intervals(drawn[:, s, c], settings.confidence))
            for c, (label, counts) in enumerate(scores[name].pooled.items())
        }
        for s, name in enumerate(names)
    }
    differences = [
        _difference(
            Difference(a, b, label, estimates[b][label].counts.f1 - estimates[a][label].counts.f1),
            drawn[:, names.index(b), c, -1] - drawn[:, names.index(a), c, -1],
            settings.confidence,
        )
        for a, b in pairs
        for c, label in enumerate(classes)
    ]
    return Comparison(recordings, estimates, differences)


def _durations(scores: Scores) -> Floats:
    """Return seconds of each recording and class: reference, hypothesis, correct; (R, C, 3)."""
    return np.array(
        [
            [(c.reference, c.hypothesis, c.correct) for c in by_class.values()]
            for by_class in scores.files.values()
        ]
    )


def _occurrences(durations: Floats) -> NDArray[np.intp]:
    """Return in how many recordings of (R, C, 3) seconds the reference has each class, (C,)."""
    return np.count_nonzero(durations[..., 0], axis=0)


def _resampled(durations: Floats, settings: Bootstrap) -> Iterator[Floats]:
    """Yield the pooled durations of each resample, (systems, C, 3), from (R, systems, C, 3)."""
    count, left = len(durations), settings.resamples
    rng = np.random.default_rng(settings.seed)
    while left:
        size = min(left, max(1, _BLOCK // count))
        times_drawn = rng.multinomial(count, np.full(count, 1 / count), size=size)
        yield from np.tensordot(times_drawn, durations, axes=1)
        left -= size


def _ratios(durations: Floats) -> Floats:
    """Return precision, recall and F1 of (..., 3) seconds as `Counts` has them.

    They are NaN where nothing is in the reference.
    """
    reference, hypothesis, correct = np.moveaxis(durations, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(hypothesis > 0, correct / hypothesis, 1.0)
        ratios = np.stack([precision, correct / reference, 2 * correct / (reference + hypothesis)])
    return np.moveaxis(np.where(reference > 0, ratios, np.nan), 0, -1)


def _intervals(ratios: Floats, confidence: float) -> dict[str, Interval]:
    """Return the interval of each metric from ratios (B, 3); none where no resample counts."""
    known = ratios[~np.isnan(ratios[:, -1])]
    if not len(known):
        return {}
    return {name: _percentiles(known[:, m], confidence) for m, name in enumerate(METRICS)}


def _percentiles(values: Floats, confidence: float) -> Interval:
    tail = (1 - confidence / 100) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def _difference(measured: Difference, drawn: Floats, confidence: float) -> Difference:
    """Say how sure a difference is from those of the resamples (B,)."""
    known = drawn[~np.isnan(drawn)]
    if not len(known):
        return measured
    signs = np.where(np.abs(known) < _EQUAL, 0, np.sign(known))
    sign = 0 if abs(measured.f1) < _EQUAL else np.sign(measured.f1)
    rarer = min(np.count_nonzero(signs <= 0), np.count_nonzero(signs >= 0))
    return Difference(
        measured.first,
        measured.second,
        measured.label,
        measured.f1,
        _percentiles(known, confidence),
        float(np.mean(signs != sign)),
        min(1.0, 2 * (1 + rarer) / (len(known) + 1)),
    )
