"""What networks are made of: their configurations, without PyTorch.

`front_end`, `tcn`, `level` and `networks` build PyTorch modules of them, `streaming` NumPy ones.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from audioseg_xai.config import Config
from audioseg_xai.labels import CLASSES
from audioseg_xai.spectra import SpectrogramConfig
from audioseg_xai.upstream import UpstreamConfig

STRIDED_CONVOLUTION = 1
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
        if self.stride > 1 and len(self.channels) <= STRIDED_CONVOLUTION:
            raise ValueError("'stride' needs two convolutions or more")
        return self

    @property
    def receptive_field(self) -> int:
        """Frames that an output sees on each side of its own."""
        before = min(len(self.channels), STRIDED_CONVOLUTION + 1)
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
    block : {'dense', 'separable'}
        A dense dilated convolution, or the block of Conv-TasNet with a depthwise one.
    hidden : int
        Channels inside a separable block.
    norm : {'batch', 'global'}
        Batch normalisation, or layer normalisation over channels and frames of the whole window.
    """

    channels: int = Field(default=64, ge=1)
    kernel: int = Field(default=3, ge=1)
    blocks: int = Field(default=7, ge=1)
    repeats: int = Field(default=2, ge=1)
    block: Literal["dense", "separable"] = "dense"
    hidden: int = Field(default=128, ge=1)
    norm: Literal["batch", "global"] = "batch"

    @field_validator("kernel")
    @classmethod
    def _odd(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError("must be odd, so that a convolution is centred on its frame")
        return kernel

    @property
    def receptive_field(self) -> int:
        """Frames that the convolutions of an output see on each side of its own."""
        return self.repeats * (self.kernel // 2) * (2**self.blocks - 1)


class LevelConfig(Config):
    """Settings of `LevelNorm`.

    Attributes
    ----------
    context : int
        Frames on each side over which the level is averaged.
    dynamic_range : float
        Decibels below the level at which power maps to log(1 + 1).
    floor : float
        Level, in dB relative to full scale, below which a recording is not raised any further.
    """

    context: int = Field(default=400, ge=1)
    dynamic_range: float = Field(default=65.0, gt=0)
    floor: float = Field(default=-75.0, lt=0)


class NetworkConfig(Config):
    """What teacher and student have in common.

    Attributes
    ----------
    spectrogram : SpectrogramConfig
        FFT size.
    level : LevelConfig
        Level normalisation of the spectrogram.
    front_end : SpectrogramFrontEndConfig or FeatureFrontEndConfig
        What the network listens to.
    tcn : TCNConfig
        Size of the temporal network.
    classes : tuple of str
        The classes that the network decides, axis C.
    branches : int
        Networks of these sizes that hear the same side by side and share nothing but the last
        layer: what `models.joined` makes of several. Only with the spectrogram front
        end and a dense TCN with batch normalisation.
    window : int or None
        Frames that a network sees at once whose normalisation is over the window; None for all
        others, which may see any number. The length of a training crop is what it knows.
    step : int or None
        Frames from one window to the next at inference, where overlapping results are averaged;
        None for a tenth of the window.
    """

    spectrogram: SpectrogramConfig = SpectrogramConfig()
    level: LevelConfig = LevelConfig()
    front_end: FrontEndConfig = SpectrogramFrontEndConfig()
    tcn: TCNConfig = TCNConfig()
    classes: tuple[str, ...] = CLASSES
    branches: int = Field(default=1, ge=1)
    window: int | None = Field(default=None, ge=2)
    step: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _window_fits(self) -> Self:
        if self.needs_window and self.window is None:
            raise ValueError("normalisation over the window needs 'window', its length in frames")
        if not self.needs_window and (self.window, self.step) != (None, None):
            raise ValueError("'window' and 'step' are for a normalisation over the window only")
        if self.window is not None and self.window_step > self.window:
            raise ValueError("'step' is longer than 'window': frames would be left out")
        return self

    @model_validator(mode="after")
    def _branches_share_nothing(self) -> Self:
        if self.branches > 1 and not self.streamable:
            raise ValueError(
                "'branches' need the spectrogram front end, dense blocks and batch normalisation"
            )
        return self

    @property
    def streamable(self) -> bool:
        """Whether `streaming.StreamingNetwork` computes networks of this architecture."""
        return (
            isinstance(self.front_end, SpectrogramFrontEndConfig)
            and self.window is None
            and self.tcn.block == "dense"
        )

    @property
    def width(self) -> int:
        """Channels of the embedding, those of all branches side by side."""
        return self.branches * self.tcn.channels

    @property
    def needs_window(self) -> bool:
        """Whether an output depends on all frames that the network sees at once."""
        front_end = self.front_end
        over_window = isinstance(front_end, FeatureFrontEndConfig) and front_end.norm == "window"
        return over_window or self.tcn.norm == "global"

    @property
    def window_step(self) -> int:
        """Frames from one window to the next; a tenth of the window unless `step` says more."""
        return self.step or max(1, (self.window or 0) // 10)

    @property
    def receptive_field(self) -> int:
        """Frames of input that an output sees on each side of its own, level included."""
        if self.window is not None:
            return self.level.context + self.window - 1
        return self.level.context + self.context

    @property
    def context(self) -> int:
        """Frames of normalised input that an output sees on each side; a multiple of the stride."""
        stride = self.front_end.stride
        interpolated = stride if stride > 1 else 0
        seen = self.front_end.receptive_field + stride * self.tcn.receptive_field + interpolated
        return stride * math.ceil(seen / stride)


class TeacherConfig(NetworkConfig):
    """Settings of a `Teacher`."""

    kind: Literal["teacher"] = "teacher"


class StudentConfig(NetworkConfig):
    """Settings of a `Student`.

    Attributes
    ----------
    components : int
        K, the number of atoms of the dictionary; of several branches, those of the first, then
        those of the next, as many each.
    trainable_dictionary : bool
        Whether training moves W (kept non-negative, atoms of unit norm).
    analysis : bool
        Whether the activations also see their own frame of the spectrogram through a linear map.
        Only with the spectrogram front end.
    """

    kind: Literal["student"] = "student"
    components: int = Field(default=256, ge=1)
    trainable_dictionary: bool = False
    analysis: bool = True

    @model_validator(mode="after")
    def _branches_have_components(self) -> Self:
        if self.components % self.branches:
            raise ValueError(f"'components' must be a multiple of the {self.branches} branches")
        return self


AnyNetworkConfig = Annotated[TeacherConfig | StudentConfig, Field(discriminator="kind")]
