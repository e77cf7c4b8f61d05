"""Measure how faithful the explanations of a model are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from audioseg_xai.cli import command, log, progress
from audioseg_xai.files import write_text_atomic
from audioseg_xai.recordings import Recording, check_outputs, processing_options, recording_options
from audioseg_xai.report.paths import check_suffix


@command("faithfulness")
@recording_options
@click.option("--json", "json_path", type=Path, metavar="FILE", help="Write all figures here.")
@click.option("--markdown", type=Path, metavar="FILE", help="Write the table here as Markdown.")
@click.option("--figure", type=Path, metavar="FILE", help="Draw the curves: .png, .pdf or .svg.")
@click.option("--segments", default=20, help="Segments a class, drawn at random.")
@click.option("--duration", default=4.0, help="Of longer segments a part of so many seconds.")
@click.option(
    "--mask", type=click.Choice(["power", "ratio"]), default="power", help="How bins are divided."
)
@click.option("--tau", type=click.FloatRange(0, 1, max_open=True), help="Else as the model says.")
@click.option("--draws", default=3, help="Random controls a segment.")
@click.option("--baselines/--no-baselines", default=True, help="Gradient methods of Captum.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of all random numbers.")
@processing_options
def cli(
    recordings: list[Recording],
    json_path: Path | None,
    markdown: Path | None,
    figure: Path | None,
    segments: int,
    duration: float,
    mask: str,
    tau: float | None,
    draws: int,
    baselines: bool,
    seed: int,
    **processing: Any,
) -> None:
    """Take away what decisions are said to rest on, and see what becomes of them.

    AUDIO... is segmented; of each class some segments are measured against random controls of equal
    energy and number and, unless --no-baselines is given, against gradient methods. An
    explanation that does not beat its random control explains nothing.
    """
    check_outputs(recordings, [json_path, markdown, figure])
    check_suffix(figure, "--figure")
    from audioseg_xai.config import parse_config
    from audioseg_xai.faithfulness.evaluation import FaithfulnessConfig
    from audioseg_xai.faithfulness.study import Limits, study
    from audioseg_xai.faithfulness.table import markdown_table, print_study
    from audioseg_xai.pipeline import Settings, load_pipeline
    from audioseg_xai.provenance import provenance

    methods = {}
    if baselines:
        from audioseg_xai.faithfulness.baselines import BASELINES

        methods = BASELINES
    pipeline = load_pipeline(Settings(device="cpu", **processing))
    threshold = pipeline.model.config.relevance_threshold if tau is None else tau
    values = {"threshold": threshold, "mask": mask, "draws": draws, "seed": seed}
    config = parse_config(values, FaithfulnessConfig, "options")
    found = study(
        pipeline,
        recordings,
        config,
        Limits(segments, duration),
        methods,
        lambda items: progress(items, description="measured"),
    ).figures()
    print_study(found)
    if markdown is not None:
        write_text_atomic(markdown, markdown_table(found))
    if json_path is not None:
        origin = provenance(config.model_dump() | {"model_digest": pipeline.model.digest})
        write_text_atomic(json_path, json.dumps(found | {"provenance": origin}, indent=1) + "\n")
    if figure is not None:
        from audioseg_xai.report.curves import draw_curves
        from audioseg_xai.report.figure import save_figure

        save_figure(draw_curves(found["curves"]), figure)
    for path in (json_path, markdown, figure):
        if path is not None:
            log.info(f"written: {path}")


if __name__ == "__main__":
    cli()
