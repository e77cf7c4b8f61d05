"""The reader: any recording as a stream of mono blocks at one rate."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from audioseg_xai.audio import problems
from audioseg_xai.audio.decoders import open_decoder
from audioseg_xai.audio.raw import PcmFormat
from audioseg_xai.audio.source import Source
from audioseg_xai.errors import AudioError
from audioseg_xai.frames import SAMPLE_RATE

Samples = NDArray[np.float32]
OnTruncated = Literal["error", "warn"]

LOUDEST = 1e5
"""Largest sample that is believed, where full scale is 1: +100 dB.

Float files may go beyond full scale, and 16-bit integers written as floats without scaling reach
32768. Above that are damaged bytes; squared, they overflow the power spectrum and all its sums.
"""

log = logging.getLogger(__name__)


class AudioReader:
    """A recording as mono float32 blocks, decoded and resampled as a stream in constant memory.

    Reads what libsndfile or FFmpeg reads, at any rate and with any number of channels, also the
    sound of a film, and from a pipe that cannot seek. Channels are averaged; 16 kHz mono passes
    bit for bit. N samples at `native_rate` give floor(N sample_rate / native_rate + 1/2), and
    the samples do not depend on `block`. Iterate once; a second time needs a second reader.

    Parameters
    ----------
    source : str, Path or BinaryIO
        A path, '-' for standard input, or a file open for reading bytes.
    sample_rate : int
        Samples a second of the blocks, in Hz.
    block : int
        Samples of a block; the last one may be shorter.
    on_truncated : {'error', 'warn'}
        What to do about a recording that can be decoded in part. All that can be decoded is
        yielded in either case; then 'error' raises TruncatedAudioError, 'warn' logs a warning.
    raw : PcmFormat, optional
        What the samples are, when there is no header to say so.
    live : bool
        Whether samples of a stream are wanted as they come, and not only in large pieces.

    Attributes
    ----------
    name : str
        What error messages call the recording.
    uri_name : str
        File name without folder, suffix and whitespace; 'stdin' for standard input.
    native_rate : int
        Sampling rate of the recording, in Hz.
    channels : int
        Channels of the recording.
    duration : float or None
        What its header promises, in seconds; None when it does not say.
    format : str
        Container and codec.
    num_samples : int
        Samples yielded so far, at `sample_rate`.

    Raises
    ------
    AudioError
        On opening: no such file, a folder, an empty file, no audio. On iterating: no samples,
        NaN or infinite samples, samples beyond `LOUDEST`, a sampling rate that changes.
    TruncatedAudioError
        After the last block, when the recording could not be decoded as a whole.

    Examples
    --------
    >>> import io, soundfile
    >>> file = io.BytesIO()
    >>> soundfile.write(file, np.zeros(44_100), 44_100, format="WAV")
    >>> with AudioReader(file, block=10_000) as reader:
    ...     [len(samples) for samples in reader]
    [10000, 6000]
    """

    def __init__(
        self,
        source: str | Path | BinaryIO,
        *,
        sample_rate: int = SAMPLE_RATE,
        block: int = 10 * SAMPLE_RATE,
        on_truncated: OnTruncated = "error",
        raw: PcmFormat | None = None,
        live: bool = False,
    ) -> None:
        if block < 1 or sample_rate < 1:
            raise ValueError(f"block and sample_rate must be positive, not {block}, {sample_rate}")
        self.sample_rate = sample_rate
        self.num_samples = 0
        self._block = block
        self._on_truncated = on_truncated
        self._started = False
        self._source = Source(source)
        try:
            self._decoder = open_decoder(self._source, raw, live)
        except BaseException:
            self._source.close()
            raise
        self._take_over()

    def __enter__(self) -> AudioReader:
        """Return the reader itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the reader."""
        self.close()

    def __iter__(self) -> Iterator[Samples]:
        """Yield blocks (n,) of `block` samples; the last may be shorter."""
        if self._started:
            raise AudioError(f"{self.name}: was read already: open it with another reader")
        self._started = True
        for samples in _reblock(self._resampled(), self._block):
            self.num_samples += len(samples)
            yield samples
        self._check_end()

    def close(self) -> None:
        """Free the decoder and close the file, if it was opened here."""
        self._decoder.close()
        self._source.close()

    def _take_over(self) -> None:
        self.name, self.uri_name = self._source.name, self._source.uri_name
        self.native_rate = self._decoder.rate
        self.channels = self._decoder.channels
        self.format = self._decoder.format
        promised = self._decoder.num_samples
        self.duration = None if promised is None else promised / self.native_rate
        self._num_decoded = 0

    def _resampled(self) -> Iterator[Samples]:
        if self.native_rate == self.sample_rate:
            yield from self._native()
            return
        import soxr

        resampler = soxr.ResampleStream(self.native_rate, self.sample_rate, 1, quality="HQ")
        for chunk in self._native():
            # Fixed pieces, so that the result depends neither on `block` nor on the decoder.
            for start in range(0, len(chunk), self.native_rate):
                yield resampler.resample_chunk(chunk[start : start + self.native_rate])
        yield resampler.resample_chunk(np.empty(0, np.float32), last=True)

    def _native(self) -> Iterator[Samples]:
        for chunk in self._decoder.chunks():
            # Without a temporary array; NaN is carried through and fails the comparisons.
            if len(chunk) and not (chunk.max() <= LOUDEST and chunk.min() >= -LOUDEST):
                raise self._bad_sample(chunk)
            self._num_decoded += len(chunk)
            yield chunk

    def _bad_sample(self, chunk: Samples) -> AudioError:
        first = int(np.argmin(np.abs(chunk) <= LOUDEST))
        value, seconds = float(chunk[first]), (self._num_decoded + first) / self.native_rate
        if math.isfinite(value):
            return problems.too_loud(self.name, value, seconds)
        return problems.not_finite(self.name, seconds)

    def _check_end(self) -> None:
        problem = self._decoder.problem(self._num_decoded)
        if not self._num_decoded:
            raise problem or problems.no_samples(self.name)
        if problem is not None and self._on_truncated == "error":
            raise problem
        if problem is not None:
            log.warning("%s", problem)


def read_audio(
    source: str | Path | BinaryIO,
    *,
    sample_rate: int = SAMPLE_RATE,
    on_truncated: OnTruncated = "error",
) -> Samples:
    """Return a whole recording as mono samples.

    Parameters
    ----------
    source : str, Path or BinaryIO
        A path, '-' for standard input, or a file open for reading bytes.
    sample_rate : int
        Samples a second of the result, in Hz.
    on_truncated : {'error', 'warn'}
        Whether a recording that can be decoded in part is an error; with 'warn' the part is
        returned and a warning logged.

    Returns
    -------
    numpy.ndarray, shape (N,), float32
        Samples in [-1, 1]; float files may go beyond.

    Raises
    ------
    AudioError
        When the recording cannot be read, or not as a whole.
    """
    with AudioReader(source, sample_rate=sample_rate, on_truncated=on_truncated) as reader:
        return np.concatenate(list(reader))


def _reblock(chunks: Iterable[Samples], block: int) -> Iterator[Samples]:
    """Yield the samples of `chunks` in blocks of `block`, the rest at the end."""
    pending: list[Samples] = []
    size = 0
    for chunk in chunks:
        start = 0
        while size + len(chunk) - start >= block:
            stop = start + block - size
            yield _joined([*pending, chunk[start:stop]])
            pending, size, start = [], 0, stop
        if start < len(chunk):
            pending.append(chunk[start:])
            size += len(chunk) - start
    if pending:
        yield _joined(pending)


def _joined(parts: list[Samples]) -> Samples:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
