"""One step on several processes that is the step of one process with the whole batch.

Each process gets its crops of the batch. A loss that is a mean over crops of equal size is the
mean of its values on all processes, and so is its gradient. A mean over known labels is not,
because processes have different numbers of them: its parts count by these numbers, see
`shared_label_loss`.
"""

from __future__ import annotations

import inspect
import logging
import os
from datetime import timedelta
from typing import Any, TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment, SLURMEnvironment
from lightning_fabric.strategies import DDPStrategy
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from audioseg_xai.console import log
from audioseg_xai.devices import fabric_device
from audioseg_xai.errors import UsageError
from audioseg_xai.labels import UNKNOWN
from audioseg_xai.losses import label_loss
from audioseg_xai.training.processes import Processes, die_with_starter, processes

ValueT = TypeVar("ValueT")

_PATIENCE = timedelta(hours=2)
"""How long processes wait for the first one, which validates."""


class Ranks:
    """The processes of a training, on lightning-fabric; with one alone nothing is exchanged.

    Parameters
    ----------
    device : str
        As `--device` names it.
    precision : str
        As lightning-fabric names it.

    Raises
    ------
    UsageError
        If a GPU is asked for that is not there, or one for several processes.
    """

    def __init__(self, device: str, precision: str) -> None:
        found = processes()
        accelerator, devices = fabric_device(device, found.devices)
        # Environments of SLURM that are found by themselves take a batch script for many tasks.
        self.fabric = Fabric(
            accelerator=accelerator,
            devices=devices,
            num_nodes=found.num_nodes,
            precision=precision,
            plugins=[_Environment(found)],
            strategy=DDPStrategy(timeout=_PATIENCE, **_own_buffers())
            if found.total > 1
            else "auto",
        )
        self.rank, self.total = found.rank, found.total
        if self.total > 1:
            die_with_starter()
            if not log.isEnabledFor(logging.DEBUG):
                logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
            self.fabric.launch()
        if self.rank:
            log.setLevel("ERROR")  # the first one says what all do

    @property
    def first(self) -> bool:
        """Whether this is the process that validates and writes."""
        return self.rank == 0

    def broadcast(self, value: ValueT) -> ValueT:
        """Return what the first process has."""
        return self.fabric.broadcast(value) if self.total > 1 else value

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Return the mean over processes, without a gradient."""
        return joint_sum(values, self.total) / self.total


def joint_sum(values: torch.Tensor, parts: int) -> torch.Tensor:
    """Return the sum over processes, of which there are `parts`, without a gradient."""
    total = values.detach().clone()
    if parts > 1:
        distributed.all_reduce(total)
    return total


def shared_label_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    weights: torch.Tensor | None = None,
    *,
    parts: int,
) -> torch.Tensor:
    """Return `losses.label_loss`, whose mean over processes is that of the whole batch.

    Of n_r known labels of process r among P processes, each counted by its weight, what they give
    counts P n_r / sum(n_r) times.

    Parameters
    ----------
    logits : torch.Tensor, shape (B, T, C)
        Of the crops of this process; there may be none.
    labels : torch.Tensor, shape (B, T, C), integer
        1, 0 or -1 (unknown).
    weights : torch.Tensor, optional
        How much each label counts; broadcast to (B, T, C).
    parts : int
        P; all of them call this at once.
    """
    loss = label_loss(logits, labels, weights)
    if parts == 1:
        return loss
    count = known_labels(labels, weights)
    # The loss divides by one where nothing is known, and so must we.
    return loss * (parts * count.clamp_min(1) / joint_sum(count, parts).clamp_min(1))


def known_labels(labels: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Return how many of the labels (B, T, C) are known, each counted by its weight."""
    known = labels != UNKNOWN
    return known.sum() if weights is None else (known * weights).sum()


class _Environment(LightningEnvironment):
    """The environment that `processes` found, whoever made it."""

    def __init__(self, found: Processes) -> None:
        super().__init__()
        self._found = found

    @property
    def creates_processes_externally(self) -> bool:
        """Whoever made them, they are there."""
        return True

    @property
    def main_address(self) -> str:
        """Where the first process is, as torchrun or the user tell, or SLURM."""
        nodes = os.environ.get("SLURM_STEP_NODELIST")
        if "MASTER_ADDR" in os.environ or nodes is None or self._found.num_nodes == 1:
            return os.environ.get("MASTER_ADDR", "127.0.0.1")
        return SLURMEnvironment.resolve_root_node_address(nodes)

    @property
    def main_port(self) -> int:
        """Where it listens: another port for each step of each job under SLURM."""
        if "MASTER_PORT" in os.environ or "SLURM_STEP_ID" not in os.environ:
            return super().main_port
        job, step = (int(os.environ[name]) for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
        return 15_000 + (32 * job + step) % 16_384

    def local_rank(self) -> int:
        """Return which process of its node this is."""
        return self._found.local_rank

    def node_rank(self) -> int:
        """Return which node this is."""
        return self._found.rank // self._found.devices


def _own_buffers() -> dict[str, Any]:
    """Return what lets buffers be: what `SharedBatchNorm` tracks is the same everywhere."""
    known = inspect.signature(DistributedDataParallel).parameters
    # The second name is deprecated where the first one is known.
    name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    return {name: False}


def check_batch(batch_size: int, total: int) -> None:
    """Check that a batch can be split evenly.

    Raises
    ------
    UsageError
        If it cannot.
    """
    if batch_size % total:
        raise UsageError(
            f"data.batch_size: {batch_size} crops cannot be shared evenly by {total} processes: "
            f"make it a multiple of {total}, or take other --devices"
        )
