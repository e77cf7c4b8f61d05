"""A recording of any length as a picture of bounded size, made while it streams by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audioseg_xai.frames import FRAME_SHIFT

MAX_COLUMNS = 2000


class Overview:
    """Means of spectrogram and probabilities over equal stretches of time.

    A column stands for 2^n frames. Whenever there are too many columns, neighbours are averaged
    in pairs and n grows by one, so that memory stays bounded and the result does not depend on
    how the frames are cut into chunks.

    Parameters
    ----------
    max_columns : int
        Most columns that are kept; even.

    Attributes
    ----------
    frames_per_column : int
        2^n.
    """

    def __init__(self, max_columns: int = MAX_COLUMNS) -> None:
        if max_columns < 2 or max_columns % 2:
            raise ValueError(f"max_columns must be even and positive, not {max_columns}")
        self._max = max_columns
        self.frames_per_column = 1
        self._bins = 0
        self._columns: NDArray[np.float32] | None = None
        self._rest: NDArray[np.float32] | None = None

    @property
    def seconds_per_column(self) -> float:
        """Time that a column stands for (the last may stand for less)."""
        return self.frames_per_column * FRAME_SHIFT

    @property
    def spectrogram(self) -> NDArray[np.float32]:
        """Mean normalised log spectrogram of each column, shape (N, F)."""
        return self._means()[:, : self._bins]

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """Mean probabilities of each column, shape (N, C)."""
        return self._means()[:, self._bins :]

    def push(self, spectrogram: NDArray[np.floating], probabilities: NDArray[np.floating]) -> None:
        """Take the next frames: spectrogram (t, F), probabilities (t, C)."""
        self._bins = spectrogram.shape[1]
        frames = np.hstack([spectrogram, probabilities]).astype(np.float32, copy=False)
        if self._columns is None or self._rest is None:
            self._columns = self._rest = frames[:0]
        frames = np.vstack([self._rest, frames])
        whole = len(frames) - len(frames) % self.frames_per_column
        self._rest = frames[whole:].copy()
        self._columns = np.vstack([self._columns, _pool(frames[:whole], self.frames_per_column)])
        while len(self._columns) > self._max:
            self._halve()

    def _halve(self) -> None:
        assert self._columns is not None and self._rest is not None
        even = len(self._columns) - len(self._columns) % 2
        # The odd one out goes back to the frames that wait: its mean stands for each of them.
        odd = np.repeat(self._columns[even:], self.frames_per_column, axis=0)
        self._rest = np.vstack([odd, self._rest])
        self._columns = _pool(self._columns[:even], 2)
        self.frames_per_column *= 2

    def _means(self) -> NDArray[np.float32]:
        if self._columns is None or self._rest is None:
            return np.zeros((0, 0), np.float32)
        if len(self._rest) == 0:
            return self._columns
        return np.vstack([self._columns, self._rest.mean(axis=0, keepdims=True)])


def _pool(rows: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Return the means of each `count` rows."""
    pooled: NDArray[np.float32] = rows.reshape(-1, count, rows.shape[1]).mean(axis=1)
    return pooled
