"""Choose the thresholds of a model on validation recordings."""

from __future__ import annotations

import json
from pathlib import Path

import click

from audioseg_xai.cli import command, device_option, log


@command()
@click.option("--model", required=True, type=Path, metavar="DIR", help="Model directory.")
@click.option("--archive", required=True, type=Path, metavar="DIR", help="Validation archive.")
@click.option("--name", default="validation", help="What the card calls these recordings.")
@click.option(
    "--manifest", "data", type=Path, metavar="JSON", help="manifest.json of the training pool."
)
@click.option("--output", required=True, type=Path, metavar="DIR", help="Tuned model directory.")
@device_option
def cli(
    model: Path, archive: Path, name: str, data: Path | None, output: Path, device: str
) -> None:
    """Choose the thresholds of a model on validation recordings.

    Onset, offset, filled gaps and shortest duration of each class, by F1 over frames. The result
    is a new model directory with a new card. Never tune on recordings that you will report on.
    """
    from audioseg_xai.archive import Archive
    from audioseg_xai.devices import resolve_device
    from audioseg_xai.models.card import training_sources
    from audioseg_xai.models.directory import load_model, save_model
    from audioseg_xai.training.fitting import listens_to_features
    from audioseg_xai.training.tuning import tune
    from audioseg_xai.training.validation import ArchiveValidation

    loaded = load_model(model)
    network = loaded.network.to(resolve_device(device))
    features = listens_to_features(network.config)
    validation = ArchiveValidation(Archive(archive), loaded.classes, features=features)
    observed = [(p, labels) for _, p, labels in validation.predict(network)]
    decoding, metrics = tune(observed, loaded.classes, list(loaded.config.decoding))
    for label, figures in metrics.items():
        log.info("%s: F1 %.4f with %s", label, figures["F1"], decoding[label])
    update = {"decoding": decoding, "metrics": {f"{name}, frames": metrics}}
    if data:
        update["data"] = training_sources(json.loads(data.read_text(encoding="utf-8")))
    loaded.config = loaded.config.model_copy(update=update)
    network.cpu()
    save_model(loaded, output)


if __name__ == "__main__":
    cli()
