"""The level of a recording, frame by frame, at a cost that its context does not raise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


class RunningMean:
    """Mean over `context` values on each side, of values that arrive in blocks.

    Van Herk's and Gil and Werman's running filter, with a sum in place of their maximum: the
    recording is divided into blocks as long as the window; a window is the end of one block and the
    beginning of the next, so its sum is that of a suffix and of a prefix. Two additions a value,
    whatever the width. Nothing is subtracted, as with differences of cumulative sums: a click ten
    minutes ago leaves no error behind. The blocks lie fixed in the recording, so the result does
    not depend on how the values arrive.

    Van Herk, "A fast algorithm for local minimum and maximum filters on rectangular and octagonal
    kernels", Pattern Recognition Letters 13(7), 1992; Gil and Werman, "Computing 2-D min, median
    and max filters", IEEE TPAMI 15(5), 1993.

    Parameters
    ----------
    context : int
        Values on each side of the one in the middle; at the ends those that exist.
    """

    def __init__(self, context: int) -> None:
        self.context, self.width = context, 2 * context + 1
        self._seen = self._done = 0
        # From the beginning of a block on. What lies before the first value counts as zero.
        self._values: Doubles = np.zeros(context)
        self._before = 0  # values that were dropped from the front, the first `context` included

    def push(self, values: NDArray[np.floating]) -> Doubles:
        """Take the next values, shape (n,); return the means that they complete, shape (m,)."""
        self._seen += len(values)
        self._values = np.concatenate([self._values, values])
        return self._take(self._seen - self.context)

    def finish(self) -> Doubles:
        """Return the means that remain at the end, shape (m,)."""
        self._values = np.concatenate([self._values, np.zeros(self.context)])
        return self._take(self._seen)

    def _take(self, stop: int) -> Doubles:
        first, parts = self._done, []
        while self._done < stop:
            # The window of value t begins at place t of what has `context` zeros in front.
            offset = self._done - self._before
            count = min(stop - self._done, self.width - offset)
            parts.append(self._sums(offset, count))
            self._done += count
            if offset + count == self.width:
                self._values, self._before = self._values[self.width :], self._done
        return self._means(np.concatenate(parts), first) if parts else np.zeros(0)

    def _sums(self, offset: int, count: int) -> Doubles:
        block, following = self._values[: self.width], self._values[self.width :]
        suffixes = np.cumsum(block[::-1])[::-1][offset : offset + count]
        prefixes = np.cumsum(following[: offset + count - 1])
        sums = suffixes.copy()
        skipped = 1 if offset == 0 else 0  # a window that is a block takes nothing of the next
        sums[skipped:] += prefixes[max(offset - 1, 0) :]
        return sums

    def _means(self, sums: Doubles, first: int) -> Doubles:
        places = np.arange(first, first + len(sums))
        lowest = np.maximum(places - self.context, 0)
        highest = np.minimum(places + self.context, self._seen - 1)
        return sums / (highest - lowest + 1)
