"""Temporal convolutional network: residual dilated convolutions over frames."""

from __future__ import annotations

import torch
from torch import nn

from audioseg_xai.models.configs import TCNConfig


class TCN(nn.Sequential):
    """Residual blocks with exponentially growing dilation; input and output (B, channels, T).

    By default the convolutions are dense: on a CPU a dense convolution of 64 channels runs twice
    as fast as the separable block of Conv-TasNet with as many parameters, which waits for memory.
    Batch normalisation sees no other frame at inference, so that a recording can be processed in
    chunks; with global normalisation it is processed in overlapping windows.

    Parameters
    ----------
    config : TCNConfig
        Sizes.
    branches : int, optional
        Networks side by side, of ``config.channels`` each; more than one of dense blocks only.
    """

    def __init__(self, config: TCNConfig, branches: int = 1) -> None:
        dilations = [2**i for _ in range(config.repeats) for i in range(config.blocks)]
        if config.block == "dense":
            super().__init__(*(TCNBlock(config, dilation, branches) for dilation in dilations))
        else:
            super().__init__(*(SeparableBlock(config, dilation) for dilation in dilations))


class ResidualBlock(nn.Module):
    """Adds what its layers make of its input.

    Parameters
    ----------
    *layers : nn.Module
        Map (B, channels, T) to the same shape.
    """

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x plus what the block adds."""
        residual: torch.Tensor = self.layers(x)
        return x + residual


class TCNBlock(ResidualBlock):
    """Dense block of `TCN`: dilated convolution, normalisation, ReLU, 1x1 convolution."""

    def __init__(self, config: TCNConfig, dilation: int, branches: int = 1) -> None:
        channels = branches * config.channels
        super().__init__(
            nn.Conv1d(
                channels,
                channels,
                config.kernel,
                padding=dilation * (config.kernel // 2),
                dilation=dilation,
                groups=branches,
                bias=False,
            ),
            _norm(config, channels),
            nn.ReLU(inplace=True),
            nn.Conv1d(channels, channels, 1, groups=branches),
        )


class SeparableBlock(ResidualBlock):
    """Block of Conv-TasNet: 1x1 to more channels, depthwise dilated convolution, 1x1 back.

    Luo and Mesgarani, "Conv-TasNet: Surpassing Ideal Time-Frequency Magnitude Masking for Speech
    Separation", IEEE/ACM TASLP 27(8), 2019, figure 1C, without the path of skip connections.
    """

    def __init__(self, config: TCNConfig, dilation: int) -> None:
        super().__init__(
            nn.Conv1d(config.channels, config.hidden, 1),
            nn.PReLU(),
            _norm(config, config.hidden),
            nn.Conv1d(
                config.hidden,
                config.hidden,
                config.kernel,
                padding=dilation * (config.kernel // 2),
                dilation=dilation,
                groups=config.hidden,
                bias=False,
            ),
            nn.PReLU(),
            _norm(config, config.hidden),
            nn.Conv1d(config.hidden, config.channels, 1),
        )


def _norm(config: TCNConfig, channels: int) -> nn.Module:
    if config.norm == "batch":
        return nn.BatchNorm1d(channels)
    # One group of all channels: the global layer normalisation of Conv-TasNet, equation 11.
    return nn.GroupNorm(1, channels)
