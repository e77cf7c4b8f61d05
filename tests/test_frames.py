"""The frame clock: 20 ms frames of 25 ms windows at 16 kHz."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audioseg_xai.frames import (
    FRAME_SHIFT,
    HOP,
    SAMPLE_RATE,
    WINDOW,
    frame_centre,
    frame_to_seconds,
    num_frames,
    seconds_to_frame,
)


@pytest.mark.parametrize(
    ("samples", "frames"),
    [(0, 0), (1, 0), (399, 0), (400, 1), (719, 1), (720, 2), (16_000, 49), (160_000, 499)],
)
def test_num_frames_counted_by_hand(samples, frames):
    assert num_frames(samples) == frames


@given(st.integers(0, 10**9))
def test_last_frame_fits_and_one_more_would_not(samples):
    frames = num_frames(samples)
    assert frames == 0 or (frames - 1) * HOP + WINDOW <= samples
    assert frames * HOP + WINDOW > samples


@given(st.integers(0, 10**7))
def test_a_frame_holds_its_onset_and_its_middle(frame):
    onset = frame_to_seconds(frame)
    assert seconds_to_frame(onset) == frame
    assert seconds_to_frame(onset + FRAME_SHIFT / 2) == frame


@given(st.integers(0, 10**6))
def test_decimal_text_of_an_onset_names_its_frame(frame):
    assert seconds_to_frame(float(f"{frame * 2 / 100:.2f}")) == frame


def test_centre_is_the_middle_of_the_window():
    assert frame_centre(0) == 200 / SAMPLE_RATE
    assert frame_centre(3) == (3 * 320 + 200) / 16_000
