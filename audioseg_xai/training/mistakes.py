"""Where a model goes wrong: what it takes for what, on simulated and on real left-out audio."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from audioseg_xai.annotation import Segment
from audioseg_xai.corpora.pool import PoolItem
from audioseg_xai.decode import DecodingConfig
from audioseg_xai.frames import FRAME_SHIFT, SAMPLE_RATE, WINDOW
from audioseg_xai.training.tuning import Observation, decide_frames

Shares = dict[str, float]

_ENOUGH = 30.0  # seconds of a situation, or of a source, below which a share says little
_WORTH_TELLING = 0.05
_SHORTEST = WINDOW / SAMPLE_RATE
_CLASS_OF = {"speech": "speech", "music": "music", "noise": "noise", "event": "noise"}


def decided_by_situation(
    observations: Iterable[Observation], classes: tuple[str, ...], decoding: DecodingConfig
) -> dict[str, Shares]:
    """Return how often each class is decided in each situation: what sounds at the same time.

    Parameters
    ----------
    observations : iterable
        Probabilities (T, C) and labels (T, C) of recordings; frames in which the label of a
        class is unknown are left out.
    classes : tuple of str
        Axis C.
    decoding : dict
        Class name to how it is decided.

    Returns
    -------
    dict of str to dict of str to float
        Classes that sound together, such as ``speech + noise`` or ``nothing``, to the seconds
        that it lasts, and by class the share of the time in which it is decided. The longest
        situation first; those of less than 30 s are left out.
    """
    decided = [name for name in classes if name in decoding]
    columns = [classes.index(name) for name in decided]
    frames: dict[tuple[bool, ...], int] = defaultdict(int)
    found: dict[tuple[bool, ...], np.ndarray] = defaultdict(lambda: np.zeros(len(decided)))
    for probabilities, labels in observations:
        active = np.stack(
            [decide_frames(probabilities[:, c], decoding[classes[c]]) for c in columns], axis=1
        )
        there = labels[:, columns]
        for situation in np.unique(there[(there >= 0).all(axis=1)], axis=0):
            rows = (there == situation).all(axis=1)
            key = tuple(bool(value) for value in situation)
            frames[key] += int(rows.sum())
            found[key] += active[rows].sum(axis=0)
    return {
        _situation(decided, key): {"seconds": round(count * FRAME_SHIFT, 1)}
        | dict(zip(decided, (found[key] / count).round(4).tolist(), strict=True))
        for key, count in sorted(frames.items(), key=lambda item: -item[1])
        if count * FRAME_SHIFT >= _ENOUGH
    }


def _situation(classes: Sequence[str], sounding: tuple[bool, ...]) -> str:
    names = [name for name, there in zip(classes, sounding, strict=True) if there]
    return " + ".join(names) or "nothing"


def mistaken_sources(
    root: Path,
    items: Iterable[PoolItem],
    segment: Callable[[Path], Sequence[Segment]],
    classes: Sequence[str],
) -> dict[str, Shares]:
    """Return the sources of a pool that are taken for what they are not.

    Each file is heard alone, as it lies in the pool.

    Parameters
    ----------
    root : Path
        The pool.
    items : iterable of PoolItem
        Speech, music, noise and events, each file of one kind, that were not trained on.
    segment : callable
        Returns the segments of an audio file.
    classes : sequence of str
        The classes that it decides.

    Returns
    -------
    dict of str to dict of str to float
        ``source (kind)`` to the seconds that were heard and the share of them in which each class
        was decided; sources with 30 s and more, of which more than 5 % were taken for something
        else, the worst first.
    """
    heard: dict[tuple[str, str], float] = defaultdict(float)
    found: dict[tuple[str, str], dict[str, float]] = defaultdict(
        lambda: dict.fromkeys(classes, 0.0)
    )
    for item in items:
        if item.kind not in _CLASS_OF or item.duration < _SHORTEST:
            continue
        key = item.source, item.kind
        heard[key] += item.duration
        for decided in segment(root / item.path):
            found[key][decided.label] += decided.duration
    rows = []
    for (source, kind), seconds in heard.items():
        shares = {name: value / seconds for name, value in found[source, kind].items()}
        worst = max(share for name, share in shares.items() if name != _CLASS_OF[kind])
        if seconds >= _ENOUGH and worst > _WORTH_TELLING:
            rounded = {name: round(share, 4) for name, share in shares.items()}
            rows.append((-worst, f"{source} ({kind})", {"seconds": round(seconds, 1)} | rounded))
    return {name: shares for _, name, shares in sorted(rows, key=lambda row: row[:2])}
