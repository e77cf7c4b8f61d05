"""A pool of tones and noise, and settings for simulations of a few seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from audioseg_xai.config import parse_config
from audioseg_xai.corpora.pool import Pool, PoolItem
from audioseg_xai.simulate import SimulationConfig

RATE = 16000
ROOT = Path(__file__).parents[1]


def tone(seconds: float, frequency: float = 440.0, peak: float = 0.3) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return (peak * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), np.float32)


def words(frequency: float) -> np.ndarray:
    """A 'speaker': tone in 0.5..1.5, 2.5..3.5 and 4.5..5.5 s of 6 s."""
    parts = [silence(0.5), *[tone(1.0, frequency), silence(1.0)] * 3]
    return np.concatenate(parts)[: 6 * RATE]


SPEAKERS = {"ann": 300.0, "ben": 500.0, "cyd": 700.0}


def write_pool(root: Path, *, without: str = "") -> Path:
    audio = {f"speech/{name}.flac": words(pitch) for name, pitch in SPEAKERS.items()}
    audio["music/chord.flac"] = tone(12, 220, 0.2) + tone(12, 330, 0.2)
    rng = np.random.default_rng(0)
    audio["noise/fan.flac"] = (0.05 * rng.standard_normal(12 * RATE)).astype(np.float32)
    audio["event/bang.flac"] = (0.2 * rng.standard_normal(RATE // 2)).astype(np.float32)
    items = []
    for path, samples in audio.items():
        kind, name = path.split("/")
        if kind == without:
            continue
        (root / kind).mkdir(parents=True, exist_ok=True)
        soundfile.write(root / path, samples, RATE, subtype="PCM_16")
        speaker = name.removesuffix(".flac") if kind == "speech" else None
        seconds, licence = samples.size / RATE, "CC0-1.0"
        items.append(PoolItem(path, kind, f"{kind}-source", speaker, seconds, licence, "train"))
    Pool(root, tuple(items)).write()
    return root


STRICT = {"speech_labels": {"pad": 0.0, "gap": 0.0}}


def config(**changes: object) -> SimulationConfig:
    values = {"duration": [4, 6], "short_duration": [2, 3], "rooms": {"rooms": 2, "positions": 2}}
    return parse_config(values | changes, SimulationConfig, "test")


def only(scene: str) -> dict[str, float]:
    return {scene: 1.0}
