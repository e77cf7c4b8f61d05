"""Choose the thresholds of a model on validation recordings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from audioseg_xai.cli import command, device_option, named_paths, upstream_checkpoint_option
from audioseg_xai.errors import CorpusError


@command()
@click.option(
    "--model",
    "models",
    required=True,
    multiple=True,
    type=Path,
    metavar="DIR",
    help="Model directory (repeatable: several become one).",
)
@click.option(
    "--average",
    is_flag=True,
    help="Several states of one training become the mean of their weights.",
)
@click.option(
    "--archive",
    "archives",
    required=True,
    multiple=True,
    type=Path,
    metavar="DIR",
    help="Validation archive (repeatable).",
)
@click.option(
    "--test",
    "tests",
    multiple=True,
    metavar="NAME=DIR",
    callback=named_paths,
    help="Archive for figures in the card, not for thresholds (repeatable).",
)
@click.option("--pool", type=Path, metavar="DIR", help="Pool whose sources are heard for the card.")
@click.option("--split", default="valid", help="Which files of the pool.")
@click.option("--name", default="validation", help="What the card calls these recordings.")
@click.option(
    "--manifest", "data", type=Path, metavar="JSON", help="manifest.json of the training pool."
)
@click.option("--licence", metavar="TEXT", help="Terms of the weights, for the card.")
@click.option(
    "--relevance-threshold",
    type=click.FloatRange(0, 1, max_open=True),
    help="tau of its explanations, relative to the largest relevance; as it was by default.",
)
@click.option("--output", required=True, type=Path, metavar="DIR", help="Tuned model directory.")
@upstream_checkpoint_option
@device_option
def cli(
    models: tuple[Path, ...],
    average: bool,
    archives: tuple[Path, ...],
    tests: dict[str, Path],
    pool: Path | None,
    split: str,
    name: str,
    data: Path | None,
    licence: str | None,
    relevance_threshold: float | None,
    output: Path,
    upstream_checkpoint: str | None,
    device: str,
) -> None:
    """Choose the thresholds of a model on validation recordings.

    Onset, offset, filled gaps and shortest duration of each class, by F1 over frames. The result
    is a new model directory with a new card. Never tune on recordings that you will report on:
    those of --test and --pool are but reported in the card, with what is mistaken for what.

    Several students of one architecture are joined first: the result has the components of all,
    and decides and explains by the mean of their logits. With --average they become one of their
    size, with the mean of their weights: for states of one training.
    """
    if average and len(models) < 2:
        raise click.UsageError("--average needs two --model at least")

    from audioseg_xai.corpora.pool import Pool
    from audioseg_xai.models.averaged import average_models
    from audioseg_xai.models.directory import load_model, save_model
    from audioseg_xai.models.joined import one_student
    from audioseg_xai.training.listening import Listener
    from audioseg_xai.tuned import add_sources, add_test, set_thresholds

    update: dict[str, Any] = {"data": read_sources(data)} if data else {}
    if licence is not None:
        update["licence"] = licence
    if relevance_threshold is not None:
        update["relevance_threshold"] = relevance_threshold
    sources = Pool.read(pool).of_split(split) if pool is not None else []
    loaded = [load_model(folder) for folder in models]
    tuned = average_models(loaded) if average else one_student(loaded)
    listener = Listener(device, upstream_checkpoint)
    set_thresholds(tuned, archives, listener, name)
    for called, folder in tests.items():
        add_test(tuned, [folder], listener, called)
    if pool is not None:
        add_sources(tuned, pool, sources, split)
    tuned.config = tuned.config.model_copy(update=update)
    save_model(tuned, output)


def read_sources(manifest: Path) -> list[dict[str, Any]]:
    """Return what the card says of each source that ``manifest.json`` of a pool names.

    Raises
    ------
    CorpusError
        If the file cannot be read, or is no such manifest.
    """
    from audioseg_xai.models.card import training_sources

    remedy = "--manifest takes the manifest.json that prepare writes into a pool"
    try:
        return training_sources(json.loads(manifest.read_text(encoding="utf-8")))
    except OSError as error:
        raise CorpusError(f"{manifest}: {error.strerror}: {remedy}") from None
    except ValueError as error:
        raise CorpusError(f"{manifest}: is not JSON ({error}): {remedy}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise CorpusError(f"{manifest}: is no manifest ({error!r}): {remedy}") from None


if __name__ == "__main__":
    cli()
