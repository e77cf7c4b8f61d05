"""What prototypes tell: which components mark a class, and which classes are alike."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audioseg_xai.explain import Prototypes, Readout, select

Floats = NDArray[np.floating]

SERVES = 0.1
"""A component serves a class from this share of the prototype's largest relevance on."""


@dataclass(frozen=True)
class Characteristics:
    """Prototypes compared with each other, component by component.

    Attributes
    ----------
    classes : tuple of str
        Axis C.
    counts : numpy.ndarray, shape (C,)
        Segments behind each prototype.
    centre, bandwidth : numpy.ndarray, shape (K,)
        Of each component, in Hz, see `component_bands`.
    distinctness : numpy.ndarray, shape (C, K)
        The component's share of all positive evidence for the class, minus the largest of its
        shares in the other classes; in [-1, 1], 0 for a class without segments.
    serves : numpy.ndarray of bool, shape (C, K)
        Whether the component serves the class, see `SERVES`.
    similarity : numpy.ndarray, shape (C, C)
        Cosine between prototypes; NaN where a class has none.
    """

    classes: tuple[str, ...]
    counts: NDArray[np.int64]
    centre: Floats
    bandwidth: Floats
    distinctness: Floats
    serves: NDArray[np.bool_]
    similarity: Floats

    def most_characteristic(self, label: str, count: int = 5) -> NDArray[np.intp]:
        """Return the `count` components that mark a class most, where they mark it at all."""
        values = self.distinctness[self.classes.index(label)]
        order = np.argsort(-values, kind="stable")[:count]
        return order[values[order] > 0]

    @property
    def shared(self) -> NDArray[np.intp]:
        """Components that serve several classes."""
        return np.flatnonzero(self.serves.sum(axis=0) > 1)


def describe(prototypes: Prototypes, readout: Readout) -> Characteristics:
    """Compare the prototypes of all classes.

    Parameters
    ----------
    prototypes : Prototypes
        Of a set of recordings.
    readout : Readout
        Of the student that they were made with.
    """
    centre, bandwidth = component_bands(readout.dictionary, readout.frequencies)
    return Characteristics(
        classes=readout.classes,
        counts=prototypes.counts,
        centre=centre,
        bandwidth=bandwidth,
        distinctness=_distinctness(prototypes),
        serves=select(prototypes.relevance, SERVES) > 0,
        similarity=_cosines(prototypes.relevance),
    )


def component_bands(dictionary: Floats, frequencies: Floats) -> tuple[Floats, Floats]:
    """Return where on the frequency axis each component lies, and how wide it is.

    Spectral centroid and spread, the mean and the standard deviation of the frequency with the
    spectrum as its distribution: Peeters, "A large set of audio features for sound description",
    CUIDADO report, IRCAM 2004, section 6.1.

    Parameters
    ----------
    dictionary : numpy.ndarray, shape (F, K)
        W, non-negative.
    frequencies : numpy.ndarray, shape (F,)
        In Hz.

    Returns
    -------
    centre, bandwidth : numpy.ndarray, shape (K,)
        In Hz; NaN for a component that is 0 everywhere.
    """
    atoms, axis = np.asarray(dictionary, np.float64), np.asarray(frequencies, np.float64)
    share = _shares(atoms, 0, empty=np.nan)
    centre = axis @ share
    variance = ((axis[:, None] - centre) ** 2 * share).sum(axis=0)
    return centre, np.sqrt(variance)


def print_characteristics(found: Characteristics, count: int = 5) -> None:
    """Print what marks each class, and how alike the classes are, to stderr.

    Parameters
    ----------
    found : Characteristics
        What to print.
    count : int
        Components of each class.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    heads = ("class", "segments", "most characteristic components", "shared", *found.classes)
    table = Table(*heads, box=box.SIMPLE)
    for index in (1, *range(3, len(heads))):
        table.columns[index].justify = "right"
    for row in _rows(found, count):
        table.add_row(*row)
    width = None if sys.stderr.isatty() else 500
    Console(stderr=True, width=width, markup=False, emoji=False).print(table)


def _rows(found: Characteristics, count: int) -> list[tuple[str, ...]]:
    rows = []
    for c, label in enumerate(found.classes):
        served = np.flatnonzero(found.serves[c])
        shared = len(np.intersect1d(served, found.shared))
        components = [_component(found, k) for k in found.most_characteristic(label, count)]
        cosines = ["-" if np.isnan(x) else f"{x:.2f}" for x in found.similarity[c]]
        counts = str(found.counts[c]), ", ".join(components) or "-", f"{shared} of {len(served)}"
        rows.append((label, *counts, *cosines))
    return rows


def _component(found: Characteristics, index: int) -> str:
    return f"{index} ({found.centre[index]:.0f}±{found.bandwidth[index]:.0f} Hz)"


def _distinctness(prototypes: Prototypes) -> Floats:
    present = np.flatnonzero(prototypes.counts > 0)
    evidence = _shares(np.maximum(prototypes.relevance, 0).astype(np.float64), 1, empty=0.0)
    result = np.zeros_like(evidence)
    for c in present:
        others = evidence[present[present != c]]
        result[c] = evidence[c] - others.max(axis=0, initial=0)
    return result


def _shares(values: Floats, axis: int, empty: float) -> Floats:
    """Divide non-negative values by their sum along an axis; `empty` where all are 0."""
    totals = values.sum(axis=axis, keepdims=True)
    return np.divide(values, totals, out=np.full_like(values, empty), where=totals > 0)


def _cosines(rows: Floats) -> Floats:
    lengths = np.linalg.norm(np.asarray(rows, np.float64), axis=1, keepdims=True)
    units = np.divide(rows, lengths, out=np.full(rows.shape, np.nan), where=lengths > 0)
    result: Floats = np.clip(units @ units.T, -1, 1)
    return result
