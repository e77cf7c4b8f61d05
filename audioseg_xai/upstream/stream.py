"""Features of recordings of any length, in windows of a grid that lies fixed in the recording."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch

from audioseg_xai.frames import HOP, WINDOW, num_frames
from audioseg_xai.upstream.model import Upstream

GPU_BATCH = 8
"""Windows that a GPU computes at once; on a CPU one alone is as fast."""


class Window(NamedTuple):
    """Frames of a recording, counted from its beginning.

    Attributes
    ----------
    first, last : int
        Frames ``[first, last)`` are given.
    start, stop : int
        Frames ``[start, stop)`` are seen.
    """

    first: int
    last: int
    start: int
    stop: int


def window(number: int, chunk: int, margin: int, frames: int) -> Window:
    """Return window `number` of the grid, in a recording of `frames` frames.

    Parameters
    ----------
    number : int
        From 0.
    chunk, margin : int
        Frames that a window gives, and sees more on each side.
    frames : int
        T; windows end there.

    Examples
    --------
    >>> window(0, 100, 10, 250), window(2, 100, 10, 250)
    (Window(first=0, last=100, start=0, stop=110), Window(first=200, last=250, start=190, stop=250))
    """
    first, last = number * chunk, (number + 1) * chunk
    return Window(first, min(last, frames), max(first - margin, 0), min(last + margin, frames))


class FeatureStream:
    """Features of a recording that arrives in blocks.

    They are a function of the recording and of the configuration alone: the windows lie where the
    grid says, however the blocks are cut. A window at the end sees all samples to the end, so a
    recording that fits into one window gets the features of `Upstream.hidden_states`. In a longer
    one they differ from those of the whole recording, because attention reaches over everything
    that a window holds, and so do the norms of some models.

    Parameters
    ----------
    upstream : Upstream
        The model; its configuration says chunk and margin.
    batch : int, optional
        Windows that are computed at once; by default `GPU_BATCH` on a GPU, and one on a CPU.
    """

    def __init__(self, upstream: Upstream, batch: int | None = None) -> None:
        self.upstream = upstream
        self._chunk = upstream.config.chunk_frames
        self._margin = upstream.config.margin_frames
        self._batch = batch or (GPU_BATCH if upstream.device.type == "cuda" else 1)
        self._pending = torch.zeros(0)
        self._offset = 0  # of the first pending sample in the recording
        self._number = 0  # of the window that comes next
        self._waiting: list[tuple[Window, torch.Tensor]] = []

    def push(self, block: torch.Tensor) -> Iterator[torch.Tensor]:
        """Take the next samples (n,); yield the features (t, L, D) that they complete, in order."""
        self._pending = torch.cat([self._pending, block])
        # A window that reaches to the end of the recording sees more, so the end must be beyond it.
        while (found := self._next()).stop < self._frames:
            seen = slice(found.start * HOP - self._offset, self._end(found) - self._offset)
            yield from self._add(found, self._pending[seen])
            self._drop(max(found.last - self._margin, 0) * HOP)

    def finish(self) -> Iterator[torch.Tensor]:
        """Yield the features (t, L, D) that remain at the end of the recording."""
        while (found := self._next()).first < self._frames:
            stop = None if found.stop == self._frames else self._end(found) - self._offset
            yield from self._add(found, self._pending[found.start * HOP - self._offset : stop])
        yield from self._compute()

    @property
    def _frames(self) -> int:
        return num_frames(self._offset + len(self._pending))

    def _next(self) -> Window:
        return window(self._number, self._chunk, self._margin, self._frames)

    def _end(self, found: Window) -> int:
        return (found.stop - 1) * HOP + WINDOW

    def _drop(self, before: int) -> None:
        self._pending = self._pending[before - self._offset :].clone()
        self._offset = before

    def _add(self, found: Window, samples: torch.Tensor) -> Iterator[torch.Tensor]:
        self._number += 1
        if self._waiting and len(self._waiting[0][1]) != len(samples):
            yield from self._compute()
        self._waiting.append((found, samples))
        if len(self._waiting) == self._batch:
            yield from self._compute()

    def _compute(self) -> Iterator[torch.Tensor]:
        if not self._waiting:
            return
        batch = torch.stack([samples for _, samples in self._waiting])
        states = self.upstream.hidden_states(batch)
        for (found, _), features in zip(self._waiting, states, strict=True):
            yield features[found.first - found.start : found.last - found.start]
        self._waiting.clear()
