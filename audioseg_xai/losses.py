"""The loss of the student: distillation, reconstruction, sparsity, and labels where known."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field, field_validator
from torch.nn import functional

from audioseg_xai.config import Config
from audioseg_xai.labels import CLASSES, UNKNOWN


class LossConfig(Config):
    """Weights of L = alpha L_KD + beta L_NMF + gamma ||H||_1 + delta L_label + epsilon L_mask.

    Attributes
    ----------
    alpha : float
        Weight of the distillation.
    beta : float
        Weight of the reconstruction.
    gamma : float
        Weight of the sparsity of the activations.
    delta : float
        Weight of the labels; with alpha = 0 the student is explainable by design, untaught.
    epsilon : float
        Weight of what makes explanations faithful: decisions must fall with what they rest on.
    masked : float
        Share of the crops that are heard again with a part of the spectrum masked; without
        `epsilon` none are.
    removal_weights : dict of str to float
        How much crops count from which what a class rests on was removed, 1 where it is not named.
        What is left of a steady noise is a steady noise, so that to deny it teaches to deny others.
    bound : float or None
        Largest weight of a component in a class, either sign: a decision cannot rest on a few
        components with large weights that hardly sound. None for no bound.
    class_weights : dict of str to float
        How much the labels of a class count, 1 where it is not named.
    temperature : float
        Divides the logits of teacher and student in the distillation.
    """

    alpha: float = Field(default=10.0, ge=0)
    beta: float = Field(default=1.0, ge=0)
    gamma: float = Field(default=0.1, ge=0)
    delta: float = Field(default=0.0, ge=0)
    epsilon: float = Field(default=0.0, ge=0)
    masked: float = Field(default=0.5, gt=0, le=1)
    removal_weights: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    bound: float | None = Field(default=None, gt=0)
    class_weights: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    temperature: float = Field(default=1.0, gt=0)

    @field_validator("class_weights", "removal_weights")
    @classmethod
    def _known(cls, weights: dict[str, float]) -> dict[str, float]:
        unknown = [name for name in weights if name not in CLASSES]
        if unknown:
            raise ValueError(f"unknown class {unknown[0]!r}: expected some of {', '.join(CLASSES)}")
        return weights


def label_loss(
    logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the mean binary cross-entropy over the labels that are known.

    Parameters
    ----------
    logits : torch.Tensor, shape (B, T, C)
        Class logits.
    labels : torch.Tensor, shape (B, T, C), integer
        1 active, 0 not active, -1 unknown: no influence on the loss nor on any gradient.
    weights : torch.Tensor, optional
        How much each label counts; broadcast to (B, T, C).

    Returns
    -------
    torch.Tensor
        Scalar; 0 when no label is known.
    """
    known = labels != UNKNOWN
    targets = labels.clamp_min(0).to(logits.dtype)
    losses = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    if weights is None:
        return losses.where(known, losses.new_zeros(())).sum() / known.sum().clamp_min(1)
    counted = known * weights
    return (losses.where(known, losses.new_zeros(())) * counted).sum() / counted.sum().clamp_min(1)


def distillation_loss(
    logits: torch.Tensor, teacher_logits: torch.Tensor, temperature: float = 1.0
) -> torch.Tensor:
    """Return the binary Kullback-Leibler divergence KL(teacher || student), mean over classes.

    Per class and frame, with p and q the tempered posteriors of teacher and student,
    KL = p log(p / q) + (1 - p) log((1 - p) / (1 - q)), times the squared temperature so that the
    gradients keep their size (Hinton et al., 2015). Zero if and only if the two agree.

    Parameters
    ----------
    logits, teacher_logits : torch.Tensor, shape (B, T, C)
        Student's and teacher's.
    temperature : float, optional
        Divides both.
    """
    student, teacher = logits / temperature, teacher_logits / temperature
    target = teacher.sigmoid()
    cross_entropy = functional.binary_cross_entropy_with_logits(student, target)
    entropy = functional.binary_cross_entropy_with_logits(teacher, target)
    return (cross_entropy - entropy) * temperature**2


def reconstruction_loss(spectrogram: torch.Tensor, reconstruction: torch.Tensor) -> torch.Tensor:
    """Return L_NMF, the mean squared error between X and W H, both (B, T, F)."""
    return functional.mse_loss(reconstruction, spectrogram)


def sparsity_loss(activations: torch.Tensor) -> torch.Tensor:
    """Return ||H||_1 averaged over components and frames, for H of shape (B, T, K)."""
    return activations.abs().mean()
