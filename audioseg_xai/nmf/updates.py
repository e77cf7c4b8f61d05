"""The updates of H and of W, for either loss.

An atom has unit norm, but its update may also choose the size of its row of H: the objective
D(X, W H) + mu sum_k ||w_k|| ||h_k||_1 does not change when w_k is divided by its norm and h_k
multiplied by it, and is the penalised one where the atoms have unit norm (Marmin, Goulart and
Fevotte, 2023, "Majorization-minimization for sparse nonnegative matrix factorization with the
beta-divergence"). So W is updated without a constraint, then normalised, and no update ever raises
the objective.

Frobenius: hierarchical alternating least squares (Cichocki and Phan, 2009, "Fast local algorithms
for large scale nonnegative matrix and tensor factorizations"). Each row of H has a closed-form
minimiser given the rest, the soft-thresholded projection; so has each atom, whose penalty is that
of a group: the positive part of its projection, shortened by mu ||h_k||_1 (Yuan and Lin, 2006,
"Model selection and estimation in regression with grouped variables", equation 2.4).

Kullback-Leibler: multiplicative updates. That of H is the one of Lee and Seung (2001) with mu in
the denominator. For W the heuristic of Le Roux, Weninger and Hershey (2015, "Sparse NMF -
half-baked or well done?"), which multiplies by the quotient of the two parts of the gradient of the
normalised problem, is replaced by one that is sure to descend, from the same sums over frames: the
usual bound on D and ||w|| <= (||w||^2 + 1) / 2, which is tight where the norm is 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from audioseg_xai.nmf.dictionary import LossName

_BLOCK = 32
"""Rows of H that are solved one by one between two matrix products."""

_FLOOR = 1e-8
"""Added to W H before X is divided by it, as a constant background that is part of the model."""


@dataclass
class Statistics:
    """Sums over frames: all that an update of W needs to know of them.

    Attributes
    ----------
    cross : torch.Tensor, shape (F, K), float64
        X H^T; for Kullback-Leibler W * ((X / W H) H^T), the part of X that each atom answers for.
    scatter : torch.Tensor, shape (K, K), float64
        H H^T; for Kullback-Leibler empty (0, 0).
    total : torch.Tensor, shape (K,), float64
        Sum of each row of H.
    frames : float
        Their number; less for frames that are partly forgotten.
    """

    cross: torch.Tensor
    scatter: torch.Tensor
    total: torch.Tensor
    frames: float

    def add(self, other: Statistics, keep: float = 1.0) -> None:
        """Add the sums of other frames to `keep` times these."""
        for mine, theirs in zip(self._sums(), other._sums(), strict=True):
            mine.mul_(keep).add_(theirs)
        self.frames = keep * self.frames + other.frames

    def _sums(self) -> tuple[torch.Tensor, ...]:
        return self.cross, self.scatter, self.total

    @property
    def mean_activations(self) -> torch.Tensor:
        """Mean over frames of each row of H, shape (K,), float32."""
        return (self.total / self.frames).float()


@dataclass(frozen=True)
class Loss:
    """The steps of a descent; all take X as (F, T), W as (F, K) and H as (K, T).

    Attributes
    ----------
    begin : callable
        ``(x, atoms)``: activations to begin with.
    update_activations : callable
        ``(h, x, atoms, sparsity, sweeps)``: lowers the objective over H, in place.
    statistics : callable
        ``(x, h, atoms)``: the sums over these frames.
    update_atoms : callable
        ``(atoms, statistics, sparsity)``: lowers the objective over W, in place. Returns the
        factors (K,) by which rows of H must be multiplied afterwards, as the sums have been.
    divergence : callable
        ``(x, h, atoms)``: D, a float.
    cold_sweeps : int
        After so many sweeps, activations that were begun afresh are solved well enough to encode.
    """

    begin: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    update_activations: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, float, int], None]
    statistics: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], Statistics]
    update_atoms: Callable[[torch.Tensor, Statistics, float], torch.Tensor]
    divergence: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], float]
    cold_sweeps: int


# --- Frobenius ----------------------------------------------------------------------------------


def _begin_at_zero(x: torch.Tensor, atoms: torch.Tensor) -> torch.Tensor:
    return x.new_zeros(atoms.shape[1], x.shape[1])


def _descend(
    h: torch.Tensor, x: torch.Tensor, atoms: torch.Tensor, sparsity: float, sweeps: int
) -> None:
    gram = atoms.T @ atoms
    target = (atoms.T @ x).sub_(sparsity)
    for _ in range(sweeps):
        for first in range(0, len(h), _BLOCK):
            _descend_block(h, gram, target, slice(first, min(first + _BLOCK, len(h))))


def _descend_block(h: torch.Tensor, gram: torch.Tensor, target: torch.Tensor, block: slice) -> None:
    # One matrix product gives the gradient of all rows of the block; as each row changes, the
    # gradients of those after it are corrected. These are the iterates of row by row descent.
    gradient = torch.addmm(target[block], gram[block], h, beta=-1)
    rows, inner = h[block], gram[block, block]
    change = torch.empty_like(rows)
    for k in range(len(rows)):
        slope = gradient[k]
        if k:
            slope = torch.addmv(slope, change[:k].T, inner[k, :k])
        # The atoms have unit norm, so gram[k, k] = 1 and the step needs no division.
        new = (rows[k] - slope).clamp_(min=0)
        torch.sub(new, rows[k], out=change[k])
        rows[k] = new


def _frobenius_statistics(x: torch.Tensor, h: torch.Tensor, atoms: torch.Tensor) -> Statistics:
    cross, scatter, total = x @ h.T, h @ h.T, h.sum(dim=1)
    return Statistics(cross.double(), scatter.double(), total.double(), x.shape[1])


def _least_squares_atoms(
    atoms: torch.Tensor, statistics: Statistics, sparsity: float
) -> torch.Tensor:
    w = atoms.T.double().contiguous()  # (K, F): an atom is contiguous
    free = w.clone()  # atoms with the sizes that fit; those to come still have norm 1
    cross, weights = statistics.cross.T.contiguous(), statistics.scatter.diagonal().tolist()
    penalties, scale = (sparsity * statistics.total).tolist(), torch.ones_like(statistics.total)
    for k, weight in enumerate(weights):
        target = torch.addmv(cross[k], free.T, statistics.scatter[k], alpha=-1)
        target.add_(free[k], alpha=weight).clamp_(min=0)
        norm = target.norm().item()
        if weight <= 0 or norm <= 0:
            continue  # nothing uses the atom, or nothing is left for it
        scale[k] = max(0.0, norm - penalties[k]) / weight
        torch.div(target, norm, out=w[k])
        torch.mul(w[k], scale[k], out=free[k])
    statistics.cross.mul_(scale)
    statistics.scatter.mul_(torch.outer(scale, scale))
    statistics.total.mul_(scale)
    atoms.copy_(w.T)
    return scale.to(atoms.dtype)


def _half_squared_error(x: torch.Tensor, h: torch.Tensor, atoms: torch.Tensor) -> float:
    return 0.5 * torch.addmm(x, atoms, h, alpha=-1).square_().sum().item()


# --- Kullback-Leibler ---------------------------------------------------------------------------


def _begin_at_projection(x: torch.Tensor, atoms: torch.Tensor) -> torch.Tensor:
    # Positive where it may ever become so, and with as much mass in W H as there is in X.
    h = atoms.T @ x
    mass = atoms.sum(dim=0) @ h
    return h.mul_(x.sum(dim=0) / mass.clamp_min(_FLOOR))


def _multiply(
    h: torch.Tensor, x: torch.Tensor, atoms: torch.Tensor, sparsity: float, sweeps: int
) -> None:
    denominator = (atoms.sum(dim=0) + sparsity).unsqueeze(1)
    for _ in range(sweeps):
        h.mul_(atoms.T @ _quotient(x, atoms, h)).div_(denominator)


def _quotient(x: torch.Tensor, atoms: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
    return x / (atoms @ h).add_(_FLOOR)


def _kl_statistics(x: torch.Tensor, h: torch.Tensor, atoms: torch.Tensor) -> Statistics:
    cross = atoms * (_quotient(x, atoms, h) @ h.T)
    scatter = cross.new_zeros(0, 0, dtype=torch.float64)
    return Statistics(cross.double(), scatter, h.sum(dim=1).double(), x.shape[1])


def _multiplied_atoms(atoms: torch.Tensor, statistics: Statistics, sparsity: float) -> torch.Tensor:
    # The bound is -sum_f cross log w + total (sum_f w + mu ||w||^2 / 2) for each atom: its
    # minimiser is the positive root of mu w^2 + w - cross / total.
    share = statistics.cross / statistics.total.clamp_min(torch.finfo(torch.float64).tiny)
    w = 2 * share / (1 + (1 + 4 * sparsity * share).sqrt())
    norm = w.norm(dim=0)
    used = (norm > 0) & (statistics.total > 0)
    scale = torch.where(used, norm, 1.0)
    atoms.copy_(torch.where(used, w / scale, atoms.double()))
    statistics.total.mul_(scale)
    return scale.to(atoms.dtype)


def _divergence(x: torch.Tensor, h: torch.Tensor, atoms: torch.Tensor) -> float:
    model = (atoms @ h).add_(_FLOOR)
    return (torch.xlogy(x, x / model) - x + model).sum(dtype=torch.float64).item()


LOSSES: dict[LossName, Loss] = {
    "frobenius": Loss(
        begin=_begin_at_zero,
        update_activations=_descend,
        statistics=_frobenius_statistics,
        update_atoms=_least_squares_atoms,
        divergence=_half_squared_error,
        cold_sweeps=20,
    ),
    "kl": Loss(
        begin=_begin_at_projection,
        update_activations=_multiply,
        statistics=_kl_statistics,
        update_atoms=_multiplied_atoms,
        divergence=_divergence,
        cold_sweeps=100,
    ),
}
"""The losses by name."""
