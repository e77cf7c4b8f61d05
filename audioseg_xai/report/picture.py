"""A spectrogram as pictures of bounded size, for a page."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from audioseg_xai.report.overview import Overview
from audioseg_xai.report.packing import encode, pack

MAX_COLUMNS = 1 << 16
"""Columns of a spectrogram: 22 minutes at 20 ms, 3 hours at 0.32 s."""

TILE = 4096
"""Columns of one picture; a browser decodes those that it shows."""

RANGE = 70.0
"""Decibels from the darkest to the lightest grey."""

_DECIBELS_A_NEPER = 10 / np.log(10)
_QUALITY = 55


def spectrogram_json(overview: Overview, kind: str) -> dict[str, Any]:
    """Return a spectrogram for a page: grey pictures side by side, low frequencies at the bottom.

    Parameters
    ----------
    overview : Overview
        Has seen the log spectrogram of the whole recording.
    kind : str
        ``sound`` or ``reconstruction``: what it is a spectrogram of.

    Returns
    -------
    dict
        ``kind``, ``seconds`` (of a column), ``columns``, ``bins``, ``tile`` (columns of a picture),
        ``top`` and ``bottom`` (dB, of the lightest and the darkest grey) and ``tiles``: data URIs.
    """
    levels = overview.spectrogram * _DECIBELS_A_NEPER
    top = max(float(np.percentile(levels, 99.8)), 1.0)
    bottom = max(0.0, top - RANGE)
    grey = np.clip((levels - bottom) / (top - bottom) * 255, 0, 255).astype(np.uint8)
    return {
        "kind": kind,
        "seconds": overview.seconds_per_column,
        "columns": len(grey),
        "bins": grey.shape[1],
        "tile": TILE,
        "top": round(top, 1),
        "bottom": round(bottom, 1),
        "tiles": list(_tiles(grey)),
    }


def curves_json(overview: Overview) -> dict[str, Any]:
    """Return the probabilities of all classes for a page, a row a class."""
    return {
        "seconds": overview.seconds_per_column,
        "probabilities": pack(overview.probabilities.T, "uint8"),
    }


def _tiles(grey: NDArray[np.uint8]) -> Iterator[str]:
    for start in range(0, len(grey), TILE):
        file = io.BytesIO()
        image = Image.fromarray(np.ascontiguousarray(grey[start : start + TILE].T[::-1]))
        image.save(file, "WEBP", quality=_QUALITY)
        yield f"data:image/webp;base64,{encode(file.getvalue())}"
