"""Simulated recordings on disk: a data directory that can be continued after an interruption."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import soundfile

from audioseg_xai.annotation import Segment
from audioseg_xai.cli import Outcome, log, run_items
from audioseg_xai.config import parse_config
from audioseg_xai.corpora.pool import INDEX, Pool
from audioseg_xai.datadir import DataDir
from audioseg_xai.errors import DataDirError, UsageError
from audioseg_xai.files import atomic_path, sha256_file, write_text_atomic
from audioseg_xai.frames import SAMPLE_RATE
from audioseg_xai.labels import CLASSES
from audioseg_xai.provenance import provenance
from audioseg_xai.simulate.config import SimulationConfig
from audioseg_xai.simulate.mixture import Mixture, Simulator, expected_samples, num_recordings
from audioseg_xai.simulate.stock import Stock

RECIPE = "simulation.json"
"""Name of the file that says what a simulated data directory was made of."""


@dataclass(frozen=True)
class Job:
    """What a worker needs to make any recording of a set; small, since it travels with each."""

    pool: str
    output: str
    split: str
    seed: int
    config: str

    def uri(self, index: int) -> str:
        """Return the name of recording `index`."""
        return f"sim-{self.split}-{self.seed}-{index:06d}"

    def settings(self) -> SimulationConfig:
        """Return the configuration."""
        return parse_config(json.loads(self.config), SimulationConfig, "simulation")

    def audio(self, index: int) -> Path:
        """Return where the audio of recording `index` lies."""
        name = f"{self.uri(index)}.{_settings(self).audio_format}"
        return Path(self.output) / "audio" / name

    def record(self, index: int) -> Path:
        """Return where what is known about recording `index` lies."""
        return Path(self.output) / "records" / f"{self.uri(index)}.json"

    def __call__(self, index: int) -> dict[str, Any]:
        """Make recording `index`, unless it is there whole, and return its record."""
        done = _finished_record(self, index)
        return done if done else _make(self, index)


def simulate_data_dir(
    pool: str | Path,
    output: str | Path,
    hours: float,
    config: SimulationConfig,
    *,
    split: str = "train",
    seed: int = 0,
    num_workers: int = 1,
    overwrite: bool = False,
) -> Outcome[dict[str, Any]]:
    """Write a data directory of simulated recordings.

    A recording depends on the pool, the configuration, the seed and its number, and on nothing
    else. Recordings that an earlier call finished are kept; the five files of the data directory
    are written last.

    Parameters
    ----------
    pool : str or Path
        Folder with ``pool.jsonl``.
    output : str or Path
        The data directory to make.
    hours : float
        Length of all recordings together.
    config : SimulationConfig
        What they shall be like.
    split : str
        Which files of the pool to use.
    seed : int
        Decides all recordings.
    num_workers : int
        Processes.
    overwrite : bool
        Make all again, whatever is there.

    Returns
    -------
    Outcome
        The records of the finished recordings, and the names of those that failed.

    Raises
    ------
    CorpusError
        If the pool cannot be used.
    DataDirError
        If `output` holds recordings of another pool, configuration, split or seed.
    UsageError
        If `hours` is not positive.
    """
    if not hours > 0:
        raise UsageError(f"--hours {hours:g}: expected a positive number")
    job = Job(str(pool), str(output), split, seed, config.model_dump_json())
    Simulator(
        Stock(Pool.read(pool), split), config, seed
    )  # complain once, before any worker starts
    _claim(job, overwrite)
    numbers = range(num_recordings(hours, seed, config))
    outcome = run_items(numbers, job, describe=job.uri, num_workers=num_workers)
    if outcome.done:
        _data_dir(job, outcome.done).write(output)
        total = sum(record["duration"] for record in outcome.done) / 3600
        log.info(f"{output}: {len(outcome.done)} recordings, {total:.2f} h")
    return outcome


@lru_cache(maxsize=2)
def _settings(job: Job) -> SimulationConfig:
    return job.settings()


@lru_cache(maxsize=1)
def _simulator(job: Job) -> Simulator:
    config = _settings(job)
    stock = Stock(Pool.read(job.pool), job.split, config.speech.speaker_cap)
    return Simulator(stock, config, job.seed)


def _make(job: Job, index: int) -> dict[str, Any]:
    mixture = _simulator(job).mixture(index)
    audio = job.audio(index)
    with atomic_path(audio) as temporary:
        soundfile.write(temporary, mixture.samples, SAMPLE_RATE, subtype="PCM_16")
    record = _record(job.uri(index), mixture, audio)
    write_text_atomic(job.record(index), json.dumps(record))
    return record


def _record(uri: str, mixture: Mixture, audio: Path) -> dict[str, Any]:
    return {
        "uri": uri,
        "scene": mixture.scene,
        "duration": mixture.samples.size / SAMPLE_RATE,
        "audio": audio.name,
        "bytes": audio.stat().st_size,
        "sha256": sha256_file(audio),
        "segments": [[s.onset, s.offset, s.label] for s in mixture.segments],
    }


def _finished_record(job: Job, index: int) -> dict[str, Any] | None:
    """Return the record of a recording whose audio is there as it was written, else None."""
    audio, path = job.audio(index), job.record(index)
    if not (audio.is_file() and path.is_file()):
        return None
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    samples = expected_samples(job.seed, index, _settings(job))
    whole = (
        round(record["duration"] * SAMPLE_RATE) == samples
        and audio.stat().st_size == record["bytes"]
        and sha256_file(audio) == record["sha256"]
    )
    return record if whole else None


def _claim(job: Job, overwrite: bool) -> None:
    """Write what the set is made of, or check that what is there was made of the same."""
    made_of = {
        "pool": sha256_file(Path(job.pool) / INDEX),
        "split": job.split,
        "seed": job.seed,
        "config": json.loads(job.config),
    }
    path = Path(job.output) / RECIPE
    if path.is_file() and not overwrite:
        found = json.loads(path.read_text(encoding="utf-8"))["made_of"]
        differing = [key for key in made_of if found.get(key) != made_of[key]]
        if differing:
            raise DataDirError(
                f"{path}: holds recordings with another {', '.join(differing)}: give another "
                f"folder, or --overwrite"
            )
        return
    for old in Path(job.output).glob("records/*.json"):
        old.unlink()
    text = json.dumps({"made_of": made_of, "provenance": provenance()}, indent=1)
    write_text_atomic(path, text + "\n")


def _data_dir(job: Job, records: Sequence[dict[str, Any]]) -> DataDir:
    folder = Path(job.output)
    return DataDir(
        wav={r["uri"]: folder / "audio" / r["audio"] for r in records},
        duration={r["uri"]: r["duration"] for r in records},
        reference={r["uri"]: [Segment(*fields) for fields in r["segments"]] for r in records},
        uem={r["uri"]: [(0.0, r["duration"])] for r in records},
        classes=CLASSES,
    )
