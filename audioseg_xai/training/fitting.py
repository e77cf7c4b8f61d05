"""What the trainings of teacher and student share: fit, then make a model of the best weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from audioseg_xai.archive import Archive
from audioseg_xai.decode import ClassDecoding
from audioseg_xai.models.directory import Model, ModelConfig, build_network
from audioseg_xai.models.front_end import FeatureFrontEndConfig
from audioseg_xai.models.networks import NetworkConfig, Student, Teacher
from audioseg_xai.provenance import provenance
from audioseg_xai.training.data import Batch, check_bins, known_classes
from audioseg_xai.training.identity import archive_digest
from audioseg_xai.training.trainer import Losses, Trainer, TrainingConfig
from audioseg_xai.training.validation import ArchiveValidation


def fit(
    network: Teacher | Student,
    losses: Losses,
    train: Archive,
    valid: Archive,
    training: TrainingConfig,
    settings: dict[str, Any],
    folder: str | Path,
    *,
    inputs: Mapping[str, str] | None = None,
    features: bool = False,
    constrain: Callable[[nn.Module], None] | None = None,
    device: str = "auto",
    num_workers: int = 1,
) -> Model:
    """Train a network and return it with its figures of merit.

    Parameters
    ----------
    network : Teacher or Student
        With initial weights.
    losses : callable
        See `trainer.Losses`.
    train, valid : Archive
        Recordings.
    training : TrainingConfig
        Schedule.
    settings : dict
        The whole configuration of the run, for the provenance.
    folder : str or Path
        Receives checkpoints and TensorBoard files.
    inputs : mapping, optional
        Name to digest of what went in besides the archives, for the provenance and the checkpoint.
    features : bool, optional
        Whether the losses need upstream features though the network does not listen to them.
    constrain : callable, optional
        Projects constrained weights, see `trainer.Trainer`.
    device : str, optional
        As lightning-fabric names accelerators.
    num_workers : int, optional
        Processes that prepare batches.

    Raises
    ------
    ArchiveError
        If an archive was made with another FFT size than the network's.
    TrainingError
        If the checkpoint in `folder` belongs to another run.
    """
    for archive in (train, valid):
        check_bins(archive, network.config.spectrogram.num_bins)
    classes, listens = network.config.classes, listens_to_features(network.config)
    validation = ArchiveValidation(valid, classes, features=listens)
    digests = {"train": archive_digest(train), "valid": archive_digest(valid), **(inputs or {})}
    trainer = Trainer(
        network,
        losses,
        validation,
        training,
        folder,
        fingerprint={"settings": settings, "inputs": digests},
        constrain=constrain,
        device=device,
    )
    best = trainer.fit(train, classes, features=features or listens, num_workers=num_workers)
    figures = validation(best)
    config = ModelConfig(
        network=network.config,
        decoding={name: ClassDecoding() for name in known_classes(train, classes)},
        metrics={"validation frames, best threshold": _by_class(figures, classes)},
        provenance=provenance(settings) | {"inputs": digests},
    )
    fresh = build_network(config)
    fresh.load_state_dict(best.cpu().state_dict())
    return Model(fresh.eval(), config)


def listens_to_features(config: NetworkConfig) -> bool:
    """Tell whether a network listens to upstream features instead of a spectrogram."""
    return isinstance(config.front_end, FeatureFrontEndConfig)


def network_inputs(network: Teacher | Student, batch: Batch) -> torch.Tensor:
    """Return what `network` listens to in a batch, shape (B, T, F or D)."""
    if listens_to_features(network.config):
        return batch.features
    normalised: torch.Tensor = network.level_norm(batch.spectrogram)
    return normalised


def _by_class(figures: dict[str, float], classes: tuple[str, ...]) -> dict[str, dict[str, float]]:
    return {
        name: {"F1": figures[f"f1/{name}"], "AP": figures[f"ap/{name}"]}
        for name in classes
        if f"f1/{name}" in figures
    }
