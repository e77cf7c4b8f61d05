"""Segment on a CPU: from sound to probabilities and activations, in NumPy, as a stream.

The network carries its state from block to block. Nothing is computed twice, what is worked on
stays in the cache of a core, and no large library is waited for. `inference` does the same with
PyTorch, for every network and on a GPU.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from audioseg_xai.models.configs import LevelConfig, NetworkConfig
from audioseg_xai.models.running_mean import RunningMean
from audioseg_xai.models.streaming import StreamingNetwork, Weights
from audioseg_xai.spectra import SAMPLE_SCALE, PowerStream, SpectrogramConfig, hann_window

Floats = NDArray[np.float32]
ItemT = TypeVar("ItemT")

CHUNK = 1000
"""Frames (20 seconds) that go through the network at once: their activations fit into a cache."""

_END: Any = object()


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

    spectrogram: Floats
    logits: Floats
    probabilities: Floats
    activations: Floats


class StreamingSegmenter:
    """Run a network over recordings on a CPU.

    Parameters
    ----------
    config : TeacherConfig or StudentConfig
        Of a network that is `streamable`.
    weights : mapping of str to numpy.ndarray
        As the model directory has them.
    chunk : int, optional
        Frames computed at once, at most; results depend on it no more than rounding does.
    threads : int, optional
        With more than one, one thread hears (decoding, spectra, front end) what comes next while
        another one decides. There is no work for a third.
    """

    def __init__(
        self, config: NetworkConfig, weights: Weights, chunk: int = CHUNK, threads: int = 1
    ) -> None:
        self.config, self.weights, self.chunk, self.threads = config, weights, chunk, threads

    def process(self, blocks: Iterable[Floats]) -> Generator[Chunk, None, None]:
        """Yield results for a recording, in order.

        With more than one thread, close the iterator before what `blocks` reads from.

        Parameters
        ----------
        blocks : iterable of numpy.ndarray, shape (n,)
            16 kHz mono samples in [-1, 1], in blocks of any size.
        """
        network = StreamingNetwork(self.config, self.weights)
        heard = self._heard(network, blocks)
        with closing(ahead(heard) if self.threads > 1 else heard) as parts:
            for normalised, front_end in parts:
                chunk = _decided(network, normalised, front_end)
                if len(chunk.logits):
                    yield chunk

    def _heard(
        self, network: StreamingNetwork, blocks: Iterable[Floats]
    ) -> Generator[tuple[Floats | None, list[Floats]], None, None]:
        """Yield frames and what the front end makes of them; None stands for the end."""
        for spectrogram in self._spectrograms(blocks):
            for start in range(0, len(spectrogram), self.chunk):
                normalised = spectrogram[start : start + self.chunk]
                with np.errstate(all="ignore"):
                    heard = network.hear(normalised)
                yield normalised, heard
        yield None, network.hear_last()

    def _spectrograms(self, blocks: Iterable[Floats]) -> Iterator[Floats]:
        spectrum = PowerStream(self.config.spectrogram)
        level = LevelStream(self.config.level, self.config.spectrogram)
        for block in blocks:
            yield level.push(spectrum.push(block))
        yield level.push(spectrum.finish())
        yield level.finish()


def ahead(items: Iterable[ItemT], count: int = 3) -> Generator[ItemT, None, None]:
    """Yield items that another thread gets meanwhile, at most `count` ahead."""
    iterator = iter(items)
    with ThreadPoolExecutor(1) as pool:
        waiting = deque(pool.submit(next, iterator, _END) for _ in range(count))
        try:
            while (item := waiting.popleft().result()) is not _END:
                waiting.append(pool.submit(next, iterator, _END))
                yield cast(ItemT, item)
        finally:
            for future in waiting:
                future.cancel()


class LevelStream:
    """`models.level.LevelNorm` of the power of frames that arrive in blocks.

    Parameters
    ----------
    config : LevelConfig
        Context, dynamic range, floor.
    spectrogram : SpectrogramConfig
        FFT size, needed to express the floor in its units.
    """

    def __init__(self, config: LevelConfig, spectrogram: SpectrogramConfig) -> None:
        self.gain = 10 ** (config.dynamic_range / 10)
        # Mean bin power of white noise at the floor: variance times the window's energy.
        energy = np.square(hann_window(spectrogram.fft_size)).sum()
        self.minimum = SAMPLE_SCALE**2 * 10 ** (config.floor / 10) * energy
        self._level = RunningMean(config.context)
        self._mean = np.full(spectrogram.num_bins, 1 / spectrogram.num_bins, np.float32)
        self._waiting = np.zeros((0, spectrogram.num_bins), np.float32)

    def push(self, power: Floats) -> Floats:
        """Take the power (n, F) of the next frames; return log(1 + R P / level), shape (m, F)."""
        self._waiting = np.concatenate([self._waiting, power])
        return self._normalise(self._level.push(power @ self._mean))

    def finish(self) -> Floats:
        """Return the frames that remain at the end, shape (m, F)."""
        return self._normalise(self._level.finish())

    def _normalise(self, level: NDArray[np.float64]) -> Floats:
        factor = (self.gain / np.maximum(level, self.minimum)).astype(np.float32)
        ready, self._waiting = np.split(self._waiting, [len(level)])
        normalised = ready * factor[:, None]
        return np.log1p(normalised, out=normalised)


def _decided(network: StreamingNetwork, normalised: Floats | None, heard: list[Floats]) -> Chunk:
    # Weights that are not finite are the business of who looks at the results.
    with np.errstate(all="ignore"):
        if normalised is None:
            spectrogram, logits, activations = network.decide_last(heard)
        else:
            spectrogram, logits, activations = network.decide(normalised, heard)
        return Chunk(spectrogram, logits, sigmoid(logits), activations)


def sigmoid(logits: Floats) -> Floats:
    """Return 1 / (1 + exp(-x)), without overflow."""
    return np.exp(-np.logaddexp(np.float32(0), -logits))
