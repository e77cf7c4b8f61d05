"""Average the explanations of a set into a prototype of each class."""

from __future__ import annotations

from pathlib import Path

import click

from audioseg_xai.cli import command, log
from audioseg_xai.recordings import check_outputs


@command("prototypes")
@click.argument("archives", nargs=-1, required=True, type=Path, metavar="ARCHIVE.h5...")
@click.option("--output", required=True, type=Path, metavar="FILE", help="HDF5 file to write.")
@click.option("--figure", type=Path, metavar="FILE", help="Draw them: .png, .pdf or .svg.")
def cli(archives: tuple[Path, ...], output: Path, figure: Path | None) -> None:
    """Average the explanations in ARCHIVE.h5... into a prototype of each class.

    A prototype is the mean relevance over all segments of a class; its spectrum shows at which
    frequencies the model finds the class.
    """
    check_outputs([], [*archives, output, figure])
    from audioseg_xai.explain import prototypes
    from audioseg_xai.explanation_archive import (
        ExplanationArchive,
        iter_explanations,
        write_prototypes,
    )
    from audioseg_xai.provenance import provenance

    with ExplanationArchive(archives[0]) as archive:
        readout = archive.readout
    found = prototypes((explanation for _, explanation in iter_explanations(archives)), readout)
    if figure is not None:
        from audioseg_xai.report.figure import draw_prototypes, save_figure

        save_figure(draw_prototypes(found, readout), figure)
        log.info(f"figure: {figure}")
    write_prototypes(output, found, readout, provenance(inputs=archives))
    for name, count in zip(readout.classes, found.counts, strict=True):
        log.info(f"{name}: {count} segments")
    log.info(f"prototypes: {output}")


if __name__ == "__main__":
    cli()
