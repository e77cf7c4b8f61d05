"""Temporal convolutional network: residual dilated convolutions over frames."""

from __future__ import annotations

import torch
from pydantic import Field, field_validator
from torch import nn

from audioseg_xai.config import Config


class TCNConfig(Config):
    """Size of a `TCN`.

    Attributes
    ----------
    channels : int
        Channels of every block.
    kernel : int
        Frames that a convolution sees (odd).
    blocks : int
        Blocks a repeat; the dilation of block i is 2^i.
    repeats : int
        How often the sequence of dilations is repeated.
    """

    channels: int = Field(default=64, ge=1)
    kernel: int = Field(default=3, ge=1)
    blocks: int = Field(default=7, ge=1)
    repeats: int = Field(default=2, ge=1)

    @field_validator("kernel")
    @classmethod
    def _odd(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError("must be odd, so that a convolution is centred on its frame")
        return kernel

    @property
    def receptive_field(self) -> int:
        """Frames that an output sees on each side of its own."""
        return self.repeats * (self.kernel // 2) * (2**self.blocks - 1)


class TCN(nn.Sequential):
    """Residual blocks with exponentially growing dilation; input and output (B, channels, T).

    The convolutions are dense: on a CPU a dense convolution of 64 channels runs twice as fast as
    the separable block of Conv-TasNet with as many parameters, which waits for memory. Batch
    normalisation sees no other frame at inference, so that a recording can be processed in chunks.
    """

    def __init__(self, config: TCNConfig) -> None:
        dilations = [2**i for _ in range(config.repeats) for i in range(config.blocks)]
        super().__init__(*(TCNBlock(config, dilation) for dilation in dilations))


class TCNBlock(nn.Module):
    """One residual block of `TCN`: dilated convolution, normalisation, ReLU, 1x1 convolution."""

    def __init__(self, config: TCNConfig, dilation: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(
                config.channels,
                config.channels,
                config.kernel,
                padding=dilation * (config.kernel // 2),
                dilation=dilation,
                bias=False,
            ),
            nn.BatchNorm1d(config.channels),
            nn.ReLU(inplace=True),
            nn.Conv1d(config.channels, config.channels, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x plus what the block adds."""
        residual: torch.Tensor = self.layers(x)
        return x + residual
