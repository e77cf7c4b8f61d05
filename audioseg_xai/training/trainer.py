"""One training loop for teachers and students, on lightning-fabric."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from audioseg_xai.config import Config
from audioseg_xai.errors import TrainingError
from audioseg_xai.training import preemption
from audioseg_xai.training.batch_norm import share_batch_norm
from audioseg_xai.training.checkpoint import Checkpoint
from audioseg_xai.training.data import Batch, CropDataset, CropSource, DataConfig, loader
from audioseg_xai.training.parallel import Ranks, check_batch

log = logging.getLogger(__name__)


class TrainingConfig(Config):
    """How a network is trained.

    Attributes
    ----------
    steps : int
        Batches in all.
    learning_rate : float
        Peak of the schedule: a linear warm-up, then half a cosine to zero.
    warmup : int
        Steps of the warm-up.
    weight_decay : float
        Of AdamW.
    average : float
        Decay of the running average of the weights; the average is what is validated and kept.
    validate_every : int
        Steps between validations, each followed by a checkpoint.
    patience : int
        Validations without improvement after which training stops.
    seed : int
        Of initial weights, crops and augmentation.
    precision : {'32-true', 'bf16-mixed'}
        As lightning-fabric names it: 32 bits, or 16 (bfloat16) where they suffice.
    checkpoint_every : int, optional
        Steps between checkpoints besides those after validations.
    checkpoint_minutes : float, optional
        Minutes between them.
    data : DataConfig
        Crops, balance and augmentation.
    """

    steps: int = Field(default=10_000, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    warmup: int = Field(default=200, ge=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    average: float = Field(default=0.998, ge=0, lt=1)
    validate_every: int = Field(default=1000, ge=1)
    patience: int = Field(default=10, ge=1)
    seed: int = 0
    precision: Precision = "32-true"
    checkpoint_every: int | None = Field(default=None, ge=1)
    checkpoint_minutes: float | None = Field(default=None, gt=0)
    data: DataConfig = DataConfig()


Precision = Literal["32-true", "bf16-mixed"]

Losses = Callable[[nn.Module, Batch], Mapping[str, torch.Tensor]]
"""Computes the loss terms of a batch; ``total`` is what is minimised.

Of a part of a batch they are such that their means over all parts are those of the batch.
"""

Validation = Callable[[Any], Mapping[str, float]]
"""Returns figures of merit; ``score`` is what early stopping raises."""

Board = Callable[[str, Mapping[str, float]], None]
"""Shows values by name, of ``train`` or ``valid``, at the step that the training is at."""


class Trainer:
    """Train `network`, keep the best average of its weights, resume where it stopped.

    A step on several processes is that of one with the whole batch, up to the order of sums: each
    has its crops, the gradients are averaged, and so are the statistics of batch normalisation.
    The first process validates and writes.

    Parameters
    ----------
    network : nn.Module
        What is trained.
    losses : callable
        Loss terms of a batch.
    validation : callable
        Figures of merit of a network.
    config : TrainingConfig
        Schedule.
    folder : str or Path
        Receives ``checkpoint.ckpt`` and TensorBoard event files.
    fingerprint : mapping
        Settings and digests of all that shapes the run (JSON values): a checkpoint of a run with
        another fingerprint is refused.
    constrain : callable, optional
        Projects constrained weights: called with the network after each optimiser step, and with
        the average before each validation (a mean of unit vectors is shorter than one).
    device : str, optional
        As `--device` names it.
    """

    def __init__(
        self,
        network: nn.Module,
        losses: Losses,
        validation: Validation,
        config: TrainingConfig,
        folder: str | Path,
        *,
        fingerprint: Mapping[str, Any],
        constrain: Callable[[nn.Module], None] | None = None,
        device: str = "auto",
    ) -> None:
        self.ranks = Ranks(device, config.precision)
        check_batch(config.data.batch_size, self.ranks.total)
        self.losses, self.validation, self.config = losses, validation, config
        self.folder, self.constrain = Path(folder), constrain
        self.checkpoint = Checkpoint(
            self.folder / "checkpoint.ckpt",
            fingerprint,
            steps=config.checkpoint_every,
            minutes=config.checkpoint_minutes,
        )
        fabric = self.ranks.fabric
        network.load_state_dict(self.ranks.broadcast(network.state_dict()))
        self.average = fabric.to_device(deepcopy(network)).eval().requires_grad_(False)
        self.best = deepcopy(self.average)
        if self.ranks.total > 1:
            share_batch_norm(network)
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.network, self.optimizer = fabric.setup(network, optimizer)
        self.step, self.best_score, self.bad_rounds = 0, -math.inf, 0
        self.history: list[dict[str, float]] = []

    def fit(self, source: CropSource, *, num_workers: int = 1) -> nn.Module:
        """Train on crops of `source` until the last step or until validation stops improving.

        Returns
        -------
        nn.Module
            The averaged weights with the best validation score.

        Raises
        ------
        PreemptedError
            If SIGUSR1 or SIGTERM came: after the step, with a checkpoint. Another `Trainer` of the
            same run goes on from it, and ends as if nothing had been.
        TrainingError
            If the loss is no number, or the checkpoint in the folder belongs to another run.
        """
        self._resume()
        with preemption.noticed(), self._board() as board:
            if self._validation_is_due():
                self._validate(board)
            for batch in loader(self._batches(source), num_workers):
                if self.bad_rounds >= self.config.patience:
                    log.info("no improvement in %d validations: stopped", self.bad_rounds)
                    break
                if self._train_step(batch, board):
                    self._save()
                    self._stop()
                if self._validation_is_due():
                    self._validate(board)
                elif self.checkpoint.due(self.step):
                    self._save()
        return self.best

    @property
    def figures(self) -> dict[str, float]:
        """The figures of merit of the best weights."""
        found = next(each for each in self.history if each["score"] == self.best_score)
        return {name: value for name, value in found.items() if name != "step"}

    def _batches(self, source: CropSource) -> CropDataset:
        return CropDataset(
            source,
            seed=self.config.seed,
            first=self.step,
            steps=self.config.steps,
            part=(self.ranks.rank, self.ranks.total),
        )

    def _train_step(self, batch: Batch, board: Board) -> bool:
        """Do a step; return whether it is to be the last one: some process was told to stop."""
        fabric = self.ranks.fabric
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        self.network.train()
        own = Batch(*fabric.to_device(tuple(batch)))
        terms = self.losses(self.network, own)
        values, stop = self._agree(terms)
        if not math.isfinite(values["total"]):
            raise TrainingError(
                f"the loss became {values['total']} at step {self.step}: "
                "lower the learning rate, or look for broken recordings in the archive"
            )
        fabric.backward(terms["total"])
        fabric.clip_gradients(self.network, self.optimizer, max_norm=5.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.constrain is not None:
            self.constrain(self.network.module)
        self.step += 1
        self._update_average()
        if self.step % 50 == 0:
            board("train", values)
        return stop or (self.ranks.total == 1 and preemption.received() is not None)

    def _agree(self, terms: Mapping[str, torch.Tensor]) -> tuple[dict[str, float], bool]:
        """Return the terms of the whole batch, and whether any process was told to stop."""
        told = terms["total"].new_tensor(float(preemption.received() is not None))
        listed = [value.detach().float() for value in terms.values()]
        *values, told = self.ranks.mean(torch.stack([*listed, told])).tolist()
        return dict(zip(terms, values, strict=True)), told > 0

    def _learning_rate(self) -> float:
        warm = min(1.0, (self.step + 1) / (self.config.warmup + 1))
        cosine = 0.5 * (1 + math.cos(math.pi * self.step / self.config.steps))
        return self.config.learning_rate * warm * cosine

    @torch.no_grad()
    def _update_average(self) -> None:
        # Early on the average follows closely, so that initial weights are soon forgotten.
        decay = min(self.config.average, self.step / (self.step + 10))
        new = self.network.module.state_dict()
        for name, old in self.average.state_dict().items():
            if old.dtype.is_floating_point:
                old.lerp_(new[name], 1 - decay)
            else:
                old.copy_(new[name])

    def _validation_is_due(self) -> bool:
        done = bool(self.history) and self.history[-1]["step"] == self.step
        end = self.step == self.config.steps
        return not done and self.step > 0 and (self.step % self.config.validate_every == 0 or end)

    def _validate(self, board: Board) -> None:
        before = deepcopy(self.average.state_dict())
        if self.constrain is not None:
            self.constrain(self.average)
        figures = self.ranks.broadcast(self._figures() if self.ranks.first else None)
        if figures is None:
            self.average.load_state_dict(before)
            self._save()  # to go on with this validation
            self._stop()
            return
        board("valid", figures)
        self.history.append({"step": float(self.step), **figures})
        listed = " ".join(f"{name}={value:.4f}" for name, value in figures.items())
        log.info("step %d/%d: %s", self.step, self.config.steps, listed)
        if figures["score"] > self.best_score:
            self.best_score, self.bad_rounds = figures["score"], 0
            self.best.load_state_dict(self.average.state_dict())
        else:
            self.bad_rounds += 1
        self._save()

    def _figures(self) -> dict[str, float] | None:
        """Validate; return None if a signal came meanwhile."""
        return preemption.unless_told(lambda: dict(self.validation(self.average)))

    def _stop(self) -> None:
        found = preemption.received()
        raise preemption.PreemptedError(
            f"stopped by {found.name if found else 'a signal to another process'} after step "
            f"{self.step} of {self.config.steps}: the same command goes on from "
            f"{self.checkpoint.path}"
        )

    @contextmanager
    def _board(self) -> Iterator[Board]:
        """Yield what shows values of this step; of several processes the first one does."""
        if not self.ranks.first:
            yield lambda kind, values: None
            return
        # What a run that was killed showed after its checkpoint comes again.
        again = self.step + 1 if self.step else None
        with SummaryWriter(str(self.folder / "tensorboard"), purge_step=again) as writer:

            def show(kind: str, values: Mapping[str, float]) -> None:
                for name, value in values.items():
                    writer.add_scalar(f"{kind}/{name}", value, self.step)

            yield show

    def _save(self) -> None:
        if self.ranks.first:
            self.checkpoint.save(
                {
                    "network": self.network.module.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "average": self.average.state_dict(),
                    "best": self.best.state_dict(),
                    "step": self.step,
                    "best_score": self.best_score,
                    "bad_rounds": self.bad_rounds,
                    "history": self.history,
                }
            )

    def _resume(self) -> None:
        state = self.ranks.broadcast(self.checkpoint.load() if self.ranks.first else None)
        if state is None:
            return
        self.network.module.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.load_state_dict(state["average"])
        self.best.load_state_dict(state["best"])
        self.step, self.best_score = state["step"], state["best_score"]
        self.bad_rounds, self.history = state["bad_rounds"], state["history"]
        log.info("resumed at step %d", self.step)
