"""Segment recordings, and show which frequencies each decision rests on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from audioseg_xai.cli import command, device_option
from audioseg_xai.errors import UsageError
from audioseg_xai.recordings import Recording, check_outputs, processing_options, recording_options


@command("explain")
@recording_options
@click.option("--rttm", type=Path, metavar="FILE", help="Write RTTM here; else to stdout.")
@click.option("--hdf5", type=Path, metavar="FILE", help="Write the explanation archive here.")
@click.option(
    "--figure",
    metavar="FILE",
    help="Draw each recording: .png, .pdf or .svg; {uri} in it stands for the recording.",
)
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
@device_option
def cli(
    recordings: list[Recording],
    rttm: Path | None,
    hdf5: Path | None,
    figure: str | None,
    tau: float | None,
    listen: Path | None,
    compress: bool,
    **processing: Any,
) -> None:
    """Segment AUDIO..., and show which frequencies each decision rests on.

    AUDIO is any file with sound in it, or - for standard input (an mp4 or m4a with its index at the
    end must be given as a file). Without --hdf5 and --figure the archive lies beside the RTTM. A
    table on stderr says what was found.

    --listen makes a folder DIR/URI for each recording: CLASS_ONSET-OFFSET_relevant.wav is what the
    components that a segment rests on account for, and ..._rest.wav all else; both add up to the
    sound. CLASS_relevant.wav has the relevant parts of a class in their places, and silence between
    them. index.json says which file is what.
    """
    if hdf5 is None and figure is None:
        if rttm is None and listen is None:
            raise UsageError(
                "nowhere to put the explanation: say --hdf5 FILE, --figure FILE or --listen DIR"
            )
        hdf5 = rttm.with_suffix(".h5") if rttm is not None else None
    figures = figure_paths(recordings, figure)
    check_outputs(recordings, [rttm, hdf5, *figures.values()])
    from audioseg_xai.explaining import Outputs, explain_recordings
    from audioseg_xai.pipeline import Settings

    outputs = Outputs(rttm=rttm, hdf5=hdf5, figures=figures, compress=compress, listen=listen)
    explain_recordings(recordings, Settings(**processing), outputs, threshold=tau)


def figure_paths(recordings: list[Recording], pattern: str | None) -> dict[str, Path]:
    """Return the figure of each recording, by uri; none without a pattern."""
    if pattern is None:
        return {}
    if Path(pattern).suffix.lower() not in (".png", ".pdf", ".svg"):
        raise UsageError(f"--figure {pattern}: must end in .png, .pdf or .svg")
    if len(recordings) > 1 and "{uri}" not in pattern:
        raise UsageError(
            f"--figure {pattern}: {len(recordings)} recordings need as many figures: put {{uri}} "
            "into the name"
        )
    return {r.uri: Path(pattern.replace("{uri}", r.uri.replace("/", "_"))) for r in recordings}


if __name__ == "__main__":
    cli()
