"""The figure of deletion and insertion curves."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

_RANDOM = "random"


def draw_curves(curves: dict[str, Any]) -> Figure:
    """Draw deletion and insertion curves of several methods.

    Parameters
    ----------
    curves : dict
        ``shares``, and method to ``deletion`` and ``insertion``: probabilities at the shares.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, kind in zip(
        figure.subplots(1, 2, sharey=True), ("deletion", "insertion"), strict=True
    ):
        for method, values in curves.items():
            if method == "shares":
                continue
            axes.plot(
                curves["shares"],
                values[kind],
                label=method,
                linestyle=":" if method.startswith(_RANDOM) else "-",
                linewidth=2 if method.startswith("NMF") else 1,
            )
        axes.set_xlabel(f"share of the energy {'removed' if kind == 'deletion' else 'kept'}")
        axes.set_title(kind)
        axes.set_ylim(0, 1)
    figure.axes[0].set_ylabel("probability of the class")
    figure.axes[1].legend(fontsize=7, frameon=False)
    return figure
