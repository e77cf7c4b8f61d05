"""Audio files of corpora and packages, those without a header included."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import soxr
from av.error import FFmpegError

from audioseg_xai.audio import read_audio
from audioseg_xai.errors import AudioError
from audioseg_xai.frames import SAMPLE_RATE

HEADERLESS = {".g722": "g722", ".gsm": "gsm"}
"""Suffixes of telephone prompts, whose bytes do not say what they are, and FFmpeg's formats."""


def decode(path: Path) -> npt.NDArray[np.float32]:
    """Read a whole audio file; the suffix counts for formats without a header.

    Parameters
    ----------
    path : Path
        The file. One that ends early gives what it holds, with a warning in the log.

    Returns
    -------
    numpy.ndarray, shape (N,), float32
        Mono samples in [-1, 1] at 16 kHz.

    Raises
    ------
    AudioError
        If the file holds no audio that can be decoded.
    """
    name = HEADERLESS.get(path.suffix.lower())
    if name is None:
        return read_audio(path, on_truncated="warn")
    if path.stat().st_size == 0:
        raise AudioError(f"{path}: is empty (0 bytes)")
    return _decode_headerless(path, name)


def _decode_headerless(path: Path, name: str) -> npt.NDArray[np.float32]:
    try:
        with av.open(str(path), format=name) as container:
            frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
            rate = container.streams.audio[0].rate
    except (FFmpegError, IndexError) as error:
        raise AudioError(f"{path}: cannot be decoded as {name}: {error}") from None
    if not frames:
        raise AudioError(f"{path}: holds no samples")
    # Both codecs decode to 16-bit mono.
    samples = np.concatenate(frames, axis=1)[0].astype(np.float32) / 32768
    resampled: npt.NDArray[np.float32] = soxr.resample(samples, rate, SAMPLE_RATE)
    return resampled
