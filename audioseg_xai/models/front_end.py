"""Front ends: from a normalised spectrogram, or from upstream features, to TCN channels."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from audioseg_xai.config import Config
from audioseg_xai.errors import ModelError
from audioseg_xai.frames import SAMPLE_RATE
from audioseg_xai.upstream import UpstreamConfig

_STRIDED = 1
"""The convolution that steps over frames: the first one is cheap and sees them all."""


class SpectrogramFrontEndConfig(Config):
    """Settings of `SpectrogramFrontEnd`.

    Attributes
    ----------
    bands : int
        Mel bands that the bins are averaged into.
    channels : tuple of int
        Output channels of the 2-D convolutions; each halves the number of bands.
    stride : int
        Frames from one output to the next: the second convolution steps over frames, and all that
        follows costs as much less. The embedding is interpolated back to every frame.
    """

    kind: Literal["spectrogram"] = "spectrogram"
    bands: int = Field(default=80, ge=8)
    channels: tuple[int, ...] = (16, 32, 48)
    stride: int = Field(default=1, ge=1, le=4)

    @model_validator(mode="after")
    def _stride_has_its_convolution(self) -> Self:
        if self.stride > 1 and len(self.channels) <= _STRIDED:
            raise ValueError("'stride' needs two convolutions or more")
        return self

    @property
    def receptive_field(self) -> int:
        """Frames that an output sees on each side of its own."""
        before = min(len(self.channels), _STRIDED + 1)
        return before + (len(self.channels) - before) * self.stride


class FeatureFrontEndConfig(Config):
    """Settings of `FeatureFrontEnd`.

    Attributes
    ----------
    dimension : int
        D, the size of an upstream feature vector (1024 for WavLM Large).
    layers : int
        L, hidden states of a frame (25 for all of WavLM Large); their weights are learned.
    norm : {'frame', 'window'}
        Whether each feature vector is normalised on its own, over D, with learned gains, or each
        feature over the frames of the window, without (instance normalisation).
    upstream : UpstreamConfig or None
        What the features are computed with. None before training: it is taken from the archive.
    """

    kind: Literal["features"]
    dimension: int = Field(ge=1)
    layers: int = Field(default=1, ge=1)
    norm: Literal["frame", "window"] = "frame"
    upstream: UpstreamConfig | None = None

    @property
    def stride(self) -> int:
        """An output a frame."""
        return 1

    @property
    def receptive_field(self) -> int:
        """An output sees its own frame alone, unless `norm` is over the window."""
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
        for number, channels in enumerate(config.channels):
            stride = (config.stride if number == _STRIDED else 1, 2)
            layers += [
                nn.Conv2d(inputs, channels, 3, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
            ]
            inputs, bands = channels, math.ceil(bands / 2)
        # Channels last is 1.3 times as fast on a CPU at these sizes.
        self.convolutions = nn.Sequential(*layers)
        self.convolutions.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.projection = nn.Conv1d(inputs * bands, outputs, 1)

    def forward(self, spectrogram: torch.Tensor) -> torch.Tensor:
        """Map (B, T, F) to (B, channels, ceil(T / stride))."""
        bands = (spectrogram @ self.mel).unsqueeze(1)
        maps = self.convolutions(bands.contiguous(memory_format=torch.channels_last))
        projected: torch.Tensor = self.projection(maps.transpose(2, 3).flatten(1, 2))
        return projected


class FeatureFrontEnd(nn.Module):
    """Weigh the hidden states of an upstream, normalise, and project to TCN channels.

    The weights of the L hidden states are a softmax of L learned numbers, equal at first (Yang et
    al., "SUPERB: Speech processing universal performance benchmark", Interspeech 2021).

    Parameters
    ----------
    config : FeatureFrontEndConfig
        Sizes and normalisation.
    outputs : int
        Channels of the TCN.
    """

    def __init__(self, config: FeatureFrontEndConfig, outputs: int) -> None:
        super().__init__()
        self.config = config
        if config.layers > 1:
            self.layer_logits = nn.Parameter(torch.zeros(config.layers))
        if config.norm == "frame":
            self.norm: nn.Module = nn.LayerNorm(config.dimension)
        else:
            self.norm = WindowNorm()
        self.projection = nn.Linear(config.dimension, outputs)

    @property
    def layer_weights(self) -> torch.Tensor:
        """Weights of the hidden states, shape (L,), positive, with sum one."""
        if self.config.layers == 1:
            return self.projection.weight.new_ones(1)
        return self.layer_logits.softmax(0)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (B, T, D), or hidden states (B, T, L, D), to (B, channels, T).

        Raises
        ------
        ModelError
            If the features have another L or D than the network.
        """
        self._check(features)
        if self.config.layers > 1:
            features = torch.einsum("btld,l->btd", features, self.layer_weights)
        elif features.dim() == 4:
            features = features.squeeze(2)
        projected: torch.Tensor = self.projection(self.norm(features))
        return projected.transpose(1, 2)

    def _check(self, features: torch.Tensor) -> None:
        found = tuple(features.shape[2:])
        expected = (self.config.layers, self.config.dimension)
        if found != expected and (1, *found) != expected:
            raise ModelError(
                f"the network listens to (layers, dimension) {expected}, the features are {found}"
            )


class WindowNorm(nn.Module):
    """Give each feature mean 0 and variance 1 over the frames of a window; shapes (B, T, D).

    Instance normalisation without gains: Ulyanov et al., arXiv 1607.08022, equation 7.
    """

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Normalise."""
        variance, mean = torch.var_mean(features, dim=1, keepdim=True, correction=0)
        return (features - mean) * (variance + 1e-5).rsqrt()


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
