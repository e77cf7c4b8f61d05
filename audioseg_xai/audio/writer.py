"""Audio files that are either whole or absent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from audioseg_xai.errors import AudioError
from audioseg_xai.files import atomic_path
from audioseg_xai.frames import SAMPLE_RATE

Samples = NDArray[np.floating]

SUFFIXES = (".wav", ".flac", ".ogg")


def write_audio(
    path: str | Path,
    samples: Samples | Iterable[Samples],
    rate: int = SAMPLE_RATE,
    *,
    subtype: str | None = None,
) -> None:
    """Write samples to a WAV, FLAC or Ogg file, chosen by the suffix.

    Parameters
    ----------
    path : str or Path
        Where to write; an older file is replaced when the new one is complete.
    samples : numpy.ndarray, shape (N,) or (N, channels), or an iterable of such blocks
        Samples in [-1, 1]; what lies beyond is clipped in integer formats.
    rate : int
        Samples a second, in Hz.
    subtype : str, optional
        Encoding as libsndfile names it, such as 'PCM_24' or 'FLOAT'; 16 bits by default.

    Raises
    ------
    AudioError
        For another suffix, NaN or infinite samples, no block at all, a rate or encoding that the
        format does not know, or a disk that does not take the file.
    """
    if Path(path).suffix.lower() not in SUFFIXES:
        raise AudioError(f"{path}: cannot be written: use one of the suffixes {' '.join(SUFFIXES)}")
    blocks = iter([samples] if isinstance(samples, np.ndarray) else samples)
    first = next(blocks, None)
    if first is None:
        raise AudioError(f"{path}: cannot be written: there is not one block of samples")
    channels = 1 if first.ndim == 1 else first.shape[1]
    with atomic_path(path) as temporary:
        try:
            with soundfile.SoundFile(temporary, "w", rate, channels, subtype) as sound:
                for block in _finite(chain([first], blocks), path):
                    sound.write(block)
        except (soundfile.LibsndfileError, ValueError) as error:
            raise AudioError(f"{path}: cannot be written: {error}") from error


def write_wav(
    path: str | Path, samples: Samples | Iterable[Samples], rate: int = SAMPLE_RATE
) -> None:
    """Write samples in [-1, 1] to a 16-bit WAV file.

    Parameters
    ----------
    path : str or Path
        Where to write; must end in .wav.
    samples : numpy.ndarray, shape (N,) or (N, channels), or an iterable of such blocks
        Samples in [-1, 1].
    rate : int
        Samples a second, in Hz.

    Raises
    ------
    AudioError
        As `write_audio`, and for another suffix than .wav.
    """
    if Path(path).suffix.lower() != ".wav":
        raise AudioError(f"{path}: is not named .wav: use write_audio for other formats")
    write_audio(path, samples, rate, subtype="PCM_16")


def _finite(blocks: Iterable[Samples], path: str | Path) -> Iterator[Samples]:
    for block in blocks:
        if not np.isfinite(block).all():
            raise AudioError(f"{path}: cannot be written: the samples hold NaN or infinity")
        yield block
