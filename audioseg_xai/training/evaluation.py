"""Frame-wise quality of probabilities, whatever the threshold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LEVELS = 1000


class FrameCounts:
    """Histograms of the probabilities of active and inactive frames, a class.

    Memory does not grow with the number of frames; thresholds are resolved to 0.001.

    Parameters
    ----------
    classes : tuple of str
        Axis C.
    """

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.classes = classes
        self._counts = np.zeros((len(classes), 2, _LEVELS + 1), dtype=np.int64)

    def add(self, probabilities: NDArray[np.floating], labels: NDArray[np.int8]) -> None:
        """Count frames; `probabilities` and `labels` have shape (T, C), labels 1, 0 or -1."""
        levels = np.rint(np.clip(probabilities, 0, 1) * _LEVELS).astype(np.int64)
        for c in range(len(self.classes)):
            for value in (0, 1):
                chosen = levels[labels[:, c] == value, c]
                self._counts[c, value] += np.bincount(chosen, minlength=_LEVELS + 1)

    def best(self) -> dict[str, tuple[float, float]]:
        """Return for each class with labels the best F1 and its (highest) threshold."""
        found = {}
        for name, (negative, positive) in zip(self.classes, self._counts, strict=True):
            if positive.sum() == 0:
                continue
            hits = positive[::-1].cumsum()[::-1]
            alarms = negative[::-1].cumsum()[::-1]
            f1 = 2 * hits / np.maximum(hits + alarms + positive.sum(), 1)
            highest = np.flatnonzero(f1 == f1.max())[-1]
            found[name] = (float(f1.max()), float(highest / _LEVELS))
        return found

    def average_precision(self) -> dict[str, float]:
        """Return for each class with labels the mean precision over its active frames."""
        found = {}
        for name, (negative, positive) in zip(self.classes, self._counts, strict=True):
            if positive.sum() == 0:
                continue
            hits = positive[::-1].cumsum()
            alarms = negative[::-1].cumsum()
            precision = hits / np.maximum(hits + alarms, 1)
            found[name] = float((precision * positive[::-1]).sum() / positive.sum())
        return found
