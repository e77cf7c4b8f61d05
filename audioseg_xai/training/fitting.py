"""What the trainings of teacher and student share: fit, then make a model of the best weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from audioseg_xai.config import Config
from audioseg_xai.decode import ClassDecoding
from audioseg_xai.models.directory import Model, ModelConfig, build_network
from audioseg_xai.models.networks import NetworkConfig, Student, Teacher
from audioseg_xai.provenance import provenance
from audioseg_xai.training.corpora import Corpora, choose_signal, listens_to_features
from audioseg_xai.training.data import CropSource, DataConfig, check_bins
from audioseg_xai.training.listening import Listener
from audioseg_xai.training.trainer import Losses, Trainer, TrainingConfig
from audioseg_xai.training.validation import ArchiveValidation

_HOW_IT_IS_KEPT = ("checkpoint_every", "checkpoint_minutes")
"""Settings that change nothing of what comes out."""


@dataclass(frozen=True)
class Recipe:
    """What a training needs besides a network.

    Attributes
    ----------
    corpora : Corpora
        Recordings.
    training : TrainingConfig
        Schedule.
    settings : dict
        The whole configuration of the run, for the provenance.
    folder : Path
        Receives checkpoints and TensorBoard files.
    listener : Listener
        Gives networks what they listen to.
    decided : tuple of str
        Classes that something is learned about; the model decides no other.
    inputs : mapping
        Name to digest of what went in besides the archives, for the provenance and the checkpoint.
    device : str
        As lightning-fabric names accelerators.
    num_workers : int
        Processes that prepare batches.
    """

    corpora: Corpora
    training: TrainingConfig
    settings: dict[str, Any]
    folder: str | Path
    listener: Listener
    decided: tuple[str, ...]
    inputs: Mapping[str, str] = field(default_factory=dict)
    device: str = "auto"
    num_workers: int = 1


def fit(
    network: Teacher | Student,
    losses: Losses,
    source: CropSource,
    recipe: Recipe,
    constrain: Callable[[nn.Module], None] | None = None,
) -> Model:
    """Train a network and return it with its figures of merit.

    Parameters
    ----------
    network : Teacher or Student
        With initial weights.
    losses : callable
        See `trainer.Losses`.
    source : CropSource
        Makes crops.
    recipe : Recipe
        The rest.
    constrain : callable, optional
        Projects constrained weights, see `trainer.Trainer`.

    Raises
    ------
    PreemptedError
        If it was told to stop; a checkpoint is left.
    TrainingError
        If the checkpoint in the folder belongs to another run.
    """
    classes, decided = network.config.classes, recipe.decided
    validation = ArchiveValidation(recipe.corpora.valid, classes, recipe.listener, decided)
    inputs = recipe.corpora.digests() | dict(recipe.inputs)
    trainer = Trainer(
        network,
        losses,
        validation,
        recipe.training,
        recipe.folder,
        fingerprint={"settings": _shaping(recipe.settings), "inputs": inputs},
        constrain=constrain,
        device=recipe.device,
    )
    best = trainer.fit(source, num_workers=recipe.num_workers)
    assert isinstance(best, Teacher | Student)
    figures = trainer.figures
    config = ModelConfig(
        network=network.config,
        decoding={name: ClassDecoding() for name in decided},
        metrics={"validation frames, best threshold": _by_class(figures, classes)},
        provenance=provenance(recipe.settings) | {"inputs": inputs},
    )
    fresh = build_network(config)
    fresh.load_state_dict(best.cpu().state_dict())
    return Model(fresh.eval(), config)


def crop_source(
    corpora: Corpora, config: DataConfig, network: NetworkConfig, others: Iterable[NetworkConfig]
) -> CropSource:
    """Return what makes the crops that a network is trained on, and that `others` hear as well.

    Raises
    ------
    ArchiveError
        If an archive was made with another FFT size, or lacks what a network listens to.
    TrainingError
        If the archives do not allow what `config` asks for.
    """
    for archive in corpora.archives:
        check_bins(archive, network.spectrogram.num_bins)
    signal = choose_signal(corpora, [network, *others], bool(config.augment.kinds))
    return CropSource(
        corpora, config, network.classes, signal=signal, fixed=listens_to_features(network)
    )


def run_settings(run: Config, network: NetworkConfig) -> dict[str, Any]:
    """Return all settings of a run of `network`, except where the weights of its upstream lie."""
    settled = run.model_copy(update={"network": network})
    nowhere = {"network": {"front_end": {"upstream": {"checkpoint"}}}}
    return settled.model_dump(mode="json", exclude=nowhere)


def _shaping(settings: Mapping[str, Any]) -> dict[str, Any]:
    training = settings["training"].items()
    kept = {name: value for name, value in training if name not in _HOW_IT_IS_KEPT}
    return {**settings, "training": kept}


def _by_class(figures: dict[str, float], classes: tuple[str, ...]) -> dict[str, dict[str, float]]:
    return {
        name: {"F1": figures[f"f1/{name}"], "AP": figures[f"ap/{name}"]}
        for name in classes
        if f"f1/{name}" in figures
    }
