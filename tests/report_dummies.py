"""An explanation archive made by hand, to make pages of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from audioseg_xai.annotation import Segment
from audioseg_xai.explain import Explanation, Readout, project, select
from audioseg_xai.explanation_archive import write_explanations
from audioseg_xai.frames import num_frames
from audioseg_xai.labels import CLASSES

BINS, COMPONENTS, TAU = 257, 6, 0.1
DECODING = {"config": {"decoding": {c: {"onset": 0.5, "offset": 0.4} for c in CLASSES}}}
"""What an archive says of how segments were decided."""

SEGMENTS = (
    Segment(0.5, 2.0, "speech", 0.9),
    Segment(1.0, 5.0, "music", 0.6),
    Segment(2.5, 3.5, "speech", 0.7),
    Segment(4.0, 6.0, "noise", 0.8),
)


def readout() -> Readout:
    """Return six components, a narrow band each, 31.25 Hz times 10, 50, 90, ... in the middle."""
    dictionary = np.zeros((BINS, COMPONENTS), np.float32)
    for k in range(COMPONENTS):
        dictionary[40 * k + 9 : 40 * k + 12, k] = 3**-0.5
    weights = np.where(np.arange(24).reshape(4, 6) % 3 == 2, -1.0, 1.0).astype(np.float32)
    bias = np.array([-0.5, 0.25, 0, 0], np.float32)
    return Readout(CLASSES, dictionary, weights, bias, np.linspace(0, 8000, BINS, dtype="f4"))


def write_archive(
    path: Path,
    uris: Sequence[str] = ("rec",),
    *,
    segments: Sequence[Segment] = SEGMENTS,
    num_samples: int = 96_000,
    provenance: dict[str, object] | None = None,
) -> Path:
    """Write an archive of recordings that all have `segments`, sorted by onset; return it."""
    made, frames = readout(), num_frames(num_samples)
    rng = np.random.default_rng(3)
    activations = rng.random((frames, COMPONENTS), np.float32)
    probabilities = np.full((frames, len(CLASSES)), 0.1, np.float32)
    means = []
    for segment in segments:
        rows = slice(round(segment.onset * 50), min(round(segment.offset * 50), frames))
        probabilities[rows, CLASSES.index(segment.label)] = segment.confidence
        means.append(activations[rows].astype(np.float16).astype(np.float32).mean(axis=0))
    c = [CLASSES.index(segment.label) for segment in segments]
    relevance = np.array(means).reshape(-1, COMPONENTS) * made.weights[c]
    with write_explanations(path, made, provenance or DECODING) as writer:
        for uri in uris:
            with writer.recording(uri) as recording:
                recording.push(probabilities, activations)
                recording.finish(
                    Explanation(
                        uri, num_samples / 16_000, frames, TAU, tuple(segments), relevance,
                        project(select(relevance, TAU), made.dictionary),
                        relevance.sum(axis=1) + made.bias[c],
                    )
                )  # fmt: skip
    return path
