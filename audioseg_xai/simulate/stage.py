"""What a scene is played with: dice, canvas, settings, and who and what can sound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from audioseg_xai.simulate.activity import GRID_RATE, Floats
from audioseg_xai.simulate.canvas import Canvas
from audioseg_xai.simulate.config import Range, SimulationConfig
from audioseg_xai.simulate.material import Material
from audioseg_xai.simulate.speech import Speakers


@dataclass
class Stage:
    """What a scene is played with.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides everything.
    canvas : Canvas
        Where tracks are laid.
    config : SimulationConfig
        The settings.
    speakers : Speakers
        Who can speak; used by the scenes with speech alone.
    material : Material
        Music, noise and events.
    bank : list of list of ndarray
        Room impulse responses, a list a room.
    sparse : bool, optional
        Whether hardly anybody speaks: what lies under the recording is heard alone.
    """

    rng: np.random.Generator
    canvas: Canvas
    config: SimulationConfig
    speakers: Callable[[], Speakers]
    material: Material
    bank: list[list[Floats]]
    sparse: bool = False

    @property
    def seconds(self) -> float:
        """Length of the recording."""
        return self.canvas.num_cells / GRID_RATE

    def chance(self, probability: float) -> bool:
        """Return true with `probability`."""
        return bool(self.rng.random() < probability)

    def uniform(self, bounds: Range) -> float:
        """Return a number between `bounds`."""
        return float(self.rng.uniform(*bounds))

    def lead(self) -> float:
        """Return the silence before the first sound, in seconds; often none."""
        return 0.0 if self.chance(0.4) else min(self.uniform(self.config.lead), self.seconds / 3)

    def span(self) -> tuple[float, float]:
        """Return when the first sound may begin and the last end: both ends are often silent."""
        tail = 0.0 if self.chance(0.4) else min(self.uniform(self.config.lead), self.seconds / 3)
        return self.lead(), self.seconds - tail

    def part(self) -> tuple[float, float]:
        """Return the whole recording, or a part of 25 % at least."""
        if self.chance(0.4):
            return 0.0, self.seconds
        share = self.uniform((0.25, 0.95))
        start = self.uniform((0.0, (1 - share) * self.seconds))
        return start, start + share * self.seconds
