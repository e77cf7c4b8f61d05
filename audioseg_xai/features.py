"""Spectrograms on the frame clock: log(1 + power) of 16-bit-scale samples."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from audioseg_xai.config import Config
from audioseg_xai.frames import HOP, SAMPLE_RATE, WINDOW, num_frames

SAMPLE_SCALE = 32_768.0
"""Factor from [-1, 1] samples to 16-bit scale.

It puts the "1" of log(1 + power) near the quantisation floor of 16-bit audio. On [-1, 1] samples
the logarithm would be almost linear and quiet sounds would vanish.
"""


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


def log_spectrogram(samples: torch.Tensor, config: SpectrogramConfig) -> torch.Tensor:
    """Return X = log(1 + |STFT|^2) of a whole recording.

    The FFT window is centred on the 400 samples of its frame; the recording is padded with zeros
    so that a longer window leaves the number of frames as it is.

    Parameters
    ----------
    samples : torch.Tensor, shape (N,), float32
        16 kHz mono audio in [-1, 1].
    config : SpectrogramConfig
        FFT size.

    Returns
    -------
    torch.Tensor, shape (T, F), float32
        T = `frames.num_frames(N)`; natural logarithm of one plus power at 16-bit scale.
    """
    frames = num_frames(samples.shape[0])
    if frames == 0:
        return samples.new_zeros(0, config.num_bins)
    missing = (frames - 1) * HOP + config.fft_size - config.margin - samples.shape[0]
    padded = torch.nn.functional.pad(samples, (config.margin, missing))
    return _log_power(padded, config)


class SpectrogramStream:
    """`log_spectrogram` of a recording that arrives in blocks, frame for frame the same.

    Parameters
    ----------
    config : SpectrogramConfig
        FFT size.

    Examples
    --------
    >>> stream = SpectrogramStream(SpectrogramConfig())
    >>> frames = [stream.push(torch.zeros(16000)), stream.finish()]
    >>> sum(len(x) for x in frames)
    49
    """

    def __init__(self, config: SpectrogramConfig) -> None:
        self.config = config
        self.num_samples = 0
        self._emitted = 0
        self._pending = torch.zeros(config.margin)

    def push(self, block: torch.Tensor) -> torch.Tensor:
        """Take the next samples, shape (n,); return the frames now complete, shape (t, F)."""
        self.num_samples += block.shape[0]
        self._pending = torch.cat([self._pending, block])
        ready = (self._pending.shape[0] - self.config.fft_size) // HOP + 1
        return self._emit(max(ready, 0))

    def finish(self) -> torch.Tensor:
        """Return the frames that only the padding at the end completes, shape (t, F)."""
        remaining = num_frames(self.num_samples) - self._emitted
        missing = (remaining - 1) * HOP + self.config.fft_size - self._pending.shape[0]
        self._pending = torch.nn.functional.pad(self._pending, (0, max(missing, 0)))
        return self._emit(remaining)

    def _emit(self, frames: int) -> torch.Tensor:
        if frames == 0:
            return self._pending.new_zeros(0, self.config.num_bins)
        used = self._pending[: (frames - 1) * HOP + self.config.fft_size]
        self._pending = self._pending[frames * HOP :].clone()
        self._emitted += frames
        return _log_power(used, self.config)


def _log_power(padded: torch.Tensor, config: SpectrogramConfig) -> torch.Tensor:
    window = torch.hann_window(config.fft_size, device=padded.device) * SAMPLE_SCALE
    spectrum = torch.stft(
        padded, config.fft_size, HOP, window=window, center=False, return_complex=True
    )
    power = spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag)
    return power.log1p_().T.contiguous()
