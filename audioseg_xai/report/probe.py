"""The figure of a probe: what it confuses, and which components speak for which label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

_TICKS = 8


def draw_probe(
    labels: Sequence[str],
    confusion: NDArray[np.int64],
    relevance: NDArray[np.floating],
    frequencies: NDArray[np.floating],
) -> Figure:
    """Draw the confusion matrix of a probe beside the relevance of the components.

    Parameters
    ----------
    labels : sequence of str
        V of them.
    confusion : numpy.ndarray of int, shape (V, V)
        Examples by label and answer.
    relevance : numpy.ndarray, shape (V, K)
        In logits.
    frequencies : numpy.ndarray, shape (K,)
        Centre of each component in Hz, by which they are ordered; those without one come last.
    """
    height = max(2.8, 0.32 * len(labels) + 1.4)
    figure = Figure(figsize=(11, height), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 2])
    _draw_confusion(left, confusion)
    _draw_relevance(right, relevance, frequencies)
    left.set_xticks(range(len(labels)), labels, rotation=90)
    for axes in (left, right):
        axes.set_yticks(range(len(labels)), labels)
    return figure


def _draw_confusion(axes: Axes, confusion: NDArray[np.int64]) -> None:
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set(xlabel="answer", ylabel="label", title="share of the examples of a label")
    axes.figure.colorbar(image, ax=axes)


def _draw_relevance(
    axes: Axes, relevance: NDArray[np.floating], frequencies: NDArray[np.floating]
) -> None:
    order = np.argsort(frequencies, kind="stable")
    limit = float(np.abs(relevance).max(initial=0)) or 1.0
    image = axes.imshow(
        relevance[:, order], cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    ticks = np.unique(np.linspace(0, len(order) - 1, _TICKS).round().astype(int))
    centres = frequencies[order][ticks]
    axes.set_xticks(ticks, ["-" if np.isnan(centre) else f"{centre:.0f}" for centre in centres])
    axes.set(xlabel="components by their centre (Hz)", title="relevance (logits)")
    axes.figure.colorbar(image, ax=axes)
