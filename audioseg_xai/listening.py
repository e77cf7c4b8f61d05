"""Hear what a decision rests on: the relevant part of a sound, and the rest of it.

The components that a decision rests on account for a share of every bin of the spectrogram. That
share of the complex spectrum, inverted, is the relevant part; what the sound has besides is the
rest: Parekh et al., "Listen to Interpret", NeurIPS 2022, with the masks of `masking`. Both parts
sum to the sound. It is the sound that the network hears: 16 kHz, mono.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from audioseg_xai.annotation import Segment
from audioseg_xai.explain import Explanation, select
from audioseg_xai.features import SpectrogramConfig, inverse_stft, stft
from audioseg_xai.frames import SAMPLE_RATE, num_frames
from audioseg_xai.masking import MaskKind, component_mask

Floats = NDArray[np.float32]

FADE = SAMPLE_RATE // 10
"""Samples (0.1 s) that a sound file has on each side of its segment, faded in and out there."""


def listen(
    samples: NDArray[np.floating],
    activations: NDArray[np.floating],
    dictionary: NDArray[np.floating],
    selected: NDArray[np.bool_] | NDArray[np.number],
    kind: MaskKind = "power",
) -> tuple[Floats, Floats]:
    """Divide a sound into what the selected components describe and the rest.

    Parameters
    ----------
    samples : numpy.ndarray, shape (N,)
        16 kHz mono.
    activations : numpy.ndarray, shape (T, K)
        H, T = `frames.num_frames(N)`. The frames beyond both ends are as the first and the last.
    dictionary : numpy.ndarray, shape (F, K)
        W; F = fft_size / 2 + 1.
    selected : numpy.ndarray, shape (K,) or (T, K)
        1 or true for the components of the relevant part.
    kind : str, optional
        How the parts share a bin, see `masking`.

    Returns
    -------
    relevant, rest : numpy.ndarray, shape (N,), float32
        They sum to `samples`. The rest is what the complementary mask lets through, because the
        masks sum to one and the inverse is linear and exact.

    Raises
    ------
    ValueError
        If `activations` do not have the frames of `samples`.
    """
    if len(activations) != num_frames(len(samples)):
        raise ValueError(
            f"{len(samples)} samples have {num_frames(len(samples))} frames, not {len(activations)}"
        )
    sound = _tensor(samples)
    relevant = torch.zeros_like(sound)
    if len(activations):
        config = SpectrogramConfig(fft_size=2 * (len(dictionary) - 1))
        parts = (_tensor(activations), _tensor(dictionary), _tensor(selected))
        mask = component_mask(*parts, kind)
        beyond = torch.cat([mask[:1], mask, mask[-1:], mask[-1:]])
        relevant = inverse_stft(stft(sound, config) * beyond, len(sound), config)
    return relevant.numpy(), (sound - relevant).numpy()


@dataclass(frozen=True)
class Excerpt:
    """Where the sound files of a segment begin and end, in samples.

    Attributes
    ----------
    segment : Segment
        What was decided.
    relevance : numpy.ndarray, shape (K,)
        Of the segment; the selected components are those above 0.
    begin, onset, offset, end : int
        From `begin` to `onset` the sound fades in, from `offset` to `end` it fades out.
    """

    segment: Segment
    relevance: NDArray[np.floating]
    begin: int
    onset: int
    offset: int
    end: int

    @property
    def components(self) -> list[int]:
        """The selected components, the most relevant first."""
        order = np.argsort(-self.relevance, kind="stable")
        return [int(k) for k in order if self.relevance[k] > 0]

    def gain(self, start: int, stop: int) -> Floats:
        """Return the factor of the samples from `start` to `stop`: raised cosines at both ends."""
        centres = np.arange(start, stop) + 0.5
        rise = _raised_cosine(centres - self.begin, self.onset - self.begin)
        fall = _raised_cosine(self.end - centres, self.end - self.offset)
        return (rise * fall).astype(np.float32)


def excerpts(explanation: Explanation, num_samples: int) -> dict[str, list[Excerpt]]:
    """Return where the sound files of each class begin and end.

    A file has `FADE` samples on each side of its segment, where the recording reaches so far, but
    not more than half of the way to the neighbour: files of one class never overlap.

    Parameters
    ----------
    explanation : Explanation
        Of a recording.
    num_samples : int
        Its length, at 16 kHz.
    """
    kept = select(explanation.relevance, explanation.threshold)
    found: dict[str, list[Excerpt]] = {}
    for label in dict.fromkeys(segment.label for segment in explanation.segments):
        rows = [row for row, s in enumerate(explanation.segments) if s.label == label]
        spans = [_span(explanation.segments[row], num_samples) for row in rows]
        found[label] = [
            Excerpt(explanation.segments[row], kept[row], begin, *span, end)
            for row, span, (begin, end) in zip(rows, spans, _reach(spans, num_samples), strict=True)
        ]
    return found


def _tensor(values: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.array(values, np.float32))


def _span(segment: Segment, num_samples: int) -> tuple[int, int]:
    onset, offset = round(segment.onset * SAMPLE_RATE), round(segment.offset * SAMPLE_RATE)
    return onset, min(offset, num_samples)


def _reach(spans: Sequence[tuple[int, int]], num_samples: int) -> Iterator[tuple[int, int]]:
    """Yield where the excerpt around each span begins and ends."""
    for index, (onset, offset) in enumerate(spans):
        before = (onset - spans[index - 1][1]) // 2 if index else onset
        last = index == len(spans) - 1
        after = num_samples - offset if last else (spans[index + 1][0] - offset) // 2
        yield onset - min(before, FADE), offset + min(after, FADE)


def _raised_cosine(distance: NDArray[np.floating], length: int) -> NDArray[np.floating]:
    if length == 0:
        return np.ones(len(distance))
    result: NDArray[np.floating] = 0.5 - 0.5 * np.cos(np.pi * np.clip(distance / length, 0, 1))
    return result
