"""Small things to test with: a random student, and recordings that make it decide something."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from audioseg_xai.decode import ClassDecoding
from audioseg_xai.features import SpectrogramConfig
from audioseg_xai.labels import CLASSES
from audioseg_xai.models.directory import Model, ModelConfig, load_model, save_model
from audioseg_xai.models.front_end import SpectrogramFrontEndConfig
from audioseg_xai.models.level import LevelConfig
from audioseg_xai.models.networks import Student, StudentConfig
from audioseg_xai.models.tcn import TCNConfig

COMPONENTS = 8


def student_config(**changes: object) -> StudentConfig:
    """Return the configuration of a student that runs in milliseconds."""
    settings: dict[str, object] = {
        "spectrogram": SpectrogramConfig(fft_size=512),
        "level": LevelConfig(context=10),
        "front_end": SpectrogramFrontEndConfig(bands=16, channels=(4, 4)),
        "tcn": TCNConfig(channels=8, blocks=2, repeats=1),
        "components": COMPONENTS,
    }
    return StudentConfig(**(settings | changes))


def student(seed: int = 2) -> Student:
    """Return a random student whose decisions depend on what it hears."""
    torch.manual_seed(seed)
    config = student_config()
    dictionary = torch.rand(config.spectrogram.num_bins, COMPONENTS) ** 4
    network = Student(config, dictionary / dictionary.norm(dim=0)).eval()
    with torch.no_grad():
        # Sums of the same many bins would make all frames alike: each component hears one atom.
        if network.analysis is not None:
            contrast = dictionary - dictionary.mean(dim=1, keepdim=True)
            network.analysis.weight.copy_(contrast.T / dictionary.norm(dim=0)[:, None])
        network.classifier.weight.copy_(torch.randn(len(config.classes), COMPONENTS))
        network.classifier.bias.fill_(-0.5)
    return network


def save_student(
    folder: Path, seed: int = 2, decoding: dict[str, ClassDecoding] | None = None
) -> Path:
    """Write the directory of a random student that decides all classes; return it."""
    network = student(seed)
    rule = ClassDecoding(onset=0.6, offset=0.4, min_duration=0.1, min_gap=0.1)
    config = ModelConfig(
        network=network.config,
        decoding=decoding or {name: rule for name in CLASSES},
        metrics={"dummy": {name: {"f1": 0.5} for name in CLASSES}},
    )
    save_model(Model(network, config), folder)
    return folder


def load_student(folder: Path) -> Model:
    """Return the model that `save_student` writes."""
    return load_model(save_student(folder))


def sound(seconds: float = 6.0, seed: int = 0) -> NDArray[np.float32]:
    """Return samples (N,) at 16 kHz: a second of tone, of noise, of silence, and so on."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * 16_000)) / 16_000
    tone = 0.3 * np.sin(2 * np.pi * 440 * time) * np.sin(2 * np.pi * 3 * time)
    noise = 0.1 * rng.standard_normal(len(time))
    quiet = 1e-3 * rng.standard_normal(len(time))
    return np.choose(time.astype(int) % 3, [tone, noise, quiet]).astype(np.float32)


def write_sound(path: Path, seconds: float = 6.0, seed: int = 0) -> Path:
    """Write `sound` to `path`; return it."""
    soundfile.write(path, sound(seconds, seed), 16_000)
    return path
