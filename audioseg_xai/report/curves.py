"""The figure of deletion and insertion curves."""

from __future__ import annotations

import itertools
from typing import Any

from matplotlib.figure import Figure

_GREYS = ("#999999", "#777777", "#555555", "#bbbbbb")
_COLOURS = ("#0072B2", "#56B4E9", "#009E73", "#D55E00", "#CC79A7", "#E69F00", "#000000")


def draw_curves(curves: dict[str, Any]) -> Figure:
    """Draw deletion and insertion curves of several methods.

    Parameters
    ----------
    curves : dict
        ``shares``, and method to ``deletion`` and ``insertion``: probabilities at the shares.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    styles = _styles([method for method in curves if method != "shares"])
    for axes, kind in zip(
        figure.subplots(1, 2, sharey=True), ("deletion", "insertion"), strict=True
    ):
        for method, style in styles.items():
            axes.plot(curves["shares"], curves[method][kind], label=method, **style)
        axes.set_xlabel(f"share of the energy {'removed' if kind == 'deletion' else 'kept'}")
        axes.set_title(kind)
        axes.set_ylim(0, 1)
    figure.axes[0].set_ylabel("probability of the class")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=7, frameon=False)
    return figure


def _styles(methods: list[str]) -> dict[str, dict[str, Any]]:
    """Return thick lines for our explanations, and dotted grey ones for random controls."""
    random = [method for method in methods if method.startswith("random")]
    others = [method for method in methods if method not in random]
    return {
        method: {"color": colour, "linewidth": 2 if method.startswith("NMF") else 1}
        for method, colour in zip(others, itertools.cycle(_COLOURS), strict=False)
    } | {
        method: {"color": colour, "linewidth": 1, "linestyle": ":"}
        for method, colour in zip(random, itertools.cycle(_GREYS), strict=False)
    }
