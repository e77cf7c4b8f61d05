"""A trained model with thresholds of its own, and what its card says of quality and mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from audioseg_xai.annotation import Segment
from audioseg_xai.archive import Archive
from audioseg_xai.console import log
from audioseg_xai.corpora.pool import PoolItem
from audioseg_xai.decode import DecodingConfig
from audioseg_xai.models.directory import Model
from audioseg_xai.pipeline import Pipeline
from audioseg_xai.recordings import Recording
from audioseg_xai.training.listening import Listener
from audioseg_xai.training.mistakes import decided_by_situation, mistaken_sources
from audioseg_xai.training.tuning import Observation, figures, tune
from audioseg_xai.training.validation import ArchiveValidation


def set_thresholds(model: Model, archives: Sequence[Path], listener: Listener, name: str) -> None:
    """Choose the rules of each class on recordings that the card calls `name`.

    What the card said of quality before is forgotten: other thresholds make another model.
    """
    observed = _observed(model, archives, listener)
    decoding, metrics = tune(observed, model.classes, list(model.config.decoding))
    for label, values in metrics.items():
        log.info("%s: F1 %.4f with %s", label, values["F1"], decoding[label])
    what = f"{name}, frames (the thresholds were chosen on them)"
    _update(model, decoding=decoding, metrics={what: metrics}, mistakes={})


def add_test(model: Model, archives: Sequence[Path], listener: Listener, name: str) -> None:
    """Add to the card how good the model is on other recordings, and what it mistakes there."""
    observed = _observed(model, archives, listener)
    config = model.config
    metrics = {f"{name}, frames": figures(observed, model.classes, config.decoding)}
    situations = decided_by_situation(observed, model.classes, config.decoding)
    _update(
        model,
        metrics=config.metrics | metrics,
        mistakes=config.mistakes | {f"{name}, by what sounds together": situations},
    )


def add_sources(model: Model, root: Path, items: Sequence[PoolItem], split: str) -> None:
    """Add to the card which sources of a pool, each file heard alone, are mistaken for what."""
    pipeline = Pipeline(model)

    def segment(path: Path) -> Sequence[Segment]:
        return pipeline.segment(Recording(path.stem, str(path))).segments

    decided = [name for name in model.classes if name in model.config.decoding]
    rows = mistaken_sources(root, items, segment, decided)
    what = f"Sources of split {split}, heard alone, that are mistaken for more than 5 % of the time"
    _update(model, mistakes=model.config.mistakes | {what: rows})


def _observed(model: Model, archives: Sequence[Path], listener: Listener) -> list[Observation]:
    sources = [Archive(folder) for folder in archives]
    listener.settle(model.network.config, sources)
    network = model.network.to(listener.device)
    validation = ArchiveValidation(sources, model.classes, listener)
    observed = [(p, labels) for _, p, labels in validation.predict(network)]
    network.cpu()
    return observed


def _update(
    model: Model, **changes: DecodingConfig | dict[str, dict[str, dict[str, float]]]
) -> None:
    model.config = model.config.model_copy(update=changes)
