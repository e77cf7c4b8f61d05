"""Decoding with FFmpeg, through PyAV: compressed audio, films, and whatever is piped in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import av
from av.error import FFmpegError

from audioseg_xai.audio import problems
from audioseg_xai.audio.headers import (
    mp3_num_samples,
    ogg_breaks_off,
    riff_num_samples,
    wav_is_endless,
)
from audioseg_xai.audio.pcm import Samples, downmixed, frame_kind
from audioseg_xai.audio.source import Source
from audioseg_xai.errors import AudioError

FRAMES_CHUNK = 1 << 17
"""Samples a channel that are gathered from FFmpeg's small frames before they are worked on."""

PCM_PACKET = "65536"
"""Bytes of a packet of PCM: FFmpeg's own few KiB would mean many more trips through Python."""

LIVE_PACKET = "4096"
"""The same for a live stream, where a packet has to fill: 0.13 s of 16-bit mono at 16 kHz."""

LIVE_WAV_PROBE = "32768"
"""Bytes of a live WAV stream that FFmpeg searches for DTS before it hands out any; 5 MB else.

It also looks for S/PDIF in the first 64 KiB, whatever it is told: 2 s of 16-bit mono at 16 kHz.
"""

LIVE_GATHERED = 20
"""The part of a second that is gathered from the frames of a live stream: 50 ms."""

TRUSTED_CONTAINERS = {"mov", "matroska", "flac", "wav", "aiff", "au"}
"""Containers that write their duration down; for others FFmpeg estimates it from the bit rate."""

CONTAINERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dts,dv,eac3,flac,flv,gxf,loas,matroska,mov,mp3,mpc,mpc8,"
    "mpeg,mpegts,mxf,nistsphere,nut,ogg,rm,tak,truehd,tta,voc,w64,wav,webm,wtv,wv"
)
"""FFmpeg demuxers allowed. Playlists are not (they open other files), nor is text or raw data."""


class FfmpegDecoder:
    """FFmpeg through PyAV: MP3, MPEG-4, Matroska, broadcast streams, and whatever is piped in.

    Time 0 is the first sample of the audio track; of several tracks it is the one FFmpeg holds
    for the best. From a pipe, MP3 and Vorbis may end with some ten milliseconds that the encoder
    filled in: only a file that can be sought tells FFmpeg where the sound ends.

    Parameters
    ----------
    source : Source
        Where the bytes are, at their start.
    live : bool
        Whether samples are handed out as they come, at more cost.

    Raises
    ------
    AudioError
        When FFmpeg does not know the container or finds no audio track in it.
    """

    def __init__(self, source: Source, live: bool = False) -> None:
        self._name = source.name
        self._source = source
        self._container = _open_container(source, live)
        try:
            self._stream = self._best_stream()
            self._describe(source)
        except BaseException:
            self.close()
            raise
        self._gathered = self.rate // LIVE_GATHERED if live else FRAMES_CHUNK
        self._damaged: list[int] = []
        self._decoded = 0

    def chunks(self) -> Iterator[Samples]:
        """Yield all that can be decoded, down-mixed, in (n,) pieces at the native rate."""
        pending: list[Any] = []
        size = 0
        for frame in self._frames():
            # A broadcast may turn from stereo to surround: frames of one kind go together.
            if pending and (size >= self._gathered or frame_kind(frame) != frame_kind(pending[0])):
                yield downmixed(pending)
                pending, size = [], 0
            pending.append(frame)
            size += frame.samples
        if pending:
            yield downmixed(pending)

    def problem(self, decoded: int) -> AudioError | None:
        """Return what was wrong, once `decoded` samples came out and no more come."""
        if self.num_samples and not decoded:
            return problems.not_audio(self._name, self._source.head, self._source.seekable)
        seconds = decoded / self.rate
        inner = [position for position in self._damaged if position < decoded]
        if inner:
            return problems.is_damaged(self._name, len(inner), inner[0] / self.rate)
        if self.num_samples and seconds + problems.LATE_TOLERANCE < self.num_samples / self.rate:
            return problems.ends_early(self._name, seconds, self.num_samples / self.rate)
        if self._source.head[:4] == b"OggS" and ogg_breaks_off(self._source.tail()):
            return problems.cut_off(self._name, seconds)
        return None

    def close(self) -> None:
        """Free the decoder."""
        self._container.close()

    def _best_stream(self) -> Any:
        stream = self._container.streams.best("audio")
        if stream is None or not stream.codec_context.sample_rate:
            raise problems.no_audio_track(self._name)
        return stream

    def _describe(self, source: Source) -> None:
        context = self._stream.codec_context
        self.format = f"{self._container.format.name.split(',')[0]} {context.name}"
        self.rate = context.sample_rate
        self.channels = context.channels
        promised = riff_num_samples(source.head)
        self.num_samples = promised if promised is not None else self._promised()

    def _promised(self) -> int | None:
        container = self._container.format.name.split(",")[0]
        if container == "mp3" and not self._source.seekable:
            return mp3_num_samples(self._source.head)  # FFmpeg asks for the size of the file
        # An MP3 file tells its length in a Xing frame, and only then starts behind zero.
        trusted = container in TRUSTED_CONTAINERS or (
            container == "mp3" and bool(self._stream.start_time)
        )
        seconds = _stream_seconds(self._container, self._stream) if trusted else None
        return None if seconds is None else round(seconds * self.rate)

    def _frames(self) -> Iterator[Any]:
        for packet in self._packets():
            try:
                frames = packet.decode()
            except FFmpegError:
                self._note_damage()
                continue
            for frame in frames:
                self._check_rate(frame)
                self._decoded += frame.samples
                yield frame

    def _packets(self) -> Iterator[Any]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                yield next(packets)
            except StopIteration:
                return
            except FFmpegError:
                self._note_damage()
                return

    def _note_damage(self) -> None:
        # A recording of a broadcast starts in the middle of a packet: no damage to speak of.
        if self._decoded:
            self._damaged.append(self._decoded)

    def _check_rate(self, frame: Any) -> None:
        if frame.sample_rate != self.rate:
            raise AudioError(
                f"{self._name}: changes its sampling rate from {self.rate} to {frame.sample_rate} "
                f"Hz at {self._decoded / self.rate:.3f} s: convert it to one rate with ffmpeg"
            )


def _open_container(source: Source, live: bool) -> Any:
    options = {"format_whitelist": CONTAINERS, "max_size": LIVE_PACKET if live else PCM_PACKET}
    if live and source.head[8:12] == b"WAVE":
        options["probesize"] = LIVE_WAV_PROBE
    if wav_is_endless(source.head):
        options["ignore_length"] = "1"  # FFmpeg would believe 2^32 - 1 and stop after 4 GiB
    try:
        return av.open(cast(Any, source.file), container_options=options)
    except (FFmpegError, ValueError):
        raise problems.not_audio(source.name, source.head, source.seekable) from None


def _stream_seconds(container: Any, stream: Any) -> float | None:
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    start = float((stream.start_time or 0) * stream.time_base)
    if "DURATION" in stream.metadata:
        return _clock_seconds(stream.metadata["DURATION"]) - start
    alone = len(container.streams) == 1 and container.duration is not None
    return container.duration / av.time_base - start if alone else None


def _clock_seconds(text: str) -> float:
    """Return the seconds of a Matroska tag such as 00:00:10.046000000."""
    hours, minutes, seconds = text.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
