"""Front ends: from a normalised spectrogram, or from upstream features, to TCN channels."""

from __future__ import annotations

import math

import torch
from torch import nn

from audioseg_xai.errors import ModelError
from audioseg_xai.models.configs import (
    STRIDED_CONVOLUTION,
    FeatureFrontEndConfig,
    SpectrogramFrontEndConfig,
)
from audioseg_xai.models.mel import mel_matrix


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
    branches : int, optional
        Front ends side by side, with as many channels each.
    """

    mel: torch.Tensor

    def __init__(
        self, config: SpectrogramFrontEndConfig, num_bins: int, outputs: int, branches: int = 1
    ) -> None:
        super().__init__()
        self.branches = branches
        mel = torch.from_numpy(mel_matrix(config.bands, num_bins))
        self.register_buffer("mel", mel, persistent=False)
        layers: list[nn.Module] = [nn.BatchNorm2d(branches)]
        inputs, bands = branches, config.bands
        for number, size in enumerate(config.channels):
            stride = (config.stride if number == STRIDED_CONVOLUTION else 1, 2)
            channels = branches * size
            layers += [
                nn.Conv2d(
                    inputs, channels, 3, stride=stride, padding=1, groups=branches, bias=False
                ),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
            ]
            inputs, bands = channels, math.ceil(bands / 2)
        # Channels last is 1.3 times as fast on a CPU at these sizes.
        self.convolutions = nn.Sequential(*layers)
        self.convolutions.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.projection = nn.Conv1d(inputs * bands, branches * outputs, 1, groups=branches)

    def forward(self, spectrogram: torch.Tensor) -> torch.Tensor:
        """Map (B, T, F) to (B, branches x channels, ceil(T / stride))."""
        bands = (spectrogram @ self.mel).unsqueeze(1)
        if self.branches > 1:
            bands = bands.expand(-1, self.branches, -1, -1)
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
    config: SpectrogramFrontEndConfig | FeatureFrontEndConfig,
    num_bins: int,
    outputs: int,
    branches: int = 1,
) -> SpectrogramFrontEnd | FeatureFrontEnd:
    """Return the front end that `config` describes, with `outputs` channels a branch."""
    if isinstance(config, SpectrogramFrontEndConfig):
        return SpectrogramFrontEnd(config, num_bins, outputs, branches)
    return FeatureFrontEnd(config, outputs)
