"""Level normalisation: what a recording sounds like, however loud it was recorded."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from audioseg_xai.models.configs import LevelConfig
from audioseg_xai.spectra import SAMPLE_SCALE


class LevelNorm(nn.Module):
    """Divide the power by its running mean, then compress: log(1 + R P / level).

    The level of frame t is the mean power of the frames t - context ... t + context (those that
    exist), so it depends on a bounded neighbourhood: a recording cut into chunks with that much
    context gives the numbers that the whole recording gives. The result is non-negative, does not
    change with the recording gain, and is the spectrogram that the dictionary reconstructs.

    Parameters
    ----------
    config : LevelConfig
        Context, dynamic range, floor.
    fft_size : int
        FFT size of the spectrogram, needed to express the floor in its units.
    """

    def __init__(self, config: LevelConfig, fft_size: int) -> None:
        super().__init__()
        self.config = config
        self.gain = 10 ** (config.dynamic_range / 10)
        # Mean bin power of white noise at the floor: variance times the window's energy.
        window_energy = torch.hann_window(fft_size).square().sum().item()
        self.minimum = SAMPLE_SCALE**2 * 10 ** (config.floor / 10) * window_energy

    def forward(self, spectrogram: torch.Tensor) -> torch.Tensor:
        """Normalise.

        Parameters
        ----------
        spectrogram : torch.Tensor, shape (B, T, F)
            log(1 + power), see `features.log_spectrogram`.

        Returns
        -------
        torch.Tensor, shape (B, T, F)
            Non-negative.
        """
        power = torch.expm1(spectrogram)
        return self.compress(power, self.level(power.mean(-1)))

    def compress(self, power: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        """Return log(1 + R P / level) for power (..., T, F), which is overwritten, and level."""
        factor = (self.gain / level.clamp_min(self.minimum)).unsqueeze(-1)
        if power.requires_grad:
            return torch.log1p(power * factor)
        return power.mul_(factor).log1p_()

    def level(self, frame_power: torch.Tensor) -> torch.Tensor:
        """Return the mean over the context of each frame; shapes (B, T)."""
        width = 2 * self.config.context + 1
        # A pooling sum adds each window afresh: a difference of cumulative sums would be cheaper
        # but would depend on where a chunk begins.
        pooled = functional.avg_pool1d(
            frame_power.unsqueeze(1), width, 1, self.config.context, count_include_pad=False
        )
        return pooled.squeeze(1)
