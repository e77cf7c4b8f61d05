"""Figures that say how faithful and how simple an explanation is.

p is the probability of the class, q that without the relevant part (masked out), o that of the
relevant part alone (masked in).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Faithfulness:
    """Measures of one explanation method over a set of decisions.

    Attributes
    ----------
    drop : float
        FF = mean(p - q): faithfulness on spectra (Parekh et al., 2022; Paissan et al., "L-MAC",
        2024).
    fidelity : float
        Share of decisions that the relevant part alone leaves as they are (input fidelity).
    average_increase : float
        AI = 100 mean[p < o] (Chattopadhay et al., "Grad-CAM++", 2018).
    average_drop : float
        AD = 100 mean(max(0, p - o) / p) (Chattopadhay et al., 2018).
    average_gain : float
        AG = 100 mean(max(0, o - p) / (1 - p)) (Zhang et al., "Opti-CAM", 2024).
    """

    drop: float
    fidelity: float
    average_increase: float
    average_drop: float
    average_gain: float


def faithfulness(p: Floats, q: Floats, o: Floats, thresholds: Floats) -> Faithfulness:
    """Compute the measures of `Faithfulness` from probabilities a decision, each of shape (S,).

    Parameters
    ----------
    p, q, o : numpy.ndarray, shape (S,)
        Mean probability of the class on the whole, without the relevant part, on it alone.
    thresholds : numpy.ndarray, shape (S,)
        Probability from which the class counts as there.

    Raises
    ------
    ValueError
        If there is no decision.
    """
    if len(p) == 0:
        raise ValueError("no decision: nothing can be measured")
    return Faithfulness(
        drop=float(np.mean(p - q)),
        fidelity=float(np.mean((o >= thresholds) == (p >= thresholds))),
        average_increase=float(100 * np.mean(p < o)),
        average_drop=float(100 * np.mean(np.maximum(p - o, 0) / np.maximum(p, 1e-9))),
        average_gain=float(100 * np.mean(np.maximum(o - p, 0) / np.maximum(1 - p, 1e-9))),
    )


def gini(values: Floats) -> float:
    """Return the Gini index of |values|: 0 for a flat map, near 1 when one bin holds everything.

    Sparseness as in Hurley and Rickard, "Comparing Measures of Sparsity", 2009; 0 for zeros.
    """
    ordered = np.sort(np.abs(values), axis=None).astype(np.float64)
    total = ordered.sum()
    if total == 0:
        return 0.0
    count = len(ordered)
    ranks = (count - np.arange(1, count + 1) + 0.5) / count
    return float(1 - 2 * (ordered / total * ranks).sum())


def complexity(values: Floats) -> float:
    """Return the entropy, in nats, of |values| as shares (Bhatt et al., 2020); 0 for zeros."""
    shares = np.abs(values).astype(np.float64).ravel()
    total = shares.sum()
    if total == 0:
        return 0.0
    shares = shares[shares > 0] / total
    return float(-(shares * np.log(shares)).sum())


def area(shares: Floats, probabilities: Floats) -> float:
    """Return the area under a deletion or insertion curve over shares from 0 to 1 (trapezoids).

    Petsiuk et al., "RISE", 2018. A good deletion curve falls fast: a small area.
    """
    return float(np.trapezoid(probabilities, shares))


def cosine(first: Floats, second: Floats) -> float:
    """Return the cosine of the angle between two vectors; 0 if one is 0."""
    norms = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / norms if norms else 0.0
