"""Compare the hypotheses of several systems: F1 with intervals, and whether differences hold."""

from __future__ import annotations

import json
from pathlib import Path

import click

from audioseg_xai.cli import command, log, named_paths, seed_option
from audioseg_xai.errors import UsageError
from audioseg_xai.files import sha256_file, write_text_atomic
from audioseg_xai.labels import CLASSES, parse_classes
from audioseg_xai.recordings import Recording, check_outputs


@command()
@click.option("--reference", required=True, metavar="RTTM", help="What is right.")
@click.option("--uem", metavar="UEM", help="What is scored; else all of each recording.")
@click.option("--classes", default=",".join(CLASSES), help="Classes that the reference annotates.")
@click.option(
    "--system", "systems", required=True, multiple=True, metavar="NAME=RTTM", callback=named_paths,
    help="A system and its hypothesis (repeatable).",
)  # fmt: skip
@click.option("--baseline", metavar="NAME", help="Compare with this system only; else each pair.")
@click.option("--fidelity-to", metavar="NAME", help="Say how far the others decide as this one.")
@click.option("--groups", metavar="FILE", help="Lines '<uri> <group>': compare on each as well.")
@click.option("--collar", default=0.0, help="Seconds not scored around reference boundaries.")
@click.option("--allow-missing", is_flag=True, help="Count recordings without hypothesis as empty.")
@click.option("--resamples", type=click.IntRange(min=1), default=1000, help="Of the recordings.")
@click.option(
    "--confidence", type=click.FloatRange(0, 100, min_open=True, max_open=True), default=95.0,
    help="Percent of the resamples that an interval holds.",
)  # fmt: skip
@seed_option
@click.option("--json", "json_path", type=Path, metavar="FILE", help="Write all figures here.")
@click.option("--markdown", type=Path, metavar="FILE", help="Write the tables here as Markdown.")
def cli(
    reference: str,
    uem: str | None,
    classes: str,
    systems: dict[str, Path],
    baseline: str | None,
    fidelity_to: str | None,
    groups: str | None,
    collar: float,
    allow_missing: bool,
    resamples: int,
    confidence: float,
    seed: int,
    json_path: Path | None,
    markdown: Path | None,
) -> None:
    """Compare the hypotheses of several systems on one reference.

    Precision, recall and F1 are pooled over the recordings, as score does. Intervals come from
    resampling the recordings; differences between systems from the same resamples.
    """
    inputs = [str(path) for path in (reference, uem, groups, *systems.values()) if path]
    check_outputs([Recording(path, path) for path in inputs], [json_path, markdown])
    for name in (baseline, fidelity_to):
        if name not in (None, *systems):
            raise UsageError(f"no system is called {name!r}: there are {', '.join(systems)}")
    from audioseg_xai.annotation import read_rttm, read_uem
    from audioseg_xai.comparison import Bootstrap, compare, fidelity
    from audioseg_xai.comparison_tables import sheets
    from audioseg_xai.groups import group_recordings
    from audioseg_xai.provenance import provenance
    from audioseg_xai.scoring import score_systems, whole_recordings
    from audioseg_xai.sheets import markdown as as_markdown
    from audioseg_xai.sheets import print_sheets

    right, names = read_rttm(reference), parse_classes(classes)
    found = {name: read_rttm(path) for name, path in systems.items()}
    regions = read_uem(uem) if uem else whole_recordings(right, found.values())
    scores = score_systems(right, found, regions, names, collar, allow_missing=allow_missing)
    subsets = group_recordings(groups, regions) if groups else {}
    bootstrap = Bootstrap(resamples=resamples, seed=seed, confidence=confidence)
    comparison = compare(scores, bootstrap, baseline=baseline, groups=subsets)
    fidelities = fidelity(found, fidelity_to, regions, names) if fidelity_to else {}
    tables = sheets(comparison, bootstrap, fidelity_to, fidelities)
    print_sheets(tables)
    if markdown is not None:
        write_text_atomic(markdown, as_markdown(tables))
    if json_path is not None:
        settings = bootstrap.model_dump() | {"collar": collar, "classes": names, "uem": bool(uem)}
        settings["systems"] = {name: sha256_file(path) for name, path in systems.items()}
        content = comparison.to_dict() | {
            "fidelity_to": fidelity_to,
            "fidelity": {
                n: {c: f.to_dict() for c, f in by.items()} for n, by in fidelities.items()
            },
            "provenance": provenance(settings, inputs),
        }
        write_text_atomic(json_path, json.dumps(content, indent=1) + "\n")
    for path in (json_path, markdown):
        if path is not None:
            log.info(f"written: {path}")


if __name__ == "__main__":
    cli()
