"""Average the explanations of a set into a prototype of each class."""

from __future__ import annotations

from pathlib import Path

import click

from audioseg_xai.cli import command, log
from audioseg_xai.recordings import Recording, check_outputs
from audioseg_xai.report.paths import Scale, check_suffix, chosen_scale, scale_option


@command("prototypes")
@click.argument("archives", nargs=-1, required=True, type=Path, metavar="ARCHIVE.h5...")
@click.option("--output", required=True, type=Path, metavar="FILE", help="HDF5 file to write.")
@click.option("--figure", type=Path, metavar="FILE", help="Draw them: .png, .pdf or .svg.")
@scale_option
@click.option(
    "--agree-with",
    type=Path,
    metavar="RTTM",
    help="Only of segments where this system, the teacher say, decides the same.",
)
@click.option(
    "--overlap",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.5,
    help="Share of a segment over which --agree-with must decide the same.",
)
def cli(
    archives: tuple[Path, ...],
    output: Path,
    figure: Path | None,
    scale: Scale | None,
    agree_with: Path | None,
    overlap: float,
) -> None:
    """Average the explanations in ARCHIVE.h5... into a prototype of each class.

    A prototype is the mean relevance over all segments of a class; its spectrum shows at which
    frequencies the model finds the class.
    """
    inputs = [*archives, *([agree_with] if agree_with else [])]
    check_outputs([Recording(path.name, str(path)) for path in inputs], [output, figure])
    check_suffix(figure, "--figure")
    on = chosen_scale(scale, figure)
    from audioseg_xai.characteristics import describe, print_characteristics
    from audioseg_xai.explain import prototypes
    from audioseg_xai.explanation_archive import (
        ExplanationArchive,
        iter_explanations,
        read_decisions,
        write_prototypes,
    )
    from audioseg_xai.provenance import provenance

    with ExplanationArchive(archives[0]) as archive:
        readout = archive.readout
    decisions = read_decisions(agree_with, archives) if agree_with else None
    explanations = (explanation for _, explanation in iter_explanations(archives))
    found = prototypes(explanations, readout, agree_with=decisions, overlap=overlap)
    if figure is not None:
        from audioseg_xai.report.figure import draw_prototypes, save_figure

        save_figure(draw_prototypes(found, readout, on), figure)
        log.info(f"figure: {figure}")
    settings = {"agree_with": agree_with.name, "overlap": overlap} if agree_with else {}
    write_prototypes(output, found, readout, provenance(settings, inputs))
    dropped = [""] * len(found.counts)
    if found.dropped is not None:
        dropped = [f", and {count} that {agree_with} does not share" for count in found.dropped]
    for name, count, others in zip(readout.classes, found.counts, dropped, strict=True):
        log.info(f"{name}: {count} segments{others}")
    log.info(f"prototypes: {output}")
    print_characteristics(describe(found, readout))


if __name__ == "__main__":
    cli()
