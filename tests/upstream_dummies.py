"""Upstream models to test with: tiny WavLMs with random weights, and a network that hears one."""

from __future__ import annotations

import importlib.util
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dummies import student_config
from numpy.typing import NDArray

from audioseg_xai.annotation import Segment
from audioseg_xai.audio import write_wav
from audioseg_xai.datadir import DataDir
from audioseg_xai.models.front_end import FeatureFrontEndConfig
from audioseg_xai.models.networks import Student
from audioseg_xai.upstream import Upstream, UpstreamConfig, load_upstream

pytest.importorskip("s3prl", reason="needs the extra 'upstream'")

SCRIPT = Path(__file__).parents[1] / "recipes" / "broadcast" / "local" / "make_wavlm.py"


def _script() -> Any:
    spec = importlib.util.spec_from_file_location("make_wavlm", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_wavlm = _script()

BASE: dict[str, Any] = make_wavlm.TINY
LARGE: dict[str, Any] = BASE | {
    "extractor_mode": "layer_norm",
    "normalize": True,
    "layer_norm_first": True,
}
LOCAL: dict[str, Any] = LARGE | {"normalize": False}
"""Without a norm over time: what enters its first layer depends on its surroundings only."""


def write(path: Path, settings: dict[str, Any] | None = None, seed: int = 0) -> Path:
    """Write a checkpoint; return it."""
    make_wavlm.write_checkpoint(path, settings or BASE, seed)
    return path


def upstream_config(checkpoint: Path, **changes: object) -> UpstreamConfig:
    """Return a configuration with short windows: 30 frames, and 16 more on each side."""
    settings = {"name": "wavlm_local", "checkpoint": str(checkpoint), "chunk": 0.6, "margin": 0.32}
    return UpstreamConfig.model_validate(settings | changes)


def load(checkpoint: Path, **changes: object) -> Upstream:
    """Load a checkpoint on the CPU, with short windows."""
    return load_upstream(upstream_config(checkpoint, **changes), "cpu")


def student_of(upstream: Upstream, seed: int = 4) -> Student:
    """Return a random student that listens to an upstream."""
    front_end = partial(FeatureFrontEndConfig, kind="features", dimension=upstream.dimension)
    config = student_config(
        front_end=front_end(layers=upstream.num_layers, upstream=upstream.config)
    )
    torch.manual_seed(seed)
    dictionary = torch.rand(config.spectrogram.num_bins, config.components)
    network = Student(config, dictionary / dictionary.norm(dim=0)).eval()
    torch.nn.init.normal_(network.classifier.weight, std=2.0)
    return network


def write_datadir(folder: Path, seconds: dict[str, float]) -> Path:
    """Write a data directory of recordings of noise, by uri; the first half of each is speech."""
    wav = {uri: folder / f"{uri}.wav" for uri in seconds}
    for number, (uri, length) in enumerate(seconds.items()):
        write_wav(wav[uri], noise(length, number), 16_000)
    DataDir(
        wav=wav,
        duration=seconds,
        reference={uri: [Segment(0.0, length / 2, "speech")] for uri, length in seconds.items()},
        uem={uri: [(0.0, length)] for uri, length in seconds.items()},
        classes=("speech",),
    ).write(folder)
    return folder


def noise(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    """Return noise (N,) whose level changes all the time."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * 16_000)) / 16_000
    level = 0.02 + 0.2 * np.sin(3 * time) ** 2
    return (level * rng.standard_normal(len(time))).astype(np.float32)
