"""Samples without a header, as `arecord -t raw` and `ffmpeg -f s16le` write them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from audioseg_xai.audio import problems
from audioseg_xai.audio.pcm import Samples, downmix, to_float
from audioseg_xai.audio.source import Source
from audioseg_xai.errors import AudioError, UsageError
from audioseg_xai.frames import SAMPLE_RATE

ENCODINGS = {"u8": "u1", "s16le": "<i2", "s16be": ">i2", "s32le": "<i4", "f32le": "<f4"}
"""Names that FFmpeg gives to raw samples, and those of NumPy."""

_READ_BYTES = 1 << 16

_HIGHEST_RATE = 1_000_000


@dataclass(frozen=True)
class PcmFormat:
    """What samples without a header are.

    Attributes
    ----------
    encoding : str
        A key of `ENCODINGS`.
    rate : int
        Samples a second, in Hz.
    channels : int
        Channels, interleaved.
    """

    encoding: str = "s16le"
    rate: int = SAMPLE_RATE
    channels: int = 1

    @classmethod
    def parse(cls, text: str) -> PcmFormat:
        """Return what ENCODING[:RATE[:CHANNELS]] stands for, such as ``s16le:48000:2``.

        Raises
        ------
        UsageError
            If it stands for nothing.
        """
        encoding, *numbers = text.split(":")
        positive = all(number.isdecimal() and int(number) > 0 for number in numbers)
        if encoding not in ENCODINGS or len(numbers) > 2 or not positive:
            raise UsageError(
                f"--raw {text}: expected ENCODING[:RATE[:CHANNELS]], such as s16le:48000:2, with "
                f"one of {', '.join(ENCODINGS)}"
            )
        found = cls(encoding, *map(int, numbers))
        if found.rate > _HIGHEST_RATE:
            raise UsageError(f"--raw {text}: no sound has {found.rate} samples a second")
        return found

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return np.dtype(ENCODINGS[self.encoding]).itemsize * self.channels


class RawDecoder:
    """Samples without a header.

    Parameters
    ----------
    source : Source
        Where the bytes are, at their start.
    pcm : PcmFormat
        What they are.
    """

    def __init__(self, source: Source, pcm: PcmFormat) -> None:
        self._source, self._pcm = source, pcm
        self.format = f"raw {pcm.encoding}"
        self.rate, self.channels = pcm.rate, pcm.channels
        self.num_samples: int | None = None
        self._rest = b""

    def chunks(self) -> Iterator[Samples]:
        """Yield all samples as they come, down-mixed, in (n,) pieces."""
        stored = np.dtype(ENCODINGS[self._pcm.encoding])
        while part := self._source.file.read(_READ_BYTES):
            held = self._rest + part
            whole = len(held) - len(held) % self._pcm.sample_bytes
            values = np.frombuffer(held[:whole], stored).astype(stored.newbyteorder("="))
            self._rest = held[whole:]
            yield downmix(to_float(values).reshape(-1, self.channels).T)

    def problem(self, decoded: int) -> AudioError | None:
        """Return what was wrong, once `decoded` samples came out and no more come."""
        if not self._rest:
            return None
        return problems.cut_sample(self._source.name, decoded / self.rate, self._pcm.encoding)

    def close(self) -> None:
        """Free nothing: there is no decoder."""
