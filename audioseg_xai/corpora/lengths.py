"""How long recordings are."""

from __future__ import annotations

from pathlib import Path

import soundfile

from audioseg_xai.audio import AudioReader, TruncatedAudioError
from audioseg_xai.errors import AudioError

_EXACT = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "FLAC")
"""Containers, as libsndfile names them, whose headers count the samples."""


def audio_duration(path: Path, *, decode: bool = False) -> float:
    """Return how long a recording is when it is decoded, in seconds.

    WAV, FLAC and their like say so in the header; that is believed when the last sample can be
    read. Other formats only estimate it and are decoded.

    Parameters
    ----------
    path : Path
        The recording.
    decode : bool
        Decode every format to its end, which finds damage in the middle and takes its time.

    Raises
    ------
    AudioError
        If it cannot be read, or not to its end.
    """
    with AudioReader(path) as reader:
        duration, rate, container = reader.duration, reader.native_rate, reader.format.split()[0]
    if decode or duration is None or container not in _EXACT:
        with AudioReader(path, sample_rate=rate) as reader:
            return sum(len(block) for block in reader) / rate
    _check_end(path, duration)
    return duration


def _check_end(path: Path, duration: float) -> None:
    try:
        with soundfile.SoundFile(path) as sound:
            there = sound.frames / sound.samplerate
            sound.seek(sound.frames - 1)
            whole = there >= duration and len(sound.read(1)) == 1
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{path}: cannot be read to its end ({error}); copy it again") from None
    if not whole:
        raise TruncatedAudioError(
            f"{path}: ends before the {duration:.3f} s that its header promises; copy it again"
        )
