"""Say when there is speech, music, noise and overlapped speech: RTTM."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import click

from audioseg_xai.cli import command, device_option, num_workers_option, run_items
from audioseg_xai.errors import UsageError
from audioseg_xai.recordings import (
    STDIN,
    Recording,
    check_outputs,
    processing_options,
    recording_options,
)


@command("segment")
@recording_options
@click.option("--rttm", type=Path, metavar="FILE", help="Write RTTM here; else to stdout.")
@processing_options
@device_option
@num_workers_option
def cli(
    recordings: list[Recording], rttm: Path | None, num_workers: int, **processing: Any
) -> None:
    """Say when there is speech, music, noise and overlapped speech in AUDIO...

    AUDIO is any file with sound in it, or - for standard input (an mp4 or m4a with its index at the
    end must be given as a file). The RTTM has a line a segment, in the order of the recordings,
    with the mean probability of the class in field 9.
    """
    check_outputs(recordings, [rttm])
    if num_workers > 1 and STDIN in (recording.path for recording in recordings):
        raise UsageError("- (standard input) cannot be shared: leave out --num-workers")
    from audioseg_xai.annotation import rttm_lines
    from audioseg_xai.pipeline import Settings, load_pipeline, segment
    from audioseg_xai.textfields import write_lines

    settings = Settings(num_workers=num_workers, **processing)
    load_pipeline(settings)  # what is wrong with the model is said once, not for each recording
    outcome = run_items(
        recordings,
        functools.partial(segment, settings=settings),
        describe=lambda recording: recording.source,
        num_workers=num_workers,
    )
    if outcome.done:
        lines = [line for found in outcome.done for line in rttm_lines(found.uri, found.segments)]
        write_lines(lines, rttm or sys.stdout)


if __name__ == "__main__":
    cli()
