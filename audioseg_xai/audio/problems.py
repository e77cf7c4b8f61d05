"""What can be wrong with a recording, each with the one line that a user reads."""

from __future__ import annotations

from audioseg_xai.errors import AudioError

EMPTY_REMEDY = "copy or export it again"

LATE_TOLERANCE = 0.25
"""Seconds that lossy formats may promise too much: codec delay, rounded times, last packets."""

KNOWN_STARTS = (b"RIFF", b"RF64", b"FORM", b"OggS", b"fLaC", b"ID3", b"\x1aE\xdf\xa3")
"""First bytes of WAV, AIFF, Ogg, FLAC, MP3 and Matroska files."""


class TruncatedAudioError(AudioError):
    """A recording of which only a part can be decoded.

    Raised after all samples that can be decoded were handed out, so that a caller who wants the
    decoded part still has it.
    """


def is_empty(name: str) -> AudioError:
    """Return the error of a file without a single byte."""
    return AudioError(f"{name}: is empty (0 bytes): {EMPTY_REMEDY}")


def no_samples(name: str) -> AudioError:
    """Return the error of a file with a header and nothing behind it."""
    return AudioError(f"{name}: holds no samples, only a header: {EMPTY_REMEDY}")


def not_audio(name: str, head: bytes, seekable: bool) -> AudioError:
    """Return the error of bytes that no decoder understands.

    Parameters
    ----------
    name : str
        What the user calls the recording.
    head : bytes
        Its first bytes.
    seekable : bool
        False for a pipe, where an MP4 file with its index at the end cannot be read.
    """
    if head[4:8] == b"ftyp":
        return _mp4_without_index(name, seekable)
    known = head.startswith(KNOWN_STARTS)
    why = "its header is damaged or cut off" if known else "first bytes are not of a known format"
    return AudioError(
        f"{name}: holds no audio that can be decoded ({why}): "
        "convert it with ffmpeg, or check that it is a recording"
    )


def no_audio_track(name: str) -> AudioError:
    """Return the error of a film without sound."""
    return AudioError(
        f"{name}: holds no audio track: choose the file that carries the sound, or leave it out"
    )


def not_finite(name: str, seconds: float) -> AudioError:
    """Return the error of a NaN or infinite sample.

    Parameters
    ----------
    name : str
        What the user calls the recording.
    seconds : float
        Time of the first such sample, in seconds.
    """
    return AudioError(
        f"{name}: holds NaN or infinite samples, the first at {seconds:.3f} s: export it again"
    )


def too_loud(name: str, value: float, seconds: float) -> AudioError:
    """Return the error of a sample that no recording can hold.

    Parameters
    ----------
    name : str
        What the user calls the recording.
    value, seconds : float
        The first such sample, where full scale is 1, and its time, in seconds.
    """
    return AudioError(
        f"{name}: holds samples far beyond full scale, the first ({value:.3g}) at {seconds:.3f} s: "
        "export it again, scaled to [-1, 1]"
    )


def ends_early(name: str, seconds: float, promised: float) -> TruncatedAudioError:
    """Return the error of a recording that is shorter than it says.

    Parameters
    ----------
    name : str
        What the user calls the recording.
    seconds, promised : float
        Duration that was decoded and duration of which the header speaks, in seconds.
    """
    return TruncatedAudioError(
        f"{name}: ends after {seconds:.3f} s although its header promises {promised:.3f} s: "
        "the file is truncated or damaged, copy it again"
    )


def cut_off(name: str, seconds: float) -> TruncatedAudioError:
    """Return the error of a file that stops within a page or packet, after `seconds` seconds."""
    return TruncatedAudioError(
        f"{name}: breaks off after {seconds:.3f} s in the middle of a page: "
        "the file is truncated, copy it again"
    )


def cut_sample(name: str, seconds: float, encoding: str) -> TruncatedAudioError:
    """Return the error of raw samples that end within one, after `seconds` seconds."""
    return TruncatedAudioError(
        f"{name}: breaks off after {seconds:.3f} s in the middle of a sample: "
        f"it is truncated, or its samples are not {encoding} in as many channels as --raw says"
    )


def is_damaged(name: str, count: int, seconds: float) -> TruncatedAudioError:
    """Return the error of `count` packets that were left out, the first at `seconds`."""
    return TruncatedAudioError(
        f"{name}: is damaged at {seconds:.3f} s (packets left out: {count}), and times after that "
        "are too early: copy it again"
    )


def _mp4_without_index(name: str, seekable: bool) -> AudioError:
    if seekable:
        return TruncatedAudioError(
            f"{name}: is an MP4 file without its index (moov), so nothing of it can be decoded: "
            "the file is truncated, copy it again"
        )
    return AudioError(
        f"{name}: is an MP4 stream with its index (moov) at the end, which a pipe cannot reach: "
        "name the file instead, or rewrite it with ffmpeg -movflags +faststart"
    )
