"""Fixtures that several test modules share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dummies import save_student
from numpy.typing import NDArray
from simulation_dummies import write_pool

from audioseg_xai.corpora.pool import Pool
from audioseg_xai.simulate import Stock

Tone = Callable[..., NDArray[np.float32]]


@pytest.fixture
def rng() -> np.random.Generator:
    """Return a random generator that is the same in every run."""
    return np.random.default_rng(20_240_115)


@pytest.fixture
def tone() -> Tone:
    """Return a function that makes a sine (N,) of `seconds` at `frequency` Hz and `rate` Hz."""

    def make(
        seconds: float = 1.0, frequency: float = 440.0, rate: int = 16_000, level: float = 0.3
    ) -> NDArray[np.float32]:
        time = np.arange(round(seconds * rate)) / rate
        return (level * np.sin(2 * np.pi * frequency * time)).astype(np.float32)

    return make


@pytest.fixture(scope="module")
def pool_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a pool of tones and noise, for tests of simulation."""
    return write_pool(tmp_path_factory.mktemp("pool"))


@pytest.fixture(scope="module")
def stock(pool_dir: Path) -> Stock:
    """Return the stock of that pool."""
    return Stock(Pool.read(pool_dir), "train")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the model directory of a small student."""
    return save_student(tmp_path_factory.mktemp("model"))
