"""The black-box teacher and its explainable student."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from audioseg_xai.models.configs import (
    NetworkConfig,
    SpectrogramFrontEndConfig,
    StudentConfig,
    TeacherConfig,
)
from audioseg_xai.models.front_end import build_front_end
from audioseg_xai.models.level import LevelNorm
from audioseg_xai.models.tcn import TCN


class Network(nn.Module):
    """Level normalisation, front end and TCN; the base of `Teacher` and `Student`."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.level_norm = LevelNorm(config.level, config.spectrogram.fft_size)
        self.stride = config.front_end.stride
        bins, channels = config.spectrogram.num_bins, config.tcn.channels
        self.front_end = build_front_end(config.front_end, bins, channels, config.branches)
        self.tcn = TCN(config.tcn, config.branches)

    def embed(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map inputs (B, T, F or D), or (B, T, L, D), to an embedding (B, T, width)."""
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
        self.classifier = nn.Linear(config.width, len(config.classes))

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


class BranchLinear(nn.Linear):
    """A linear layer each for embeddings that lie side by side.

    Parameters
    ----------
    channels : int
        Inputs of each branch.
    outputs : int
        Outputs of all branches, as many each.
    branches : int
        How many there are.
    """

    def __init__(self, channels: int, outputs: int, branches: int) -> None:
        super().__init__(channels, outputs)
        self.branches = branches

    def forward(self, embedding: torch.Tensor) -> torch.Tensor:
        """Map (B, T, branches x channels) to (B, T, outputs)."""
        if self.branches == 1:
            return super().forward(embedding)
        parts = (
            each.chunk(self.branches, axis)
            for each, axis in ((embedding, -1), (self.weight, 0), (self.bias, 0))
        )
        mapped = [functional.linear(*part) for part in zip(*parts, strict=True)]
        return torch.cat(mapped, dim=-1)


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
        self.to_activations = BranchLinear(channels, config.components, config.branches)
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
