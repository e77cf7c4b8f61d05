"""One simulated recording: reproducible from a pool, a configuration, a seed and an index."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from audioseg_xai.annotation import Segment
from audioseg_xai.frames import SAMPLE_RATE
from audioseg_xai.simulate.activity import GRID, GRID_RATE, Floats, cells
from audioseg_xai.simulate.backgrounds import faint_sounds, floor
from audioseg_xai.simulate.canvas import Canvas
from audioseg_xai.simulate.channel import degrade, finish_level, set_level
from audioseg_xai.simulate.config import SimulationConfig
from audioseg_xai.simulate.conversation import voices_behind
from audioseg_xai.simulate.material import Material
from audioseg_xai.simulate.rooms import room_bank
from audioseg_xai.simulate.scenes import PLAYING, SCENES, SPEAKING
from audioseg_xai.simulate.speech import Speakers
from audioseg_xai.simulate.stage import Stage
from audioseg_xai.simulate.stock import SourceReader, Stock

_ROOMS_STREAM = 2**32 + 1  # a stream of random numbers that no recording has


@dataclass(frozen=True)
class Mixture:
    """A simulated recording.

    Parameters
    ----------
    samples : ndarray [shape=(N,), float32]
        Audio at 16 kHz in [-1, 1].
    segments : list of Segment
        What can be heard in it, times in seconds.
    scene : str
        The kind of recording.
    stems : dict of str to ndarray
        On request, the sum of the tracks of each kind before the channel and the final level.
    """

    samples: Floats
    segments: list[Segment]
    scene: str
    stems: dict[str, Floats] = field(default_factory=dict)


class Simulator:
    """Makes recordings.

    Parameters
    ----------
    stock : Stock
        Source audio.
    config : SimulationConfig
        What they shall be like.
    seed : int
        With the index, decides all of a recording.

    Raises
    ------
    CorpusError
        If the stock lacks what a scene of the configuration needs.
    """

    def __init__(self, stock: Stock, config: SimulationConfig, seed: int) -> None:
        self.config = config
        self._stock = stock
        self._seed = seed
        self._reader = SourceReader(stock.root, round(config.cache_megabytes * 1e6))
        self._material = Material(stock, self._reader, config)
        self._scenes = [name for name in SCENES if config.scenes.get(name, 0) > 0]
        for kind, scenes in (("speech", SPEAKING), ("music", PLAYING)):
            if set(scenes) & set(self._scenes):
                stock.group(kind)

    @cached_property
    def _bank(self) -> list[list[Floats]]:
        return room_bank(self.config.rooms, np.random.default_rng([self._seed, _ROOMS_STREAM]))

    @cached_property
    def _speakers(self) -> Speakers:
        return Speakers(self._stock, self._reader, self.config.speech_labels)

    def mixture(self, index: int, *, keep_stems: bool = False) -> Mixture:
        """Return recording number `index`.

        Parameters
        ----------
        index : int
            Zero or more.
        keep_stems : bool
            Whether to return the sum of each kind of track as well.

        Returns
        -------
        Mixture
        """
        rng = np.random.default_rng([self._seed, index])
        canvas = Canvas(cells(_duration(rng, self.config)) * GRID, keep_stems=keep_stems)
        weights = np.array([self.config.scenes[name] for name in self._scenes])
        scene = self._scenes[int(rng.choice(len(weights), p=weights / weights.sum()))]
        stage = Stage(rng, canvas, self.config, lambda: self._speakers, self._material, self._bank)
        SCENES[scene](stage)
        if scene in SPEAKING:
            _add_faint(stage)
        if scene != "quiet" and stage.chance(self.config.noise.floor):
            floor(stage, _floor_level(stage))
        samples = _finished(canvas.samples, scene, self.config, rng)
        return Mixture(samples, canvas.segments(self.config), scene, canvas.stems)


def duration_of(seed: int, index: int, config: SimulationConfig) -> float:
    """Return how long recording `index` will be, in seconds, without making it."""
    rng = np.random.default_rng([seed, index])
    return cells(_duration(rng, config)) / GRID_RATE


def num_recordings(hours: float, seed: int, config: SimulationConfig) -> int:
    """Return how many recordings last `hours` together, the last one reaching beyond."""
    total, number = 0.0, 0
    while total < hours * 3600:
        total += duration_of(seed, number, config)
        number += 1
    return number


def _duration(rng: np.random.Generator, config: SimulationConfig) -> float:
    short = rng.random() < config.short
    return float(rng.uniform(*(config.short_duration if short else config.duration)))


def _floor_level(stage: Stage) -> float:
    level, highest = stage.uniform(stage.config.noise.floor_level), stage.config.noise.sparse_floor
    return min(level, highest) if stage.sparse and highest is not None else level


def _add_faint(stage: Stage) -> None:
    # Where a share is 0 the dice are left alone: recordings of older configurations stay.
    sounds, voices = stage.config.noise.faint, stage.config.speech.behind
    if sounds and stage.chance(sounds):
        faint_sounds(stage)
    if voices and stage.chance(voices):
        voices_behind(stage)


def _finished(
    samples: Floats, scene: str, config: SimulationConfig, rng: np.random.Generator
) -> Floats:
    if scene == "quiet":  # its level is what makes it quiet
        return set_level(samples, float(rng.uniform(*config.channel.quiet_range)))
    return finish_level(degrade(samples, config.channel, rng), config.channel, rng)


def expected_samples(seed: int, index: int, config: SimulationConfig) -> int:
    """Return how many samples recording `index` will have."""
    return round(duration_of(seed, index, config) * SAMPLE_RATE)
