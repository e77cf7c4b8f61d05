#!/usr/bin/env python3
"""Print F1 of several systems as a Markdown table.

    f1_table.py NAME=SCORES.json... >f1.md

SCORES.json is what `xai-segment score --json` writes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(arguments: list[str]) -> None:
    """Print a row a system, a column a class; F1 in percent."""
    systems = dict(argument.split("=", 1) for argument in arguments)
    pooled = {name: json.loads(Path(path).read_text())["pooled"] for name, path in systems.items()}
    classes = list(dict.fromkeys(label for scores in pooled.values() for label in scores))
    print(_row(["F1 %", *classes]))
    print(_row(["---", *["---:"] * len(classes)]))
    for name, scores in pooled.items():
        print(_row([name, *(_percent(scores.get(label)) for label in classes)]))


def _percent(counts: dict[str, float] | None) -> str:
    return "" if counts is None else f"{100 * counts['f1']:.1f}"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    if len(sys.argv) < 2 or not all("=" in argument for argument in sys.argv[1:]):
        sys.exit(f"usage: {sys.argv[0]} NAME=SCORES.json...")
    main(sys.argv[1:])
