"""The colour of each class, in figures and on pages."""

from __future__ import annotations

COLOURS = {"speech": "#0072B2", "music": "#E69F00", "noise": "#009E73", "overlap": "#CC79A7"}
"""Told apart by colour-blind people too (Okabe and Ito, 2008)."""

OTHER = "#555555"
"""Of a class that is none of these."""


def colour_of(name: str) -> str:
    """Return the colour of a class, as in CSS."""
    return COLOURS.get(name, OTHER)
