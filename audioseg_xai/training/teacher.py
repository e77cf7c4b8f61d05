"""The training of a teacher from labels."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from audioseg_xai.config import Config
from audioseg_xai.errors import TrainingError
from audioseg_xai.models.directory import Model
from audioseg_xai.models.networks import Teacher, TeacherConfig
from audioseg_xai.training.corpora import Corpora
from audioseg_xai.training.data import Batch
from audioseg_xai.training.fitting import Recipe, crop_source, fit, run_settings
from audioseg_xai.training.listening import Listener
from audioseg_xai.training.parallel import shared_label_loss
from audioseg_xai.training.sampling import known_classes
from audioseg_xai.training.trainer import TrainingConfig


class TeacherRun(Config):
    """What a teacher configuration file holds."""

    network: TeacherConfig = TeacherConfig()
    training: TrainingConfig = TrainingConfig()


def train_teacher(
    corpora: Corpora,
    run: TeacherRun,
    folder: str | Path,
    *,
    upstream_checkpoint: str | None = None,
    device: str = "auto",
    num_workers: int = 1,
) -> Model:
    """Train a teacher on labelled recordings.

    A class that no training recording annotates gets no gradient, and the model does not decide
    it.

    Parameters
    ----------
    corpora : Corpora
        What it learns from, and what stops it.
    run : TeacherRun
        Network and schedule.
    folder : str or Path
        Receives checkpoints and TensorBoard files.
    upstream_checkpoint : str, optional
        Where the weights of the upstream model lie, if not where they lay before.
    device : str, optional
        As lightning-fabric names accelerators.
    num_workers : int, optional
        Processes that prepare batches.

    Returns
    -------
    Model
        The averaged weights with the best validation score, thresholds at 0.5.

    Raises
    ------
    ArchiveError, ConfigError
        If an archive was made with another FFT size or upstream than the network's.
    TrainingError
        If nothing is labelled, or the checkpoint in `folder` belongs to another run.
    """
    listener = Listener(device, upstream_checkpoint)
    source = crop_source(corpora, run.training.data, run.network, ())
    decided = known_classes(corpora.train, run.network.classes)
    if not decided:
        raise TrainingError("no training recording has labels of a class that the network decides")
    network = listener.settle(run.network, [*corpora.train, *corpora.valid])
    torch.manual_seed(run.training.seed)
    teacher = Teacher(network)

    def losses(forward: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        logits = forward(listener.inputs(teacher, batch))
        return {"total": shared_label_loss(logits, batch.labels, parts=batch.parts)}

    recipe = Recipe(
        corpora,
        run.training,
        run_settings(run, network),
        folder,
        listener,
        decided,
        device=device,
        num_workers=num_workers,
    )
    return fit(teacher, losses, source, recipe)
