"""Front ends: from a normalised spectrogram, or from upstream features, to TCN channels."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn

from audioseg_xai.config import Config
from audioseg_xai.frames import SAMPLE_RATE


class SpectrogramFrontEndConfig(Config):
    """Settings of `SpectrogramFrontEnd`.

    Attributes
    ----------
    bands : int
        Mel bands that the bins are averaged into.
    channels : tuple of int
        Output channels of the 2-D convolutions; each halves the number of bands.
    """

    kind: Literal["spectrogram"] = "spectrogram"
    bands: int = Field(default=80, ge=8)
    channels: tuple[int, ...] = (16, 32, 48)

    @property
    def receptive_field(self) -> int:
        """Frames that an output sees on each side of its own."""
        return len(self.channels)


class FeatureFrontEndConfig(Config):
    """Settings of `FeatureFrontEnd`.

    Attributes
    ----------
    dimension : int
        D, the size of an upstream feature vector (1024 for WavLM Large).
    """

    kind: Literal["features"]
    dimension: int = Field(ge=1)

    @property
    def receptive_field(self) -> int:
        """An output sees its own frame alone."""
        return 0


FrontEndConfig = Annotated[
    SpectrogramFrontEndConfig | FeatureFrontEndConfig, Field(discriminator="kind")
]


class SpectrogramFrontEnd(nn.Module):
    """2-D convolutions over mel bands and frames, then a projection to TCN channels.

    Parameters
    ----------
    config : SpectrogramFrontEndConfig
        Bands and channels.
    num_bins : int
        F.
    outputs : int
        Channels of the TCN.
    """

    mel: torch.Tensor

    def __init__(self, config: SpectrogramFrontEndConfig, num_bins: int, outputs: int) -> None:
        super().__init__()
        self.register_buffer("mel", mel_matrix(config.bands, num_bins), persistent=False)
        layers: list[nn.Module] = [nn.BatchNorm2d(1)]
        inputs, bands = 1, config.bands
        for channels in config.channels:
            layers += [
                nn.Conv2d(inputs, channels, 3, stride=(1, 2), padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
            ]
            inputs, bands = channels, math.ceil(bands / 2)
        # Channels last is 1.3 times as fast on a CPU at these sizes.
        self.convolutions = nn.Sequential(*layers)
        self.convolutions.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.projection = nn.Conv1d(inputs * bands, outputs, 1)

    def forward(self, spectrogram: torch.Tensor) -> torch.Tensor:
        """Map (B, T, F) to (B, channels, T)."""
        bands = (spectrogram @ self.mel).unsqueeze(1)
        maps = self.convolutions(bands.contiguous(memory_format=torch.channels_last))
        projected: torch.Tensor = self.projection(maps.transpose(2, 3).flatten(1, 2))
        return projected


class FeatureFrontEnd(nn.Module):
    """Normalise each upstream feature vector and project it to TCN channels."""

    def __init__(self, config: FeatureFrontEndConfig, outputs: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.dimension)
        self.projection = nn.Linear(config.dimension, outputs)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (B, T, D) to (B, channels, T)."""
        projected: torch.Tensor = self.projection(self.norm(features))
        return projected.transpose(1, 2)


def build_front_end(
    config: SpectrogramFrontEndConfig | FeatureFrontEndConfig, num_bins: int, outputs: int
) -> SpectrogramFrontEnd | FeatureFrontEnd:
    """Return the front end that `config` describes, with `outputs` channels."""
    if isinstance(config, SpectrogramFrontEndConfig):
        return SpectrogramFrontEnd(config, num_bins, outputs)
    return FeatureFrontEnd(config, outputs)


def mel_matrix(bands: int, num_bins: int) -> torch.Tensor:
    """Return a matrix that averages bins into triangular mel bands.

    The mel scale is 2595 log10(1 + f / 700) (O'Shaughnessy, 1987). Each column sums to one: a band
    is a weighted mean of bins, so a flat spectrum stays flat.

    Parameters
    ----------
    bands, num_bins : int
        Number of bands, and of bins from 0 Hz to half the sample rate.

    Returns
    -------
    torch.Tensor, shape (F, bands)
        Non-negative weights.
    """
    nyquist = SAMPLE_RATE / 2
    top = 2595 * math.log10(1 + nyquist / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, bands + 2, dtype=torch.float64) / 2595) - 1)
    frequencies = torch.linspace(0, nyquist, num_bins, dtype=torch.float64).unsqueeze(1)
    # A band narrower than the spacing of the bins would catch none: widen it to reach one.
    width = torch.diff(edges).clamp_min(nyquist / (num_bins - 1))
    rising = 1 - (edges[1:-1] - frequencies) / width[:-1]
    falling = 1 - (frequencies - edges[1:-1]) / width[1:]
    weights = torch.minimum(rising, falling).clamp_min(0)
    return (weights / weights.sum(0)).float()
