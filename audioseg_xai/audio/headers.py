"""What headers promise, where the decoding libraries do not tell."""

from __future__ import annotations

import os
import re
import struct
from typing import IO

UNKNOWN_LENGTH = 0x7FFF_0000
"""Byte counts from here on mean "until the end": writers to a pipe put 2^31 - 1 or 2^32 - 1."""

PCM_TAGS = (1, 3, 0xFFFE)
"""WAVE format tags of integer, float and extensible PCM."""

OGG_TAIL = 1 << 17
"""An Ogg page has at most 65307 bytes, so this many from the end hold a whole one."""

_CLAIM = re.compile(
    r"^\s*(?:data|SSND|Data Size|Riff size|riff)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE
)


def claimed_over_actual(log: str) -> float:
    """Return how many times the bytes that are there a header speaks of, from libsndfile's log.

    Parameters
    ----------
    log : str
        ``extra_info`` of a SoundFile; it says ``data : 320000 (should be 159978)``.

    Returns
    -------
    float
        1.0 when the header is true, below the truth, or leaves the length open.
    """
    claims = [(int(claimed), int(actual)) for claimed, actual in _CLAIM.findall(log)]
    ratios = [c / a for c, a in claims if a and c < UNKNOWN_LENGTH]
    return max([1.0, *ratios])


def riff_num_samples(head: bytes) -> int | None:
    """Return the samples a channel that a PCM WAV header promises, None when it does not say.

    Parameters
    ----------
    head : bytes
        First bytes of the file.
    """
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    position, block_align = 12, 0
    while position + 24 <= len(head):
        name, size = struct.unpack_from("<4sI", head, position)
        if name == b"fmt ":
            tag, block_align = struct.unpack_from("<H10xH", head, position + 8)
            block_align = block_align if tag in PCM_TAGS else 0
        if name == b"data":
            known = block_align and 0 < size < UNKNOWN_LENGTH
            return size // block_align if known else None
        position += 8 + size + size % 2
    return None


def ogg_breaks_off(file: IO[bytes]) -> bool:
    """Return whether an Ogg file ends within a page, leaving its position at the start.

    A recorded radio stream lacks the mark of the last page and is no less whole: only a page
    that is cut says that bytes are missing.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - OGG_TAIL))
    tail = file.read(OGG_TAIL) or b""
    file.seek(0)
    start = tail.rfind(b"OggS")
    return start >= 0 and len(tail) < start + _ogg_page_bytes(tail[start:])


def _ogg_page_bytes(page: bytes) -> int:
    # RFC 3533: byte 26 counts the lacing values, which follow and sum to the body.
    if len(page) < 27:
        return 27
    num_segments = page[26]
    return 27 + num_segments + sum(page[27 : 27 + num_segments])
