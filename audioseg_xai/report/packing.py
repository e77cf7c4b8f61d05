"""Arrays as a script in a page takes them: whole numbers in base64, and a scale a row."""

from __future__ import annotations

import base64
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["uint8", "int16"]


def pack(values: NDArray[Any], kind: Kind) -> dict[str, Any]:
    """Return a table as JSON that a page reads: value = whole number times the scale of its row.

    Parameters
    ----------
    values : numpy.ndarray, shape (N, M)
        Finite; not negative for ``uint8``.
    kind : str
        ``uint8`` errs by 1/510 of the largest magnitude of a row, ``int16`` by 1/65534.

    Returns
    -------
    dict
        ``kind``, ``columns``, ``scales`` (N numbers) and ``data``, little-endian, in base64.
    """
    top = np.iinfo(np.dtype(kind)).max
    scales = np.abs(values).max(axis=1, initial=0).astype(np.float64) / top
    steps = np.divide(
        values, scales[:, None], out=np.zeros(values.shape), where=scales[:, None] > 0
    )
    numbers = np.rint(steps).astype(np.dtype(kind).newbyteorder("<"))
    return {
        "kind": kind,
        "columns": values.shape[1],
        "scales": [float(f"{scale:.9g}") for scale in scales],
        "data": encode(numbers.tobytes()),
    }


def encode(content: bytes) -> str:
    """Return bytes in base64."""
    return base64.b64encode(content).decode("ascii")


def encode_lines(content: bytes, size: int = 3 << 18) -> str:
    """Return bytes in base64, a line for each `size` of them, a multiple of three.

    A page can decode it piece by piece: no string grows beyond a line.
    """
    starts = range(0, len(content), size)
    return "\n".join(encode(content[start : start + size]) for start in starts)


def rounded(values: NDArray[np.floating], decimals: int = 4) -> list[float | None]:
    """Return numbers for JSON, which has no NaN: it becomes None."""
    return [round(float(x), decimals) if np.isfinite(x) else None for x in values]
