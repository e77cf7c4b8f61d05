"""How far behind a live stream decisions may lag, and what of the future they then see."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from audioseg_xai.decode import ClassDecoding
from audioseg_xai.errors import UsageError
from audioseg_xai.frames import FRAME_SHIFT, HOP, SAMPLE_RATE, WINDOW
from audioseg_xai.models.configs import NetworkConfig, SpectrogramFrontEndConfig

BLOCK = SAMPLE_RATE // 10
"""Samples that are read at once: 0.1 s."""

SHORTEST_HOP, LONGEST_HOP = 10, 50
"""Frames decided at once where each time the context is computed again: fewer cost more."""

CARRIED_HOP = 10
"""Frames decided at once, at most, by a network that carries its state: those of a block."""

_HOPS_IN_BUDGET = 5
"""Of the frames that a latency grants, one in so many goes into the hop, the rest is look-ahead."""

_ROUNDING = 1e-6


@dataclass(frozen=True)
class Plan:
    """What is computed when.

    Attributes
    ----------
    hop : int
        Frames that are decided at once.
    ahead : int
        Frames after the last of them that must be there.
    exact : bool
        Whether that is all that a decision can depend on.
    latency : float
        Seconds from the end of a segment to its line, at most, besides computing and what the
        sender and its format hold back.
    """

    hop: int
    ahead: int
    exact: bool
    latency: float

    def __str__(self) -> str:
        """Return what a user is told."""
        seen = f"decided with {self.ahead * FRAME_SHIFT:.2f} s of what follows"
        quality = "decided as in a file" if self.exact else seen
        return f"a segment is printed at most {self.latency:.2f} s after its end, {quality}"


def plan(
    config: NetworkConfig,
    decoding: Mapping[str, ClassDecoding],
    latency: float | None = None,
    exact_hop: int = LONGEST_HOP,
) -> Plan:
    """Return the plan that keeps to a latency.

    A segment that ends with frame e - 1 is known to have ended once g frames after it are decided,
    where g is the longest `min_gap`, and at least one. Frames are decided `hop` at once, when
    `ahead` more are there, and a frame is there once its FFT window is, in blocks of 0.1 s. From
    the end of the segment these are at most

        (g + hop + ahead - 2) 20 ms + (400 + margin) / 16000 s + 0.1 s.

    A network that hears windows of a fixed grid, or features of an upstream, which come from such
    windows, waits for the whole window; there is no choice, and its latency follows.

    Parameters
    ----------
    config : NetworkConfig
        Of the network that decides.
    decoding : mapping of str to ClassDecoding
        The classes that are decided.
    latency : float, optional
        Seconds; None for decisions that are those in a file, however long that takes.
    exact_hop : int, optional
        The hop of these.

    Raises
    ------
    UsageError
        If `latency` is too short for the gaps that are filled, or for the windows that a network
        hears as a whole.
    """
    fixed = (WINDOW + config.spectrogram.margin + BLOCK) / SAMPLE_RATE
    fixed += (_gap(decoding) - 2) * FRAME_SHIFT
    if not takes_latency(config):
        return _after_windows(config, fixed, latency)
    whole = config.receptive_field
    exact = Plan(
        _on_grid(exact_hop, config), whole, True, fixed + (exact_hop + whole) * FRAME_SHIFT
    )
    if latency is None or latency >= exact.latency:
        return exact
    budget = math.floor((latency - fixed) / FRAME_SHIFT + _ROUNDING)
    shortest = _on_grid(SHORTEST_HOP + config.front_end.stride - 1, config)
    if budget < shortest:
        least = math.ceil((fixed + shortest * FRAME_SHIFT) * 100) / 100
        raise UsageError(
            f"--latency {latency:g}: this model fills gaps and decides in steps, so that no "
            f"segment is known to have ended sooner than {least:.2f} s after: ask for that or more"
        )
    wanted = max(budget // _HOPS_IN_BUDGET, budget - whole)
    hop = max(shortest, _on_grid(min(wanted, LONGEST_HOP), config))
    ahead = min(budget - hop, whole)
    return Plan(hop, ahead, ahead == whole, fixed + (hop + ahead) * FRAME_SHIFT)


def takes_latency(config: NetworkConfig) -> bool:
    """Return whether a network decides each frame from a fixed number of those around it."""
    return config.window is None and isinstance(config.front_end, SpectrogramFrontEndConfig)


def _after_windows(config: NetworkConfig, fixed: float, latency: float | None) -> Plan:
    ahead = _ahead_of_windows(config)
    late = fixed + (LONGEST_HOP + ahead) * FRAME_SHIFT
    if latency is not None and latency < late:
        raise UsageError(
            f"--latency {latency:g}: this model hears windows of a fixed grid, as a whole, so that "
            f"a segment may be known to have ended only {math.ceil(late * 100) / 100:.2f} s after: "
            "leave out --latency, or take a model that listens to spectrograms frame by frame"
        )
    return Plan(LONGEST_HOP, ahead, True, late)


def _ahead_of_windows(config: NetworkConfig) -> int:
    """Return the frames that a frame waits for, at most, besides those of a hop.

    The level is normalised in hops, and an upstream gives features once frames beyond its windows
    are there. The first frame of a window waits for all of it; of a network without windows, the
    last of a hop waits for its context.
    """
    step, level = config.window_step if config.window else 1, config.level.context
    if isinstance(config.front_end, SpectrogramFrontEndConfig):
        return config.receptive_field
    upstream = config.front_end.upstream
    assert upstream is not None  # `Segmenter` refuses a network that names none
    features = upstream.chunk_frames + upstream.margin_frames
    seen = config.window - 1 if config.window else config.context
    return max(seen + features, step - 1 + level)


def _gap(decoding: Mapping[str, ClassDecoding]) -> int:
    """Return the frames after the end of a segment that must be decided to know that it ended."""
    gaps = (math.ceil(rule.min_gap * SAMPLE_RATE / HOP - _ROUNDING) for rule in decoding.values())
    return max(1, *gaps)


def _on_grid(frames: int, config: NetworkConfig) -> int:
    """Return the last frame up to `frames` at which the front end has an output."""
    return frames - frames % config.front_end.stride
