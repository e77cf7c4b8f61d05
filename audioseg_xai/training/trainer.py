"""One training loop for teachers and students, on lightning-fabric."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from pydantic import Field
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from audioseg_xai.config import Config
from audioseg_xai.devices import fabric_device
from audioseg_xai.errors import TrainingError
from audioseg_xai.files import atomic_path
from audioseg_xai.training.data import Batch, CropDataset, CropSource, DataConfig, loader
from audioseg_xai.training.identity import differences

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
    precision : str
        As lightning-fabric names it.
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
    precision: str = "32-true"
    data: DataConfig = DataConfig()


Losses = Callable[[nn.Module, Batch], Mapping[str, torch.Tensor]]
"""Computes the loss terms of a batch; ``total`` is what is minimised."""

Validation = Callable[[Any], Mapping[str, float]]
"""Returns figures of merit; ``score`` is what early stopping raises."""


class Trainer:
    """Train `network`, keep the best average of its weights, resume where it stopped.

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
        As lightning-fabric names accelerators.
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
        accelerator, devices = fabric_device(device)
        self.fabric = Fabric(
            accelerator=accelerator,
            devices=devices,
            precision=config.precision,
        )
        self.losses, self.validation, self.config = losses, validation, config
        self.folder, self.constrain = Path(folder), constrain
        self.fingerprint = dict(fingerprint)
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.average = self.fabric.to_device(deepcopy(network)).eval().requires_grad_(False)
        self.best = deepcopy(self.average)
        self.network, self.optimizer = self.fabric.setup(network, optimizer)
        self.step, self.best_score, self.bad_rounds = 0, -math.inf, 0
        self.history: list[dict[str, float]] = []

    @property
    def checkpoint(self) -> Path:
        """The file that a stopped run goes on from."""
        return self.folder / "checkpoint.ckpt"

    def fit(self, source: CropSource, *, num_workers: int = 1) -> nn.Module:
        """Train on crops of `source` until the last step or until validation stops improving.

        Returns
        -------
        nn.Module
            The averaged weights with the best validation score.
        """
        if self.checkpoint.exists():
            self._resume()
        data = CropDataset(source, seed=self.config.seed, first=self.step, steps=self.config.steps)
        with SummaryWriter(str(self.folder / "tensorboard")) as board:
            for batch in loader(data, num_workers):
                if self.bad_rounds >= self.config.patience:
                    log.info("no improvement in %d validations: stopped", self.bad_rounds)
                    break
                self._train_step(batch, board)
                if self.step % self.config.validate_every == 0 or self.step == self.config.steps:
                    self._validate(board)
                    self._save()
        return self.best

    def _train_step(self, batch: Batch, board: SummaryWriter) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        self.network.train()
        terms = self.losses(self.network, Batch(*self.fabric.to_device(tuple(batch))))
        if not torch.isfinite(terms["total"]):
            raise TrainingError(
                f"the loss became {terms['total'].item()} at step {self.step}: "
                "lower the learning rate, or look for broken recordings in the archive"
            )
        self.fabric.backward(terms["total"])
        self.fabric.clip_gradients(self.network, self.optimizer, max_norm=5.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.constrain is not None:
            self.constrain(self.network.module)
        self.step += 1
        self._update_average()
        if self.step % 50 == 0:
            for name, value in terms.items():
                board.add_scalar(f"train/{name}", value.item(), self.step)

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

    def _validate(self, board: SummaryWriter) -> None:
        if self.constrain is not None:
            self.constrain(self.average)
        figures = dict(self.validation(self.average))
        for name, value in figures.items():
            board.add_scalar(f"valid/{name}", value, self.step)
        self.history.append({"step": float(self.step), **figures})
        listed = " ".join(f"{name}={value:.4f}" for name, value in figures.items())
        log.info("step %d/%d: %s", self.step, self.config.steps, listed)
        if figures["score"] > self.best_score:
            self.best_score, self.bad_rounds = figures["score"], 0
            self.best.load_state_dict(self.average.state_dict())
        else:
            self.bad_rounds += 1

    def _save(self) -> None:
        state: dict[str, Any] = {
            "network": self.network,
            "optimizer": self.optimizer,
            "average": self.average.state_dict(),
            "best": self.best.state_dict(),
            "step": self.step,
            "best_score": self.best_score,
            "bad_rounds": self.bad_rounds,
            "history": self.history,
            "fingerprint": self.fingerprint,
        }
        with atomic_path(self.checkpoint) as temporary:
            self.fabric.save(temporary, state)

    def _resume(self) -> None:
        # Before anything is loaded: weights of another network would not fit at all.
        self._check_fingerprint(self.fabric.load(self.checkpoint).get("fingerprint", {}))
        state: dict[str, Any] = {"network": self.network, "optimizer": self.optimizer}
        rest = self.fabric.load(self.checkpoint, state)
        self.average.load_state_dict(rest["average"])
        self.best.load_state_dict(rest["best"])
        self.step, self.best_score = rest["step"], rest["best_score"]
        self.bad_rounds, self.history = rest["bad_rounds"], rest["history"]
        log.info("resumed at step %d", self.step)

    def _check_fingerprint(self, found: Mapping[str, Any]) -> None:
        differing = differences(found, self.fingerprint)
        if differing:
            raise TrainingError(
                f"{self.checkpoint}: belongs to a run with another configuration "
                f"({', '.join(differing)}): delete it or choose another output folder"
            )
