"""The choice of a decoder, and what the reader needs of one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from audioseg_xai.audio.pcm import Samples
from audioseg_xai.audio.raw import PcmFormat, RawDecoder
from audioseg_xai.audio.sndfile import open_sndfile
from audioseg_xai.audio.source import Source
from audioseg_xai.errors import AudioError


class Decoder(Protocol):
    """What the reader needs of a decoder.

    Attributes
    ----------
    format : str
        Container and codec, for people.
    rate : int
        Native sampling rate, in Hz.
    channels : int
        Channels before down-mixing.
    num_samples : int or None
        Samples a channel that the header promises; None when it does not say.
    """

    format: str
    rate: int
    channels: int
    num_samples: int | None

    def chunks(self) -> Iterator[Samples]:
        """Yield all that can be decoded, down-mixed, in (n,) pieces at the native rate."""

    def problem(self, decoded: int) -> AudioError | None:
        """Return what was wrong, once `decoded` samples came out and no more come."""

    def close(self) -> None:
        """Free the decoder."""


def open_decoder(source: Source, raw: PcmFormat | None = None, live: bool = False) -> Decoder:
    """Return the decoder for `source`: libsndfile, or FFmpeg for what that cannot read.

    Parameters
    ----------
    source : Source
        What to decode, at its start.
    raw : PcmFormat, optional
        What it holds, when it has no header to say so.
    live : bool
        Whether a stream is decoded as it comes.

    Raises
    ------
    AudioError
        When neither can, or when there is no audio track.
    """
    if raw is not None:
        return RawDecoder(source, raw)
    if source.seekable and not _looks_like_mpeg(source.head):
        decoder = open_sndfile(source)
        if decoder is not None:
            return decoder
        source.rewind()
    # Most recordings do without, and need not wait for the libraries of FFmpeg.
    from audioseg_xai.audio.ffmpeg import FfmpegDecoder

    return FfmpegDecoder(source, live)


def _looks_like_mpeg(head: bytes) -> bool:
    # libsndfile reads MP3 as well, but gives up at the first damaged kilobyte and guesses lengths.
    return head[:3] == b"ID3" or (head[:1] == b"\xff" and head[1:2] >= b"\xe0")
