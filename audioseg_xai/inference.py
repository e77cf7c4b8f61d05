"""Streaming inference in PyTorch: any network, any device, any length in constant memory.

On a CPU networks that hear spectrograms run in NumPy, see `segmenter`, which gives the same.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from audioseg_xai.batching import Batcher
from audioseg_xai.errors import ModelError, UsageError
from audioseg_xai.features import SpectrogramStream
from audioseg_xai.models.configs import FeatureFrontEndConfig
from audioseg_xai.models.fold import folded
from audioseg_xai.models.networks import Student, StudentOutput, Teacher
from audioseg_xai.models.windows import WindowStream
from audioseg_xai.segmenter import Chunk
from audioseg_xai.upstream import FeatureStream, Upstream, load_upstream

ResultT_co = TypeVar("ResultT_co", covariant=True)

CHUNK = 3000
"""Frames (one minute) that go through the network at once."""

FEATURES = 1 << 24
"""Values of upstream features (64 MiB) that go through the network at once."""


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
    """Run a network over recordings, several at a time if several threads ask for it.

    What they want at the same time is computed together, see `Batcher`. A network that listens to
    upstream features gets them as `cache-features` computes them: in windows of a grid that lies
    fixed in the recording.

    Parameters
    ----------
    network : Student or Teacher
        What decides.
    device : str, optional
        Where it runs.
    chunk : int, optional
        Frames computed at once, at most; results do not depend on it.
    upstream_checkpoint : str, optional
        Where the weights of the upstream lie, if not where they lay in training.

    Attributes
    ----------
    windows : int or None
        Windows of the upstream that are computed at once; None as many as suit the device.

    Raises
    ------
    ModelError
        If the network listens to features of an upstream that cannot be loaded, or is not known.
    UsageError
        If a checkpoint is given for a network that listens to spectrograms.
    """

    def __init__(
        self,
        network: Student | Teacher,
        device: str = "cpu",
        chunk: int = CHUNK,
        upstream_checkpoint: str | None = None,
    ) -> None:
        self.network = folded(network).to(device)
        self.device, self.chunk = torch.device(device), chunk
        self._decide_together = Batcher(self._decide)
        self.upstream = None
        self.windows: int | None = None
        front_end = network.config.front_end
        if isinstance(front_end, FeatureFrontEndConfig):
            self.upstream = _load_upstream(front_end, device, upstream_checkpoint)
            self.chunk = min(chunk, max(1, FEATURES // (front_end.layers * front_end.dimension)))
        elif upstream_checkpoint is not None:
            raise UsageError(
                "--upstream-checkpoint: this model listens to spectrograms, and to no upstream"
            )

    def process(self, blocks: Iterable[NDArray[np.float32]]) -> Generator[Chunk, None, None]:
        """Yield results for a recording, in order.

        Parameters
        ----------
        blocks : iterable of numpy.ndarray, shape (n,)
            16 kHz mono samples in [-1, 1], in blocks of any size.
        """
        samples = map(torch.from_numpy, blocks)
        if self.upstream is None:
            results = drain(self._network_stream(self._listen), self._spectrograms(samples))
        else:
            heard, seen = itertools.tee(samples)
            features = self._features(self.upstream, heard)
            decided = drain(self._network_stream(self._decide_together), features)
            results = aligned(self._spectrograms(seen), decided)
        for spectrogram, logits, activations in results:
            yield _to_chunk((spectrogram, logits, logits.sigmoid(), activations))

    def _network_stream(
        self, function: Callable[[torch.Tensor], tuple[torch.Tensor, ...]]
    ) -> Stream[tuple[torch.Tensor, ...]]:
        config = self.network.config
        if config.window is not None:
            return WindowStream(function, config.window, config.window_step)
        # Chunks begin where the front end, stepping over frames from the first, has an output.
        stride = config.front_end.stride
        chunk = stride * math.ceil(self.chunk / stride)
        return ContextStream(function, config.context, chunk)

    def _spectrograms(self, samples: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
        config = self.network.config
        level = ContextStream(self._normalise, config.level.context, self.chunk)
        stream = SpectrogramStream(config.spectrogram, self.device)
        moved = (block.to(self.device) for block in samples)
        frames = itertools.chain(map(stream.push, moved), _last_of(stream))
        return (normalised for (normalised,) in drain(level, frames))

    def _features(
        self, upstream: Upstream, samples: Iterable[torch.Tensor]
    ) -> Iterator[torch.Tensor]:
        for features in drain(FeatureStream(upstream, self.windows), samples):
            yield features if upstream.num_layers > 1 else features[:, 0]

    @torch.inference_mode()
    def _normalise(self, spectrogram: torch.Tensor) -> tuple[torch.Tensor]:
        normalised: torch.Tensor = self.network.level_norm(spectrogram.unsqueeze(0))
        return (normalised.squeeze(0),)

    def _listen(self, normalised: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return normalised, *self._decide_together(normalised)

    @torch.inference_mode()
    def _decide(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        output = self.network(inputs)
        if isinstance(output, StudentOutput):
            return output.logits, output.activations
        return output, output.new_zeros(*output.shape[:2], 0)


class Stream(Protocol[ResultT_co]):
    """What takes the frames of a recording one part after the other, and gives results."""

    def push(self, frames: torch.Tensor, /) -> Iterator[ResultT_co]:
        """Take the next part; yield the results that it completes."""

    def finish(self) -> Iterator[ResultT_co]:
        """Yield the results that remain at the end."""


def drain(stream: Stream[ResultT_co], parts: Iterable[torch.Tensor]) -> Iterator[ResultT_co]:
    """Yield all results of a stream that gets `parts`, as soon as they are complete."""
    for part in parts:
        yield from stream.push(part)
    yield from stream.finish()


def aligned(
    frames: Iterator[torch.Tensor], results: Iterator[tuple[torch.Tensor, ...]]
) -> Iterator[tuple[torch.Tensor, ...]]:
    """Put the frames of a recording in front of the results that belong to them.

    Parameters
    ----------
    frames : iterator of torch.Tensor, shape (m, ...)
        All frames of the recording, in parts of any size.
    results : iterator of tuple of torch.Tensor, shape (n, ...)
        As many results, cut elsewhere.

    Yields
    ------
    tuple of torch.Tensor, shape (n, ...)
        n frames, and the results.
    """
    waiting: list[torch.Tensor] = []
    for parts in results:
        while sum(map(len, waiting)) < len(parts[0]):
            waiting.append(next(frames))
        joined = torch.cat(waiting)
        yield joined[: len(parts[0])], *parts
        waiting = [joined[len(parts[0]) :]]


def _to_chunk(parts: tuple[torch.Tensor, ...]) -> Chunk:
    return Chunk(*(part.cpu().numpy() for part in parts))


def _last_of(stream: SpectrogramStream) -> Iterator[torch.Tensor]:
    yield stream.finish()


def _load_upstream(
    front_end: FeatureFrontEndConfig, device: str, checkpoint: str | None
) -> Upstream:
    if front_end.upstream is None:
        raise ModelError(
            "this model listens to upstream features, and does not say of which upstream: train it "
            "on an archive that 'xai-segment cache-features --upstream' made"
        )
    config = front_end.upstream
    upstream = load_upstream(config.with_checkpoint(checkpoint) if checkpoint else config, device)
    given = (upstream.num_layers, upstream.dimension)
    if given != (front_end.layers, front_end.dimension):
        raise ModelError(
            f"this model listens to {front_end.layers} layers of {front_end.dimension} values, "
            f"{config.name} gives {given[0]} of {given[1]}: it is not the upstream of its training"
        )
    return upstream
