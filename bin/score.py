"""Compare a hypothesis with a reference: precision, recall and F1 of each class."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table

from audioseg_xai.annotation import Segment, read_rttm, read_uem
from audioseg_xai.cli import command
from audioseg_xai.errors import UsageError
from audioseg_xai.files import write_text_atomic
from audioseg_xai.groups import group_recordings
from audioseg_xai.labels import CLASSES, parse_classes
from audioseg_xai.provenance import provenance
from audioseg_xai.recordings import Recording, check_outputs
from audioseg_xai.scoring import Counts, Scores, score

_COLUMNS = ("class", "precision %", "recall %", "F1 %", "reference s", "hypothesis s")


@command()
@click.option("--reference", required=True, metavar="RTTM", help="What is right; - is stdin.")
@click.option("--hypothesis", required=True, metavar="RTTM", help="What to score; - is stdin.")
@click.option("--uem", metavar="UEM", help="What is scored; else all of each recording.")
@click.option("--classes", default=",".join(CLASSES), help="Classes that the reference annotates.")
@click.option("--collar", default=0.0, help="Seconds not scored around reference boundaries.")
@click.option("--groups", metavar="FILE", help="Lines '<uri> <group>': score each group as well.")
@click.option("--per-file", is_flag=True, help="Show each recording as well.")
@click.option("--allow-missing", is_flag=True, help="Count recordings without hypothesis as empty.")
@click.option("--json", "json_path", type=Path, metavar="FILE", help="Write all scores here too.")
def cli(
    reference: str,
    hypothesis: str,
    uem: str | None,
    classes: str,
    collar: float,
    groups: str | None,
    per_file: bool,
    allow_missing: bool,
    json_path: Path | None,
) -> None:
    """Compare a hypothesis with a reference: precision, recall and F1 of each class.

    Durations are pooled over the recordings. A class that the reference does not annotate has
    no right answer: leave it out of --classes. The collar is the total width, half on each side.
    """
    if reference == hypothesis == "-":
        raise UsageError("only one of --reference and --hypothesis can be stdin")
    inputs = [path for path in (reference, hypothesis, uem, groups) if path]
    check_outputs([Recording(path, path) for path in inputs], [json_path])
    regions = read_uem(uem) if uem else None
    scores = score(
        _read(reference), _read(hypothesis), regions, classes, collar, allow_missing=allow_missing
    )
    if groups:
        scores = replace(scores, groups=group_recordings(groups, scores.files))
    if json_path:
        settings = {"collar": collar, "classes": parse_classes(classes), "uem": uem is not None}
        origin = provenance(settings, [path for path in inputs if path != "-"])
        content = scores.to_dict() | {"provenance": origin}
        write_text_atomic(json_path, json.dumps(content, indent=2) + "\n")
    _show(scores, per_file)


def _read(path: str) -> dict[str, list[Segment]]:
    return read_rttm(sys.stdin.buffer if path == "-" else path)


def _show(scores: Scores, per_file: bool) -> None:
    first = ["recordings"] if per_file or scores.groups else []
    table = Table(*first, box=box.SIMPLE)
    for name in _COLUMNS:
        table.add_column(name, justify="left" if name == "class" else "right")
    table.columns[0].overflow = "fold"  # a long uri must stay whole
    for blocks in (scores.files if per_file else {}, scores.pooled_groups):
        for name, by_class in blocks.items():
            _add_rows(table, [name], by_class)
    _add_rows(table, ["all"] if first else [], scores.pooled)
    # A pipe has no width: let the table be as wide as it must, so that lines stay lines.
    width = None if sys.stdout.isatty() else 500
    Console(width=width, markup=False, emoji=False).print(table)


def _add_rows(table: Table, first: list[str], by_class: dict[str, Counts]) -> None:
    for name, c in by_class.items():
        ratios = (f"{100 * ratio:.2f}" for ratio in (c.precision, c.recall, c.f1))
        table.add_row(*first, name, *ratios, f"{c.reference:.2f}", f"{c.hypothesis:.2f}")
    table.add_section()


if __name__ == "__main__":
    cli()
