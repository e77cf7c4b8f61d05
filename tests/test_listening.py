"""The relevant part of a sound and the rest: they sum to it, and hold what they should."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audioseg_xai.annotation import Segment
from audioseg_xai.explain import Explanation
from audioseg_xai.frames import num_frames
from audioseg_xai.listening import FADE, excerpts, listen

KINDS = st.sampled_from(["power", "ratio"])


def random_parts(num_samples: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return samples (N,), H (T, 5) and W (257, 5)."""
    rng = np.random.default_rng(seed)
    activations = rng.random((num_frames(num_samples), 5)) * 8 + 0.1
    return rng.uniform(-1, 1, num_samples), activations, rng.random((257, 5)) + 0.01


def low_and_high(seconds: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return a low tone, a high one, H of two components and W, which has a tone in each."""
    time = np.arange(round(seconds * 16_000)) / 16_000
    low, high = 0.4 * np.sin(2 * np.pi * 500 * time), 0.2 * np.sin(2 * np.pi * 4000 * time)
    dictionary = np.zeros((257, 2))
    dictionary[:64, 0] = dictionary[64:, 1] = 1.0  # parted at 2 kHz
    return low, high, np.full((num_frames(len(time)), 2), 5.0), dictionary


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 6000), st.integers(0, 999), st.integers(0, 31), KINDS)
def test_both_parts_sum_to_the_sound(n: int, seed: int, bits: int, kind: str) -> None:
    samples, activations, dictionary = random_parts(n, seed)
    selected = np.array([bits >> k & 1 for k in range(5)])
    relevant, rest = listen(samples, activations, dictionary, selected, kind)
    assert relevant.shape == rest.shape == (n,)
    np.testing.assert_allclose(relevant + rest, samples, atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.integers(400, 6000), st.integers(0, 999), st.integers(0, 31), KINDS)
def test_the_rest_is_the_relevant_part_of_the_other_components(
    n: int, seed: int, bits: int, kind: str
) -> None:
    samples, activations, dictionary = random_parts(n, seed)
    selected = np.array([bits >> k & 1 for k in range(5)])
    relevant, rest = listen(samples, activations, dictionary, selected, kind)
    swapped = listen(samples, activations, dictionary, 1 - selected, kind)
    np.testing.assert_allclose(swapped[0], rest, atol=1e-4)
    np.testing.assert_allclose(swapped[1], relevant, atol=1e-4)


def test_each_component_lets_its_own_frequencies_through() -> None:
    low, high, activations, dictionary = low_and_high()
    relevant, rest = listen(low + high, activations, dictionary, np.array([True, False]))
    inside = slice(1000, -1000)  # a tone that begins at once has other frequencies there
    np.testing.assert_allclose(relevant[inside], low[inside], atol=2e-3)
    np.testing.assert_allclose(rest[inside], high[inside], atol=2e-3)


def test_components_can_be_selected_frame_by_frame() -> None:
    low, high, activations, dictionary = low_and_high()
    selected = np.repeat([[1, 0], [0, 1]], [25, len(activations) - 25], axis=0)
    relevant, _ = listen(low + high, activations, dictionary, selected)
    np.testing.assert_allclose(relevant[1000:7000], low[1000:7000], atol=2e-3)
    np.testing.assert_allclose(relevant[9000:15_000], high[9000:15_000], atol=2e-3)


@pytest.mark.parametrize("num_samples", [400, 719, 720, 5003])
def test_all_components_together_are_the_sound_from_the_first_sample_to_the_last(
    num_samples: int,
) -> None:
    samples, activations, dictionary = random_parts(num_samples, 3)
    relevant, _ = listen(samples, activations, dictionary, np.ones(5))
    np.testing.assert_allclose(relevant, samples, rtol=1e-3, atol=1e-3)


def test_what_is_shorter_than_a_frame_rests_on_nothing() -> None:
    samples, activations, dictionary = random_parts(399, 0)
    relevant, rest = listen(samples, activations, dictionary, np.ones(5))
    assert not relevant.any()
    np.testing.assert_allclose(rest, samples, rtol=1e-6)


def test_activations_of_another_sound_are_refused() -> None:
    samples, activations, dictionary = random_parts(16_000, 0)
    with pytest.raises(ValueError, match="16000 samples have 49 frames, not 48"):
        listen(samples, activations[1:], dictionary, np.ones(5))


# --- where sound files begin and end ------------------------------------------------------------


def explanation(*segments: Segment, duration: float = 10.0) -> Explanation:
    relevance = np.tile(np.array([[2.0, -1.0, 4.0, 0.3]]), (len(segments), 1))
    zeros = np.zeros((len(segments), 3))
    return Explanation("a", duration, 499, 0.1, segments, relevance, zeros, zeros[:, 0])


def test_files_reach_a_fade_beyond_their_segments() -> None:
    found = excerpts(explanation(Segment(1, 2, "music"), Segment(3, 4.5, "music")), 160_000)
    bounds = [(e.begin, e.onset, e.offset, e.end) for e in found["music"]]
    assert FADE == 1600
    assert bounds == [(14_400, 16_000, 32_000, 33_600), (46_400, 48_000, 72_000, 73_600)]


def test_neighbours_share_a_short_gap_and_other_classes_do_not_matter() -> None:
    segments = (Segment(0, 1, "music"), Segment(0.5, 1.5, "noise"), Segment(1.02, 10, "music"))
    found = excerpts(explanation(*segments), 160_000)
    assert [(e.begin, e.end) for e in found["music"]] == [(0, 16_160), (16_160, 160_000)]
    assert [(e.begin, e.end) for e in found["noise"]] == [(6400, 25_600)]


def test_the_components_are_the_selected_ones_the_most_relevant_first() -> None:
    (item,) = excerpts(explanation(Segment(1, 2, "music")), 160_000)["music"]
    assert item.components == [2, 0]  # 0.3 is not above a tenth of 4, and -1 speaks against


def test_sound_fades_outside_the_segment_only() -> None:
    (item,) = excerpts(explanation(Segment(1, 2, "music")), 160_000)["music"]
    gain = item.gain(item.begin, item.end)
    assert gain[1600:17_600].tolist() == [1.0] * 16_000
    assert gain[0] < 1e-5 and gain[-1] < 1e-5
    assert gain[799] + gain[800] == pytest.approx(1.0)
    assert (np.diff(gain[:1600]) > 0).all()
    np.testing.assert_allclose(gain, gain[::-1], atol=1e-6)
    cut = np.concatenate([item.gain(14_400, 15_000), item.gain(15_000, 33_600)])
    np.testing.assert_array_equal(cut, gain)


def test_nothing_fades_where_the_recording_begins_or_ends() -> None:
    (item,) = excerpts(explanation(Segment(0, 10, "music")), 160_000)["music"]
    assert (item.gain(0, 160_000) == 1).all()


@given(st.lists(st.floats(0.02, 9.98), min_size=2, max_size=12, unique=True))
def test_files_of_a_class_never_overlap(times: list[float]) -> None:
    edges = sorted({round(time, 2) for time in times})
    pairs = zip(edges[::2], edges[1::2], strict=False)
    found = excerpts(explanation(*(Segment(a, b, "music") for a, b in pairs)), 160_000)
    position = 0
    for item in found.get("music", []):
        assert position <= item.begin <= item.onset < item.offset <= item.end <= 160_000
        position = item.end
