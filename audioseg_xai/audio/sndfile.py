"""Decoding with libsndfile: WAV, FLAC, Ogg and their like, exact to the sample."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any, cast

import numpy as np
import soundfile
from numpy.typing import NDArray

from audioseg_xai.audio import problems
from audioseg_xai.audio.headers import claimed_over_actual, ogg_breaks_off
from audioseg_xai.audio.pcm import Samples, downmix, to_float
from audioseg_xai.audio.source import Source
from audioseg_xai.errors import AudioError

CHUNK_VALUES = 1 << 20
"""Values decoded at once over all channels: 4 MiB, a minute of 16 kHz mono."""

UNKNOWN_FRAMES = 1 << 60
"""libsndfile says a number of frames beyond this when it cannot know."""


class SndfileDecoder:
    """libsndfile: WAV, FLAC, Ogg and their like; exact to the sample.

    Parameters
    ----------
    source : Source
        Where the bytes are.
    sound : soundfile.SoundFile
        The file, open.
    breaks_off : bool
        Whether it is known to end too early.
    """

    def __init__(self, source: Source, sound: soundfile.SoundFile, breaks_off: bool) -> None:
        self._name = source.name
        self._sound = sound
        self.format = f"{sound.format} {sound.subtype}"
        self.rate = sound.samplerate
        self.channels = sound.channels
        self.num_samples = _promised_frames(sound)
        # To the same floats as libsndfile makes of them, at a quarter of the cost.
        self._stored = np.int16 if sound.subtype == "PCM_16" else np.float32
        self._position = 0
        self._breaks_off = breaks_off

    def chunks(self) -> Iterator[Samples]:
        """Yield all that can be decoded, down-mixed, in (n,) pieces at the native rate."""
        size = max(1, CHUNK_VALUES // self.channels)
        while len(chunk := self._read(size)):
            yield chunk[:, 0] if self.channels == 1 else downmix(chunk.T)
            if len(chunk) < size:
                return

    def problem(self, decoded: int) -> AudioError | None:
        """Return what was wrong, once `decoded` samples came out and no more come."""
        # Of Ogg the last time stamp is known, which need not count from the first sample.
        tolerance = problems.LATE_TOLERANCE * self.rate if self._sound.format == "OGG" else 0
        if self.num_samples is not None and decoded + tolerance < self.num_samples:
            return problems.ends_early(
                self._name, decoded / self.rate, self.num_samples / self.rate
            )
        return problems.cut_off(self._name, decoded / self.rate) if self._breaks_off else None

    def close(self) -> None:
        """Free the decoder."""
        self._sound.close()

    def _read(self, size: int) -> Samples:
        out = np.empty((size, self.channels), self._stored)
        try:
            read: NDArray[Any] = self._sound.read(out=out)
        except soundfile.LibsndfileError:
            # The samples in front of the damage are in `out`, and the position behind them.
            read = out[: self._sound.tell() - self._position]
        self._position += len(read)
        return to_float(read)


def open_sndfile(source: Source) -> SndfileDecoder | None:
    """Return the decoder of a seekable source, None when libsndfile does not know its format."""
    file = cast(IO[bytes], source.file)
    # Before libsndfile opens it: both share one position in the file.
    breaks_off = source.head[:4] == b"OggS" and ogg_breaks_off(source.tail())
    try:
        sound = soundfile.SoundFile(_descriptor(file), closefd=False)
    except (soundfile.LibsndfileError, TypeError):
        return None
    if sound.frames:
        return SndfileDecoder(source, sound, breaks_off)
    # No frames: nothing there, or a length that a writer to a pipe left open and FFmpeg ignores.
    sound.close()
    return None


def _descriptor(file: IO[bytes]) -> Any:
    try:
        return file.fileno()
    except (OSError, AttributeError):
        return file


def _promised_frames(sound: soundfile.SoundFile) -> int | None:
    if sound.frames > UNKNOWN_FRAMES:
        return None
    return round(int(sound.frames) * claimed_over_actual(sound.extra_info))
