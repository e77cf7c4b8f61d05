"""Why this class and not that, and what had to be missing for another decision."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from dummies import sound, student
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from audioseg_xai.annotation import Segment
from audioseg_xai.contrast import (
    NO_FLIP,
    Band,
    contrast,
    flip_band,
    flip_components,
    flips,
    segment_frames,
)
from audioseg_xai.explain import Explanation, Readout
from audioseg_xai.faithfulness.decision import Decision
from audioseg_xai.features import log_spectrogram

READOUT = Readout(
    classes=("speech", "music"),
    dictionary=np.array([[1.0, 0.0, 0.6], [0.0, 1.0, 0.8]]),
    weights=np.array([[2.0, -1.0, 0.5], [0.0, 3.0, 1.0]]),
    bias=np.array([-1.0, 0.5]),
    frequencies=np.array([0.0, 8000.0]),
)


def test_a_contrast_worked_out_by_hand() -> None:
    # z = [2, 1, 4]; speech [4, -1, 2], music [0, 3, 4]
    found = contrast(np.array([[1.0, 1, 4], [3, 1, 4]]), READOUT, "speech", "music")
    assert found.relevance.tolist() == [4, -4, -2]
    assert found.bias == -1.5
    np.testing.assert_allclose(found.spectrum, [4 - 1.2, -4 - 1.6])
    assert found.mean_logit == (4 - 1 + 2 - 1) - (0 + 3 + 4 + 0.5)
    assert found.strongest(2).tolist() == [0, 1]


def test_components_that_tell_nothing_are_not_among_the_strongest() -> None:
    found = contrast(np.array([[0.0, 0.0, 3.0]]), READOUT, "speech", "music")
    assert found.strongest(3).tolist() == [2]


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(np.float32, (7, 3), elements=st.floats(0, 50, width=32)))
def test_relevances_and_bias_sum_to_the_difference_of_the_mean_logits(h: np.ndarray) -> None:
    logits = (h.astype(float) @ READOUT.weights.T + READOUT.bias).mean(axis=0)
    for first, second in itertools.permutations(range(2)):
        found = contrast(h, READOUT, READOUT.classes[first], READOUT.classes[second])
        difference = logits[first] - logits[second]
        assert found.mean_logit == pytest.approx(difference, rel=1e-6, abs=1e-6)


def test_a_class_that_the_model_does_not_have() -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        contrast(np.ones((1, 3)), READOUT, "speech", "noise")


@pytest.mark.parametrize(
    ("segment", "frames"),
    [
        (Segment(0.0, 0.1, "music"), slice(0, 5)),
        (Segment(0.98, 1.0, "music"), slice(48, 49)),
        (Segment(0.06, 1.005, "music"), slice(3, 49)),
    ],
)
def test_the_frames_of_a_segment(segment: Segment, frames: slice) -> None:
    assert segment_frames(segment, 49) == frames


# --- components ---------------------------------------------------------------------------------


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


@pytest.mark.parametrize(
    ("relevance", "mean_logit", "expected"),
    [
        ([1.0, 3.0, -2.0, 0.5], 2.0, [1]),  # 2 - 3 < 0
        ([1.0, 3.0, -2.0, 0.5], 3.0, [1, 0]),  # 3 - 3 is not below 0
        ([1.0, 3.0, -2.0, 0.5], 4.5, None),  # all the evidence is 4.5
        ([1.0, 3.0], -0.1, []),
        ([-1.0, -3.0], 1.0, None),
    ],
)
def test_flips_worked_out_by_hand(
    relevance: list[float], mean_logit: float, expected: list[int] | None
) -> None:
    found = flip_components(np.array(relevance), mean_logit, 0.5)
    assert (found if found is None else found.tolist()) == expected


@settings(max_examples=60, deadline=None)
@given(
    # Eighths add up exactly, so that "below" is the same in any order of summing.
    st.lists(st.integers(-40, 40).map(lambda x: x / 8), min_size=1, max_size=6),
    st.integers(-80, 120).map(lambda x: x / 8),
    st.sampled_from([0.3, 0.5, 0.8]),
)
def test_no_smaller_set_flips_the_decision(
    relevance: list[float], mean_logit: float, threshold: float
) -> None:
    flipping = [
        len(members)
        for size in range(len(relevance) + 1)
        for members in itertools.combinations(relevance, size)
        if mean_logit - sum(members) < logit(threshold)
    ]
    found = flip_components(np.array(relevance), mean_logit, threshold)
    assert (None if found is None else len(found)) == min(flipping, default=None)


def test_flips_of_a_recording_use_the_threshold_of_each_class() -> None:
    segments = (Segment(0, 1, "speech"), Segment(0, 1, "music"), Segment(1, 2, "music"))
    relevance = np.array([[2.0, 1.0], [2.0, 1.0], [0.0, 0.5]])
    found = Explanation("a", 2.0, 99, 0.1, segments, relevance, relevance, np.array([1.0, 1, 1]))
    # speech needs a logit of 0: 1 - 2;  music one of -1.39: 1 - 2 - 1;  and 1 - .5 is above it
    assert flips(found, {"speech": 0.5, "music": 0.2}).tolist() == [1, 2, NO_FLIP]


# --- bands --------------------------------------------------------------------------------------


class Listener:
    """Decides by the share of some bins that it hears, and counts its answers."""

    def __init__(self, needed: list[int]) -> None:
        self.normalised = torch.ones(4, 16)
        self.needed, self.asked, self.probability = needed, 0, 1.0

    def ask(self, mask: torch.Tensor) -> float:
        self.asked += 1
        return float(mask[:, self.needed].mean()) if self.needed else 1.0


AXIS = np.arange(16) * 500.0


@pytest.mark.parametrize(
    ("needed", "bands", "low", "high"),
    [
        ([4, 5], 16, 1750.0, 2750.0),
        ([4, 5], 4, 1750.0, 3750.0),  # bins 4 ... 7 are a band of this grid
        ([3, 4], 4, 0.0, 3750.0),  # and these lie in two
        ([0, 15], 4, 0.0, 7500.0),
    ],
)
def test_the_band_that_a_decision_hangs_on(
    needed: list[int], bands: int, low: float, high: float
) -> None:
    assert flip_band(Listener(needed), AXIS, 0.5, bands) == Band(low, high, 0.0)


def test_of_equally_narrow_bands_the_one_that_lowers_most() -> None:
    found = flip_band(Listener([2, 8, 9]), AXIS, 0.7, bands=8)
    assert found == Band(3750.0, 4750.0, pytest.approx(1 / 3))  # and 2/3 without bins 2 and 3


def test_no_band_flips_what_does_not_depend_on_the_sound() -> None:
    listener = Listener([])
    assert flip_band(listener, AXIS, 0.5, bands=4) is None
    assert listener.asked == 4 * 5 / 2


def test_nothing_needs_to_be_silent_where_the_class_is_not_decided() -> None:
    listener = Listener([3])
    listener.probability = 0.5
    assert flip_band(listener, AXIS, 0.6) == Band(0.0, 0.0, 0.5)


def test_a_network_is_asked_again() -> None:
    network = student()
    log_power = log_spectrogram(torch.from_numpy(sound(3.0)), network.config.spectrogram)
    decision = Decision(network, log_power, 60, 90, 0)
    axis = network.config.spectrogram.frequencies()
    left = {}
    for first, stop in itertools.combinations((0, 65, 129, 193, 257), 2):
        mask = torch.ones_like(decision.normalised)
        mask[:, first:stop] = 0
        left[first, stop] = decision.ask(mask)
    lowest = min(left.values())
    assert lowest < decision.probability
    for threshold in (lowest + 1e-4, (lowest + decision.probability) / 2):
        found = flip_band(decision, axis, threshold, bands=4)
        width = min(b - a for (a, b), value in left.items() if value < threshold)
        assert found is not None and found.probability < threshold
        assert found.high - found.low == pytest.approx(width * 31.25, abs=40)
    assert flip_band(decision, axis, lowest - 1e-4, bands=4) is None
