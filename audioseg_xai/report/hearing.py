"""One pass over a recording: what a page shows of its sound, and the sound itself."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np
import torch
from numpy.typing import NDArray

from audioseg_xai.audio import AudioReader
from audioseg_xai.audio.reader import OnTruncated
from audioseg_xai.errors import AudioError
from audioseg_xai.explain import Explanation
from audioseg_xai.explanation_archive import ExplanationArchive
from audioseg_xai.features import SpectrogramConfig, SpectrogramStream
from audioseg_xai.frames import HOP, SAMPLE_RATE, WINDOW, num_frames
from audioseg_xai.listening import Excerpt, excerpts, listen
from audioseg_xai.report.overview import Overview
from audioseg_xai.report.packing import encode, pack
from audioseg_xai.report.picture import MAX_COLUMNS

Samples = NDArray[np.float32]

PEAKS = 1 << 18
"""Peaks of a waveform at most: 3 hours at 24 a second."""

_PEAKS_A_SECOND = 200

BIT_RATE = 24_000
"""Of embedded sound, in bit/s: mono speech and music at 16 kHz without audible harm."""

FRAMES = 1 << 13
"""Frames that an overview gets at once: it copies itself each time."""

LONGEST_EXCERPT = 10.0
"""Seconds of a segment that can be listened to in parts."""


class Opus:
    """Mono sound at 16 kHz, compressed while it arrives.

    Opus in Ogg: Valin, Vos and Terriberry, "Definition of the Opus Audio Codec", RFC 6716.
    """

    def __init__(self) -> None:
        self._file = io.BytesIO()
        self._container = av.open(self._file, "w", format="ogg")
        # Half of the highest effort takes a third of the time, for sound that is as good.
        options = {"application": "audio", "compression_level": "5"}
        self._stream = self._container.add_stream("libopus", rate=SAMPLE_RATE, options=options)
        self._stream.layout = "mono"
        self._stream.bit_rate = BIT_RATE

    def push(self, samples: Samples) -> None:
        """Take the next samples, shape (n,), in [-1, 1]; what lies beyond is clipped."""
        whole = np.rint(np.clip(samples, -1, 1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(whole[None], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> bytes:
        """Return the file."""
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._file.getvalue()


def opus(samples: Samples) -> bytes:
    """Return samples (N,) as an Ogg file with Opus in it."""
    encoder = Opus()
    encoder.push(samples)
    return encoder.finish()


class Waveform:
    """The largest magnitude over equal stretches of time.

    Parameters
    ----------
    num_samples : int
        Of the recording, at 16 kHz.
    """

    def __init__(self, num_samples: int) -> None:
        self._step = max(SAMPLE_RATE // _PEAKS_A_SECOND, -(-num_samples // PEAKS))
        self._rest: Samples = np.zeros(0, np.float32)
        self._peaks: list[Samples] = []

    def push(self, samples: Samples) -> None:
        """Take the next samples, shape (n,)."""
        joined = np.concatenate([self._rest, np.abs(samples)])
        whole = len(joined) - len(joined) % self._step
        self._peaks.append(joined[:whole].reshape(-1, self._step).max(axis=1))
        self._rest = joined[whole:]

    @property
    def peaks(self) -> Samples:
        """The peaks so far, shape (N,); the last may stand for less time."""
        rest = [self._rest.max(keepdims=True)] if len(self._rest) else []
        return np.concatenate([*self._peaks, *rest])


@dataclass
class _Cut:
    """The samples up to `end` of an excerpt, and around them those of all their frames."""

    row: int
    excerpt: Excerpt
    end: int
    first: int
    stop: int
    parts: list[Samples] = field(default_factory=list)

    def push(self, samples: Samples, position: int) -> None:
        begin, end = max(self.first - position, 0), max(self.stop - position, 0)
        if begin < len(samples) and end:
            self.parts.append(samples[begin:end])


@dataclass(frozen=True)
class Heard:
    """What one pass over a recording gives.

    Attributes
    ----------
    waveform : dict
        For the page: ``peaks``.
    overview : Overview
        Spectrogram of the sound, and probabilities.
    audio : bytes or None
        The recording as Opus; None when it was not asked for.
    sounds : list of dict
        Of some segments the relevant part and the rest.
    """

    waveform: dict[str, Any]
    overview: Overview
    audio: bytes | None
    sounds: list[dict[str, Any]]


def hear(
    path: str,
    archive: ExplanationArchive,
    explanation: Explanation,
    *,
    embed: bool,
    sounds: int,
    on_truncated: OnTruncated = "error",
) -> Heard:
    """Read a recording once, in bounded memory.

    Parameters
    ----------
    path : str
        The recording.
    archive : ExplanationArchive
        Has its probabilities and activations.
    explanation : Explanation
        Its segments.
    embed : bool
        Whether the whole sound is wanted.
    sounds : int
        Segments of each class of which both parts are wanted, the most confident first.
    on_truncated : str
        As for `AudioReader`.

    Raises
    ------
    AudioError
        If it cannot be read, or is not as long as what was explained.
    """
    num_samples = round(explanation.duration * SAMPLE_RATE)
    waveform, encoder = Waveform(num_samples), Opus() if embed else None
    picture = _Picture(archive, explanation)
    cuts = _cuts(explanation, num_samples, sounds)
    with AudioReader(path, on_truncated=on_truncated) as reader:
        for block in reader:
            for cut in cuts:
                cut.push(block, reader.num_samples - len(block))
            waveform.push(block)
            picture.push(block)
            if encoder is not None:
                encoder.push(block)
        _check_length(reader, num_samples, explanation.uri)
    picture.finish()
    return Heard(
        waveform={"peaks": pack(waveform.peaks[None], "uint8")},
        overview=picture.overview,
        audio=encoder.finish() if encoder is not None else None,
        sounds=[_sounds(cut, archive, explanation.uri) for cut in cuts],
    )


def reconstruct(archive: ExplanationArchive, explanation: Explanation) -> Overview:
    """Return W H in place of the spectrogram, for a recording whose sound is not at hand."""
    overview = Overview(MAX_COLUMNS)
    probabilities = archive.probabilities(explanation.uri)
    dictionary = archive.readout.dictionary.T
    for start in range(0, explanation.num_frames, FRAMES):
        frames = slice(start, start + FRAMES)
        activations = archive.activations(explanation.uri, frames).astype(np.float32)
        overview.push(activations @ dictionary, probabilities[frames])
    return overview


class _Picture:
    """The spectrogram of what is heard, beside the probabilities of the archive."""

    def __init__(self, archive: ExplanationArchive, explanation: Explanation) -> None:
        fft_size = 2 * (len(archive.readout.dictionary) - 1)
        self.overview = Overview(MAX_COLUMNS)
        self._stream = SpectrogramStream(SpectrogramConfig(fft_size=fft_size))
        self._probabilities = archive.probabilities(explanation.uri)
        self._waiting: list[torch.Tensor] = []
        self._done = 0

    def push(self, samples: Samples) -> None:
        self._waiting.append(self._stream.push(torch.from_numpy(samples)))
        if sum(map(len, self._waiting)) >= FRAMES:
            self._take()

    def finish(self) -> None:
        self._waiting.append(self._stream.finish())
        self._take()

    def _take(self) -> None:
        spectrogram, self._waiting = torch.cat(self._waiting).numpy(), []
        # Of a recording that is too long, which is refused at its end, the archive lacks frames.
        rows = self._probabilities[self._done : self._done + len(spectrogram)]
        self.overview.push(spectrogram[: len(rows)], rows)
        self._done += len(spectrogram)


def _cuts(explanation: Explanation, num_samples: int, count: int) -> list[_Cut]:
    cuts = []
    for label, items in excerpts(explanation, num_samples).items():
        rows = [row for row, s in enumerate(explanation.segments) if s.label == label]
        found = sorted(zip(rows, items, strict=True), key=lambda pair: -_confidence(pair[1]))
        cuts += [_cut(row, item, num_samples) for row, item in found[:count]]
    return cuts


def _confidence(item: Excerpt) -> float:
    return item.segment.confidence or 0.0


def _cut(row: int, item: Excerpt, num_samples: int) -> _Cut:
    end = min(item.end, item.begin + round(LONGEST_EXCERPT * SAMPLE_RATE))
    first = item.begin - item.begin % HOP
    frames = -(-(end - first) // HOP)
    stop = min(first + frames * HOP + WINDOW - HOP, num_samples)
    return _Cut(row, item, end, first, stop)


def _sounds(cut: _Cut, archive: ExplanationArchive, uri: str) -> dict[str, Any]:
    item, samples = cut.excerpt, np.concatenate(cut.parts)
    frames = slice(cut.first // HOP, cut.first // HOP + num_frames(len(samples)))
    activations = archive.activations(uri, frames)
    parts = listen(samples, activations, archive.readout.dictionary, item.relevance > 0)
    inside = slice(item.begin - cut.first, cut.end - cut.first)
    gain = item.gain(item.begin, cut.end)
    relevant, rest = (encode(opus(part[inside] * gain)) for part in parts)
    return {"segment": cut.row, "relevant": relevant, "rest": rest}


def _check_length(reader: AudioReader, num_samples: int, uri: str) -> None:
    if reader.num_samples != num_samples:
        raise AudioError(
            f"{reader.name}: lasts {reader.num_samples / SAMPLE_RATE:.3f} s, but {uri} in the "
            f"archive {num_samples / SAMPLE_RATE:.3f} s: give the recording that was explained"
        )
