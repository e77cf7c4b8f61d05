#!/usr/bin/env python3
"""One Markdown line an ablation: size, F1 with its interval, faithfulness, reconstruction.

    python local/ablation_table.py exp/simulated/ablations.json exp/ablations > table.md

The first file is what `xai-segment compare --json` writes; beside each model NAME in the folder
lies NAME_faithfulness.json, from `xai-segment faithfulness --json`.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import click

from audioseg_xai.labels import CLASSES
from audioseg_xai.models.directory import load_model

HEAD = ("ablation", "weights", *CLASSES, "p - q", "x random", "error, low", "error, high")


@click.command()
@click.argument("compared", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("models", type=click.Path(exists=True, file_okay=False, path_type=Path))
def cli(compared: Path, models: Path) -> None:
    """Print the table."""
    systems = json.loads(compared.read_text())["systems"]
    print("| " + " | ".join(HEAD) + " |")
    print("| --- |" + " ---: |" * (len(HEAD) - 1))
    for name, classes in systems.items():
        cells = [name, trained_weights(models / name), *map(f1, map(classes.get, CLASSES))]
        print(
            "| " + " | ".join([*cells, *faithfulness(models / f"{name}_faithfulness.json")]) + " |"
        )


def trained_weights(folder: Path) -> str:
    """Return how many weights are trained: a fixed dictionary does not count."""
    network = load_model(folder).network
    return f"{sum(each.numel() for each in network.parameters()):,}"


def f1(figures: dict[str, Any]) -> str:
    """Return F1 and its interval, in %."""
    low, high = figures["intervals"]["f1"]
    return f"{100 * figures['f1']:.1f} [{100 * low:.0f}, {100 * high:.0f}]"


def faithfulness(path: Path) -> list[str]:
    """Return p - q, over that of random components, and the errors of both ends of the spectrum."""
    found = json.loads(path.read_text())
    ours = found["methods"]["all"]["NMF"]
    errors = found["reconstruction error, eighths of the spectrum"]["all"]
    ratio = f"{ours['ratio']:.1f}" if math.isfinite(ours["ratio"]) else "-"
    return [f"{ours['drop']:.2f}", ratio, f"{errors[0]:.3f}", f"{errors[-1]:.3f}"]


if __name__ == "__main__":
    cli()
