"""Where a track is active: frame powers, hysteresis, filled gaps; all on a 10 ms grid."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from audioseg_xai.frames import SAMPLE_RATE

GRID = 160
"""Samples of a cell of the label grid (10 ms); boundaries of labels lie on it."""

GRID_RATE = SAMPLE_RATE / GRID
"""Cells a second."""

SILENCE_DB = -200.0
"""Level given to digital silence, in dB."""

Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]


def cells(seconds: float) -> int:
    """Return `seconds` as a number of grid cells, rounded."""
    return round(seconds * GRID_RATE)


def cell_power(samples: Floats) -> Floats:
    """Return the mean square of each full or partial 10 ms cell, shape (ceil(N / 160),)."""
    whole = samples.size // GRID
    body = samples[: whole * GRID].reshape(whole, GRID)
    power = np.einsum("ij,ij->i", body, body) / np.float32(GRID)
    rest = samples[whole * GRID :]
    if rest.size:
        power = np.append(power, np.mean(rest * rest))
    return np.asarray(power, np.float32)


def decibels(power: Floats) -> Floats:
    """Return powers in dB re full scale, digital silence as -200 dB."""
    return np.asarray(np.float32(10.0) * np.log10(np.maximum(power, np.float32(1e-20))))


def loud_level(power: Floats) -> float:
    """Return the level of the loud parts: the 95th percentile of cell powers, in dBFS."""
    if not power.size:
        return SILENCE_DB
    return float(decibels(np.asarray([np.quantile(power, 0.95)]))[0])


def runs(mask: Mask) -> NDArray[np.int64]:
    """Return the runs of true cells as rows (first, one past the last), shape (R, 2)."""
    edges = np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8))
    return np.stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)], axis=1)


def from_runs(spans: NDArray[np.int64], size: int) -> Mask:
    """Return the mask whose runs are `spans`; parts outside [0, size) are cut away."""
    steps = np.zeros(size + 1, np.int64)
    np.add.at(steps, np.clip(spans[:, 0], 0, size), 1)
    np.add.at(steps, np.clip(spans[:, 1], 0, size), -1)
    return np.asarray(np.cumsum(steps[:-1]) > 0)


def hysteresis(levels: Floats, on: float, off: float) -> Mask:
    """Return the runs of cells at `off` or above that reach `on` somewhere."""
    weak = runs(levels >= off)
    reached = np.concatenate([[0], np.cumsum(levels >= on)])
    return from_runs(weak[reached[weak[:, 1]] > reached[weak[:, 0]]], levels.size)


def pad(mask: Mask, amount: int) -> Mask:
    """Lengthen every run by `amount` cells on both sides."""
    return from_runs(runs(mask) + np.array([-amount, amount]), mask.size)


def fill(mask: Mask, gap: int) -> Mask:
    """Fill inner gaps of fewer than `gap` cells."""
    spans = runs(mask)
    between = np.stack([spans[:-1, 1], spans[1:, 0]], axis=1)
    return mask | from_runs(between[between[:, 1] - between[:, 0] < gap], mask.size)


def drop(mask: Mask, shortest: int) -> Mask:
    """Remove runs of fewer than `shortest` cells."""
    spans = runs(mask)
    return from_runs(spans[spans[:, 1] - spans[:, 0] >= shortest], mask.size)


def smooth(power: Floats, seconds: float) -> Floats:
    """Return the centred moving mean of cell powers over `seconds`."""
    return np.asarray(uniform_filter1d(power, max(1, cells(seconds)), mode="nearest"))


def stretch(values: Floats, factor: int) -> Floats:
    """Return `values` with `factor` - 1 linearly interpolated ones after each.

    The last value is held. As `numpy.interp` on an even grid, several times faster.
    """
    left = values.astype(np.float32)[:, np.newaxis]
    right = np.append(left[1:, 0], left[-1:, 0])[:, np.newaxis]
    share = (np.arange(factor) / factor).astype(np.float32)
    return np.asarray((left + (right - left) * share).ravel())
