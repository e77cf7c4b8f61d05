"""Spectrograms on the frame clock: log(1 + power) of 16-bit-scale samples; STFT and back."""

from __future__ import annotations

import torch

from audioseg_xai.frames import HOP, num_frames
from audioseg_xai.spectra import SAMPLE_SCALE, SpectrogramConfig


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
    device : torch.device or str, optional
        Where the blocks are.

    Examples
    --------
    >>> stream = SpectrogramStream(SpectrogramConfig())
    >>> frames = [stream.push(torch.zeros(16000)), stream.finish()]
    >>> sum(len(x) for x in frames)
    49
    """

    def __init__(self, config: SpectrogramConfig, device: torch.device | str = "cpu") -> None:
        self.config = config
        self.num_samples = 0
        self._emitted = 0
        self._pending = torch.zeros(config.margin, device=device)

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


# --- the complex spectrum, and back to sound ----------------------------------------------------

EXTRA_BEFORE, EXTRA_AFTER = 1, 2
"""Frames of `stft` besides the T of the frame clock.

With them every sample lies under as much window as in the middle of a recording: nothing is
divided by the foot of a window.
"""


def stft(samples: torch.Tensor, config: SpectrogramConfig) -> torch.Tensor:
    """Return the complex spectrum of a whole recording, which `inverse_stft` turns back.

    Row t + 1 is the spectrum whose power `log_spectrogram` shows as frame t, at the scale of the
    samples. One frame more before and two after them reach beyond the ends of the recording, where
    it is silent.

    Parameters
    ----------
    samples : torch.Tensor, shape (N,), float32
        16 kHz mono audio.
    config : SpectrogramConfig
        FFT size.

    Returns
    -------
    torch.Tensor, shape (T + 3, F), complex64
        T = `frames.num_frames(N)`.
    """
    count, length, before = _extent(samples.shape[0], config)
    padded = torch.nn.functional.pad(samples, (before, length - before - samples.shape[0]))
    frames = padded.unfold(0, config.fft_size, HOP)[:count]
    return torch.fft.rfft(frames * torch.hann_window(config.fft_size))


def inverse_stft(
    spectrum: torch.Tensor, num_samples: int, config: SpectrogramConfig
) -> torch.Tensor:
    """Return the sound whose spectrum is nearest to `spectrum`: exact for what `stft` returns.

    Weighted overlap-add, sum_t w y_t / sum_t w^2, which minimises the squared distance between
    `spectrum` and that of the result: Griffin and Lim, "Signal Estimation from Modified Short-Time
    Fourier Transform", IEEE Trans. ASSP 32(2), 1984, equation 6.

    Parameters
    ----------
    spectrum : torch.Tensor, shape (T + 3, F), complex64
        As `stft` lays it out.
    num_samples : int
        N.
    config : SpectrogramConfig
        As for `stft`.

    Returns
    -------
    torch.Tensor, shape (N,), float32
    """
    _, length, before = _extent(num_samples, config)
    window = torch.hann_window(config.fft_size)
    frames = torch.fft.irfft(spectrum, n=config.fft_size) * window
    inside = slice(before, before + num_samples)
    weight = _overlap_add(window.square().expand_as(frames), length)
    return _overlap_add(frames, length)[inside] / weight[inside]


def _extent(num_samples: int, config: SpectrogramConfig) -> tuple[int, int, int]:
    """Return the frames of `stft`, the samples that they cover, and those before the first."""
    count = num_frames(num_samples) + EXTRA_BEFORE + EXTRA_AFTER
    return count, (count - 1) * HOP + config.fft_size, EXTRA_BEFORE * HOP + config.margin


def _overlap_add(frames: torch.Tensor, length: int) -> torch.Tensor:
    """Return the sum (length,) of frames (t, fft_size) laid one hop apart."""
    width = frames.shape[1]
    folded = torch.nn.functional.fold(frames.T.unsqueeze(0), (1, length), (1, width), stride=HOP)
    return folded.flatten()
