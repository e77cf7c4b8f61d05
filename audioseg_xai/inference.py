"""Streaming inference: a recording of any length in constant memory, chunked equal to whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from audioseg_xai.errors import ModelError
from audioseg_xai.features import SpectrogramStream
from audioseg_xai.models.fold import folded
from audioseg_xai.models.front_end import SpectrogramFrontEndConfig
from audioseg_xai.models.networks import Student, StudentOutput, Teacher

CHUNK = 3000
"""Frames (one minute) that go through the network at once."""


@dataclass(frozen=True)
class Chunk:
    """Consecutive frames of a recording.

    Attributes
    ----------
    spectrogram : numpy.ndarray, shape (t, F)
        Normalised log spectrogram, what the network saw.
    logits, probabilities : numpy.ndarray, shape (t, C)
        Of each class.
    activations : numpy.ndarray, shape (t, K)
        H; K = 0 for a teacher, which has none.
    """

    spectrogram: NDArray[np.float32]
    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    activations: NDArray[np.float32]


class ContextStream:
    """Apply a function that sees `context` frames on each side to frames that arrive in blocks.

    The function gets the same neighbourhood that it would have in the whole recording, so where
    the blocks are cut makes no difference; at both ends of the recording it sees the end.

    Parameters
    ----------
    function : callable
        Maps (n, ...) frames to a tuple of (n, ...) results.
    context : int
        Frames that a result depends on, on each side.
    chunk : int
        Results computed at once.
    """

    def __init__(
        self,
        function: Callable[[torch.Tensor], tuple[torch.Tensor, ...]],
        context: int,
        chunk: int,
    ) -> None:
        self.function, self.context, self.chunk = function, context, chunk
        self._buffer: torch.Tensor | None = None
        self._done = 0  # results already given, counted from the first frame in the buffer

    def push(self, frames: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
        """Take the next frames; yield the results that they complete."""
        self._buffer = frames if self._buffer is None else torch.cat([self._buffer, frames])
        while len(self._buffer) - self._done >= self.chunk + self.context:
            yield self._compute(self._done + self.chunk, self._done + self.chunk + self.context)

    def finish(self) -> Iterator[tuple[torch.Tensor, ...]]:
        """Yield the results that remain at the end of the recording."""
        while self._buffer is not None and self._done < len(self._buffer):
            total = len(self._buffer)
            stop = min(self._done + self.chunk, total)
            yield self._compute(stop, min(stop + self.context, total))

    def _compute(self, stop: int, seen: int) -> tuple[torch.Tensor, ...]:
        assert self._buffer is not None
        results = tuple(part[self._done : stop] for part in self.function(self._buffer[:seen]))
        surplus = max(stop - self.context, 0)
        self._buffer = self._buffer[surplus:]
        self._done = stop - surplus
        return results


class Segmenter:
    """Run a network over recordings.

    Parameters
    ----------
    network : Student or Teacher
        With the spectrogram front end.
    device : str, optional
        Where it runs.
    chunk : int, optional
        Frames computed at once; results do not depend on it.

    Raises
    ------
    ModelError
        If the network listens to upstream features, which have to be extracted first.
    """

    def __init__(self, network: Student | Teacher, device: str = "cpu", chunk: int = CHUNK) -> None:
        if not isinstance(network.config.front_end, SpectrogramFrontEndConfig):
            raise ModelError(
                "this model listens to upstream features, not to audio: "
                "give it a feature archive instead"
            )
        self.network = folded(network).to(device)
        self.device, self.chunk = torch.device(device), chunk

    def process(self, blocks: Iterable[NDArray[np.float32]]) -> Iterator[Chunk]:
        """Yield results for a recording, in order.

        Parameters
        ----------
        blocks : iterable of numpy.ndarray, shape (n,)
            16 kHz mono samples in [-1, 1], in blocks of any size.
        """
        config = self.network.config
        spectrogram = SpectrogramStream(config.spectrogram)
        level = ContextStream(self._normalise, config.level.context, self.chunk)
        context = config.front_end.receptive_field + config.tcn.receptive_field
        network = ContextStream(self._infer, context, self.chunk)
        for block in blocks:
            for (normalised,) in level.push(spectrogram.push(torch.from_numpy(block))):
                yield from map(_to_chunk, network.push(normalised))
        for (normalised,) in level.push(spectrogram.finish()):
            yield from map(_to_chunk, network.push(normalised))
        for (normalised,) in level.finish():
            yield from map(_to_chunk, network.push(normalised))
        yield from map(_to_chunk, network.finish())

    @torch.inference_mode()
    def _normalise(self, spectrogram: torch.Tensor) -> tuple[torch.Tensor]:
        moved = spectrogram.to(self.device).unsqueeze(0)
        normalised: torch.Tensor = self.network.level_norm(moved)
        return (normalised.squeeze(0),)

    @torch.inference_mode()
    def _infer(self, normalised: torch.Tensor) -> tuple[torch.Tensor, ...]:
        output = self.network(normalised.unsqueeze(0))
        if isinstance(output, StudentOutput):
            logits, activations = output.logits[0], output.activations[0]
        else:
            logits, activations = output[0], output.new_zeros(output.shape[1], 0)
        return normalised, logits, logits.sigmoid(), activations


def _to_chunk(parts: tuple[torch.Tensor, ...]) -> Chunk:
    return Chunk(*(part.cpu().numpy() for part in parts))
