"""Figures: what is in a recording, when, and which frequencies say so."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.ticker import FuncFormatter, MultipleLocator
from numpy.typing import NDArray

from audioseg_xai.errors import UsageError
from audioseg_xai.explain import Explanation, Prototypes, Readout, class_spectra
from audioseg_xai.files import atomic_path
from audioseg_xai.models.mel import hertz_to_mel, mel_to_hertz
from audioseg_xai.report.colours import OTHER, colour_of
from audioseg_xai.report.overview import Overview
from audioseg_xai.report.paths import FIGURES, Scale

_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
}
_DRAWING = threading.Lock()
_DECIBELS_A_NEPER = 10 / np.log(10)
_TICKS = (100, 200, 500, 1000, 2000, 5000)
_MEL_TICKS = (500, 1000, 2000, 5000)
_TIME_STEPS = (
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.5,
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
)


def draw_recording(
    explanation: Explanation,
    readout: Readout,
    overview: Overview,
    classes: Sequence[str] | None = None,
    scale: Scale = "hz",
) -> Figure:
    """Draw a recording: spectrogram, a lane a class, and the spectrum each class rests on.

    Parameters
    ----------
    explanation : Explanation
        Its segments and their spectra.
    readout : Readout
        Of the student that decided.
    overview : Overview
        Has seen all frames of the recording.
    classes : sequence of str, optional
        The classes that were decided; by default all.
    scale : {'hz', 'mel'}
        Of frequency: mel, or in Hz, linear in the spectrogram and logarithmic in spectra.

    Returns
    -------
    matplotlib.figure.Figure
        For `save_figure`.
    """
    shown = [name for name in readout.classes if classes is None or name in classes]
    with _styled():
        figure = Figure(figsize=(10, 4.4 + 0.55 * len(shown)), layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(f"{explanation.uri}   {_clock(explanation.duration)}", fontsize=11)
        heights = [2.4, 0.55 * len(shown), 2.0]
        grid = figure.add_gridspec(3, 1, height_ratios=heights)
        top = figure.add_subplot(grid[0])
        _draw_spectrogram(top, readout.frequencies, overview, explanation.duration)
        if scale == "mel":
            _mel_axis(top, readout.frequencies, "y", unit=1000)
        lanes = figure.add_subplot(grid[1], sharex=top)
        _draw_lanes(lanes, explanation, readout, overview, shown)
        _draw_spectra(figure, grid[2], explanation, readout, shown, scale)
    return figure


def draw_prototypes(prototypes: Prototypes, readout: Readout, scale: Scale = "hz") -> Figure:
    """Draw the spectrum of each class's prototype, over frequency on `scale`."""
    with _styled():
        figure = Figure(figsize=(10, 2.8), layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle("What decisions rest on, over all recordings", fontsize=11)
        spectra = dict(zip(readout.classes, prototypes.spectra, strict=True))
        counts = dict(zip(readout.classes, prototypes.counts.tolist(), strict=True))
        titles = {
            name: f"{name}, {count} segment{'s' * (count != 1)}" for name, count in counts.items()
        }
        drawn = {name: spectrum for name, spectrum in spectra.items() if counts[name]}
        _spectrum_row(figure, figure.add_gridspec(1, 1)[0], readout, drawn, titles, scale)
    return figure


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG, PDF or SVG, by suffix; whole or not at all.

    Raises
    ------
    UsageError
        If the suffix is another one.
    """
    if Path(path).suffix.lower() not in FIGURES:
        raise UsageError(f"{path}: a figure must end in {', '.join(FIGURES)}")
    with atomic_path(path) as temporary, _styled():
        figure.savefig(temporary, dpi=160)


@contextmanager
def _styled() -> Iterator[None]:
    """Draw with our settings; one thread at a time, because matplotlib has one set for all."""
    with _DRAWING, rc_context(_STYLE):
        yield


def _draw_spectrogram(
    axes: Axes, frequencies: NDArray[np.floating], overview: Overview, duration: float
) -> None:
    levels = overview.spectrogram.T * _DECIBELS_A_NEPER
    edges = _column_edges(overview, duration)
    half = (frequencies[1] - frequencies[0]) / 2
    bins = np.append(frequencies - half, frequencies[-1] + half) / 1000
    top = float(np.percentile(levels, 99.8))
    image = axes.pcolormesh(
        edges, bins, levels, cmap="magma", vmin=max(0.0, top - 70), vmax=max(top, 1.0),
        rasterized=True, shading="flat",
    )  # fmt: skip
    axes.set(ylabel="frequency (kHz)", ylim=(0, frequencies[-1] / 1000))
    axes.tick_params(labelbottom=False)
    bar = axes.figure.colorbar(image, ax=axes, pad=0.01, aspect=18)
    bar.set_label("level (dB)")
    bar.outline.set_visible(False)


def _draw_lanes(
    axes: Axes,
    explanation: Explanation,
    readout: Readout,
    overview: Overview,
    shown: Sequence[str],
) -> None:
    edges = _column_edges(overview, explanation.duration)
    for lane, name in enumerate(shown):
        base, colour = len(shown) - 1 - lane, colour_of(name)
        _draw_segments(axes, explanation, name, base, colour)
        curve = overview.probabilities[:, readout.classes.index(name)]
        axes.stairs(base + 0.1 + 0.8 * curve, edges, color=colour, linewidth=0.7, baseline=None)
        axes.axhline(base, color="#cccccc", linewidth=0.5)
    axes.set_yticks([len(shown) - 0.5 - lane for lane in range(len(shown))], list(shown))
    for tick, name in zip(axes.get_yticklabels(), shown, strict=True):
        tick.set(color=colour_of(name), fontweight="bold")
    axes.tick_params(axis="y", length=0)
    axes.set_title("curve: probability, 0 to 1; shaded: decided segments", loc="left", color=OTHER)
    axes.set(ylim=(0, len(shown)), xlim=(0, explanation.duration))
    unit = "h:min:s" if explanation.duration >= 3600 else "min:s"
    axes.set_xlabel(f"time ({unit if explanation.duration >= 60 else 's'})")
    axes.xaxis.set_major_locator(_time_locator(explanation.duration))
    if explanation.duration >= 60:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _clock(x)))


def _draw_segments(
    axes: Axes, explanation: Explanation, name: str, base: float, colour: str
) -> None:
    spans = [(s.onset, s.duration) for s in explanation.segments if s.label == name]
    axes.broken_barh(spans, (base + 0.06, 0.88), facecolors=colour, alpha=0.28, linewidth=0)
    axes.broken_barh(spans, (base, 0.06), facecolors=colour, linewidth=0)


def _draw_spectra(
    figure: Figure,
    where: SubplotSpec,
    explanation: Explanation,
    readout: Readout,
    shown: Sequence[str],
    scale: Scale,
) -> None:
    titles = {}
    for name in shown:
        found = [s for s in explanation.segments if s.label == name]
        seconds = sum(s.duration for s in found)
        titles[name] = f"{name}, {len(found)} segment{'s' * (len(found) != 1)}, {seconds:.1f} s"
        if not found:
            titles[name] = f"{name}: not found"
    _spectrum_row(figure, where, readout, class_spectra(explanation), titles, scale)


def _spectrum_row(
    figure: Figure,
    where: SubplotSpec,
    readout: Readout,
    spectra: dict[str, NDArray[np.floating]],
    titles: dict[str, str],
    scale: Scale,
) -> None:
    """Draw a small panel a class, on one scale, so that they can be compared."""
    grid = where.subgridspec(1, len(titles), wspace=0.03)
    first: Axes | None = None
    for column, (name, title) in enumerate(titles.items()):
        axes = figure.add_subplot(grid[column], sharex=first, sharey=first)
        first = first or axes
        axes.set_title(title, color=colour_of(name), fontweight="bold", loc="left")
        if name in spectra:
            _draw_spectrum(axes, readout.frequencies, spectra[name], colour_of(name))
        axes.axhline(0, color=OTHER, linewidth=0.5)
        axes.tick_params(labelleft=column == 0)
        axes.set_xlabel("frequency (Hz)")
    if first is not None:
        first.set_ylabel("relevance")
        if scale == "mel":
            _mel_axis(first, readout.frequencies, "x")
        else:
            _frequency_axis(first, readout.frequencies)
        if all((spectrum >= 0).all() for spectrum in spectra.values()):
            first.set_ylim(bottom=0)


def _draw_spectrum(
    axes: Axes, frequencies: NDArray[np.floating], spectrum: NDArray[np.floating], colour: str
) -> None:
    axes.fill_between(frequencies, spectrum, color=colour, alpha=0.28, linewidth=0)
    axes.plot(frequencies, spectrum, color=colour, linewidth=1.1)


def _frequency_axis(axes: Axes, frequencies: NDArray[np.floating]) -> None:
    # Hearing is closer to a logarithmic axis, on which voices are not squeezed into a corner.
    axes.set_xscale("log")
    axes.set_xlim(max(float(frequencies[1]), 50.0), float(frequencies[-1]))
    ticks = [tick for tick in _TICKS if frequencies[1] <= tick <= frequencies[-1]]
    axes.set_xticks(ticks, [_tick(t) for t in ticks])
    axes.set_xticks([], minor=True)


def _mel_axis(
    axes: Axes, frequencies: NDArray[np.floating], which: Literal["x", "y"], unit: int = 1
) -> None:
    """Put one axis, in units of `unit` Hz, on the mel scale, with ticks in these units."""
    functions = (lambda f: hertz_to_mel(f * unit), lambda mel: mel_to_hertz(mel) / unit)
    top = float(frequencies[-1])
    ticks = [tick for tick in _MEL_TICKS if tick <= top]
    labels = [_tick(t) if unit == 1 else f"{t / unit:g}" for t in ticks]
    getattr(axes, f"set_{which}scale")("function", functions=functions)
    getattr(axes, f"set_{which}lim")(0, top / unit)
    getattr(axes, f"set_{which}ticks")([t / unit for t in ticks], labels)


def _tick(hertz: int) -> str:
    return f"{hertz // 1000}k" if hertz >= 1000 else str(hertz)


def _column_edges(overview: Overview, duration: float) -> NDArray[np.float64]:
    edges = overview.seconds_per_column * np.arange(len(overview.spectrogram) + 1, dtype=np.float64)
    edges[-1] = duration
    return edges


def _time_locator(duration: float) -> MultipleLocator:
    step = next((step for step in _TIME_STEPS if duration / step <= 12), duration / 10)
    return MultipleLocator(step)


def _clock(seconds: float) -> str:
    """Return a time as people write it.

    Examples
    --------
    >>> _clock(9.52), _clock(75), _clock(3661)
    ('9.5 s', '1:15', '1:01:01')
    """
    if seconds < 60 and seconds % 1:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
