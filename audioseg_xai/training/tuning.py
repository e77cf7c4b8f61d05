"""Choose how each class is decided: thresholds, gaps and durations with the best frame F1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from audioseg_xai.decode import ClassDecoding, DecodingConfig, StreamingDecoder
from audioseg_xai.errors import TrainingError

Observation = tuple[NDArray[np.floating], NDArray[np.int8]]
"""Probabilities (T, C) and labels (T, C) of one recording."""

_Column = tuple[NDArray[np.floating], NDArray[np.int8]]

TOLERANCE = 0.01
"""F1 that a threshold nearer to 0.5 may cost."""

_ONSETS = tuple(round(0.05 * step, 2) for step in range(1, 20))
_OFFSET_RATIOS = (1.0, 0.85, 0.7)
_GAPS = (0.0, 0.1, 0.2, 0.4, 0.8)
_DURATIONS = (0.0, 0.1, 0.2, 0.4)


def tune(
    observations: Sequence[Observation], classes: tuple[str, ...], tuned: Sequence[str]
) -> tuple[DecodingConfig, dict[str, dict[str, float]]]:
    """Search the rule with the best pooled F1 over frames, one class at a time.

    First the threshold; then the offset threshold; then gaps and durations together. Each step
    starts from the best of the one before. Of the thresholds that are within `TOLERANCE` of the
    best F1 the one nearest to 0.5 is taken: validation recordings that are harder than real ones
    pull it away from there for gains that do not carry over.

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
        Class name to precision, recall and F1 over frames with these rules.

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
            raise TrainingError(f"{name} is active in no validation recording: cannot tune it")
        rule = _moderate_threshold(pairs)
        for candidates in (_offsets, _durations):
            rule = max(candidates(rule), key=lambda tried: _figures(pairs, tried)["F1"])
        decoding[name], metrics[name] = rule, _figures(pairs, rule)
    return decoding, metrics


def decide_frames(probabilities: NDArray[np.floating], rule: ClassDecoding) -> NDArray[np.bool_]:
    """Return the frames (T,) at which `rule` finds a class with probabilities (T,) active."""
    decoder = StreamingDecoder(("class",), {"class": rule})
    column = probabilities[:, None]
    active = np.zeros(len(probabilities), dtype=bool)
    for segment in decoder.push(column, column[:, :0]) + decoder.finish():
        active[segment.onset : segment.offset] = True
    return active


def _moderate_threshold(pairs: Sequence[_Column]) -> ClassDecoding:
    rules = [ClassDecoding(onset=onset, offset=onset) for onset in _ONSETS]
    quality = [_figures(pairs, rule)["F1"] for rule in rules]
    good = [r for r, f1 in zip(rules, quality, strict=True) if f1 >= max(quality) - TOLERANCE]
    return min(good, key=lambda rule: abs(rule.onset - 0.5))


def _offsets(best: ClassDecoding) -> Iterator[ClassDecoding]:
    for ratio in _OFFSET_RATIOS:
        yield ClassDecoding(onset=best.onset, offset=round(best.onset * ratio, 4))


def _durations(best: ClassDecoding) -> Iterator[ClassDecoding]:
    for gap, duration in product(_GAPS, _DURATIONS):
        yield best.model_copy(update={"min_gap": gap, "min_duration": duration})


def _figures(pairs: Sequence[_Column], rule: ClassDecoding) -> dict[str, float]:
    hits = alarms = misses = 0
    for probabilities, labels in pairs:
        active = decide_frames(probabilities, rule)
        hits += int((active & (labels == 1)).sum())
        alarms += int((active & (labels == 0)).sum())
        misses += int((~active & (labels == 1)).sum())
    return {
        "precision": hits / max(hits + alarms, 1),
        "recall": hits / max(hits + misses, 1),
        "F1": 2 * hits / max(2 * hits + alarms + misses, 1),
    }
