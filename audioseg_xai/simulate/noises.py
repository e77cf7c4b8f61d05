"""Synthetic noise: what no recording in a pool covers, from hiss to engines, rain and clicks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import fft
from scipy.signal import fftconvolve

from audioseg_xai.frames import SAMPLE_RATE
from audioseg_xai.simulate.activity import Floats, stretch

Generator = np.random.Generator
Synthesiser = Callable[[Generator, int], Floats]


def synthetic_bed(rng: Generator, size: int) -> Floats:
    """Return `size` samples of a lasting noise of a drawn kind, at a peak near 1."""
    return _draw(BEDS, rng, size)


def synthetic_event(rng: Generator, size: int) -> Floats:
    """Return `size` samples of a passing sound of a drawn kind, at a peak near 1."""
    return _draw(EVENTS, rng, size)


def hiss(rng: Generator, size: int) -> Floats:
    """Return stationary coloured noise, sometimes with mains hum: a room or recorder at rest."""
    out = coloured(rng, size, float(rng.uniform(-6.0, 1.0)))
    if rng.random() < 0.3:
        out = out + np.float32(rng.uniform(0.3, 3.0)) * np.float32(out.std()) * mains(rng, size)
    return _peak(out)


def coloured(rng: Generator, size: int, slope: float) -> Floats:
    """Return noise whose power falls by `slope` dB an octave (0 white, -3 pink, -6 brown)."""
    return _shaped(rng, size, lambda f: np.maximum(f, 40.0) ** (slope / 6.02))


def mains(rng: Generator, size: int) -> Floats:
    """Return the hum of 50 or 60 Hz and its harmonics."""
    base = float(rng.choice([50.0, 60.0]))
    weights = rng.uniform(0, 1, 8) / np.arange(1, 9)
    return _harmonics(_time(size) * base, weights, rng)


def band_noise(rng: Generator, size: int) -> Floats:
    """Return noise with a random smooth spectrum: fans, tyres, waterfalls, air conditioning."""
    knots = np.geomspace(30, 8000, 9)
    levels = np.cumsum(rng.normal(-2.0, 6.0, 9))
    return _shaped(rng, size, lambda f: 10 ** (np.interp(f, knots, levels) / 20))


def speech_shaped(rng: Generator, size: int) -> Floats:
    """Return noise with a spectrum like speech and often its slow modulation, without speech."""
    corner = float(rng.uniform(350, 700))
    noise = _shaped(rng, size, lambda f: np.where(f < 90, 0.05, 1 / (1 + (f / corner) ** 1.6)))
    return np.asarray(noise * _modulation(rng, size, rate=(1.0, 8.0), depth=(0.0, 25.0)))


def modulated(rng: Generator, size: int) -> Floats:
    """Return coloured noise with random or periodic swelling: waves, sawing, traffic."""
    noise = band_noise(rng, size) if rng.random() < 0.5 else coloured(rng, size, -3.0)
    if rng.random() < 0.5:
        return noise * _modulation(rng, size, rate=(0.1, 3.0), depth=(6.0, 30.0))
    phase = 2 * np.pi * (rng.uniform(0.2, 12.0) * _time(size) + rng.random())
    swell = 0.05 + (0.5 + 0.5 * np.sin(phase)) ** rng.uniform(1, 6)
    return np.asarray(noise * swell.astype(np.float32))


def wind(rng: Generator, size: int) -> Floats:
    """Return low rumble in gusts."""
    low = _shaped(rng, size, lambda f: 1 / (1 + (f / rng.uniform(60, 300)) ** 2))
    return low * _modulation(rng, size, rate=(0.2, 2.0), depth=(8.0, 25.0))


def engine(rng: Generator, size: int) -> Floats:
    """Return a harmonic drone with wandering speed and its noise: motors, mowers, drills."""
    base = float(np.exp(rng.uniform(np.log(20), np.log(180))))
    wander = _wander(rng, size, float(rng.uniform(0.05, 1.0))) * rng.uniform(0.0, 0.15)
    phase = np.cumsum(base * (1 + wander) / SAMPLE_RATE)
    weights = rng.uniform(0.1, 1, 24) * np.exp(-np.arange(24) / rng.uniform(2, 12))
    tone = _harmonics(phase, weights, rng)
    noise = _peak(band_noise(rng, size)) * np.float32(rng.uniform(0.05, 1.0))
    return tone / np.float32(max(np.abs(tone).max(), 1e-6)) + noise


def rain(rng: Generator, size: int) -> Floats:
    """Return many small impacts over a hiss."""
    rate = float(np.exp(rng.uniform(np.log(20), np.log(800))))
    return _impacts(rng, size, rate, (0.001, 0.01)) + _peak(coloured(rng, size, 0.0)) * np.float32(
        rng.uniform(0.0, 0.2)
    )


def crackle(rng: Generator, size: int) -> Floats:
    """Return irregular clicks: fire, vinyl, rustling."""
    return _impacts(rng, size, float(rng.uniform(3, 40)), (0.0005, 0.02))


def machine(rng: Generator, size: int) -> Floats:
    """Return a regular knock: clocks, printers, keyboards, looms."""
    period = float(np.exp(rng.uniform(np.log(0.06), np.log(1.0))))
    train = np.zeros(size, np.float32)
    times = np.arange(rng.uniform(0, period), size / SAMPLE_RATE, period)
    jitter = rng.normal(0, period * rng.uniform(0, 0.2), times.size)
    places = ((times + jitter) * SAMPLE_RATE).astype(int)
    places = places[(places >= 0) & (places < size)]
    train[places] = rng.uniform(0.3, 1.0, places.size)
    return _hits(rng, train, float(rng.uniform(0.003, 0.06)))


def chirps(rng: Generator, size: int) -> Floats:
    """Return sweeping whistles in rows: birds, insects, squeaks."""
    out = np.zeros(size, np.float32)
    position, length = 0, int(rng.uniform(0.02, 0.25) * SAMPLE_RATE)
    low, sweep = float(rng.uniform(1200, 6000)), float(rng.uniform(-0.5, 0.5))
    while position < size:
        call = _sweep(rng, min(length, size - position), low, sweep)
        out[position : position + call.size] += call
        rest = rng.exponential(0.15) if rng.random() < 0.8 else rng.exponential(1.2)
        position += length + int(rest * SAMPLE_RATE)
    return out


def bark(rng: Generator, size: int) -> Floats:
    """Return short harmonic bursts with falling pitch and breath: animal calls."""
    out = np.zeros(size, np.float32)
    position = 0
    base, length = float(rng.uniform(150, 900)), int(rng.uniform(0.08, 0.5) * SAMPLE_RATE)
    while position < size:
        count = min(length, size - position)
        fall = np.linspace(1.15, float(rng.uniform(0.6, 1.0)), count)
        phase = np.cumsum(base * rng.uniform(0.9, 1.1) * fall / SAMPLE_RATE)
        tone = _harmonics(phase, rng.uniform(0.2, 1, 12) / np.arange(1, 13) ** 0.5, rng)
        breath = rng.standard_normal(count, dtype=np.float32) * np.float32(rng.uniform(0, 2.0))
        out[position : position + count] = (tone + breath) * np.hanning(count).astype(np.float32)
        position += length + int(rng.exponential(0.6) * SAMPLE_RATE)
    return out


def knock(rng: Generator, size: int) -> Floats:
    """Return one to five heavy hits: doors, cups, steps, hammers."""
    train = np.zeros(size, np.float32)
    for _ in range(int(rng.integers(1, 6))):
        train[int(rng.integers(max(1, int(size * 0.8))))] = rng.uniform(0.4, 1.0)
    return _hits(rng, train, float(rng.uniform(0.01, 0.15)))


def alarm(rng: Generator, size: int) -> Floats:
    """Return a beeper or a siren: one tone, on and off or sliding."""
    base, time = float(rng.uniform(400, 3500)), _time(size)
    if rng.random() < 0.5:
        gate = (time * rng.uniform(1, 6)) % 1 < rng.uniform(0.2, 0.7)
        return np.asarray(np.sin(2 * np.pi * base * time) * gate, np.float32)
    slide = base * (1 + rng.uniform(0.1, 0.4) * np.sin(2 * np.pi * rng.uniform(0.2, 3) * time))
    return np.asarray(np.sin(2 * np.pi * np.cumsum(slide) / SAMPLE_RATE), np.float32)


def whoosh(rng: Generator, size: int) -> Floats:
    """Return noise that swells once and goes: a car passing, a flush, breaking glass."""
    place = float(rng.uniform(0.02, 0.7))
    t = np.linspace(0, 1, size)
    rise, fall = np.clip(t / place, 0, 1), np.exp(-np.maximum(t - place, 0) * rng.uniform(3, 12))
    shape = (rise ** rng.uniform(1, 4) * fall).astype(np.float32)
    return np.asarray(band_noise(rng, size) * shape)


BEDS: dict[str, Synthesiser] = {
    "coloured": lambda rng, size: coloured(rng, size, float(rng.uniform(-9.0, 3.0))),
    "band_noise": band_noise,
    "speech_shaped": speech_shaped,
    "modulated": modulated,
    "wind": wind,
    "engine": engine,
    "rain": rain,
    "crackle": crackle,
    "machine": machine,
    "chirps": chirps,
}
"""Lasting noises by name."""

EVENTS: dict[str, Synthesiser] = {
    "bark": bark,
    "knock": knock,
    "alarm": alarm,
    "whoosh": whoosh,
    "chirps": chirps,
    "engine": engine,
    "machine": machine,
    "speech_shaped": speech_shaped,
}
"""Passing sounds by name."""


def breath(rng: Generator, size: int) -> Floats:
    """Return a breath: noise with two broad resonances, which swells and dies away, peak near 1."""
    first, second = float(rng.uniform(500, 1500)), float(rng.uniform(1800, 4500))
    noise = _shaped(
        rng,
        size,
        lambda f: (
            np.exp(-(np.log2(np.maximum(f, 20) / first) ** 2))
            + 0.6 * np.exp(-2 * np.log2(np.maximum(f, 20) / second) ** 2)
        ),
    )
    rise = float(rng.uniform(0.2, 0.8))
    course = np.linspace(0, 1, size, dtype=np.float32)
    swell = np.minimum(course / rise, (1 - course) / (1 - rise))
    return _peak(noise * np.sin(0.5 * np.pi * swell).astype(np.float32) ** 2)


def _draw(table: dict[str, Synthesiser], rng: Generator, size: int) -> Floats:
    names = list(table)
    return _peak(table[names[int(rng.integers(len(names)))]](rng, size))


def _peak(samples: Floats) -> Floats:
    return samples / np.float32(max(float(np.abs(samples).max(initial=0.0)), 1e-9))


def _time(size: int) -> Floats:
    return np.asarray(np.arange(size) / SAMPLE_RATE)


def _shaped(rng: Generator, size: int, response: Callable[[Floats], Floats]) -> Floats:
    padded = fft.next_fast_len(max(size, 2), real=True)
    noise = rng.standard_normal(padded, dtype=np.float32)
    # The curve is smooth: some 2000 points of it say all, and spare powers of each bin.
    bins, factor = padded // 2 + 1, max(1, padded // 4096)
    grid = np.arange(0, bins, factor) * SAMPLE_RATE / padded
    gain = stretch(response(grid), factor)[:bins]
    return np.asarray(fft.irfft(fft.rfft(noise) * gain, padded)[:size], np.float32)


def _wander(rng: Generator, size: int, rate: float) -> Floats:
    """Return a smooth random course with `rate` turns a second, of unit spread."""
    knots = max(4, int(size / SAMPLE_RATE * rate) + 3)
    fine = np.linspace(0, knots - 1, size)
    return np.interp(fine, np.arange(knots), rng.standard_normal(knots)).astype(np.float32)


def _modulation(
    rng: Generator, size: int, rate: tuple[float, float], depth: tuple[float, float]
) -> Floats:
    course = _wander(rng, size, float(rng.uniform(*rate)) * 2)
    return np.asarray(10 ** (course * rng.uniform(*depth) / 2 / 20), np.float32)


def _harmonics(phase: Floats, weights: Floats, rng: Generator) -> Floats:
    """Return the waveform with the given harmonics, read from a table of one period."""
    table = np.zeros(2049)
    angle = np.linspace(0, 2 * np.pi, 2049)
    for number, weight in enumerate(weights, 1):
        table += weight * np.sin(number * angle + rng.uniform(0, 2 * np.pi))
    return table.astype(np.float32)[((phase % 1) * 2048).astype(np.int32)]


def _impacts(rng: Generator, size: int, rate: float, decay: tuple[float, float]) -> Floats:
    number = int(rng.poisson(rate * size / SAMPLE_RATE)) + 1
    train = np.zeros(size, np.float32)
    train[rng.integers(0, size, number)] = rng.exponential(1.0, number) * rng.choice(
        [-1.0, 1.0], number
    )
    return _hits(rng, train, float(rng.uniform(*decay)))


def _hits(rng: Generator, train: Floats, decay: float) -> Floats:
    """Let every impulse of `train` ring: decaying noise and a few resonances."""
    time = np.arange(max(32, int(5 * decay * SAMPLE_RATE))) / SAMPLE_RATE
    ring = rng.standard_normal(time.size) * rng.uniform(0, 1)
    for frequency in np.exp(rng.uniform(np.log(80), np.log(6000), int(rng.integers(1, 5)))):
        ring += rng.uniform(0.2, 1) * np.sin(2 * np.pi * frequency * time)
    kernel = (ring * np.exp(-time / decay)).astype(np.float32)
    return np.asarray(_peak(fftconvolve(train, kernel)[: train.size]), np.float32)


def _sweep(rng: Generator, size: int, low: float, sweep: float) -> Floats:
    course = low * rng.uniform(0.9, 1.1) * (1 + sweep * np.linspace(0, 1, size))
    tone = np.sin(2 * np.pi * np.cumsum(np.minimum(course, 7600.0)) / SAMPLE_RATE)
    return np.asarray(tone * np.hanning(size) * rng.uniform(0.3, 1.0), np.float32)
