"""The black-box teacher and its explainable student."""

from __future__ import annotations

import math
from typing import Annotated, Literal, NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from audioseg_xai.config import Config
from audioseg_xai.features import SpectrogramConfig
from audioseg_xai.labels import CLASSES
from audioseg_xai.models.front_end import (
    FeatureFrontEndConfig,
    FrontEndConfig,
    SpectrogramFrontEndConfig,
    build_front_end,
)
from audioseg_xai.models.level import LevelConfig, LevelNorm
from audioseg_xai.models.tcn import TCN, TCNConfig


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
        K, the number of atoms of the dictionary.
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


AnyNetworkConfig = Annotated[TeacherConfig | StudentConfig, Field(discriminator="kind")]


class Network(nn.Module):
    """Level normalisation, front end and TCN; the base of `Teacher` and `Student`."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.level_norm = LevelNorm(config.level, config.spectrogram.fft_size)
        self.stride = config.front_end.stride
        bins, channels = config.spectrogram.num_bins, config.tcn.channels
        self.front_end = build_front_end(config.front_end, bins, channels)
        self.tcn = TCN(config.tcn)

    def embed(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map inputs (B, T, F or D), or (B, T, L, D), to an embedding (B, T, channels)."""
        embedding: torch.Tensor = self.tcn(self.front_end(inputs))
        return interpolated(embedding.transpose(1, 2), self.stride, inputs.shape[1])


def interpolated(embedding: torch.Tensor, stride: int, frames: int) -> torch.Tensor:
    """Interpolate between outputs that lie `stride` frames apart; after the last, it is held.

    Parameters
    ----------
    embedding : torch.Tensor, shape (B, ceil(T / stride), channels)
        Output i belongs to frame ``stride i``.
    stride : int
        Frames from one output to the next.
    frames : int
        T.

    Returns
    -------
    torch.Tensor, shape (B, T, channels)
        One a frame.
    """
    if stride == 1:
        return embedding
    following = torch.cat([embedding[:, 1:], embedding[:, -1:]], dim=1)
    steps = [torch.lerp(embedding, following, step / stride) for step in range(stride)]
    return torch.stack(steps, dim=2).flatten(1, 2)[:, :frames]


class Teacher(Network):
    """The black box: front end, TCN and a linear layer to the class logits.

    Parameters
    ----------
    config : TeacherConfig
        Sizes.
    """

    def __init__(self, config: TeacherConfig) -> None:
        super().__init__(config)
        self.config = config
        self.classifier = nn.Linear(config.tcn.channels, len(config.classes))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return class logits.

        Parameters
        ----------
        inputs : torch.Tensor, shape (B, T, F or D) or (B, T, L, D)
            `level_norm` of a log spectrogram, or upstream features.

        Returns
        -------
        torch.Tensor, shape (B, T, C)
            Logits; their sigmoid is the probability of each class.
        """
        logits: torch.Tensor = self.classifier(self.embed(inputs).relu())
        return logits


class StudentOutput(NamedTuple):
    """What a `Student` returns.

    Attributes
    ----------
    logits : torch.Tensor, shape (B, T, C)
        Theta H + b.
    activations : torch.Tensor, shape (B, T, K)
        H, non-negative.
    """

    logits: torch.Tensor
    activations: torch.Tensor


class Student(Network):
    """The explainable proxy: H = relu(Psi(x)), logits = Theta H + b, spectrogram ~ W H.

    Mariotte et al., "An Explainable Proxy Model for Multilabel Audio Segmentation", ICASSP 2024.

    Parameters
    ----------
    config : StudentConfig
        Sizes.
    dictionary : torch.Tensor, shape (F, K), optional
        W, non-negative with columns of unit L2 norm. Left out only where weights are loaded
        afterwards.
    """

    dictionary: torch.Tensor

    def __init__(self, config: StudentConfig, dictionary: torch.Tensor | None = None) -> None:
        super().__init__(config)
        self.config = config
        bins, channels = config.spectrogram.num_bins, config.tcn.channels
        if dictionary is None:
            dictionary = torch.full((bins, config.components), bins**-0.5)
        if config.trainable_dictionary:
            self.dictionary = nn.Parameter(dictionary.clone())
        else:
            self.register_buffer("dictionary", dictionary.clone())
        self.to_activations = nn.Linear(channels, config.components)
        sees_spectrogram = isinstance(config.front_end, SpectrogramFrontEndConfig)
        self.analysis = (
            nn.Linear(bins, config.components, bias=False)
            if config.analysis and sees_spectrogram
            else None
        )
        self.classifier = nn.Linear(config.components, len(config.classes))

    def forward(self, inputs: torch.Tensor) -> StudentOutput:
        """Return logits and activations.

        Parameters
        ----------
        inputs : torch.Tensor, shape (B, T, F or D) or (B, T, L, D)
            `level_norm` of a log spectrogram, or upstream features.
        """
        excitation = self.to_activations(self.embed(inputs))
        if self.analysis is not None:
            excitation = excitation + self.analysis(inputs)
        activations = excitation.relu()
        return StudentOutput(self.classifier(activations), activations)

    def reconstruct(self, activations: torch.Tensor) -> torch.Tensor:
        """Return W H for activations (B, T, K): the normalised spectrogram (B, T, F)."""
        return activations @ self.dictionary.T

    @torch.no_grad()
    def bound_weights(self, bound: float) -> None:
        """Clip Theta to [-bound, bound], after an optimiser step."""
        self.classifier.weight.clamp_(-bound, bound)

    @torch.no_grad()
    def constrain_dictionary(self) -> None:
        """Project W back to non-negative atoms of unit norm, after an optimiser step."""
        self.dictionary.clamp_(min=0)
        self.dictionary.div_(self.dictionary.norm(dim=0, keepdim=True).clamp_min(1e-12))
