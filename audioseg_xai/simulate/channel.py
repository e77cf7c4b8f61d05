"""Levels, fades and what microphones, lines and codecs do to a signal."""

from __future__ import annotations

import numpy as np
from scipy.signal import butter, lfilter, sosfilt

from audioseg_xai.frames import SAMPLE_RATE
from audioseg_xai.simulate.activity import (
    GRID,
    Floats,
    cell_power,
    decibels,
    loud_level,
    smooth,
    stretch,
)
from audioseg_xai.simulate.config import ChannelConfig

_TELEPHONE_BAND = (300.0, 3400.0)
_MU = 255.0


def amplitude(level: float) -> np.float32:
    """Return the factor that changes a level by `level` dB."""
    return np.float32(10 ** (level / 20))


def set_level(samples: Floats, level: float) -> Floats:
    """Return `samples` scaled so that their loud level is `level` dBFS; silence stays silence."""
    power = cell_power(samples)
    sounding = power[power > 0]
    return samples * amplitude(level - loud_level(sounding)) if sounding.size else samples


def fade_ends(samples: Floats, fade_in: float, fade_out: float | None = None) -> Floats:
    """Return `samples` with raised-cosine fades of the given lengths, in seconds."""
    out = samples.copy()
    rise = _ramp(fade_in, samples.size)
    fall = _ramp(fade_in if fade_out is None else fade_out, samples.size)
    out[: rise.size] *= rise
    if fall.size:
        out[-fall.size :] *= fall[::-1]
    return out


def follow(samples: Floats, levels: Floats) -> Floats:
    """Return `samples` with a gain that runs through `levels` (dB), one for each 10 ms cell."""
    return samples * stretch(10 ** (levels / 20), GRID)[: samples.size]


def telephone(samples: Floats) -> Floats:
    """Return a telephone line's version: 300..3400 Hz, 8-bit mu-law (ITU-T G.711 companding)."""
    sections = butter(4, _TELEPHONE_BAND, "bandpass", fs=SAMPLE_RATE, output="sos")
    band = np.asarray(sosfilt(sections, samples), np.float32)
    peak = max(float(np.abs(band).max(initial=0.0)), 1e-9)
    x = band / np.float32(peak)
    coded = np.round(np.sign(x) * np.log1p(_MU * np.abs(x)) / np.log1p(_MU) * 127) / 127
    return np.asarray(np.sign(coded) * np.expm1(np.abs(coded) * np.log1p(_MU)) / _MU * peak, "f4")


def lowpass(samples: Floats, cutoff: float) -> Floats:
    """Return `samples` without what lies above `cutoff` Hz, as after a lossy codec."""
    sections = butter(8, cutoff, fs=SAMPLE_RATE, output="sos")
    return np.asarray(sosfilt(sections, samples), np.float32)


def tilt(samples: Floats, amount: float) -> Floats:
    """Return `samples` with treble raised by `amount` dB against bass (first-order shelf, 1 kHz).

    The shelf is H(s) = (g s + w) / (s + g w) with g = 10^(amount / 40), through the bilinear
    transform.
    """
    g = 10 ** (amount / 40)
    w = np.tan(np.pi * 1000.0 / SAMPLE_RATE)
    b = np.array([g + w, w - g], np.float32) / (1 + g * w)
    a = np.array([1 + g * w, g * w - 1], np.float32) / (1 + g * w)
    return np.asarray(lfilter(b, a, samples), np.float32)


def compress(samples: Floats, ratio: float) -> Floats:
    """Return `samples` as after an automatic gain control that evens levels over 0.4 s."""
    levels = decibels(smooth(cell_power(samples), 0.4))
    loud = np.quantile(levels, 0.95)
    gain = np.clip((loud - levels) * (1 - 1 / ratio), 0.0, 12.0)
    return follow(samples, smooth(gain.astype(np.float32), 0.3))


def degrade(samples: Floats, config: ChannelConfig, rng: np.random.Generator) -> Floats:
    """Return the mixture after gain changes, compression, filters: what is not its level."""
    chances = rng.random(5)
    if chances[0] < config.gain_change:
        samples = _gain_change(samples, config, rng)
    if chances[1] < config.compress:
        samples = compress(samples, float(rng.uniform(1.5, 4.0)))
    if chances[2] < config.tilt:
        samples = tilt(samples, float(rng.uniform(*config.tilt_range)))
    if chances[3] < config.telephone:
        samples = telephone(samples)
    elif chances[4] < config.lowpass:
        samples = lowpass(samples, float(rng.uniform(*config.lowpass_range)))
    return samples


def finish_level(samples: Floats, config: ChannelConfig, rng: np.random.Generator) -> Floats:
    """Return the mixture at a drawn loud level, clipped if the dice say so and else never."""
    drawn = float(rng.normal(config.level_mean, config.level_spread))
    level = float(np.clip(drawn, *config.level_range))
    if rng.random() < config.extreme:
        level = float(rng.uniform(*config.extreme_range))
    samples = set_level(samples, level)
    peak = float(np.abs(samples).max(initial=0.0))
    if peak > 0 and rng.random() < config.clip:
        return _clip(samples * (amplitude(float(rng.uniform(*config.clip_range))) / peak), rng)
    return samples * np.float32(0.99 / peak) if peak > 0.99 else samples


def _clip(samples: Floats, rng: np.random.Generator) -> Floats:
    top = np.float32(10 ** (rng.uniform(-12.0, 0.0) / 20))
    hard = rng.random() < 0.5
    clipped = np.clip(samples, -1, 1) if hard else np.tanh(samples)
    return np.asarray(clipped * top * np.float32(0.999), np.float32)


def _gain_change(samples: Floats, config: ChannelConfig, rng: np.random.Generator) -> Floats:
    num_cells = -(-samples.size // GRID)
    start = rng.uniform(0.1, 0.9) * num_cells
    ramp = rng.uniform(0.02, 2.0) * 100
    change = float(rng.uniform(*config.gain_change_range))
    course = np.clip((np.arange(num_cells) - start) / ramp, 0, 1) * change
    return follow(samples, course.astype(np.float32))


def _ramp(seconds: float, limit: int) -> Floats:
    size = min(round(seconds * SAMPLE_RATE), limit)
    return (0.5 - 0.5 * np.cos(np.pi * (np.arange(size) + 0.5) / max(size, 1))).astype(np.float32)
