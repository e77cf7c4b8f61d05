"""A bank of room impulse responses: image sources for the early part, a diffuse tail after."""

from __future__ import annotations

import numpy as np
from scipy.signal import oaconvolve

from audioseg_xai.frames import SAMPLE_RATE
from audioseg_xai.simulate.activity import Floats
from audioseg_xai.simulate.config import RoomConfig

_SOUND_SPEED = 343.0
_IMAGE_ORDER = 10
_MIXING_SECONDS = 0.05
_LEAK_SECONDS = (0.0015, 0.012)  # half a metre to four
_LEAK_DECIBELS = (-35.0, -10.0)
_FRACTIONAL_DELAY = 40  # pyroomacoustics centres its 81-tap fractional delays on this sample


def room_bank(config: RoomConfig, rng: np.random.Generator) -> list[list[Floats]]:
    """Return for each room the responses from several places to one microphone.

    Parameters
    ----------
    config : RoomConfig
        Number of rooms and of places, range of reverberation times.
    rng : numpy.random.Generator
        Decides the rooms.

    Returns
    -------
    list of list of ndarray
        Responses of shape (taps,) and unit energy; the direct sound is at tap 0, so that the
        labels of a dry signal stay right.
    """
    return [_room(config, rng) for _ in range(config.rooms)]


def reverberate(samples: Floats, response: Floats) -> Floats:
    """Return `samples` as heard through `response`, with the tail, shape (N + taps - 1,)."""
    return np.asarray(oaconvolve(samples, response), np.float32)


def headset_response(microphones: int, rng: np.random.Generator) -> Floats:
    """Return how a voice sounds in the sum of the headset microphones of a conversation.

    Its own microphone hears it at once, those of the others some milliseconds later and weaker: a
    comb filter that no room has.

    Parameters
    ----------
    microphones : int
        Microphones in the sum, one a speaker.
    rng : numpy.random.Generator
        Decides distances and levels.

    Returns
    -------
    ndarray, shape (taps,)
        Of unit energy; the own microphone is tap 0.
    """
    delays = rng.uniform(*_LEAK_SECONDS, microphones - 1)
    levels = rng.uniform(*_LEAK_DECIBELS, microphones - 1)
    response = np.zeros(round(_LEAK_SECONDS[1] * SAMPLE_RATE) + 1)
    response[0] = 1.0
    np.add.at(response, np.rint(delays * SAMPLE_RATE).astype(int), 10 ** (levels / 20))
    return np.asarray(response / np.linalg.norm(response), np.float32)


def _room(config: RoomConfig, rng: np.random.Generator) -> list[Floats]:
    import pyroomacoustics as pra  # heavy, and needed here alone

    size = rng.uniform([3.0, 2.5, 2.3], [10.0, 8.0, 4.0])
    reverberation = float(rng.uniform(*config.reverberation))
    absorption = float(np.clip(_sabine_absorption(size, reverberation), 0.02, 0.98))
    room = pra.ShoeBox(
        size, fs=SAMPLE_RATE, materials=pra.Material(absorption), max_order=_IMAGE_ORDER
    )
    microphone = size * rng.uniform(0.3, 0.7, 3) * [1, 1, 0] + [0, 0, rng.uniform(0.7, 1.6)]
    room.add_microphone(microphone)
    places = [_place(size, rng) for _ in range(config.positions)]
    for place in places:
        room.add_source(place)
    room.compute_rir()
    return [
        _finish(
            np.asarray(room.rir[0][index]),
            float(np.linalg.norm(place - microphone)),
            reverberation,
            config.max_seconds,
            rng,
        )
        for index, place in enumerate(places)
    ]


def _place(size: Floats, rng: np.random.Generator) -> Floats:
    wall = 0.3
    low, high = np.full(3, wall), np.asarray(size) - wall
    place = rng.uniform(low, high)
    place[2] = rng.uniform(1.0, 1.8)
    return np.asarray(place)


def _sabine_absorption(size: Floats, reverberation: float) -> float:
    # Sabine: T60 = 24 ln(10) V / (c S a)
    x, y, z = (float(side) for side in size)
    surface = 2 * (x * y + y * z + x * z)
    return float(24 * np.log(10) * x * y * z / (_SOUND_SPEED * surface * reverberation))


def _finish(
    response: Floats,
    distance: float,
    reverberation: float,
    max_seconds: float,
    rng: np.random.Generator,
) -> Floats:
    direct = round(distance / _SOUND_SPEED * SAMPLE_RATE) + _FRACTIONAL_DELAY
    early = response[direct:]
    length = round(min(reverberation, max_seconds) * SAMPLE_RATE)
    mixing = round(_MIXING_SECONDS * SAMPLE_RATE)
    out = np.zeros(max(length, 2 * mixing))
    early = early[: out.size]
    decay = 10 ** (-3 * np.arange(out.size) / (reverberation * SAMPLE_RATE))
    fade = np.clip(np.arange(out.size) / mixing - 1, 0, 1)
    out[: early.size] = early * (1 - fade[: early.size])
    around = early[mixing // 2 : 2 * mixing]
    rms = np.sqrt(np.mean(around**2) / np.mean(decay[mixing // 2 : 2 * mixing] ** 2))
    out += fade * rms * decay * rng.standard_normal(out.size)
    return np.asarray(out / np.linalg.norm(out), np.float32)
