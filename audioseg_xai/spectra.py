"""Power spectra on the frame clock, of a recording that arrives in blocks, in NumPy.

What segments on a CPU goes through here and waits for no larger library; `features` has the same
spectra for PyTorch.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from audioseg_xai.config import Config
from audioseg_xai.frames import HOP, SAMPLE_RATE, WINDOW, num_frames

Floats = NDArray[np.float32]

SAMPLE_SCALE = 32_768.0
"""Factor from [-1, 1] samples to 16-bit scale.

It puts the "1" of log(1 + power) near the quantisation floor of 16-bit audio. On [-1, 1] samples
the logarithm would be almost linear and quiet sounds would vanish.
"""

_AT_ONCE = 48
"""Frames whose windowed samples and spectra stay in the cache of a core."""


class SpectrogramConfig(Config):
    """How a spectrogram is computed.

    Attributes
    ----------
    fft_size : int
        Length of the FFT and of its Hann window, in samples; F = fft_size / 2 + 1 bins.
    """

    fft_size: int = Field(default=512, ge=WINDOW, multiple_of=2)

    @property
    def num_bins(self) -> int:
        """F, the number of frequency bins."""
        return self.fft_size // 2 + 1

    @property
    def margin(self) -> int:
        """Samples that the FFT window sees on each side of the frame's own 400."""
        return (self.fft_size - WINDOW) // 2

    def frequencies(self) -> NDArray[np.float32]:
        """Return the centre frequency of each bin, in Hz, shape (F,)."""
        return np.fft.rfftfreq(self.fft_size, 1 / SAMPLE_RATE).astype(np.float32)


def hann_window(size: int) -> NDArray[np.float64]:
    """Return the periodic Hann window, shape (size,): (1 - cos(2 pi n / size)) / 2."""
    return (1 - np.cos(2 * np.pi * np.arange(size) / size)) / 2


class PowerStream:
    """Power |STFT|^2 of a recording that arrives in blocks, at 16-bit scale.

    The FFT window is centred on the 400 samples of its frame; the recording is padded with zeros
    so that a longer window leaves the number of frames as it is.

    Parameters
    ----------
    config : SpectrogramConfig
        FFT size.

    Examples
    --------
    >>> stream = PowerStream(SpectrogramConfig())
    >>> frames = [stream.push(np.zeros(16000, np.float32)), stream.finish()]
    >>> sum(len(x) for x in frames)
    49
    """

    def __init__(self, config: SpectrogramConfig) -> None:
        self.config = config
        self.num_samples = 0
        self._emitted = 0
        self._pending: Floats = np.zeros(config.margin, np.float32)
        self._window = (hann_window(config.fft_size) * SAMPLE_SCALE).astype(np.float32)
        self._windowed = np.empty((_AT_ONCE, config.fft_size), np.float32)
        self._spectra = np.empty((_AT_ONCE, config.num_bins), np.complex64)

    def push(self, block: Floats) -> Floats:
        """Take the next samples, shape (n,); return the frames now complete, shape (t, F)."""
        self.num_samples += len(block)
        self._pending = np.concatenate([self._pending, block])
        return self._emit(max((len(self._pending) - self.config.fft_size) // HOP + 1, 0))

    def finish(self) -> Floats:
        """Return the frames that only the padding at the end completes, shape (t, F)."""
        remaining = num_frames(self.num_samples) - self._emitted
        missing = (remaining - 1) * HOP + self.config.fft_size - len(self._pending)
        self._pending = np.pad(self._pending, (0, max(missing, 0)))
        return self._emit(remaining)

    def _emit(self, count: int) -> Floats:
        power = np.empty((count, self.config.num_bins), np.float32)
        size, step = self.config.fft_size, self._pending.itemsize
        frames: Floats = np.ndarray((count, size), np.float32, self._pending, 0, (HOP * step, step))
        for start in range(0, count, _AT_ONCE):
            self._power(frames[start : start + _AT_ONCE], power[start : start + _AT_ONCE])
        self._pending = self._pending[count * HOP :]
        self._emitted += count
        return power

    def _power(self, frames: Floats, out: Floats) -> None:
        windowed, spectra = self._windowed[: len(frames)], self._spectra[: len(frames)]
        np.multiply(frames, self._window, out=windowed)
        np.fft.rfft(windowed, out=cast(Any, spectra))  # its stubs know of 128 bits alone
        parts = spectra.view(np.float32)
        np.square(parts, out=parts)
        np.add(parts[:, 0::2], parts[:, 1::2], out=out)
