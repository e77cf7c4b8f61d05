"""Live segmentation: how late lines come, what it costs, and how far decisions are from a file's.

    python benchmarks/live.py                     # a minute and a half
    python benchmarks/live.py --audio a.flac --audio b.flac --reference ref.rttm

Raw samples of the bundled demo go into `xai-segment segment - --raw s16le` in real time, from when
it says that it listens; programs with several `--latency`, and one without, listen at once. How
late a line is, is counted in sound: what had been sent when it came, less the end of its segment.
With `--speed 2`, twice as fast as real time, what is computed counts twice.
Quality is that of whole recordings sent at once: decisions with less latency depend on the sound
alone, however fast it comes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from programs import ONE_THREAD
from results import Cell, Result, options, publish

from audioseg_xai.annotation import Segment, read_rttm
from audioseg_xai.audio import read_audio
from audioseg_xai.frame_labels import segments_to_frames
from audioseg_xai.frames import SAMPLE_RATE, num_frames
from audioseg_xai.labels import CLASSES
from audioseg_xai.pipeline import Pipeline, Settings, load_pipeline
from audioseg_xai.recordings import Recording
from audioseg_xai.scoring import score

ASSETS = Path(__file__).resolve().parents[1] / "audioseg_xai" / "assets"
BYTES_A_SECOND = 32_000
STEP = 0.02

Pcm = bytes


@dataclass(frozen=True)
class Session:
    """A live run: segments, seconds of sound by which each line came late, processor seconds."""

    segments: list[Segment]
    late: list[float]
    cpu: float


class Sender(threading.Thread):
    """Writes samples to a program at `speed` times real time; None as fast as they are read."""

    def __init__(self, target: int, samples: Pcm, speed: float | None) -> None:
        super().__init__(daemon=True)
        self.sent = 0
        self._target, self._samples, self._speed = target, samples, speed

    def run(self) -> None:
        """Send all, then close."""
        begin = time.monotonic()
        while self.sent < len(self._samples):
            due = len(self._samples)
            if self._speed is not None:
                elapsed = time.monotonic() - begin
                due = min(due, 2 * int(elapsed * self._speed * BYTES_A_SECOND / 2))
            self.sent += os.write(self._target, self._samples[self.sent : due][: 1 << 16])
            if self._speed is not None:
                time.sleep(STEP)
        os.close(self._target)


def listen(samples: Pcm, arguments: Sequence[str], speed: float | None) -> Session:
    """Send samples to a live run and take the time of each line."""
    read_end, write_end = os.pipe()
    program = [sys.executable, "-m", "audioseg_xai.bin.segment", "-", "--raw", "s16le", *arguments]
    process = subprocess.Popen(
        program, stdin=read_end, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | ONE_THREAD,
    )  # fmt: skip
    os.close(read_end)
    os.set_inheritable(write_end, False)
    sender = Sender(write_end, samples, speed)
    assert process.stdout is not None and process.stderr is not None
    process.stderr.readline()  # it listens
    sender.start()
    segments, late = [], []
    for line in process.stdout:
        sent = sender.sent / BYTES_A_SECOND
        (segment,) = parsed(line)
        segments.append(segment)
        if sender.sent < len(samples):  # the others close because the sound ends
            late.append(sent - segment.offset)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise click.ClickException(f"{' '.join(program)}: exit status {status}")
    return Session(sorted(segments), late, usage.ru_utime + usage.ru_stime)


def parsed(line: bytes) -> list[Segment]:
    """Return the segment of an RTTM line, in a list."""
    onset, duration, label = (line.decode().split()[field] for field in (3, 4, 7))
    return [Segment(float(onset), round(float(onset) + float(duration), 3), label)]


def pcm(samples: NDArray[np.float32]) -> Pcm:
    """Return samples as 16-bit integers."""
    scaled = np.clip(np.round(samples * 32_768), -32_768, 32_767)
    return scaled.astype("<i2").tobytes()


def agreement(one: Sequence[Segment], other: Sequence[Segment], frames: int) -> float:
    """Return the share of frames, in percent, that get the same classes."""
    same = segments_to_frames(one, frames) == segments_to_frames(other, frames)
    return 100 * float(same.all(axis=1).mean())


def timing(latency: float | None, sound: Pcm, speed: float, idle: float) -> dict[str, Cell]:
    """Return a row: how late lines come, and the processor time of the sound alone."""
    found = listen(sound, latency_arguments(latency), speed)
    seconds = len(sound) / BYTES_A_SECOND
    return {
        "--latency": "exact" if latency is None else f"{latency:g}",
        "lines before the end": len(found.late),
        "late, median s": round(float(np.median(found.late)), 2) if found.late else "-",
        "late, most s": round(max(found.late), 2) if found.late else "-",
        "CPU, % of real time": round(100 * max(found.cpu - idle, 0) / seconds, 1),
    }


def quality(
    latency: float | None,
    recordings: Sequence[Path],
    reference: Path,
    offline: dict[str, list[Segment]],
    classes: str,
) -> dict[str, Cell]:
    """Return a row: agreement with the decisions about files, and F1 of each class, in percent."""
    live, uem, same, weights = {}, {}, [], []
    for path in recordings:
        samples = read_audio(path)
        found = listen(pcm(samples), latency_arguments(latency), None).segments
        live[path.stem], uem[path.stem] = found, [(0.0, len(samples) / SAMPLE_RATE)]
        weights.append(num_frames(len(samples)))
        same.append(agreement(found, offline[path.stem], weights[-1]))
    pooled = score(read_rttm(reference), live, uem, classes, allow_missing=True).pooled
    row: dict[str, Cell] = {
        "--latency": "exact" if latency is None else f"{latency:g}",
        "frames as in the file, %": round(float(np.average(same, weights=weights)), 2),
    }
    return row | {f"F1 {name}": round(100 * pooled[name].f1, 1) for name in pooled}


def latency_arguments(latency: float | None) -> list[str]:
    """Return the option of a latency."""
    return [] if latency is None else ["--latency", str(latency)]


def file_segments(pipeline: Pipeline, path: Path) -> list[Segment]:
    """Return the segments of a file."""
    return list(pipeline.segment(Recording(path.stem, str(path))).segments)


@click.command()
@click.option("--audio", type=Path, multiple=True, help="Recordings for quality; else the demo.")
@click.option("--reference", type=Path, default=ASSETS / "demo.rttm", help="RTTM of these.")
@click.option("--classes", default=",".join(CLASSES), help="What these are labelled with.")
@click.option("--speed", default=1.0, show_default=True, help="Times real time.")
@options
def main(
    audio: tuple[Path, ...],
    reference: Path,
    classes: str,
    speed: float,
    quick: bool,
    json_path: Path | None,
) -> None:
    """Measure live segmentation."""
    latencies = [None, 2.0] if quick else [None, 5.0, 2.0, 1.2]
    recordings = audio or (ASSETS / "demo.flac",)
    demo = pcm(read_audio(ASSETS / "demo.flac"))[: (24 if quick else 44) * BYTES_A_SECOND]
    pipeline = load_pipeline(Settings(device="cpu", threads=1))
    offline = {path.stem: file_segments(pipeline, path) for path in recordings}
    idle = listen(demo[:BYTES_A_SECOND], [], None).cpu
    with ThreadPoolExecutor(len(latencies)) as pool:
        timed = list(pool.map(lambda late: timing(late, demo, speed, idle), latencies))
    judged = [quality(latency, recordings, reference, offline, classes) for latency in latencies]
    shares = {
        f"CPU time of a live stream / its duration, --latency {row['--latency']}": float(
            row["CPU, % of real time"]
        ) / 100
        for row in timed
    }  # fmt: skip
    publish(Result("live", [*timed, *judged], shares), json_path)


if __name__ == "__main__":
    main()
