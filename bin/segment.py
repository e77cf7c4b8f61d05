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
    Recording,
    check_outputs,
    check_workers,
    processing_options,
    recording_options,
    shard_of,
)
from audioseg_xai.shards import Job, job_option

SIGNALLED = 128
"""What a shell adds to the number of the signal that ended a program."""


@command("segment")
@recording_options
@click.option("--rttm", type=Path, metavar="FILE", help="Write RTTM here; else to stdout.")
@click.option("--raw", metavar="FORMAT", help="AUDIO has no header: s16le, s16le:48000:2, ...")
@click.option(
    "--latency",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Print a live segment this soon after its end, though less of what follows is heard.",
)
@processing_options
@job_option
@device_option
@num_workers_option
def cli(
    recordings: list[Recording],
    rttm: Path | None,
    job: Job | None,
    latency: float | None,
    num_workers: int,
    **processing: Any,
) -> None:
    """Say when there is speech, music, noise and overlapped speech in AUDIO...

    AUDIO is any file with sound in it, or - for standard input (an mp4 or m4a with its index at the
    end must be given as a file). The RTTM has a line a segment, in the order of the recordings,
    with the mean probability of the class in field 9.

    A pipe may go on for ever: with - alone, each line is printed once its segment is known to have
    ended, in that order. That takes 14 s with the model that ships, for the same segments as from a
    file; --latency 2 takes 2 s, with somewhat less accuracy. --raw takes samples without a header:
    u8, s16le, s16be, s32le or f32le, with sampling rate and channels if not 16000 and 1. SIGINT and
    SIGTERM end a live stream: what was heard until then is printed.

    With --num-workers N, N recordings are worked on at once: each in a process of its own on a CPU;
    all in one on a GPU, which computes them together.
    """
    check_outputs(recordings, [rttm])
    check_workers(recordings, num_workers)
    from audioseg_xai.annotation import rttm_lines
    from audioseg_xai.live import follow, is_live
    from audioseg_xai.pipeline import Settings, load_pipeline, segment
    from audioseg_xai.textfields import write_lines

    shard, recordings = shard_of(recordings, job, [rttm])
    settings = Settings(num_workers=num_workers, **processing)
    pipeline = load_pipeline(settings)  # what is wrong with the model is said once
    if is_live(recordings) and not shard:
        stopped_by = follow(pipeline, recordings[0].uri, latency, rttm)
        click.get_current_context().exit(SIGNALLED + stopped_by if stopped_by else 0)
    if latency is not None:
        raise UsageError("--latency is for a live stream: give - alone, at the end of a pipe")
    outcome = run_items(
        recordings,
        functools.partial(segment, settings=settings),
        describe=lambda recording: recording.source,
        num_workers=num_workers,
        threads=pipeline.on_gpu,
    )
    if outcome.done or shard:
        lines = (line for found in outcome.done for line in rttm_lines(found.uri, found.segments))
        write_lines(lines, rttm or sys.stdout)
    if shard:
        shard.finish([rttm], {found.uri for found in outcome.done}, pipeline.describe())


if __name__ == "__main__":
    cli()
