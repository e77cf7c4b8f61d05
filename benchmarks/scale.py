"""From an hour to an archive: measured costs, memory of a day, and a plan for a cluster.

    python benchmarks/scale.py                       # writes benchmarks/scale.md
    python benchmarks/scale.py --hours 1 --hours 10 --hours 100
    python benchmarks/scale.py --quick               # some minutes of audio, prints only

Measures, on one thread: processor seconds of each part for an hour of audio; whole programs on some
hours, which shows whether cost is linear; peak memory of a file of a day and of an hour; bytes that
each artefact takes; files opened and system calls. From these it computes what an archive takes on
a cluster (`cluster.py`), with the first bottleneck, and the effects of the number of jobs and of
failing nodes.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from cluster import Cluster
from machine import gemm_peak
from parts import (
    DEMO,
    compute_costs,
    decode_costs,
    network_operations,
    repeated,
    write_recordings,
)
from programs import Run, run_program
from results import Cell, Result, options, publish
from scale_plan import Costs, plan_page

from audioseg_xai.annotation import read_rttm
from audioseg_xai.audio import read_audio, write_wav
from audioseg_xai.datadir import DataDir
from audioseg_xai.files import write_text_atomic
from audioseg_xai.frames import SAMPLE_RATE

FOLDER = Path(__file__).resolve().parent
HOUR = 3600.0


@dataclass(frozen=True)
class Program:
    """A command of ours, and what it writes for a recording in a folder."""

    name: str
    options: tuple[str, ...]

    def run(self, recordings: Sequence[Path], folder: Path) -> Run:
        """Run it over recordings, outputs into `folder`."""
        return run_program([sys.executable, "-m", *self.arguments(recordings, folder)])

    def arguments(self, recordings: Sequence[Path], folder: Path) -> list[str]:
        """Return module and arguments."""
        given = [option.format(folder=folder) for option in self.options]
        files = [str(path) for path in recordings]
        return [f"audioseg_xai.bin.{self.name}", *files, "--threads", "1", *given]


SEGMENT = Program("segment", ("--rttm", "{folder}/segment.rttm"))
EXPLAIN = Program("explain", ("--rttm", "{folder}/explain.rttm", "--hdf5", "{folder}/explain.h5"))
COMPRESSED = Program(
    "explain",
    ("--rttm", "{folder}/explain.rttm", "--hdf5", "{folder}/small.h5", "--compress"),
)


def write_hours(path: Path, hours: float) -> Path:
    """Write the bundled demo, repeated, as 16-bit WAV of `hours`."""
    demo = read_audio(DEMO)
    write_wav(path, repeated(demo, round(hours * HOUR * SAMPLE_RATE)))
    return path


def linked(recording: Path, number: int, folder: Path) -> list[Path]:
    """Return `number` names for the same recording, so that it counts as many."""
    folder.mkdir()
    names = [folder / f"r{index:04}{recording.suffix}" for index in range(number)]
    for name in names:
        name.symlink_to(recording)
    return names


def linear_rows(
    hours: Sequence[float], recording: Path, unit: float, folder: Path
) -> list[dict[str, Cell]]:
    """Return a row for each number of hours: many recordings of `unit` hours, one call."""
    rows: list[dict[str, Cell]] = []
    for program in (SEGMENT, EXPLAIN):
        for amount in hours:
            names = linked(
                recording, max(1, round(amount / unit)), folder / f"{amount}{program.name}"
            )
            run = program.run(names, folder)
            rows.append(
                {"program": program.name, "hours": amount, "recordings": len(names),
                 "CPU s": run.cpu, "CPU s an hour": run.cpu / amount, "peak MB": run.peak}
            )  # fmt: skip
    return rows


def memory_rows(hours: Sequence[float], folder: Path) -> list[dict[str, Cell]]:
    """Return a row for each length of one file."""
    rows: list[dict[str, Cell]] = []
    for length in hours:
        path = write_hours(folder / "long.wav", length)
        for program in (SEGMENT, EXPLAIN):
            run = program.run([path], folder)
            rows.append(
                {"one file": program.name, "of hours": length, "CPU s": run.cpu,
                 "peak MB": run.peak}
            )  # fmt: skip
        path.unlink()
    return rows


def quotients(rows: Sequence[Mapping[str, Cell]], name: str, column: str) -> dict[str, float]:
    """Return the last value of a column, divided by the first, of each name."""
    values: dict[str, list[float]] = {}
    for row in rows:
        values.setdefault(str(row[name]), []).append(float(row[column]))
    return {key: found[-1] / found[0] for key, found in values.items()}


def observed(program: Program, recordings: Sequence[Path], folder: Path) -> dict[str, int]:
    """Return opens, system calls and bytes of a program."""
    counts = folder / "counts.json"
    run_program(
        [sys.executable, FOLDER / "observe.py", counts, *program.arguments(recordings, folder)]
    )
    found: dict[str, int] = json.loads(counts.read_text(encoding="utf-8"))
    return found


def calls_for(program: Program, recording: Path, short: Path, folder: Path) -> dict[str, int]:
    """Return the reads and writes that a recording takes, without those of starting."""
    whole, start = (observed(program, [path], folder) for path in (recording, short))
    return {kind: whole[kind] - start[kind] for kind in ("reads", "writes")}


def cache_features(recording: Path, folder: Path) -> tuple[float, int]:
    """Return processor seconds and bytes of the feature archive of a recording."""
    seconds = len(read_audio(recording)) / SAMPLE_RATE
    data = DataDir(
        wav={"r": recording}, duration={"r": seconds}, reference={"r": []},
        uem={"r": [(0.0, seconds)]}, classes=("speech",),
    )  # fmt: skip
    data.write(folder / "data")
    command = [sys.executable, "-m", "audioseg_xai.bin.cache_features"]
    run = run_program([*command, "--datadir", f"{folder}/data", "--output", f"{folder}/features"])
    return run.cpu, sum(path.stat().st_size for path in (folder / "features").rglob("*.h5"))


def write_outputs(recording: Path, folder: Path) -> tuple[dict[str, float], dict[str, Path]]:
    """Run all commands on a recording; return processor seconds, and the files they made."""
    folder.mkdir()
    commands = {"segment": SEGMENT, "explain": EXPLAIN, "explain --compress": COMPRESSED}
    seconds = {name: program.run([recording], folder).cpu for name, program in commands.items()}
    files = {
        "RTTM": folder / "explain.rttm", "explanation archive": folder / "explain.h5",
        "explanation archive, --compress": folder / "small.h5",
    }  # fmt: skip
    return seconds, files


def measure_costs(unit: float, folder: Path) -> Costs:
    """Measure everything that is told for an hour of audio, on a recording of `unit` hours."""
    paths = write_recordings(folder, unit * HOUR)
    wav, flac = list(paths.values())[:2]
    short = write_hours(folder / "short.wav", 1 / HOUR)
    seconds, files = write_outputs(flac, folder / "outputs")
    start, _ = write_outputs(short, folder / "start")
    feature_start, _ = cache_features(short, folder / "short")
    feature_seconds, feature_bytes = cache_features(flac, folder / "long")
    one = observed(SEGMENT, [short], folder)
    eleven = observed(SEGMENT, linked(short, 11, folder / "observed"), folder)
    calls = {
        program.name: calls_for(program, flac, short, folder) for program in (SEGMENT, EXPLAIN)
    }
    sizes = {name: path.stat().st_size for name, path in files.items()}
    sizes["feature archive (F = 257, 16 bits)"] = feature_bytes
    segments = sum(map(len, read_rttm(files["RTTM"]).values()))
    per_hour = {
        "decoding": decode_costs(paths),
        "computing": compute_costs(wav, folder),
        "programs": {name: seconds[name] - start[name] for name in seconds},
        "audio_mb": {name: path.stat().st_size / 1e6 for name, path in paths.items()},
        "stored_mb": {name: size / 1e6 for name, size in sizes.items()},
    }
    return Costs(
        **{
            field: {name: value / unit for name, value in values.items()}
            for field, values in per_hour.items()
        },
        calls={
            name: {kind: count / unit for kind, count in found.items()}
            for name, found in calls.items()
        },
        feature_cpu=(feature_seconds - feature_start) / unit,
        start=start["segment"],
        start_opens=one["opens"],
        recording_opens=(eleven["opens"] - one["opens"]) / 10,
        segments=segments / unit,
        operations=network_operations(),
    )


@click.command()
@click.option("--unit", default=1.0, show_default=True, help="Hours of one recording.")
@click.option("--hours", multiple=True, type=float, default=(1, 10), help="Whole programs.")
@click.option("--long-hours", default=24.0, show_default=True, help="Of the file for memory.")
@click.option("--archive-hours", default=100_000.0, show_default=True, help="To plan for.")
@click.option("--nodes", default=64, show_default=True, help="Of the cluster.")
@click.option("--cores", default=32, show_default=True, help="Of a node.")
@click.option("--read-gbs", default=20.0, show_default=True, help="Of its file system, GB/s.")
@click.option("--write-gbs", default=10.0, show_default=True, help="Of its file system, GB/s.")
@click.option("--opens", default=20_000.0, show_default=True, help="It opens files a second.")
@options
def main(
    unit: float,
    hours: tuple[float, ...],
    long_hours: float,
    archive_hours: float,
    nodes: int,
    cores: int,
    read_gbs: float,
    write_gbs: float,
    opens: float,
    quick: bool,
    json_path: Path | None,
) -> None:
    """Measure, plan, and write scale.md."""
    if quick:
        unit, hours, long_hours = 1 / 12, (1 / 12, 1 / 4), 1 / 2
    lengths = (unit, long_hours)
    cluster = Cluster(nodes, cores, read_gbs, write_gbs, opens)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        costs = measure_costs(unit, folder)
        linear = linear_rows(hours, folder / "1.flac", unit, folder)
        memory = memory_rows(lengths, folder)
    ratios = {
        f"CPU time an hour, {name}, {hours[-1]:g} h / {hours[0]:g} h": value
        for name, value in quotients(linear, "program", "CPU s an hour").items()
    }
    ratios |= {
        f"peak memory, {name}, {lengths[-1]:g} h / {lengths[0]:g} h": value
        for name, value in quotients(memory, "one file", "peak MB").items()
    }
    rows = [*costs.rows(), *linear, *memory]
    result = Result("scale", rows, ratios, [costs.limit(gemm_peak())])
    if not quick:
        page = plan_page(result, costs, cluster, archive_hours)
        write_text_atomic(FOLDER / "scale.md", page)
    publish(result, json_path)


if __name__ == "__main__":
    main()
