"""Sparse non-negative matrix factorisation with atoms of unit norm, by exact coordinate descent.

The problem is to minimise half the squared Frobenius norm of X - W H, plus mu times the L1 norm of
H, over non-negative W and H, each atom (column of W) of unit L2 norm. Without the norm the penalty
is void: H could shrink while W grows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from pydantic import Field

from audioseg_xai.config import Config
from audioseg_xai.errors import TrainingError

_CHUNK = 2048
"""Frames solved together: their activations stay in the processor's cache."""


class NMFConfig(Config):
    """Settings of `learn_dictionary`.

    Attributes
    ----------
    components : int
        K.
    sparsity : float
        mu, the weight of the L1 norm of the activations.
    iterations : int
        Sweeps over H and W.
    tolerance : float
        Stop when a sweep lowers the objective by less than this share.
    seed : int
        Chooses the frames that the atoms begin as.
    """

    components: int = Field(default=256, ge=1)
    sparsity: float = Field(default=1.0, ge=0)
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
    objective : list of float
        The penalised objective a frame, after each sweep: it never rises.
    relative_error : float
        ||X - W H||_F / ||X||_F at the end.
    sparsity : float
        mu that it was learned with.
    """

    atoms: torch.Tensor
    mean_activations: torch.Tensor
    relative_error: float
    objective: list[float] = field(default_factory=list)
    sparsity: float = 1.0


def learn_dictionary(
    spectrogram: torch.Tensor,
    config: NMFConfig,
    progress: Callable[[int, float], None] | None = None,
) -> Dictionary:
    """Factorise a spectrogram by hierarchical alternating least squares.

    Each row of H has a closed-form minimiser given the rest (Cichocki and Phan, 2009), the
    soft-thresholded projection. With unit-norm atoms so has each atom: on the non-negative unit
    sphere -<w, c> is least at the normalised positive part of c. Every update is exact, so the
    objective falls monotonically, and no renormalisation disturbs it.

    Parameters
    ----------
    spectrogram : torch.Tensor, shape (T, F)
        Non-negative.
    config : NMFConfig
        Settings.
    progress : callable, optional
        Called with the sweep and the objective a frame.

    Returns
    -------
    Dictionary
        The atoms and how well they fit.

    Raises
    ------
    TrainingError
        If all frames are silent.
    """
    frames = spectrogram.shape[0]
    atoms = _initial_atoms(spectrogram, config)
    chunks = [chunk.T.contiguous() for chunk in spectrogram.split(_CHUNK)]
    activations = [chunk.new_zeros(config.components, chunk.shape[1]) for chunk in chunks]
    objective: list[float] = []
    for sweep in range(config.iterations):
        gram = atoms.T @ atoms
        for x, h in zip(chunks, activations, strict=True):
            _update_activations(h, atoms.T @ x, gram, config.sparsity)
        correlation = sum((x @ h.T for x, h in zip(chunks, activations, strict=True)), 0.0)
        scatter = sum((h @ h.T for h in activations), 0.0)
        _update_atoms(atoms, torch.as_tensor(correlation), torch.as_tensor(scatter))
        objective.append(_objective(chunks, activations, atoms, config.sparsity) / frames)
        if progress is not None:
            progress(sweep, objective[-1])
        if sweep and objective[-2] - objective[-1] < config.tolerance * objective[-2]:
            break
    error = _squared_error(chunks, activations, atoms) ** 0.5 / spectrogram.norm().item()
    mean = torch.cat(activations, dim=1).mean(dim=1)
    return Dictionary(atoms, mean, error, objective, config.sparsity)


def encode(
    spectrogram: torch.Tensor, atoms: torch.Tensor, sparsity: float, sweeps: int = 20
) -> torch.Tensor:
    """Return the sparse activations of a spectrogram under a fixed dictionary.

    Parameters
    ----------
    spectrogram : torch.Tensor, shape (T, F)
        Non-negative.
    atoms : torch.Tensor, shape (F, K)
        W, columns of unit norm.
    sparsity : float
        mu.
    sweeps : int, optional
        Passes of coordinate descent.

    Returns
    -------
    torch.Tensor, shape (T, K)
        H transposed, non-negative.
    """
    gram = atoms.T @ atoms
    solved = []
    for chunk in spectrogram.split(_CHUNK):
        correlation = atoms.T @ chunk.T
        h = torch.zeros_like(correlation)
        for _ in range(sweeps):
            _update_activations(h, correlation, gram, sparsity)
        solved.append(h.T)
    return torch.cat(solved)


def band_errors(
    spectrogram: torch.Tensor, reconstruction: torch.Tensor, bands: int = 8
) -> list[float]:
    """Return the relative reconstruction error in each of `bands` equal frequency bands.

    Parameters
    ----------
    spectrogram, reconstruction : torch.Tensor, shape (..., F)
        X and W H.
    bands : int, optional
        Number of bands from 0 Hz to half the sample rate.
    """
    pairs = zip(
        spectrogram.tensor_split(bands, -1), reconstruction.tensor_split(bands, -1), strict=True
    )
    return [((x - y).norm() / x.norm().clamp_min(1e-12)).item() for x, y in pairs]


def _initial_atoms(spectrogram: torch.Tensor, config: NMFConfig) -> torch.Tensor:
    generator = torch.Generator().manual_seed(config.seed)
    energy = spectrogram.norm(dim=1)
    loud = torch.nonzero(energy > 0).squeeze(1)
    if len(loud) == 0:
        raise TrainingError("all frames are silent: no dictionary can be learned from them")
    chosen = loud[torch.randint(len(loud), (config.components,), generator=generator)]
    noise = torch.rand(config.components, spectrogram.shape[1], generator=generator)
    atoms = (spectrogram[chosen] / energy[chosen, None] + 0.01 * noise).T.contiguous()
    return atoms / atoms.norm(dim=0)


def _update_activations(
    h: torch.Tensor, correlation: torch.Tensor, gram: torch.Tensor, sparsity: float
) -> None:
    for k in range(h.shape[0]):
        # The atoms have unit norm, so gram[k, k] = 1 and the step needs no division.
        gradient = torch.mv(h.T, gram[k]).sub_(correlation[k]).add_(sparsity)
        h[k].sub_(gradient).clamp_(min=0)


def _update_atoms(atoms: torch.Tensor, correlation: torch.Tensor, scatter: torch.Tensor) -> None:
    for k in range(atoms.shape[1]):
        if scatter[k, k] <= 0:
            continue  # an atom that nothing uses: any direction is a minimiser, keep this one
        target = correlation[:, k] - atoms @ scatter[:, k] + atoms[:, k] * scatter[k, k]
        target.clamp_(min=0)
        norm = target.norm()
        if norm > 0:
            atoms[:, k] = target / norm


def _squared_error(
    chunks: list[torch.Tensor], activations: list[torch.Tensor], atoms: torch.Tensor
) -> float:
    return sum(
        (x - atoms @ h).square().sum().item() for x, h in zip(chunks, activations, strict=True)
    )


def _objective(
    chunks: list[torch.Tensor],
    activations: list[torch.Tensor],
    atoms: torch.Tensor,
    sparsity: float,
) -> float:
    penalty = sum(h.sum().item() for h in activations)
    return 0.5 * _squared_error(chunks, activations, atoms) + sparsity * penalty
