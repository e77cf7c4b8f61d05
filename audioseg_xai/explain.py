"""Which components, and through them which frequencies, a decision rests on.

Local explanations, selection and prototypes are those of Mariotte et al., "An Explainable Proxy
Model for Multilabel Audio Segmentation", ICASSP 2024. The student decides linearly from
non-negative activations, logits = Theta H + b, so that what each component adds to a decision is
known exactly, and the dictionary W says at which frequencies the component sounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from audioseg_xai.annotation import Segment, crop, merge_regions

Floats = NDArray[np.floating]

_ROUNDING = 1e-3  # seconds by which an annotation file may miss a boundary

QUARTILES = (0.25, 0.5, 0.75)
RESERVOIR = 4096
"""Segments of a class behind the quartiles of its prototype; of more, so many drawn at random.

A bounded memory then holds any number of recordings. The rank of a quartile of a sample of this
size is off by 0.7 % of the segments, one standard error.
"""


@dataclass(frozen=True)
class Readout:
    """The linear end of a student: from activations to classes and to frequencies.

    Attributes
    ----------
    classes : tuple of str
        Axis C.
    dictionary : numpy.ndarray, shape (F, K)
        W, non-negative, columns of unit L2 norm.
    weights : numpy.ndarray, shape (C, K)
        Theta.
    bias : numpy.ndarray, shape (C,)
        b, the logit of a class when nothing is active: the baseline of every explanation.
    frequencies : numpy.ndarray, shape (F,)
        Centre of each bin, in Hz.
    """

    classes: tuple[str, ...]
    dictionary: Floats
    weights: Floats
    bias: Floats
    frequencies: Floats

    def same_as(self, other: Readout) -> bool:
        """Tell whether relevances of both can be compared: same classes, Theta and W."""
        return self.classes == other.classes and all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("dictionary", "weights", "bias", "frequencies")
        )


@dataclass(frozen=True)
class Explanation:
    """The segments of a recording, and what each rests on.

    Attributes
    ----------
    uri : str
        The recording.
    duration : float
        Its length in seconds.
    num_frames : int
        T.
    threshold : float
        tau of the selection behind `spectra`, relative to the largest relevance of a segment.
    segments : tuple of Segment, length S
        Sorted by onset and label; the confidence is the mean probability of the class.
    relevance : numpy.ndarray, shape (S, K)
        What each component adds to the mean logit, negative evidence included.
    spectra : numpy.ndarray, shape (S, F)
        The selected relevance on the frequency axis.
    mean_logit : numpy.ndarray, shape (S,)
        Mean logit of the class of each segment: the sum of its relevances plus the bias.
    """

    uri: str
    duration: float
    num_frames: int
    threshold: float
    segments: tuple[Segment, ...]
    relevance: Floats
    spectra: Floats
    mean_logit: Floats


@dataclass(frozen=True)
class Prototypes:
    """What the decisions for each class rest on over a set of recordings.

    Attributes
    ----------
    relevance : numpy.ndarray, shape (C, K)
        p, the mean relevance over the segments of each class; 0 for a class without segments.
    spectra : numpy.ndarray, shape (C, F)
        W p: negative where components that speak against the class prevail.
    counts : numpy.ndarray, shape (C,)
        Segments of each class that were averaged.
    dropped : numpy.ndarray or None, shape (C,)
        Segments of each class that were left out because another system does not share the
        decision; None where none was asked.
    quartiles : numpy.ndarray or None, shape (3, C, K)
        Lower quartile, median and upper quartile of the relevance over the segments of each class,
        exact up to `RESERVOIR` segments; 0 for a class without. None where they are not known.
    """

    relevance: Floats
    spectra: Floats
    counts: NDArray[np.int64]
    dropped: NDArray[np.int64] | None = None
    quartiles: Floats | None = None


def relevance(mean_activations: Floats, class_index: NDArray[np.intp], weights: Floats) -> Floats:
    """Return r_k = z_k Theta_ck: what each component adds to the mean logit of a segment.

    The relevances of a segment and the bias of its class sum to the segment's mean logit, as in
    Mariotte et al. (2024), local explanations.

    Parameters
    ----------
    mean_activations : numpy.ndarray, shape (S, K)
        z, the mean of H over the frames of each segment.
    class_index : numpy.ndarray of int, shape (S,)
        Class of each segment.
    weights : numpy.ndarray, shape (C, K)
        Theta.

    Returns
    -------
    numpy.ndarray, shape (S, K)
        In logits.
    """
    result: Floats = mean_activations * weights[class_index]
    return result


def select(relevances: Floats, threshold: float) -> Floats:
    """Keep the positive relevances above a share of the largest; the others become 0.

    Parameters
    ----------
    relevances : numpy.ndarray, shape (S, K)
        Of each segment.
    threshold : float
        tau in [0, 1): r_k is kept where r_k > tau max_k r. A segment without positive relevance
        keeps nothing.

    Returns
    -------
    numpy.ndarray, shape (S, K)
        Non-negative.

    Examples
    --------
    >>> select(np.array([[4.0, 1.0, -3.0, 0.4]]), 0.1)
    array([[4., 1., 0., 0.]])
    """
    largest = np.maximum(relevances.max(axis=-1, keepdims=True, initial=0), 0)
    # tau < 1 keeps the largest itself, also where tau times a subnormal number rounds up to it.
    kept = (relevances > threshold * largest) | (relevances == largest)
    return np.where(kept, relevances, 0)


def project(relevances: Floats, dictionary: Floats) -> Floats:
    """Return W r: relevances (S, K) on the frequency axis, shape (S, F)."""
    result: Floats = relevances @ dictionary.T
    return result


def class_spectra(explanation: Explanation) -> dict[str, Floats]:
    """Return the mean spectrum (F,) of each class that has segments, weighted by duration."""
    labels = np.array([segment.label for segment in explanation.segments])
    seconds = np.array([segment.duration for segment in explanation.segments])
    return {
        name: np.average(
            explanation.spectra[labels == name], axis=0, weights=seconds[labels == name]
        )
        for name in dict.fromkeys(labels.tolist())
    }


def strongest_band(
    spectrum: Floats, frequencies: Floats, share: float = 0.5
) -> tuple[float, float] | None:
    """Return the narrowest band that holds a share of a spectrum.

    Parameters
    ----------
    spectrum : numpy.ndarray, shape (F,)
        Non-negative.
    frequencies : numpy.ndarray, shape (F,)
        Centre of each bin, in Hz, equally spaced.
    share : float
        In (0, 1].

    Returns
    -------
    tuple of float or None
        Lower and upper edge in Hz; None for a spectrum that is 0.
    """
    before = np.concatenate([[0.0], np.cumsum(spectrum, dtype=np.float64)])
    if before[-1] <= 0:
        return None
    wanted = share * before[-1] * (1 - 1e-9)
    stops = np.searchsorted(before, before + wanted)  # first stop at which the share is reached
    starts = np.flatnonzero(stops < len(before))
    best = starts[np.argmin((stops - np.arange(len(before)))[starts])]
    half = (frequencies[1] - frequencies[0]) / 2
    low, high = frequencies[best] - half, frequencies[stops[best] - 1] + half
    return max(float(low), 0.0), min(float(high), float(frequencies[-1]))


def shared_decisions(
    explanation: Explanation, decisions: Sequence[Segment], overlap: float = 0.5
) -> Explanation:
    """Keep the segments in which another system has decided the same.

    Parameters
    ----------
    explanation : Explanation
        Of a recording.
    decisions : sequence of Segment
        What the other system, a teacher say, found in it.
    overlap : float
        In (0, 1]: share of a segment in which it must have found the same class.

    Returns
    -------
    Explanation
        With S smaller or equal.
    """
    rows = [
        _shared_seconds(segment, decisions) >= overlap * segment.duration - _ROUNDING
        for segment in explanation.segments
    ]
    kept = np.flatnonzero(rows)
    return replace(
        explanation,
        segments=tuple(explanation.segments[row] for row in kept),
        relevance=explanation.relevance[kept],
        spectra=explanation.spectra[kept],
        mean_logit=explanation.mean_logit[kept],
    )


def _shared_seconds(segment: Segment, decisions: Sequence[Segment]) -> float:
    same = (other for other in decisions if other.label == segment.label)
    inside = crop(same, segment.onset, segment.offset)
    return sum(end - start for start, end in merge_regions((s.onset, s.offset) for s in inside))


def prototypes(
    explanations: Iterable[Explanation],
    readout: Readout,
    *,
    agree_with: Mapping[str, Sequence[Segment]] | None = None,
    overlap: float = 0.5,
) -> Prototypes:
    """Average the relevance of all segments of each class, and project it to frequency.

    Prototypes as in Mariotte et al. (2024), global explanations: every segment counts the same.

    Parameters
    ----------
    explanations : iterable of Explanation
        All made with `readout`; may be a generator, one is held at a time.
    readout : Readout
        Of the student that decided.
    agree_with : mapping of str to sequence of Segment, optional
        What another system found, by uri: only decisions that it shares are averaged, as
        `shared_decisions` keeps them. A recording that is absent is one where it found nothing.
    overlap : float
        See `shared_decisions`.
    """
    spread = [_Reservoir(seed) for seed in range(len(readout.classes))]
    sums = np.zeros(readout.weights.shape)
    found, counts = np.zeros((2, len(readout.classes)), dtype=np.int64)
    for explanation in explanations:
        np.add.at(found, _class_indices(explanation, readout), 1)
        if agree_with is not None:
            decisions = agree_with.get(explanation.uri, ())
            explanation = shared_decisions(explanation, decisions, overlap)
        classes = _class_indices(explanation, readout)
        np.add.at(sums, classes, explanation.relevance)
        np.add.at(counts, classes, 1)
        for c, row in zip(classes, explanation.relevance, strict=True):
            spread[c].add(row)
    means = sums / np.maximum(counts, 1)[:, None]
    dropped = None if agree_with is None else found - counts
    quartiles = np.stack([part.quartiles(means.shape[1]) for part in spread], axis=1)
    return Prototypes(means, project(means, readout.dictionary), counts, dropped, quartiles)


class _Reservoir:
    """A uniform sample of rows that arrive one by one: Vitter (1985), algorithm R."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._rows: list[Floats] = []
        self._seen = 0

    def add(self, row: Floats) -> None:
        self._seen += 1
        if len(self._rows) < RESERVOIR:
            self._rows.append(row.copy())
        elif (place := int(self._rng.integers(self._seen))) < RESERVOIR:
            self._rows[place] = row.copy()

    def quartiles(self, width: int) -> Floats:
        """Return them for each of `width` columns, shape (3, width)."""
        rows = np.array(self._rows) if self._rows else np.zeros((1, width))
        result: Floats = np.quantile(rows, QUARTILES, axis=0)
        return result


def _class_indices(explanation: Explanation, readout: Readout) -> list[int]:
    return [readout.classes.index(segment.label) for segment in explanation.segments]
