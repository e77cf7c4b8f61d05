"""Music, noise, passing and faint sounds, laid under a scene or played in its foreground."""

from __future__ import annotations

import numpy as np

from audioseg_xai.frames import SAMPLE_RATE
from audioseg_xai.simulate.activity import GRID_RATE, Floats, cells
from audioseg_xai.simulate.channel import fade_ends, follow, set_level
from audioseg_xai.simulate.rooms import reverberate
from audioseg_xai.simulate.stage import Stage


def bed(stage: Stage, kind: str, level: float) -> None:
    """Lay music or noise under most or a part of the recording, `level` dB over the reference."""
    start, end = stage.part()
    make = stage.material.music if kind == "music" else stage.material.noise
    samples = make(stage.rng, end - start)
    if kind == "noise" and stage.bank and stage.chance(stage.config.rooms.noise):
        samples = _in_room(stage, samples)
    samples = set_level(samples, stage.config.reference_level + level)
    if kind == "music" and level < -3 and stage.chance(stage.config.music.intro):
        samples = _ducked(stage, samples, -level)
    samples = fade_ends(samples, _fade(stage), _fade(stage))
    stage.canvas.add_sound(samples, cells(start), kind)


def events(stage: Stage, number: tuple[int, int]) -> None:
    """Scatter passing sounds over the recording."""
    for _ in range(int(stage.rng.integers(number[0], number[1] + 1))):
        samples = stage.material.event(stage.rng, min(8.0, stage.seconds / 2))
        onset = stage.uniform((0.0, max(0.1, stage.seconds - samples.size / SAMPLE_RATE)))
        if stage.bank and stage.chance(stage.config.rooms.noise):
            samples = _in_room(stage, samples)
        level = stage.config.reference_level + stage.uniform(stage.config.noise.event_level)
        stage.canvas.add_sound(set_level(samples, level), cells(onset), "event")


def faint_sounds(stage: Stage) -> None:
    """Scatter unlabelled sounds, far weaker than who speaks, over the recording."""
    rule = stage.config.noise
    for _ in range(int(stage.rng.integers(rule.faint_sounds[0], rule.faint_sounds[1] + 1))):
        samples = stage.material.faint(stage.rng)
        level = stage.config.reference_level + stage.uniform(rule.faint_level)
        onset = stage.uniform((0.0, stage.seconds))
        stage.canvas.add_sound(set_level(samples, level), cells(onset), "distractor")


def floor(stage: Stage, level: float) -> None:
    """Lay an unlabelled floor under the whole recording, `level` dB over the reference."""
    samples = stage.material.floor(stage.rng, stage.seconds)
    level += stage.config.reference_level
    stage.canvas.add_sound(set_level(samples, level), 0, "distractor")


def front(stage: Stage, onset: float, seconds: float) -> None:
    """Play music alone in the foreground."""
    if seconds < 0.3:
        return
    samples = stage.material.music(stage.rng, seconds)
    if stage.bank and stage.chance(stage.config.rooms.music):
        samples = _in_room(stage, samples)
    level = stage.config.reference_level + stage.uniform(stage.config.music.front_level)
    faded = fade_ends(set_level(samples, level), _fade(stage), _fade(stage))
    stage.canvas.add_sound(faded, cells(max(0.0, onset)), "music")


def _in_room(stage: Stage, samples: Floats) -> Floats:
    room = stage.bank[int(stage.rng.integers(len(stage.bank)))]
    return reverberate(samples, room[int(stage.rng.integers(len(room)))])[: samples.size]


def _ducked(stage: Stage, samples: Floats, depth: float) -> Floats:
    """Let a bed begin in the foreground and go down by `depth` dB when it is talked over."""
    num_cells = -(-samples.size // 160)
    start, ramp = stage.uniform((1.0, 5.0)), stage.uniform((0.3, 1.5))
    course = np.clip((np.arange(num_cells) / GRID_RATE - start) / ramp, 0, 1)
    return follow(samples, ((1 - course) * depth).astype(np.float32))


def _fade(stage: Stage) -> float:
    low, high = stage.config.music.fade
    return float(np.exp(stage.rng.uniform(np.log(low), np.log(high))))
