"""What headers promise, where the decoding libraries do not tell."""

from __future__ import annotations

import re
import struct

UNKNOWN_LENGTH = 0x7FFF_0000
"""Byte counts from here on mean "until the end": writers to a pipe put 2^31 - 1 or 2^32 - 1."""

PCM_TAGS = (1, 3, 0xFFFE)
"""WAVE format tags of integer, float and extensible PCM."""

XING_TAGS = (b"Xing", b"Info")
"""How the frame that counts the others is marked in an MP3 of variable and of constant rate."""

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
    block_align, size = _wav_data(head) or (0, 0)
    known = block_align and 0 < size < UNKNOWN_LENGTH
    return size // block_align if known else None


def wav_is_endless(head: bytes) -> bool:
    """Return whether a WAV header leaves the length open, as that of a live stream does."""
    data = _wav_data(head)
    return data is not None and not 0 < data[1] < UNKNOWN_LENGTH


def _wav_data(head: bytes) -> tuple[int, int] | None:
    """Return bytes a sample of all channels, 0 unless it is PCM, and bytes of the data chunk."""
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    position, block_align = 12, 0
    while position + 8 <= len(head):
        name, size = struct.unpack_from("<4sI", head, position)
        if name == b"fmt " and position + 24 <= len(head):
            tag, block_align = struct.unpack_from("<H10xH", head, position + 8)
            block_align = block_align if tag in PCM_TAGS else 0
        if name == b"data":
            return block_align, size
        position += 8 + size + size % 2
    return None


def ogg_breaks_off(tail: bytes) -> bool:
    """Return whether an Ogg file ends within a page.

    A recorded radio stream lacks the mark of the last page and is no less whole: only a page
    that is cut says that bytes are missing.

    Parameters
    ----------
    tail : bytes
        Last bytes of the file, at least the 65307 of the longest page.
    """
    start = tail.rfind(b"OggS")
    return start >= 0 and len(tail) < start + _ogg_page_bytes(tail[start:])


def id3_bytes(head: bytes) -> int:
    """Return the length of the ID3v2 tag that a file starts with, 0 without one."""
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    footer = 10 if head[5] & 0x10 else 0
    # Seven bits a byte, so that nothing in a tag looks like the start of a frame.
    high, upper, lower, low = head[6:10]
    return 10 + (high << 21 | upper << 14 | lower << 7 | low) + footer


def mp3_num_samples(head: bytes) -> int | None:
    """Return the samples a channel that an MP3 promises, None when it does not say.

    Parameters
    ----------
    head : bytes
        First bytes of the file, to the end of the first frame. That frame holds no sound when it
        counts the others: the Xing header. Encoder delay and padding are part of the count.
    """
    frame = head[id3_bytes(head) :].lstrip(b"\0")
    is_layer_3 = len(frame) > 4 and frame[0] == 0xFF and frame[1] & 0xE6 == 0xE2
    if not is_layer_3:
        return None
    mpeg_1, mono = frame[1] & 0x18 == 0x18, frame[3] >> 6 == 3
    side_information = (17 if mono else 32) if mpeg_1 else (9 if mono else 17)
    tag = frame[4 + side_information :][:12]
    if tag[:4] not in XING_TAGS or len(tag) < 12:
        return None
    flags, num_frames = struct.unpack(">II", tag[4:])
    return num_frames * (1152 if mpeg_1 else 576) if flags & 1 else None


def _ogg_page_bytes(page: bytes) -> int:
    # RFC 3533: byte 26 counts the lacing values, which follow and sum to the body.
    if len(page) < 27:
        return 27
    num_segments = page[26]
    return 27 + num_segments + sum(page[27 : 27 + num_segments])
