"""Pipes, encoders and damage for tests of audio."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest

from audioseg_xai.audio import (
    AudioReader,
)
from audioseg_xai.errors import AudioError


class FakePipe(io.RawIOBase):
    """A file object that hands out a little at a time and cannot seek."""

    def __init__(self, content: bytes, most: int = 1000) -> None:
        self._content = io.BytesIO(content)
        self._most = most

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._content.read(min(size, self._most) if size >= 0 else self._most)


def encode(path: Path, samples, rate: int, codec: str, *, video: bool = False, **options) -> Path:
    """Write mono samples with FFmpeg's encoder `codec`, with a black film beside if asked."""
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        if video:
            add_black_film(container)
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        for part in (frame, None):
            container.mux(stream.encode(part))
    return path


def add_black_film(container) -> None:
    stream = container.add_stream("mpeg4", rate=10)
    stream.width = stream.height = 32
    stream.pix_fmt = "yuv420p"
    for _ in range(10):
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def cut(path: Path, share: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def with_later_end(ogg: bytes, samples: int) -> bytes:
    """Return an Ogg file whose last page says that it ends `samples` later than it does."""
    start = ogg.rindex(b"OggS")
    page = bytearray(ogg[start:])
    page[6:14] = (int.from_bytes(page[6:14], "little") + samples).to_bytes(8, "little")
    page[22:26] = bytes(4)  # the checksum counts as zero in itself
    page[22:26] = _ogg_checksum(page).to_bytes(4, "little")
    return ogg[:start] + page


def _ogg_checksum(page: bytes) -> int:
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value >> 31 else 0)) & 0xFFFFFFFF
    return value


def decoded_part(path_or_file) -> tuple[np.ndarray, AudioError]:
    """Return all that a reader yields before it complains, and the complaint."""
    reader = AudioReader(path_or_file, block=1000)
    blocks = []
    with reader, pytest.raises(AudioError) as caught:
        blocks.extend(reader)
    return np.concatenate(blocks), caught.value


def strength(samples, frequency: float, rate: int = 16_000) -> float:
    """Return the amplitude of the sine of `frequency` Hz in the middle half of `samples`."""
    middle = samples[len(samples) // 4 : -len(samples) // 4]
    time = np.arange(len(middle)) / rate
    return float(2 * abs(np.mean(middle * np.exp(-2j * np.pi * frequency * time))))
