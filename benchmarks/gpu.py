"""`segment` on a GPU: one recording after the other, several at once, and a CPU beside it.

    pip install -c constraints.txt -e '.[benchmark]'
    python benchmarks/gpu.py [--model DIR]

All run as whole programs, start-up and reading included, on recordings made of the bundled demo.
Wall time counts: a GPU waits for whoever decodes. The limit is what decoding on all cores that are
used would allow, if everything else took no time.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click
import torch
from programs import Run, run_program
from results import Cell, Limit, Result, options, publish
from speed import write_recording

from audioseg_xai.audio import AudioReader

WORKERS = 8


def segment(files: list[Path], model: str | None, device: str, workers: int) -> Run:
    """Run `segment` on all files, so many at once."""
    program = [sys.executable, "-m", "audioseg_xai.bin.segment", *files, "--device", device]
    chosen = ["--model", model] if model else []
    rttm = files[0].with_name(f"{device}{workers}.rttm")
    given = [*chosen, "--num-workers", str(workers), "--rttm", rttm]
    return run_program([*program, *given], threads=True)


def runs(files: list[Path], model: str | None, device: str) -> Iterator[tuple[str, int, Run]]:
    """Yield device, recordings at once, and what was measured."""
    cores = len(os.sched_getaffinity(0))
    for where, workers in ((device, 1), (device, min(WORKERS, cores)), ("cpu", cores)):
        yield where, workers, segment(files, model, where, workers)


def decoding_rate(recording: Path, hours: float) -> float:
    """Return the seconds of audio that one core decodes a second."""
    begin = time.perf_counter()
    with AudioReader(recording) as reader:
        for _ in reader:
            pass
    return hours * 3600 / (time.perf_counter() - begin)


@click.command()
@click.option("--hours", default=0.5, show_default=True, help="Of each recording.")
@click.option("--files", default=32, show_default=True, help="How many recordings.")
@click.option("--device", default="cuda", show_default=True, help="cuda or cuda:N.")
@click.option("--model", metavar="DIR", help="Model directory; else the one that ships.")
@options
def main(
    hours: float, files: int, device: str, model: str | None, quick: bool, json_path: Path | None
) -> None:
    """Measure, and print Markdown tables."""
    if device != "cpu" and not torch.cuda.is_available():
        sys.exit("gpu: no usable GPU here: run it on a machine with one (xai-segment doctor)")
    if quick:
        hours, files = 0.02, 8
    with tempfile.TemporaryDirectory() as name:
        recordings = [write_recording(Path(name) / f"{n}.flac", hours) for n in range(files)]
        publish(measure(recordings, hours, device, model), json_path)


def measure(files: list[Path], hours: float, device: str, model: str | None) -> Result:
    """Return all that this benchmark finds."""
    total = hours * 3600 * len(files)
    measured = list(runs(files, model, device))
    rows: list[dict[str, Cell]] = [
        {
            "segment on": where,
            "recordings at once": workers,
            "wall s": run.wall,
            "audio s a second": total / run.wall,
            "CPU s": run.cpu,
            "peak MB": run.peak,
        }
        for where, workers, run in measured
    ]
    (_, _, one), (_, several, together), (_, _, cpu) = measured
    ratios = {
        f"wall time of 1 / {several} recordings at once, GPU": one.wall / together.wall,
        "wall time of all cores / GPU": cpu.wall / together.wall,
    }
    bound = several * decoding_rate(files[0], hours)
    limit = Limit("segment, against decoding alone", total / together.wall, bound, "x real time")
    return Result("gpu", rows, ratios, [limit])


if __name__ == "__main__":
    main()
