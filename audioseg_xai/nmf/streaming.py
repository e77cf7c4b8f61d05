"""A dictionary of frames that come in batches: memory does not grow with their number.

Online dictionary learning (Mairal, Bach, Ponce and Sapiro, 2010, "Online learning for matrix
factorization and sparse coding"): the activations of a batch are solved under the atoms there are,
the sums over its frames join those of the batches before, and the atoms take a step on them all.
Sums of earlier batches were made with worse atoms, so they are gradually forgotten: when n frames
have been seen and m more come, what was there is multiplied by (n / (n + m))^3 (section 4.4.1 of
the paper).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from audioseg_xai.errors import TrainingError
from audioseg_xai.nmf.dictionary import Dictionary, NMFConfig, initial_atoms
from audioseg_xai.nmf.learning import penalised, solve
from audioseg_xai.nmf.updates import LOSSES, Statistics

_FORGETTING = 3.0


class StreamingLearner:
    """Learns a dictionary from one batch after another.

    Parameters
    ----------
    held : torch.Tensor, shape (T, F)
        Frames that are kept: some of them are what the atoms begin as, and on all of them the
        objective is computed after each pass.
    config : NMFConfig
        Settings.

    Attributes
    ----------
    atoms : torch.Tensor, shape (F, K)
        W: non-negative, columns of unit norm.
    seen : int
        Frames learned from so far; frames that come again count again.
    objective : list of float
        The penalised objective a frame of `held`, after each pass.

    Raises
    ------
    TrainingError
        If all held frames are silent.
    """

    def __init__(self, held: torch.Tensor, config: NMFConfig) -> None:
        self.config, self.atoms = config, initial_atoms(held, config)
        self.seen, self.objective = 0, list[float]()
        self._held = held.T.contiguous()
        self._loss = LOSSES[config.loss]
        self._statistics: Statistics | None = None

    def learn(self, batch: torch.Tensor) -> None:
        """Learn from some frames (T, F)."""
        x, mu = batch.T.contiguous(), self.config.sparsity
        h = solve(self._loss, x, self.atoms, mu)
        self._remember(self._loss.statistics(x, h, self.atoms), len(batch))
        assert self._statistics is not None
        self._loss.update_atoms(self.atoms, self._statistics, mu)

    def _remember(self, found: Statistics, frames: int) -> None:
        if self._statistics is None:
            self._statistics = found
        else:
            keep = (self.seen / (self.seen + frames)) ** _FORGETTING
            self._statistics.add(found, keep)
        self.seen += frames

    def finish_pass(self) -> float:
        """Compute the objective a held frame, keep it in `objective` and return it."""
        mu = self.config.sparsity
        h = solve(self._loss, self._held, self.atoms, mu)
        total = penalised(self._loss, self._held, h, self.atoms, mu)
        self.objective.append(total / self._held.shape[1])
        return self.objective[-1]

    def dictionary(self) -> Dictionary:
        """Return what has been learned; the relative error is that on the held frames.

        Raises
        ------
        TrainingError
            If nothing has been learned from yet.
        """
        if self._statistics is None:
            raise TrainingError("no dictionary yet: no batch of frames has been learned from")
        h = solve(self._loss, self._held, self.atoms, self.config.sparsity)
        error = (self._held - self.atoms @ h).norm() / self._held.norm()
        return Dictionary(
            self.atoms.clone(),
            self._statistics.mean_activations,
            relative_error=error.item(),
            objective=list(self.objective),
            sparsity=self.config.sparsity,
            loss=self.config.loss,
        )

    def state(self) -> dict[str, torch.Tensor]:
        """Return all that `restore` needs to go on exactly from here, as tensors."""
        state = {
            "atoms": self.atoms,
            "seen": torch.tensor(self.seen),
            "objective": torch.tensor(self.objective, dtype=torch.float64),
        }
        if self._statistics is None:
            return state
        sums = {name: getattr(self._statistics, name) for name in ("cross", "scatter", "total")}
        weight = torch.tensor(self._statistics.frames, dtype=torch.float64)
        return state | sums | {"frames": weight}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from what `state` returned."""
        self.atoms = state["atoms"].clone()
        self.seen, self.objective = int(state["seen"]), state["objective"].tolist()
        self._statistics = None
        if "cross" in state:
            cross, scatter, total = (state[name].clone() for name in ("cross", "scatter", "total"))
            self._statistics = Statistics(cross, scatter, total, state["frames"].item())
