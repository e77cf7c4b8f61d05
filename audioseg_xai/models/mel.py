"""Mel bands."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audioseg_xai.frames import SAMPLE_RATE


def hertz_to_mel(hertz: ArrayLike) -> NDArray[np.float64]:
    """Return frequencies on the mel scale, 2595 log10(1 + f / 700) (O'Shaughnessy, 1987)."""
    return 2595 * np.log10(1 + np.asarray(hertz, np.float64) / 700)


def mel_to_hertz(mel: ArrayLike) -> NDArray[np.float64]:
    """Return the frequencies, in Hz, of points on the mel scale: the inverse of `hertz_to_mel`."""
    return 700 * (10 ** (np.asarray(mel, np.float64) / 2595) - 1)


def mel_matrix(bands: int, num_bins: int) -> NDArray[np.float32]:
    """Return a matrix that averages bins into triangular mel bands.

    Each column sums to one: a band is a weighted mean of bins, so a flat spectrum stays flat.

    Parameters
    ----------
    bands, num_bins : int
        Number of bands, and of bins from 0 Hz to half the sample rate.

    Returns
    -------
    numpy.ndarray, shape (F, bands), float32
        Non-negative weights.
    """
    nyquist = SAMPLE_RATE / 2
    edges = mel_to_hertz(np.linspace(0, hertz_to_mel(nyquist), bands + 2))
    frequencies = np.linspace(0, nyquist, num_bins)[:, None]
    # A band narrower than the spacing of the bins would catch none: widen it to reach one.
    width = np.maximum(np.diff(edges), nyquist / (num_bins - 1))
    rising = 1 - (edges[1:-1] - frequencies) / width[:-1]
    falling = 1 - (frequencies - edges[1:-1]) / width[1:]
    weights = np.maximum(np.minimum(rising, falling), 0)
    return (weights / weights.sum(axis=0)).astype(np.float32)
