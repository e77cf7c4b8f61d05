"""Probe activations for what the student was not trained for: gender, genre, phone class ..."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import click

from audioseg_xai.cli import command, log, seed_option
from audioseg_xai.files import write_text_atomic
from audioseg_xai.recordings import Recording, check_outputs
from audioseg_xai.report.paths import check_suffix


@command()
@click.argument("archives", nargs=-1, required=True, type=Path, metavar="ARCHIVE.h5...")
@click.option(
    "--labels", required=True, type=Path, metavar="FILE",
    help="RTTM, or .csv with uri,onset,offset,label and perhaps group,split.",
)  # fmt: skip
@click.option("--train-list", type=Path, metavar="FILE", help="Learn from these uris, one a line.")
@click.option("--test-list", type=Path, metavar="FILE", help="Test with these uris, one a line.")
@click.option(
    "--folds", type=click.IntRange(min=2), show_default="5 unless lists or labels divide",
    help="Parts of whole recordings (and groups) that are tested with in turn.",
)  # fmt: skip
@click.option(
    "--min-examples", type=click.IntRange(min=2), default=5, help="Leave out labels with fewer."
)
@click.option(
    "--penalty", type=click.FloatRange(0, min_open=True), default=1.0, help="On coefficients (L2)."
)
@seed_option
@click.option("--json", "json_path", type=Path, metavar="FILE", help="Write all figures here.")
@click.option("--markdown", type=Path, metavar="FILE", help="Write the tables here as Markdown.")
@click.option("--figure", type=Path, metavar="FILE", help="Draw it: .png, .pdf or .svg.")
def cli(
    archives: tuple[Path, ...],
    labels: Path,
    train_list: Path | None,
    test_list: Path | None,
    folds: int | None,
    min_examples: int,
    penalty: float,
    seed: int,
    json_path: Path | None,
    markdown: Path | None,
    figure: Path | None,
) -> None:
    """Tell what a label file says from the mean activations in ARCHIVE.h5..., linearly.

    An example is a labelled stretch of a recording. No recording, and no group, is both learned
    from and tested with. Answers far above chance mean that the activations hold the factor.
    """
    inputs = [path for path in (*archives, labels, train_list, test_list) if path]
    check_outputs([Recording(p.name, str(p)) for p in inputs], [json_path, markdown, figure])
    check_suffix(figure, "--figure")
    from audioseg_xai.probing.probe import ProbeConfig, probe_archives
    from audioseg_xai.probing.tables import sheets
    from audioseg_xai.provenance import provenance
    from audioseg_xai.sheets import markdown as as_markdown
    from audioseg_xai.sheets import print_sheets

    config = ProbeConfig(folds=folds, min_examples=min_examples, penalty=penalty, seed=seed)
    found = probe_archives(archives, labels, config, train_list=train_list, test_list=test_list)
    tables = sheets(found)
    print_sheets(tables)
    if markdown is not None:
        write_text_atomic(markdown, as_markdown(tables))
    if json_path is not None:
        settings = config.model_dump() | {"scikit-learn": metadata.version("scikit-learn")}
        content = found.to_dict() | {"provenance": provenance(settings, inputs)}
        write_text_atomic(json_path, json.dumps(content, indent=1) + "\n")
    if figure is not None:
        from audioseg_xai.report.figure import save_figure
        from audioseg_xai.report.probe import draw_probe

        drawn = draw_probe(found.labels, found.confusion, found.relevance, found.frequencies)
        save_figure(drawn, figure)
    for path in (json_path, markdown, figure):
        if path is not None:
            log.info(f"written: {path}")


if __name__ == "__main__":
    cli()
