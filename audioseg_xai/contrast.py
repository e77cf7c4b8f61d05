"""Why this class and not that one, and how little had to be missing for another decision.

Contrast and flip are exact for the readout, because logits = Theta H + b is linear. What a missing
frequency band would change is not: the network is asked again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from audioseg_xai.annotation import Segment
from audioseg_xai.explain import Explanation, Readout, project
from audioseg_xai.frames import FRAME_SHIFT

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.floating]

NO_FLIP = -1
"""What `flips` says where no set of components flips the decision."""


@dataclass(frozen=True)
class Contrast:
    """What makes a segment more of one class than of another.

    Attributes
    ----------
    first, second : str
        Why `first` and not `second`.
    relevance : numpy.ndarray, shape (K,)
        r_k(first) - r_k(second): positive where a component speaks for `first` rather.
    bias : float
        Difference of the biases, what is there without any component.
    spectrum : numpy.ndarray, shape (F,)
        The relevance on the frequency axis, with sign.
    """

    first: str
    second: str
    relevance: Floats
    bias: float
    spectrum: Floats

    @property
    def mean_logit(self) -> float:
        """Difference of the mean logits of both classes: the relevances and the bias add up."""
        return float(self.relevance.sum()) + self.bias

    def strongest(self, count: int = 5) -> NDArray[np.intp]:
        """Return the `count` components that matter most in either direction, the first first."""
        order = np.argsort(-np.abs(self.relevance), kind="stable")[:count]
        return order[self.relevance[order] != 0]


@dataclass(frozen=True)
class Band:
    """A band of frequencies, and how probable the class is without it.

    Attributes
    ----------
    low, high : float
        Its edges, in Hz.
    probability : float
        Mean probability of the class in the segment when the band is silent.
    """

    low: float
    high: float
    probability: float


class Askable(Protocol):
    """A decision that can be asked again, such as `faithfulness.decision.Decision`."""

    normalised: torch.Tensor
    probability: float

    def ask(self, mask: torch.Tensor) -> float:
        """Return the mean probability when the segment's spectrum is multiplied by (T, F)."""


def segment_frames(segment: Segment, num_frames: int) -> slice:
    """Return the frames of a segment, of a recording that has `num_frames`."""
    start = min(round(segment.onset / FRAME_SHIFT), num_frames - 1)
    stop = min(max(round(segment.offset / FRAME_SHIFT), start + 1), num_frames)
    return slice(start, stop)


def contrast(activations: Floats, readout: Readout, first: str, second: str) -> Contrast:
    """Return why a segment is of one class rather than of another.

    The relevance of Mariotte et al. (2024) is linear in the class weights, so that the difference
    of two is z_k (Theta_first,k - Theta_second,k), and complete as each of them is.

    Parameters
    ----------
    activations : numpy.ndarray, shape (T, K)
        H of the segment.
    readout : Readout
        Of the student that decided.
    first, second : str
        Two of its classes.

    Raises
    ------
    ValueError
        If one is no class of the readout.
    """
    c, d = readout.classes.index(first), readout.classes.index(second)
    weights = readout.weights.astype(np.float64)
    difference = activations.mean(axis=0, dtype=np.float64) * (weights[c] - weights[d])
    return Contrast(
        first,
        second,
        difference,
        float(readout.bias[c]) - float(readout.bias[d]),
        project(difference[None], readout.dictionary)[0],
    )


def flip_components(
    relevance: Floats, mean_logit: float, threshold: float
) -> NDArray[np.intp] | None:
    """Return the fewest components without which a segment would not be of its class.

    A segment counts as of its class while its mean logit is at least that of the threshold.
    Taking component k out of the readout lowers the mean logit by its relevance r_k, whatever
    else is taken out. Of all sets of n components the n with the largest relevance lower it most,
    so that the first n of that order at which it falls below is the smallest: no search is needed.

    Parameters
    ----------
    relevance : numpy.ndarray, shape (K,)
        Of the segment.
    mean_logit : float
        Of its class.
    threshold : float
        In (0, 1): the probability that the class needs.

    Returns
    -------
    numpy.ndarray of int, shape (n,), or None
        The most relevant first; empty where the mean logit is below already; None where the
        class stays even without all evidence for it.
    """
    values = np.asarray(relevance, dtype=np.float64)
    order = np.argsort(-values, kind="stable")[: np.count_nonzero(values > 0)]
    left = float(mean_logit) - np.concatenate([[0.0], np.cumsum(values[order])])
    below = np.flatnonzero(left < _logit(threshold))
    return order[: below[0]] if len(below) else None


def flips(explanation: Explanation, thresholds: Mapping[str, float]) -> NDArray[np.int32]:
    """Return how many components each segment's class hangs on, see `flip_components`.

    Parameters
    ----------
    explanation : Explanation
        S segments.
    thresholds : mapping of str to float
        Class to the probability that it needs.

    Returns
    -------
    numpy.ndarray of int32, shape (S,)
        `NO_FLIP` where no set of components is enough.
    """
    found = (
        flip_components(relevance, float(logit), thresholds[segment.label])
        for segment, relevance, logit in zip(
            explanation.segments, explanation.relevance, explanation.mean_logit, strict=True
        )
    )
    counts = [NO_FLIP if components is None else len(components) for components in found]
    return np.array(counts, dtype=np.int32)


def flip_band(
    decision: Askable, frequencies: Floats, threshold: float, bands: int = 32
) -> Band | None:
    """Return the narrowest band of frequencies without which a segment would not be of its class.

    Each run of neighbouring bands is silenced in the segment and the network is asked again, the
    narrow ones first, so that no narrower run of this grid flips the decision. A segment counts
    as of its class while its mean probability is at least the threshold. It asks at most
    bands (bands + 1) / 2 times.

    Parameters
    ----------
    decision : Askable
        The segment.
    frequencies : numpy.ndarray, shape (F,)
        Centre of each bin, in Hz, equally spaced.
    threshold : float
        The probability that the class needs.
    bands : int
        Equal bands of the grid, at most F; 32 are 250 Hz each.

    Returns
    -------
    Band or None
        Of several that are equally narrow the one that lowers the probability most; from 0 to
        0 Hz where the probability is below already; None where no band is enough.
    """
    if decision.probability < threshold:
        return Band(0.0, 0.0, decision.probability)
    edges = [int(part[0]) for part in np.array_split(np.arange(len(frequencies)), bands)]
    edges.append(len(frequencies))
    for width in range(1, bands + 1):
        runs = list(zip(edges, edges[width:], strict=False))
        left = [_without(decision, first, stop) for first, stop in runs]
        best = int(np.argmin(left))
        if left[best] < threshold:
            return Band(*_in_hertz(frequencies, *runs[best]), left[best])
    return None


def _without(decision: Askable, first: int, stop: int) -> float:
    mask = decision.normalised.new_ones(decision.normalised.shape)
    mask[:, first:stop] = 0
    return decision.ask(mask)


def _in_hertz(frequencies: Floats, first: int, stop: int) -> tuple[float, float]:
    half = float(frequencies[1] - frequencies[0]) / 2
    low, high = float(frequencies[first]) - half, float(frequencies[stop - 1]) + half
    return max(low, 0.0), min(high, float(frequencies[-1]))


def _logit(probability: float) -> float:
    return math.log(probability) - math.log1p(-probability) if probability < 1 else math.inf
