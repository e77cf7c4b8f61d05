"""Networks that depend on all that they see at once: overlapping windows, results averaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch


class WindowStream:
    """Apply a function to overlapping windows of frames that arrive in blocks; average its results.

    Window k sees the frames ``[k step, k step + window)`` of the recording. The last one is the
    first that reaches to the end; it is shorter by less than `step`. The result of a frame is the
    mean over all windows that see it, so it is a function of the recording alone, however it is
    cut into blocks.

    Parameters
    ----------
    function : callable
        Maps (n, ...) frames to a tuple of (n, ...) results. To keep probabilities those of the mean
        logits, and the mean logits linear in the mean activations, let it return logits.
    window, step : int
        Frames of a window, and from one to the next; `step` is at most `window`.
    """

    def __init__(
        self,
        function: Callable[[torch.Tensor], tuple[torch.Tensor, ...]],
        window: int,
        step: int,
    ) -> None:
        self.function, self.window, self.step = function, window, step
        # All of these begin at the first frame of the window that comes next.
        self._buffer: torch.Tensor | None = None
        self._sums: tuple[torch.Tensor, ...] = ()
        self._counts = torch.zeros(0)

    def push(self, frames: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
        """Take the next frames; yield the results that they complete."""
        self._buffer = frames if self._buffer is None else torch.cat([self._buffer, frames])
        while len(self._buffer) >= self.window:
            self._add(self._buffer[: self.window])
            yield self._take(self.step)
            self._buffer = self._buffer[self.step :]

    def finish(self) -> Iterator[tuple[torch.Tensor, ...]]:
        """Yield the results that remain at the end of the recording."""
        if self._buffer is not None and len(self._buffer) > len(self._counts):
            self._add(self._buffer)
        if len(self._counts):
            yield self._take(len(self._counts))

    def _add(self, frames: torch.Tensor) -> None:
        results = self.function(frames)
        seen = len(self._counts)
        ones = results[0].new_ones(len(frames))
        self._counts = torch.cat([self._counts.to(ones) + 1, ones[seen:]])
        earlier = self._sums or tuple(result[:0] for result in results)
        self._sums = tuple(
            torch.cat([total + result[:seen], result[seen:]])
            for total, result in zip(earlier, results, strict=True)
        )

    def _take(self, number: int) -> tuple[torch.Tensor, ...]:
        counts = self._counts[:number]
        means = tuple(
            total[:number] / counts.view(-1, *[1] * (total.dim() - 1)) for total in self._sums
        )
        self._sums = tuple(total[number:] for total in self._sums)
        self._counts = self._counts[number:]
        return means


def windowed(
    function: Callable[[torch.Tensor], tuple[torch.Tensor, ...]],
    frames: torch.Tensor,
    window: int,
    step: int,
) -> tuple[torch.Tensor, ...]:
    """Return the results of `WindowStream` for a whole recording, of one frame at least.

    Parameters
    ----------
    function : callable
        Maps (n, ...) frames to a tuple of (n, ...) results.
    frames : torch.Tensor, shape (T, ...)
        The recording.
    window, step : int
        Frames of a window, and from one to the next.

    Returns
    -------
    tuple of torch.Tensor, shape (T, ...)
        Means over the windows that see a frame.
    """
    stream = WindowStream(function, window, step)
    parts = [*stream.push(frames), *stream.finish()]
    return tuple(torch.cat(results) for results in zip(*parts, strict=True))
