"""Segment recordings, and show which frequencies each decision rests on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audioseg_xai.cli import command, device_option, num_workers_option
from audioseg_xai.errors import UsageError
from audioseg_xai.recordings import (
    STDIN,
    Recording,
    check_outputs,
    check_workers,
    processing_options,
    recording_options,
    shard_of,
)
from audioseg_xai.report.paths import FIGURES, Scale, chosen_scale, output_paths, scale_option
from audioseg_xai.shards import Job, job_option

if TYPE_CHECKING:
    from audioseg_xai.report.page import Media


@command("explain")
@recording_options
@click.option("--rttm", type=Path, metavar="FILE", help="Write RTTM here; else to stdout.")
@click.option("--hdf5", type=Path, metavar="FILE", help="Write the explanation archive here.")
@click.option(
    "--figure",
    metavar="FILE",
    help="Draw each recording: .png, .pdf or .svg; {uri} in it stands for the recording.",
)
@scale_option
@click.option(
    "--report",
    metavar="FILE",
    help="Make a page of each recording: .html; {uri} in it stands for the recording.",
)
@click.option(
    "--media", type=click.Choice(["embed", "link", "none"]),
    help="Put the sound into the page (as without this), link to the file, or leave it out.",
)  # fmt: skip
@click.option(
    "--tau",
    type=click.FloatRange(0, 1, max_open=True),
    help="Show components above this share of the largest relevance; else as the model says.",
)
@click.option(
    "--listen",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write what each decision rests on, and the rest, as sound (16 kHz mono) into DIR.",
)
@click.option("--compress", is_flag=True, help="Make the archive smaller, in more time.")
@processing_options
@job_option
@device_option
@num_workers_option
def cli(
    recordings: list[Recording],
    rttm: Path | None,
    hdf5: Path | None,
    figure: str | None,
    scale: Scale | None,
    report: str | None,
    media: Media | None,
    tau: float | None,
    listen: Path | None,
    compress: bool,
    job: Job | None,
    num_workers: int,
    **processing: Any,
) -> None:
    """Segment AUDIO..., and show which frequencies each decision rests on.

    AUDIO is any file with sound in it, or - for standard input (an mp4 or m4a with its index at the
    end must be given as a file). Without --hdf5, --figure and --report the archive lies beside the
    RTTM. A table on stderr says what was found. See also xai-segment report, which makes pages of
    an archive and compares with other systems.

    --listen makes a folder DIR/URI for each recording: CLASS_ONSET-OFFSET_relevant.wav is what the
    components that a segment rests on account for, and ..._rest.wav all else; both add up to the
    sound. CLASS_relevant.wav has the relevant parts of a class in their places, and silence between
    them. index.json says which file is what.

    With --num-workers N, N recordings are worked on at once, as xai-segment segment does. Until the
    turn of a recording comes, its part of the archive waits in a folder beside it.
    """
    if hdf5 is None and figure is None and report is None:
        if rttm is None and listen is None:
            raise UsageError(
                "nowhere to put the explanation: say --hdf5 FILE, --figure FILE, --report FILE or "
                "--listen DIR"
            )
        hdf5 = rttm.with_suffix(".h5") if rttm is not None else None
    uris = [recording.uri for recording in recordings]
    figures = output_paths(uris, figure, "--figure", FIGURES)
    reports = output_paths(uris, report, "--report", (".html", ".htm"))
    if reports and any(recording.path == STDIN for recording in recordings):
        raise UsageError("--report: standard input is gone once it was read: save it first")
    if media is not None and report is None:
        raise UsageError("--media: is about the page: say --report FILE as well")
    check_outputs(recordings, [rttm, hdf5, *figures.values(), *reports.values()])
    check_workers(recordings, num_workers)
    shard, recordings = shard_of(recordings, job, [rttm, hdf5])
    from audioseg_xai.explaining import Outputs, explain_recordings
    from audioseg_xai.pipeline import Settings

    outputs = Outputs(
        rttm=rttm, hdf5=hdf5, figures=figures, scale=chosen_scale(scale, figure),
        compress=compress, listen=listen, reports=reports, media=media or "embed",
    )  # fmt: skip
    settings = Settings(num_workers=num_workers, **processing)
    explain_recordings(recordings, settings, outputs, threshold=tau, shard=shard)


if __name__ == "__main__":
    cli()
