"""Choose how each class is decided: thresholds, gaps and durations with the best frame F1."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from audioseg_xai.decode import ClassDecoding, DecodingConfig, StreamingDecoder
from audioseg_xai.errors import TrainingError

Observation = tuple[NDArray[np.floating], NDArray[np.int8]]
"""Probabilities (T, C) and labels (T, C) of one recording."""

_Column = tuple[NDArray[np.floating], NDArray[np.int8]]

_ONSETS = tuple(round(0.05 * step, 2) for step in range(1, 20))
_OFFSET_RATIOS = (1.0, 0.85, 0.7)
_GAPS = (0.0, 0.1, 0.2, 0.4, 0.8)
_DURATIONS = (0.0, 0.1, 0.2, 0.4)
_USUAL = 0.2  # seconds
_RESAMPLES = 200
_INTERVAL_RESAMPLES = 1000
_TOLERATED = 2.0  # standard errors of a difference


def tune(
    observations: Sequence[Observation], classes: tuple[str, ...], tuned: Sequence[str]
) -> tuple[DecodingConfig, dict[str, dict[str, float]]]:
    """Search the rule with the best pooled F1 over frames, one class at a time.

    First the threshold; then the offset threshold; then gaps and durations together. Each step
    starts from the choice of the one before. Of the thresholds that are not significantly worse
    than the best, the one nearest to 0.5 is taken, of such offset thresholds the highest, and of
    such gaps and durations those nearest to 0.2 s, which joins syllables and leaves pauses: what
    few validation recordings gain by extremes does not carry over to others. Worse is what loses
    more F1 than two standard errors of the difference on the same recordings (paired bootstrap over
    recordings). It is the rule of one standard error of Breiman et al., Classification and
    Regression Trees, 1984, with two, because recordings of the same source are not independent.

    Parameters
    ----------
    observations : sequence
        Probabilities and labels of validation recordings, never of a test set.
    classes : tuple of str
        Axis C.
    tuned : sequence of str
        The classes to decide.

    Returns
    -------
    decoding : dict
        Class name to rule.
    metrics : dict
        Class name to its `figures` with these rules.

    Raises
    ------
    TrainingError
        If a class has no active frame, so that nothing can be learned about it.
    """
    decoding, metrics = {}, {}
    for name in tuned:
        column = classes.index(name)
        pairs = [(p[:, column], y[:, column]) for p, y in observations]
        if not any((labels == 1).any() for _, labels in pairs):
            raise TrainingError(
                f"{name} is active in no validation recording: cannot tune it: "
                f"add validation recordings with {name}"
            )
        rule = min(_not_worse(pairs, _thresholds()), key=lambda tried: abs(tried.onset - 0.5))
        rule = max(_not_worse(pairs, _offsets(rule)), key=lambda tried: tried.offset)
        rule = min(_not_worse(pairs, _durations(rule)), key=_far_from_usual)
        decoding[name], metrics[name] = rule, _figures(pairs, rule)
    return decoding, metrics


def figures(
    observations: Sequence[Observation], classes: tuple[str, ...], decoding: DecodingConfig
) -> dict[str, dict[str, float]]:
    """Return how good rules are on recordings.

    Parameters
    ----------
    observations : sequence
        Probabilities and labels of recordings.
    classes : tuple of str
        Axis C.
    decoding : dict
        Class name to rule.

    Returns
    -------
    dict of str to dict of str to float
        Class name to precision, recall and F1 over frames, and the ends of the 95 % percentile
        interval of F1, by resampling recordings (Efron and Tibshirani, An Introduction to the
        Bootstrap, 1993, chapter 13).
    """
    columns = {name: classes.index(name) for name in decoding}
    return {
        name: _figures([(p[:, c], y[:, c]) for p, y in observations], decoding[name])
        for name, c in columns.items()
    }


def decide_frames(probabilities: NDArray[np.floating], rule: ClassDecoding) -> NDArray[np.bool_]:
    """Return the frames (T,) at which `rule` finds a class with probabilities (T,) active."""
    decoder = StreamingDecoder(("class",), {"class": rule})
    column = probabilities[:, None]
    active = np.zeros(len(probabilities), dtype=bool)
    for segment in decoder.push(column, column[:, :0]) + decoder.finish():
        active[segment.onset : segment.offset] = True
    return active


def _not_worse(
    pairs: Sequence[_Column], candidates: Iterable[ClassDecoding]
) -> list[ClassDecoding]:
    """Return the best rule, and those whose F1 is not significantly below that of the best."""
    rules = list(candidates)
    counts = [_counts(pairs, rule) for rule in rules]
    quality = np.array([_f1(each.sum(axis=0)) for each in counts])
    best = int(np.argmax(quality))
    # The same recordings are drawn for all: what varies with them alike is no difference.
    resampled = np.array([_resampled_f1(each, _RESAMPLES) for each in counts])
    errors = np.std(resampled[best] - resampled, axis=1)
    near = quality[best] - quality <= _TOLERATED * errors
    return [rule for rule, kept in zip(rules, near, strict=True) if kept]


def _resampled_f1(counts: NDArray[np.int64], resamples: int) -> list[float]:
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(counts), size=(resamples, len(counts)))
    return [_f1(counts[chosen].sum(axis=0)) for chosen in drawn]


def _thresholds() -> Iterator[ClassDecoding]:
    return (ClassDecoding(onset=onset, offset=onset) for onset in _ONSETS)


def _offsets(best: ClassDecoding) -> Iterator[ClassDecoding]:
    for ratio in _OFFSET_RATIOS:
        yield ClassDecoding(onset=best.onset, offset=round(best.onset * ratio, 4))


def _durations(best: ClassDecoding) -> Iterator[ClassDecoding]:
    for gap, duration in product(_GAPS, _DURATIONS):
        yield best.model_copy(update={"min_gap": gap, "min_duration": duration})


def _far_from_usual(rule: ClassDecoding) -> float:
    return abs(rule.min_gap - _USUAL) + abs(rule.min_duration - _USUAL)


def _figures(pairs: Sequence[_Column], rule: ClassDecoding) -> dict[str, float]:
    counts = _counts(pairs, rule)
    totals = counts.sum(axis=0)
    low, high = np.quantile(_resampled_f1(counts, _INTERVAL_RESAMPLES), [0.025, 0.975])
    hits, alarms, misses = (int(total) for total in totals)
    return {
        "precision": hits / max(hits + alarms, 1),
        "recall": hits / max(hits + misses, 1),
        "F1": _f1(totals),
        "F1 from": float(low),
        "F1 to": float(high),
    }


def _counts(pairs: Sequence[_Column], rule: ClassDecoding) -> NDArray[np.int64]:
    """Return hits, false alarms and misses in frames, of each recording: shape (R, 3)."""
    rows = []
    for probabilities, labels in pairs:
        active, there = decide_frames(probabilities, rule), labels == 1
        rows.append(
            [(active & there).sum(), (active & (labels == 0)).sum(), (~active & there).sum()]
        )
    return np.array(rows, dtype=np.int64)


def _f1(totals: NDArray[np.int64]) -> float:
    hits, alarms, misses = totals
    return float(2 * hits / max(2 * hits + alarms + misses, 1))
