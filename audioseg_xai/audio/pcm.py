"""Stored samples as mono float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

SAMPLE_TYPES: dict[str, np.dtype[Any]] = {
    "u8": np.dtype(np.uint8),
    "s16": np.dtype(np.int16),
    "s32": np.dtype(np.int32),
    "s64": np.dtype(np.int64),
    "flt": np.dtype(np.float32),
    "dbl": np.dtype(np.float64),
}
"""FFmpeg's packed sample formats; the planar ones have a "p" behind."""


def frame_kind(frame: Any) -> tuple[str, int]:
    """Return the sample format and the number of channels of an FFmpeg frame."""
    return frame.format.name, frame.layout.nb_channels


def downmixed(frames: list[Any]) -> Samples:
    """Return the down-mixed samples (n,) of FFmpeg frames that are stored alike."""
    name, channels = frame_kind(frames[0])
    dtype = SAMPLE_TYPES[name.rstrip("p")]
    if frames[0].format.is_planar:
        counts = [frame.samples for frame in frames]
        planes = zip(*(frame.planes for frame in frames), strict=True)
        return downmix([to_float(_joined(plane, counts, dtype)) for plane in planes])
    counts = [frame.samples * channels for frame in frames]
    packed = _joined([frame.planes[0] for frame in frames], counts, dtype)
    return downmix(to_float(packed).reshape(-1, channels).T)


def _joined(planes: Sequence[Any], counts: list[int], dtype: np.dtype[Any]) -> NDArray[Any]:
    # A plane has padding at its end, so the count of its values has to be said.
    parts = zip(planes, counts, strict=True)
    return np.concatenate([np.frombuffer(plane, dtype, count) for plane, count in parts])


def to_float(values: NDArray[Any]) -> Samples:
    """Return samples scaled to [-1, 1], as libsndfile scales them."""
    if values.dtype == np.int16:
        return np.multiply(values, np.float32(1 / 32_768), dtype=np.float32)
    if values.dtype.kind == "f":
        return values.astype(np.float32, copy=False)
    bits = 8 * values.dtype.itemsize
    middle = 128.0 if values.dtype == np.uint8 else 0.0
    return ((values.astype(np.float64) - middle) / 2.0 ** (bits - 1)).astype(np.float32)


def downmix(planes: Samples | list[Samples]) -> Samples:
    """Return the mean (n,) of the channels (C, n), summed in their order."""
    if len(planes) == 1:
        return planes[0]
    out = planes[0] + planes[1]
    for plane in planes[2:]:
        out += plane
    out *= np.float32(1 / len(planes))
    return out
