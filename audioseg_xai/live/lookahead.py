"""Decisions about a stream with less of the future than they would see in a file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from audioseg_xai.live.plan import Plan
from audioseg_xai.models.configs import NetworkConfig
from audioseg_xai.models.streaming import StreamingNetwork, Weights
from audioseg_xai.segmenter import Chunk, LevelStream, sigmoid
from audioseg_xai.spectra import PowerStream

if TYPE_CHECKING:
    from audioseg_xai.models.networks import Student, Teacher

Floats = NDArray[np.float32]

Decide = Callable[[Floats], tuple[Floats, Floats]]
"""What a network makes of a recording: normalised log spectrogram to logits and activations."""

AT_ONCE = 3000
"""Frames that are decided at once, at most, where that makes no difference."""


class LookaheadStream:
    """Decide the frames of a stream in groups, each with some of what follows.

    All frames of a group are decided as in a recording that ends `ahead` frames after the group:
    level and network see up to there, and beyond it what they see beyond the end of a file. With
    `ahead` not below the receptive field that is the result of the file.

    Parameters
    ----------
    config : NetworkConfig
        Of a network that listens to spectrograms, and not in windows.
    decide : callable
        The network.
    ahead : int
        Frames that a group waits for.

    Attributes
    ----------
    remaining : int
        Frames that are there and not decided.
    """

    def __init__(self, config: NetworkConfig, decide: Decide, ahead: int) -> None:
        self.config, self.ahead = config, ahead
        self.remaining = 0
        self._decide = decide
        stride = config.front_end.stride
        # The buffer begins where the front end, stepping over frames from the first, has an output.
        self._past = stride * math.ceil(config.receptive_field / stride)
        self._power: Floats = np.zeros((0, config.spectrogram.num_bins), np.float32)
        self._new: list[Floats] = []  # what comes behind it: joined once, not at each push
        self._done = 0  # frames of the buffer that are decided already

    @property
    def ready(self) -> int:
        """Frames that can be decided now."""
        return max(0, self.remaining - self.ahead)

    def push(self, power: Floats) -> None:
        """Take the power spectra of the next frames, shape (n, F)."""
        self._new.append(power)
        self.remaining += len(power)

    def take(self, count: int) -> Chunk:
        """Decide the next frames.

        Parameters
        ----------
        count : int
            How many of `remaining`; a multiple of the front end's stride except at the end.
        """
        stop = self._done + count
        self._power, self._new = np.concatenate([self._power, *self._new]), []
        first = max(self._done - self.config.context, 0)
        seen = self._normalised(stop + self.ahead)[first : stop + self.config.context]
        group = slice(self._done - first, stop - first)
        logits, activations = (part[group] for part in self._decide(seen))
        surplus = max(stop - self._past, 0)
        self._power, self._done = self._power[surplus:], stop - surplus
        self.remaining -= count
        return Chunk(seen[group], logits, sigmoid(logits), activations)

    def _normalised(self, stop: int) -> Floats:
        level = LevelStream(self.config.level, self.config.spectrogram)
        return np.concatenate([level.push(self._power[:stop]), level.finish()])


def process_live(
    config: NetworkConfig,
    decide: Decide,
    blocks: Iterable[Floats],
    plan: Plan,
    waiting: Callable[[], bool],
) -> Iterator[Chunk]:
    """Yield results for a stream, in order, as soon as the plan allows.

    Exact results do not depend on how many are computed at once: as long as more sound is waiting
    already, many are, and a file that comes through a pipe takes no longer than from disk. Others
    are computed `plan.hop` at once, so that they depend on the sound alone.

    Parameters
    ----------
    config : NetworkConfig
        Of the network.
    decide : callable
        The network.
    blocks : iterable of numpy.ndarray, shape (n,)
        16 kHz mono samples in [-1, 1].
    plan : Plan
        What is computed when.
    waiting : callable
        Returns whether more sound can be had without waiting for it.
    """
    spectra = PowerStream(config.spectrogram)
    stream = LookaheadStream(config, decide, plan.ahead)
    for block in blocks:
        stream.push(spectra.push(block))
        if not (plan.exact and stream.ready < AT_ONCE and waiting()):
            yield from _groups(stream, plan)
    stream.push(spectra.finish())
    yield from _groups(stream, plan)
    while stream.remaining:
        yield stream.take(min(AT_ONCE, stream.remaining))


def _groups(stream: LookaheadStream, plan: Plan) -> Iterator[Chunk]:
    at_once = max(1, AT_ONCE // plan.hop) if plan.exact else 1
    while hops := min(stream.ready // plan.hop, at_once):
        yield stream.take(hops * plan.hop)


def gathered(blocks: Iterable[Floats], waiting: Callable[[], bool], most: int) -> Iterator[Floats]:
    """Join blocks (n,) for as long as more sound is waiting already, up to `most` samples."""
    parts: list[Floats] = []
    for block in blocks:
        parts.append(block)
        if sum(map(len, parts)) >= most or not waiting():
            yield np.concatenate(parts)
            parts = []
    if parts:
        yield np.concatenate(parts)


def numpy_network(config: NetworkConfig, weights: Weights) -> Decide:
    """Return a network that is `streamable`, as NumPy computes it."""

    def decide(normalised: Floats) -> tuple[Floats, Floats]:
        network = StreamingNetwork(config, weights)
        with np.errstate(all="ignore"):  # who looks at the results finds what is not finite
            parts = network.push(normalised), network.finish()
        _, logits, activations = (np.concatenate(found) for found in zip(*parts, strict=True))
        return logits, activations

    return decide


def torch_network(network: Student | Teacher, device: str) -> Decide:
    """Return any network that listens to spectrograms, as PyTorch computes it on `device`."""
    import torch

    from audioseg_xai.models.fold import folded
    from audioseg_xai.models.networks import StudentOutput

    moved = folded(network).to(device)

    @torch.inference_mode()
    def decide(normalised: Floats) -> tuple[Floats, Floats]:
        output = moved(torch.from_numpy(normalised).to(device).unsqueeze(0))
        found = output if isinstance(output, StudentOutput) else (output, output[..., :0])
        logits, activations = (part[0].cpu().numpy() for part in found)
        return logits, activations

    return decide
