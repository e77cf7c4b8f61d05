"""Things to train with: a corpus small enough to learn in seconds, and networks as small."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from audioseg_xai.annotation import Segment
from audioseg_xai.archive import Archive, ArchiveEntry, write_index, write_recording
from audioseg_xai.audio import write_wav
from audioseg_xai.config import parse_config
from audioseg_xai.datadir import DataDir
from audioseg_xai.extract import extractions
from audioseg_xai.features import SpectrogramConfig
from audioseg_xai.labels import CLASSES
from audioseg_xai.losses import LossConfig
from audioseg_xai.models.level import LevelConfig
from audioseg_xai.nmf import Dictionary, NMFConfig, learn_dictionary
from audioseg_xai.training.corpora import Corpora
from audioseg_xai.training.student import StudentRun
from audioseg_xai.training.teacher import TeacherRun
from audioseg_xai.training.trainer import TrainingConfig
from tests.dummies import student_config

SECONDS = 6
LABELS_ONLY = {"alpha": 0.0, "delta": 1.0}
CPU: dict[str, Any] = {"device": "cpu", "num_workers": 0}
METRICS = "validation frames, best threshold"


def write_corpus(folder: Path, recordings: int = 4, classes: tuple[str, ...] = CLASSES) -> Path:
    """Write a data directory; music is a chord, noise is noise, from 2 s to 4 s of every other."""
    rng = np.random.default_rng(3)
    time = np.arange(SECONDS * 16000) / 16000
    wav, reference = {}, {}
    for number in range(recordings):
        uri = f"r{number}"
        wav[uri] = folder / f"{uri}.wav"
        middle = (time >= 2) & (time < 4)
        chord = sum(np.sin(2 * np.pi * f * time) for f in (220, 277, 330)) / 6
        sounding = chord if number % 2 else rng.standard_normal(len(time)) / 6
        samples = np.where(middle, sounding, 1e-3 * rng.standard_normal(len(time)))
        write_wav(wav[uri], samples.astype(np.float32), 16000)
        reference[uri] = [Segment(2.0, 4.0, "music" if number % 2 else "noise")]
    data = DataDir(
        wav=wav,
        duration={uri: float(SECONDS) for uri in wav},
        reference={u: [s for s in r if s.label in classes] for u, r in reference.items()},
        uem={uri: [(0.0, float(SECONDS))] for uri in wav},
        classes=classes,
    )
    data.write(folder)
    return folder


def make_archive(folder: Path, classes: tuple[str, ...] = CLASSES, **options: Any) -> Archive:
    """Make an archive of `write_corpus`."""
    data = DataDir.read(write_corpus(folder / "data", classes=classes))
    work = extractions(data, folder / "archive", SpectrogramConfig(), **options)
    write_index(folder / "archive", [item.run() for item in work])
    return Archive(folder / "archive")


def write_archive(folder: Path, recordings: Mapping[str, Mapping[str, NDArray[Any]]]) -> Archive:
    """Write an archive of arrays; spectrograms that are not given are all ones."""
    entries = []
    for uri, given in recordings.items():
        frames = len(given["labels"])
        arrays = {"spectrogram": np.ones((frames, 257)), **given}
        write_recording(folder / f"{uri}.h5", arrays, {"uri": uri})
        entries.append(ArchiveEntry(uri, f"{uri}.h5", frames))
    write_index(folder, entries)
    return Archive(folder)


def labels(frames: int, **active: object) -> NDArray[np.int8]:
    """Return labels (T, 4); a class is active in the slice given for it, unknown if None."""
    made = np.zeros((frames, 4), dtype=np.int8)
    for name, where in active.items():
        column = CLASSES.index(name)
        if where is None:
            made[:, column] = -1
        else:
            made[where, column] = 1
    return made


def corpora(*archives: Archive) -> Corpora:
    """Return archives to train on and to validate with."""
    return Corpora(archives, archives)


def schedule(steps: int, **changes: object) -> TrainingConfig:
    """Return a short schedule."""
    settings = {
        "steps": steps,
        "warmup": 5,
        "validate_every": 20,
        "average": 0.9,
        "data": {"crop": 200, "batch_size": 4, "gain": (-5.0, 5.0), "equaliser": 1.0},
    }
    return parse_config(settings | changes, TrainingConfig, "test")


def small(kind: str) -> dict[str, Any]:
    """Return the settings of a small network."""
    # The level of a 6 s recording must not follow the sound that is to be found.
    values = student_config(level=LevelConfig(context=200)).model_dump()
    del values["kind"]
    if kind == "teacher":
        for name in ("components", "trainable_dictionary", "analysis"):
            del values[name]
    return values


def teacher_run(steps: int, network: Mapping[str, Any] | None = None, **changes: Any) -> TeacherRun:
    """Return a short training of a small teacher."""
    values = {
        "network": small("teacher") | dict(network or {}),
        "training": schedule(steps, **changes).model_dump(),
    }
    return parse_config(values, TeacherRun, "test")


def student_run(steps: int, network: Mapping[str, Any] | None = None, **loss: float) -> StudentRun:
    """Return a short training of a small student."""
    values = {
        "network": small("student") | dict(network or {}),
        "training": schedule(steps).model_dump(),
        "loss": LossConfig(**loss).model_dump(),
    }
    return parse_config(values, StudentRun, "test")


def some_dictionary(seed: int = 0) -> Dictionary:
    """Return a dictionary of random spectra."""
    spectra = torch.rand(50, 257, generator=torch.Generator().manual_seed(seed))
    return learn_dictionary(spectra, NMFConfig(components=8, iterations=1))
