"""Voices: speakers of the pool who say something of a wanted length, with exact activity."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import soxr

from audioseg_xai.corpora.pool import PoolItem
from audioseg_xai.frames import SAMPLE_RATE
from audioseg_xai.simulate.activity import (
    GRID,
    GRID_RATE,
    Floats,
    Mask,
    cell_power,
    cells,
    decibels,
    hysteresis,
    loud_level,
    runs,
)
from audioseg_xai.simulate.channel import amplitude, fade_ends, set_level, telephone
from audioseg_xai.simulate.config import SpeechLabels
from audioseg_xai.simulate.rooms import reverberate
from audioseg_xai.simulate.stock import SourceReader, Stock

_CHUNK_SECONDS = 30.0
_ATTEMPTS = 6
_MARGIN = 10  # cells of the file kept around what is said
_DEAD = -90.0  # dBFS; below, a 16-bit file holds nothing but rounding


@dataclass(frozen=True)
class Utterance:
    """Something said: samples, and its loose and tight activity on the 10 ms grid."""

    samples: Floats
    loose: Mask
    tight: Mask


@dataclass(frozen=True)
class Voice:
    """A speaker as cast for one recording.

    Parameters
    ----------
    number : int
        Which of the speakers of the recording this is.
    group : int
        Which voice of the pool.
    level : float
        Loud level of what is said, in dBFS.
    speed : float
        Factor on tempo and pitch.
    response : ndarray or None
        Room impulse response.
    telephone : bool
        Whether the speaker is on the telephone.
    """

    number: int
    group: int
    level: float
    speed: float = 1.0
    response: Floats | None = None
    telephone: bool = False


@dataclass(frozen=True)
class Activity:
    """Loose and tight activity of a clean recording on the 10 ms grid, and its level in dBFS."""

    loose: Mask
    tight: Mask
    loud: float


def find_activity(samples: Floats, rule: SpeechLabels) -> Activity:
    """Return where the one speaker of a clean recording is active."""
    power = cell_power(samples)
    levels, loud = decibels(power), loud_level(power)
    loose = hysteresis(levels, loud + rule.on_above, loud + rule.off_below)
    tight = hysteresis(levels, loud + rule.overlap_on_above, loud + rule.overlap_off_below)
    sounding = levels > _DEAD
    return Activity(loose & sounding, tight & sounding, loud)


class Speakers:
    """Lets the voices of a pool speak.

    Parameters
    ----------
    stock, reader, rule
        Where speech comes from, what reads it, how it is labelled.
    """

    def __init__(self, stock: Stock, reader: SourceReader, rule: SpeechLabels) -> None:
        self._group = stock.group("speech")
        self._reader = reader
        self._rule = rule
        self._found: dict[tuple[str, int], Activity] = {}

    def cast(self, rng: np.random.Generator, number: int) -> list[int]:
        """Return `number` different voices of the pool (fewer when it has fewer)."""
        wanted = min(number, len(self._group.names))
        chosen: dict[int, None] = {}
        for _ in range(50 * number):
            chosen[self._group.draw(rng)] = None
            if len(chosen) == wanted:
                break
        return list(chosen)

    def say(self, rng: np.random.Generator, voice: Voice, seconds: float) -> Utterance:
        """Return about `seconds` of a voice: whole phrases, several files where one is short."""
        parts: list[Utterance] = []
        missing = cells(seconds)
        for _ in range(_ATTEMPTS):
            part = self._phrase(rng, voice, missing)
            if part.loose.any():
                parts += [part, _silence(rng)]
                missing -= part.loose.size + parts[-1].loose.size
            if missing < cells(0.5):
                break
        return self._channel(_join(parts[:-1]), voice)

    def _phrase(self, rng: np.random.Generator, voice: Voice, wanted: int) -> Utterance:
        file = self._group.draw_file(rng, voice.group)
        samples, found = self._chunk(rng, file)
        first, last = _cut(rng, found.loose, round(wanted * voice.speed))
        part = samples[first * GRID : last * GRID] * amplitude(-20.0 - found.loud)
        said = Utterance(part, found.loose[first:last], found.tight[first:last])
        varied = _varied(said, voice.speed)
        return replace(varied, samples=fade_ends(varied.samples, 0.01))

    def _chunk(self, rng: np.random.Generator, file: PoolItem) -> tuple[Floats, Activity]:
        """Return half a minute of a file and what was found in it, the latter once for all."""
        number = int(rng.integers(max(1, int(file.duration // _CHUNK_SECONDS))))
        size = round(_CHUNK_SECONDS * SAMPLE_RATE)
        samples = self._reader.read(file, number * size, size)
        key = (file.path, number)
        if key not in self._found:
            self._found[key] = find_activity(samples, self._rule)
        return samples, self._found[key]

    def _channel(self, said: Utterance, voice: Voice) -> Utterance:
        samples = said.samples
        if not samples.size:
            return said
        if voice.telephone:
            samples = telephone(samples)
        if voice.response is not None:
            samples = reverberate(samples, voice.response)
        return Utterance(set_level(samples, voice.level), said.loose, said.tight)


def _varied(said: Utterance, speed: float) -> Utterance:
    """Play faster or slower by `speed`; the activity moves along."""
    if speed == 1.0 or not said.samples.size:
        return said
    samples = soxr.resample(said.samples, SAMPLE_RATE * speed, SAMPLE_RATE, quality="LQ")
    whole = samples.size // GRID
    origin = np.minimum((np.arange(whole) + 0.5) * speed, said.loose.size - 1).astype(np.int64)
    return Utterance(samples[: whole * GRID], said.loose[origin], said.tight[origin])


def _cut(rng: np.random.Generator, loose: Mask, wanted: int) -> tuple[int, int]:
    """Return cells from the onset of a phrase to the first end of one at least `wanted` later."""
    spans = runs(loose)
    if not len(spans):
        return 0, 0
    late = spans[:, 0] + wanted > spans[-1, 1]
    usable = max(1, int(np.count_nonzero(~late)))
    first = int(spans[int(rng.integers(usable)), 0])
    enough = spans[spans[:, 1] >= first + wanted]
    last = int(enough[0, 1]) if len(enough) else int(spans[-1, 1])
    last = min(last, first + wanted + cells(1.5))  # a talker without pauses is interrupted
    return max(0, first - _MARGIN), min(loose.size, last + _MARGIN)


def _silence(rng: np.random.Generator) -> Utterance:
    size = cells(float(rng.uniform(0.05, 0.6)))
    nothing = np.zeros(size, np.bool_)
    return Utterance(np.zeros(size * GRID, np.float32), nothing, nothing)


def _join(parts: list[Utterance]) -> Utterance:
    if not parts:
        return Utterance(np.zeros(0, np.float32), np.zeros(0, np.bool_), np.zeros(0, np.bool_))
    return Utterance(
        np.concatenate([part.samples for part in parts]),
        np.concatenate([part.loose for part in parts]),
        np.concatenate([part.tight for part in parts]),
    )


def length(utterance: Utterance) -> float:
    """Return how long an utterance is without its reverberation, in seconds."""
    return utterance.loose.size / GRID_RATE
