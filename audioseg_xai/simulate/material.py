"""Backgrounds of any wanted length, from the pool or synthetic, varied in speed."""

from __future__ import annotations

import numpy as np
import soxr

from audioseg_xai.corpora.pool import PoolItem
from audioseg_xai.frames import SAMPLE_RATE
from audioseg_xai.simulate.activity import Floats, cell_power, decibels, loud_level
from audioseg_xai.simulate.channel import fade_ends
from audioseg_xai.simulate.config import Range, SimulationConfig
from audioseg_xai.simulate.noises import breath, hiss, synthetic_bed, synthetic_event
from audioseg_xai.simulate.stock import SourceReader, Stock

_SHORT_SECONDS = 30.0
_CROSSFADE = 0.05
_FLOOR_SECONDS = 6.0
_ATTEMPTS = 4
_INAUDIBLE = -65.0


class Material:
    """Draws music, noise, events and floors.

    Parameters
    ----------
    stock, reader
        Where files come from, and what reads them.
    config : SimulationConfig
        Ranges of speed, share of synthetic noise.
    """

    def __init__(self, stock: Stock, reader: SourceReader, config: SimulationConfig) -> None:
        self._stock = stock
        self._reader = reader
        self._config = config

    def music(self, rng: np.random.Generator, seconds: float) -> Floats:
        """Return music of `seconds`; a shorter piece is repeated."""
        return self._lasting(rng, "music", seconds, self._config.music.speed)

    def noise(self, rng: np.random.Generator, seconds: float) -> Floats:
        """Return a lasting noise of `seconds`."""
        synthetic = rng.random() < self._config.noise.synthetic
        if synthetic or "noise" not in self._stock:
            return synthetic_bed(rng, round(seconds * SAMPLE_RATE))
        return self._lasting(rng, "noise", seconds, self._config.noise.speed)

    def event(self, rng: np.random.Generator, longest: float) -> Floats:
        """Return a passing sound of at most `longest` seconds."""
        synthetic = rng.random() < self._config.noise.synthetic
        if synthetic or "event" not in self._stock:
            seconds = min(longest, float(np.exp(rng.uniform(np.log(0.15), np.log(5.0)))))
            return fade_ends(synthetic_event(rng, round(seconds * SAMPLE_RATE)), 0.003, 0.05)
        file = self._stock.group("event").draw_file(rng)
        speed = self._config.noise.event_speed or self._config.noise.speed
        return fade_ends(self._piece(rng, file, longest, speed), 0.003, 0.05)

    def faint(self, rng: np.random.Generator) -> Floats:
        """Return what nobody would mark, such as a breath, a click, a chair; at most 1.5 s."""
        if rng.random() < 0.5:
            return breath(rng, round(float(rng.uniform(0.15, 1.0)) * SAMPLE_RATE))
        return self.event(rng, 1.5)

    def floor(self, rng: np.random.Generator, seconds: float) -> Floats:
        """Return what may lie under a recording without a label: hiss, hum, faint sounds."""
        if "distractor" in self._stock and rng.random() < 0.3:
            return self._lasting(rng, "distractor", seconds, self._config.noise.speed)
        # Stationary: nobody hears that it comes back, and it is needed often.
        size = round(seconds * SAMPLE_RATE)
        return repeat(hiss(rng, min(size, round(_FLOOR_SECONDS * SAMPLE_RATE))), size)

    def _lasting(self, rng: np.random.Generator, kind: str, seconds: float, speed: Range) -> Floats:
        group = self._stock.group(kind)
        for _ in range(_ATTEMPTS):  # a pool may hold silent passages
            piece = self._piece(rng, group.draw_file(rng), seconds, speed)
            if loud_level(cell_power(piece)) > _INAUDIBLE:
                break
        return repeat(piece, round(seconds * SAMPLE_RATE))

    def _piece(
        self, rng: np.random.Generator, file: PoolItem, seconds: float, speed: Range
    ) -> Floats:
        factor = round(float(rng.uniform(*speed)), 2)
        wanted = round(seconds * factor * SAMPLE_RATE)
        total = round(file.duration * SAMPLE_RATE)
        latest = max(0, total - wanted)
        start = int(rng.integers(latest + 1))
        if total <= _SHORT_SECONDS * SAMPLE_RATE:  # whole short files are worth keeping decoded
            samples = self._reader.read(file, 0, total)[start : start + wanted]
        else:
            samples = self._reader.read(file, start, wanted, keep=False)
        if factor != 1.0:
            samples = soxr.resample(samples, SAMPLE_RATE * factor, SAMPLE_RATE, quality="LQ")
        return np.asarray(samples[: round(seconds * SAMPLE_RATE)], np.float32)


def repeat(piece: Floats, size: int) -> Floats:
    """Return `size` samples: `piece` over and over, silent ends cut, with short crossfades."""
    if piece.size >= size:
        return piece[:size]
    core = _without_silent_ends(piece)
    seam = min(round(_CROSSFADE * SAMPLE_RATE), core.size // 4)
    if core.size - seam < SAMPLE_RATE // 50:
        return np.resize(core, size) if core.size else np.zeros(size, np.float32)
    faded = fade_ends(core, seam / SAMPLE_RATE)
    out = np.zeros(size + core.size, np.float32)
    for start in range(0, size, core.size - seam):
        out[start : start + core.size] += faded
    return out[:size]


def _without_silent_ends(piece: Floats) -> Floats:
    levels = decibels(cell_power(piece))
    loud = np.flatnonzero(levels > loud_level(10 ** (levels / 10)) - 40.0)
    return piece[loud[0] * 160 : (loud[-1] + 1) * 160] if loud.size else piece
