"""The training of a teacher from labels."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from audioseg_xai.archive import Archive
from audioseg_xai.config import Config
from audioseg_xai.losses import label_loss
from audioseg_xai.models.directory import Model
from audioseg_xai.models.networks import Teacher, TeacherConfig
from audioseg_xai.training.data import Batch
from audioseg_xai.training.fitting import fit, network_inputs
from audioseg_xai.training.trainer import TrainingConfig


class TeacherRun(Config):
    """What a teacher configuration file holds."""

    network: TeacherConfig = TeacherConfig()
    training: TrainingConfig = TrainingConfig()


def train_teacher(
    train: Archive,
    valid: Archive,
    run: TeacherRun,
    folder: str | Path,
    *,
    device: str = "auto",
    num_workers: int = 1,
) -> Model:
    """Train a teacher on labelled recordings.

    A class that no training recording annotates gets no gradient, and the model does not decide
    it.

    Parameters
    ----------
    train, valid : Archive
        What it learns from, and what stops it.
    run : TeacherRun
        Network and schedule.
    folder : str or Path
        Receives checkpoints and TensorBoard files.
    device : str, optional
        As lightning-fabric names accelerators.
    num_workers : int, optional
        Processes that prepare batches.

    Returns
    -------
    Model
        The averaged weights with the best validation score, thresholds at 0.5.
    """
    torch.manual_seed(run.training.seed)
    teacher = Teacher(run.network)

    def losses(forward: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        return {"total": label_loss(forward(network_inputs(teacher, batch)), batch.labels)}

    return fit(
        teacher,
        losses,
        train,
        valid,
        run.training,
        run.model_dump(mode="json"),
        folder,
        device=device,
        num_workers=num_workers,
    )
