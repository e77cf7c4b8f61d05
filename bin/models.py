"""Describe and check a model: classes, thresholds, size, figures of merit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from audioseg_xai.cli import command

if TYPE_CHECKING:
    from audioseg_xai.models.directory import Model


@command("models")
@click.argument("folder", required=False, metavar="[DIR]")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def cli(folder: str | None, as_json: bool) -> None:
    """Load the model in DIR, or the one that ships, and say what it is.

    It shows classes, thresholds, size, figures of merit, and where its card lies.
    """
    from audioseg_xai.models.directory import load_model

    description = _describe(load_model(folder))
    if as_json:
        click.echo(json.dumps(description, indent=2))
        return
    for name in ("folder", "card", "kind", "parameters", "digest"):
        click.echo(f"{name:<12} {description[name]}")
    _show("decides", description["decoding"])
    for dataset, by_class in description["metrics"].items():
        _show(dataset, by_class)


def _describe(model: Model) -> dict[str, Any]:
    config = model.config
    return {
        "folder": str(model.folder),
        "card": f"{model.folder}/README.md",
        "kind": config.network.kind,
        "parameters": sum(parameter.numel() for parameter in model.network.parameters()),
        "digest": model.digest,
        "classes": list(model.classes),
        "decoding": {name: rule.model_dump() for name, rule in config.decoding.items()},
        "relevance_threshold": config.relevance_threshold,
        "metrics": config.metrics,
        "provenance": config.provenance,
    }


def _show(title: str, by_class: dict[str, dict[str, float]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    names = list(dict.fromkeys(name for values in by_class.values() for name in values))
    table = Table(title, box=box.SIMPLE)
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    for label, values in by_class.items():
        cells = (values.get(name) for name in names)
        table.add_row(label, *("-" if cell is None else f"{cell:.3g}" for cell in cells))
    Console(markup=False, emoji=False).print(table)


if __name__ == "__main__":
    cli()
