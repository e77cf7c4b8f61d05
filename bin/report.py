"""Make an HTML page of each explained recording: what sounds when, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from audioseg_xai.cli import command, named_paths
from audioseg_xai.errors import UsageError
from audioseg_xai.recordings import Recording, check_outputs, collect
from audioseg_xai.report.paths import output_paths

if TYPE_CHECKING:
    from audioseg_xai.report.page import Media


@command("report")
@click.argument("archive", type=Path, metavar="EXPLANATIONS.h5")
@click.argument("audio", nargs=-1, metavar="[AUDIO]...")
@click.option("--datadir", metavar="DIR", help="Take the audio of a data directory.")
@click.option(
    "--output",
    required=True,
    metavar="FILE",
    help="The page; {uri} in it stands for the recording.",
)
@click.option("--uri", "uris", multiple=True, help="Only this recording (repeatable).")
@click.option(
    "--media", type=click.Choice(["embed", "link", "none"]), default="embed",
    help="Put the sound into the page, link to the file, or leave it out.",
)  # fmt: skip
@click.option(
    "--listen", type=click.IntRange(min=0), default=5, metavar="N",
    help="Of the N most confident segments of a class, embed what they rest on as sound.",
)  # fmt: skip
@click.option("--reference", type=Path, metavar="RTTM", help="Show what is right, and the errors.")
@click.option(
    "--hypothesis", "hypotheses", multiple=True, metavar="NAME=RTTM", callback=named_paths,
    help="Show another system, and where it decides otherwise (repeatable).",
)  # fmt: skip
@click.option("--uem", type=Path, metavar="UEM", help="Compare only there; else everywhere.")
@click.option("--classes", help="Compare only these; else those that occur in each RTTM.")
@click.option(
    "--worst", metavar="FILE",
    help="Write the longest errors, or without --reference the least certain regions, as Audacity "
    "labels (.txt); {uri} as in --output.",
)  # fmt: skip
@click.option(
    "--prototypes", type=Path, metavar="FILE",
    help="Show these, of xai-segment prototypes; else those of all recordings in the archive.",
)  # fmt: skip
@click.option("--allow-truncated", is_flag=True, help="Use what is left of damaged files.")
def cli(
    archive: Path,
    audio: tuple[str, ...],
    datadir: str | None,
    output: str,
    uris: tuple[str, ...],
    media: Media,
    listen: int,
    reference: Path | None,
    hypotheses: dict[str, Path],
    uem: Path | None,
    classes: str | None,
    worst: str | None,
    prototypes: Path | None,
    allow_truncated: bool,
) -> None:
    """Make a page of each recording in EXPLANATIONS.h5, which xai-segment explain --hdf5 wrote.

    A page is one file that a browser opens offline: player, spectrogram, probabilities, segments,
    and for each the frequencies and components that the decision rests on. AUDIO are the recordings
    that were explained; without, a page shows the spectrogram as the model reconstructs it, and has
    no sound. A page with embedded sound takes some 15 MB an hour.
    """
    if media == "link" and not (audio or datadir):
        raise UsageError("--media link: name the AUDIO to link to")
    if (uem or classes) and not (reference or hypotheses):
        raise UsageError("--uem and --classes: say what to compare with, --reference RTTM")
    inputs = [archive, *filter(None, [reference, uem, prototypes]), *hypotheses.values()]
    recordings = collect(audio, datadir=datadir) if audio or datadir else []
    from audioseg_xai.report.sources import choose_uris, match_audio
    from audioseg_xai.report.systems import read_systems
    from audioseg_xai.report.writing import Plan, write_reports

    chosen = choose_uris(archive, uris)
    pages = output_paths(chosen, output, "--output", (".html", ".htm"))
    labels = output_paths(chosen, worst, "--worst", (".txt",))
    read = [*recordings, *(Recording(path.name, str(path)) for path in inputs)]
    check_outputs(read, [*pages.values(), *labels.values()])
    plan = Plan(
        pages=pages,
        audio=match_audio(chosen, recordings),
        media=media,
        sounds=listen,
        systems=read_systems(reference, hypotheses, chosen, uem=uem, classes=classes),
        worst=labels,
        prototypes=prototypes,
        on_truncated="warn" if allow_truncated else "error",
    )
    write_reports(archive, plan)


if __name__ == "__main__":
    cli()
