"""What was found in a recording, as a table for people."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audioseg_xai.annotation import Segment, merge_regions
from audioseg_xai.closed_segments import Outline
from audioseg_xai.explain import strongest_band

_COLUMNS = ("class", "seconds", "share", "segments", "confidence", "rests most on")


@dataclass(frozen=True)
class Row:
    """What was found of one class in one recording.

    Attributes
    ----------
    uri, label : str
        Recording and class.
    seconds, share : float
        Time in which the class sounds, and its share of the recording.
    segments : int
        How many.
    confidence : float or None
        Mean probability over the segments, by duration; None without segments.
    band : tuple of float or None
        Lowest and highest frequency, in Hz, of the narrowest band that holds half of the
        relevance spectrum.
    """

    uri: str
    label: str
    seconds: float
    share: float
    segments: int
    confidence: float | None
    band: tuple[float, float] | None


def summarise(
    outline: Outline,
    found: Sequence[Segment],
    spectra: Mapping[str, NDArray[np.floating]],
    frequencies: NDArray[np.floating],
    classes: Sequence[str],
) -> list[Row]:
    """Return a row for each of `classes`.

    Parameters
    ----------
    outline : Outline
        The recording.
    found : sequence of Segment
        All its segments.
    spectra : mapping of str to numpy.ndarray, shape (F,)
        Mean spectrum of each class that has segments, as `explain.class_spectra` gives it.
    frequencies : numpy.ndarray, shape (F,)
        Centre of each bin, in Hz.
    classes : sequence of str
        In the order of the rows.
    """
    rows = []
    for label in classes:
        segments = [segment for segment in found if segment.label == label]
        seconds = sum(b - a for a, b in merge_regions((s.onset, s.offset) for s in segments))
        band = strongest_band(spectra[label], frequencies) if segments else None
        share = seconds / outline.duration
        confidence = _mean_confidence(segments)
        rows.append(Row(outline.uri, label, seconds, share, len(segments), confidence, band))
    return rows


def format_band(band: tuple[float, float] | None) -> str:
    """Return a band as people say it.

    Examples
    --------
    >>> format_band((118.0, 482.0)), format_band((906.0, 2500.0)), format_band(None)
    ('120-480 Hz', '0.91-2.50 kHz', '-')
    """
    if band is None:
        return "-"
    low, high = band
    if high < 1000:
        return f"{low:.0f}-{high:.0f} Hz" if high - low < 20 else f"{_tens(low)}-{_tens(high)} Hz"
    return f"{low / 1000:.2f}-{high / 1000:.2f} kHz"


def print_table(rows: Iterable[Row]) -> None:
    """Print `rows` to stderr, because stdout is for data."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table("recording", box=box.SIMPLE)
    for name in _COLUMNS:
        table.add_column(name, justify="left" if name == "class" else "right")
    table.columns[0].overflow = "fold"
    last = None
    for row in rows:
        if row.uri != last and last is not None:
            table.add_section()
        table.add_row(row.uri if row.uri != last else "", *_cells(row))
        last = row.uri
    width = None if sys.stderr.isatty() else 500
    Console(stderr=True, width=width, markup=False, emoji=False).print(table)


def _cells(row: Row) -> list[str]:
    confidence = "-" if row.confidence is None else f"{row.confidence:.2f}"
    return [
        row.label,
        f"{row.seconds:.1f}",
        f"{100 * row.share:.0f} %",
        str(row.segments),
        confidence,
        format_band(row.band),
    ]


def _mean_confidence(segments: Sequence[Segment]) -> float | None:
    pairs = [(s.confidence, s.duration) for s in segments if s.confidence is not None]
    if not pairs:
        return None
    confidences, durations = zip(*pairs, strict=True)
    return float(np.average(confidences, weights=durations))


def _tens(hertz: float) -> int:
    return 10 * round(hertz / 10)
