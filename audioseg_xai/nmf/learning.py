"""Dictionaries of frames that are all in memory, and activations under a given dictionary."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from audioseg_xai.nmf.dictionary import Dictionary, LossName, NMFConfig, initial_atoms
from audioseg_xai.nmf.updates import LOSSES, Loss, Statistics

_CHUNK = 4096
"""Frames solved together: as many as make matrix products worth while, and no more."""


def learn_dictionary(
    spectrogram: torch.Tensor,
    config: NMFConfig,
    progress: Callable[[int, float], None] | None = None,
) -> Dictionary:
    """Factorise a spectrogram; the objective falls with every sweep.

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
    loss, mu = LOSSES[config.loss], config.sparsity
    atoms = initial_atoms(spectrogram, config)
    chunks = [chunk.T.contiguous() for chunk in spectrogram.split(_CHUNK)]
    activations = [loss.begin(chunk, atoms) for chunk in chunks]
    objective: list[float] = []
    for sweep in range(config.iterations):
        statistics = _sweep(loss, chunks, activations, atoms, mu)
        objective.append(_objective(loss, chunks, activations, atoms, mu) / len(spectrogram))
        if progress is not None:
            progress(sweep, objective[-1])
        if sweep and objective[-2] - objective[-1] < config.tolerance * objective[-2]:
            break
    return Dictionary(
        atoms,
        statistics.mean_activations,
        relative_error=_relative_error(chunks, activations, atoms),
        objective=objective,
        sparsity=mu,
        loss=config.loss,
    )


def encode(
    spectrogram: torch.Tensor,
    atoms: torch.Tensor,
    sparsity: float,
    sweeps: int | None = None,
    loss: LossName = "frobenius",
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
        Passes of the descent over H; 20 for Frobenius and 100 for Kullback-Leibler by default.
    loss : {'frobenius', 'kl'}, optional
        D.

    Returns
    -------
    torch.Tensor, shape (T, K)
        H transposed, non-negative.
    """
    steps = LOSSES[loss]
    chunks = (chunk.T.contiguous() for chunk in spectrogram.split(_CHUNK))
    return torch.cat([solve(steps, chunk, atoms, sparsity, sweeps).T for chunk in chunks])


def solve(
    loss: Loss, x: torch.Tensor, atoms: torch.Tensor, sparsity: float, sweeps: int | None = None
) -> torch.Tensor:
    """Return H (K, T) of X (F, T), begun afresh."""
    h = loss.begin(x, atoms)
    loss.update_activations(h, x, atoms, sparsity, sweeps or loss.cold_sweeps)
    return h


def penalised(
    loss: Loss, x: torch.Tensor, h: torch.Tensor, atoms: torch.Tensor, sparsity: float
) -> float:
    """Return D(X, W H) + mu ||H||_1, for X (F, T), H (K, T) and W (F, K)."""
    return loss.divergence(x, h, atoms) + sparsity * h.sum(dtype=torch.float64).item()


def _sweep(
    loss: Loss,
    chunks: Sequence[torch.Tensor],
    activations: Sequence[torch.Tensor],
    atoms: torch.Tensor,
    sparsity: float,
) -> Statistics:
    statistics: Statistics | None = None
    for x, h in zip(chunks, activations, strict=True):
        loss.update_activations(h, x, atoms, sparsity, 1)
        found = loss.statistics(x, h, atoms)
        if statistics is None:
            statistics = found
        else:
            statistics.add(found)
    assert statistics is not None
    scale = loss.update_atoms(atoms, statistics, sparsity)
    for h in activations:
        h.mul_(scale.unsqueeze(1))
    return statistics


def _objective(
    loss: Loss,
    chunks: Sequence[torch.Tensor],
    activations: Sequence[torch.Tensor],
    atoms: torch.Tensor,
    sparsity: float,
) -> float:
    pairs = zip(chunks, activations, strict=True)
    return sum(penalised(loss, x, h, atoms, sparsity) for x, h in pairs)


def _relative_error(
    chunks: Sequence[torch.Tensor], activations: Sequence[torch.Tensor], atoms: torch.Tensor
) -> float:
    error = sum(
        (x - atoms @ h).square().sum().item() for x, h in zip(chunks, activations, strict=True)
    )
    return float((error / sum(x.square().sum().item() for x in chunks)) ** 0.5)
