"""Settings of the factorisation, what it results in, and what it begins with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from pydantic import Field

from audioseg_xai.config import Config
from audioseg_xai.errors import TrainingError

LossName = Literal["frobenius", "kl"]
"""D: half the squared Frobenius norm, or the generalised Kullback-Leibler divergence."""


class NMFConfig(Config):
    """Settings of `learn_dictionary` and of `StreamingLearner`.

    Attributes
    ----------
    components : int
        K.
    sparsity : float
        mu, the weight of the L1 norm of the activations.
    loss : {'frobenius', 'kl'}
        D.
    iterations : int
        Sweeps over H and W; in memory only.
    tolerance : float
        Stop when a sweep lowers the objective by less than this share; in memory only.
    seed : int
        Chooses the frames that the atoms begin as.
    """

    components: int = Field(default=256, ge=1)
    sparsity: float = Field(default=1.0, ge=0)
    loss: LossName = "frobenius"
    iterations: int = Field(default=60, ge=1)
    tolerance: float = Field(default=1e-4, ge=0)
    seed: int = 0


@dataclass
class Dictionary:
    """A learned dictionary.

    Attributes
    ----------
    atoms : torch.Tensor, shape (F, K)
        W: non-negative, columns of unit norm.
    mean_activations : torch.Tensor, shape (K,)
        Mean over frames of each row of H.
    relative_error : float
        ||X - W H||_F / ||X||_F at the end, whatever the loss.
    objective : list of float
        The penalised objective a frame: in memory after each sweep, where it never rises; of a
        stream after each pass, on frames that are the same every time.
    sparsity : float
        mu that it was learned with.
    loss : {'frobenius', 'kl'}
        D that it was learned with.
    facts : dict
        What else is known of it, as JSON values: how it was learned, and under ``errors`` how well
        it reconstructs which class in which band.
    """

    atoms: torch.Tensor
    mean_activations: torch.Tensor
    relative_error: float
    objective: list[float] = field(default_factory=list)
    sparsity: float = 1.0
    loss: LossName = "frobenius"
    facts: dict[str, Any] = field(default_factory=dict)


def initial_atoms(spectrogram: torch.Tensor, config: NMFConfig) -> torch.Tensor:
    """Return the atoms that learning begins with: frames drawn at random, and a little noise.

    Parameters
    ----------
    spectrogram : torch.Tensor, shape (T, F)
        Non-negative.
    config : NMFConfig
        K and the seed.

    Returns
    -------
    torch.Tensor, shape (F, K)
        Positive, columns of unit norm.

    Raises
    ------
    TrainingError
        If all frames are silent.
    """
    generator = torch.Generator().manual_seed(config.seed)
    energy = spectrogram.norm(dim=1)
    loud = torch.nonzero(energy > 0).squeeze(1)
    if len(loud) == 0:
        raise TrainingError("all frames are silent: no dictionary can be learned from them")
    chosen = loud[torch.randint(len(loud), (config.components,), generator=generator)]
    noise = torch.rand(config.components, spectrogram.shape[1], generator=generator)
    atoms = (spectrogram[chosen] / energy[chosen, None] + 0.01 * noise).T.contiguous()
    return atoms / atoms.norm(dim=0)
