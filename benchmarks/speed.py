"""Time and peak memory of `xai-segment explain`, and silero-vad on the same file in the same run.

    python benchmarks/speed.py            # needs: pip install -e '.[benchmark]'

Both run as whole programs on one thread, start-up and reading included; ours also writes RTTM and
the HDF5 archive. The recording is the bundled demo, repeated. Prints a Markdown table.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import soundfile

DEMO = Path(__file__).resolve().parent.parent / "audioseg_xai" / "assets" / "demo.flac"
RATE = 16_000

SILERO = """
import sys, soundfile, torch
from silero_vad import get_speech_timestamps, load_silero_vad
torch.set_num_threads(1)
samples, rate = soundfile.read(sys.argv[1], dtype="float32")
found = get_speech_timestamps(torch.from_numpy(samples), load_silero_vad(), sampling_rate=rate)
print(len(found))
"""


@dataclass(frozen=True)
class Run:
    """What a program took: wall and processor seconds, peak resident memory in MB."""

    wall: float
    cpu: float
    peak: float


def write_recording(path: Path, hours: float) -> None:
    """Write the demo recording over and over, until it is `hours` long."""
    samples, rate = soundfile.read(DEMO, dtype="int16")
    assert rate == RATE
    remaining = round(hours * 3600 * RATE)
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as target:
        while remaining > 0:
            part: np.ndarray = samples[:remaining]
            target.write(part)
            remaining -= len(part)


def measure(command: list[str]) -> Run:
    """Run a program on one thread and return what it took."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    started = time.perf_counter()
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    if status:
        sys.exit(f"failed: {' '.join(command)}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def explain(recording: Path, folder: Path) -> Run:
    """Measure segmenting and explaining a recording, with RTTM and archive."""
    command = [sys.executable, "-m", "audioseg_xai.bin.explain", str(recording), "--threads", "1"]
    return measure([*command, "--rttm", f"{folder}/out.rttm", "--hdf5", f"{folder}/out.h5"])


def row(name: str, hours: float, run: Run) -> str:
    """Return a line of the table."""
    speed = hours * 3600 / run.wall
    cells = (name, f"{hours:g}", f"{run.wall:.1f}", f"{run.cpu:.1f}", f"{speed:.0f}x")
    return f"| {' | '.join(cells)} | {run.peak:.0f} |"


@click.command()
@click.option("--hours", default=1.0, show_default=True, help="Of the file that both are timed on.")
@click.option("--long-hours", default=6.0, show_default=True, help="Of the file for peak memory.")
def main(hours: float, long_hours: float) -> None:
    """Measure, and print a Markdown table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lengths = {"short": 1 / 6, "timed": hours, "long": long_hours}
        for stem, length in lengths.items():
            write_recording(folder / f"{stem}.wav", length)
        silero = measure([sys.executable, "-c", SILERO, str(folder / "timed.wav")])
        ours = {stem: explain(folder / f"{stem}.wav", folder) for stem in lengths}
    print("| program | hours | wall s | CPU s | real time | peak MB |\n|---|---|---|---|---|---|")
    for stem, length in lengths.items():
        print(row("xai-segment explain", length, ours[stem]))
    print(row("silero-vad", hours, silero))
    cpu, wall = ours["timed"].cpu / silero.cpu, ours["timed"].wall / silero.wall
    growth = ours["long"].peak / ours["short"].peak
    print(f"\nAgainst silero-vad: {cpu:.2f} of its CPU time, {wall:.2f} of its wall time")
    print(f"Peak memory, {long_hours:g} h against 10 minutes: {growth:.2f}")
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")


if __name__ == "__main__":
    main()
