"""From probabilities to segments: timelines counted by hand, and chunked against whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from audioseg_xai.decode import ClassDecoding, DecodedSegment, StreamingDecoder

LEVELS = {".": 0.1, "~": 0.5, "#": 0.9}


def timeline(drawing: str) -> np.ndarray:
    """Return probabilities (T, 1): `.` is below both thresholds, `~` between them, `#` above."""
    return np.array([[LEVELS[sign]] for sign in drawing]).reshape(-1, 1)


def decode(drawing: str, sizes: list[int] | None = None, **rule: float) -> list[tuple[int, int]]:
    decoder = StreamingDecoder(
        ("speech",), {"speech": ClassDecoding(onset=0.7, offset=0.3, **rule)}
    )
    return [(s.onset, s.offset) for s in run(decoder, timeline(drawing), sizes or [len(drawing)])]


def run(
    decoder: StreamingDecoder, probabilities: np.ndarray, sizes: list[int]
) -> list[DecodedSegment]:
    found, start = [], 0
    for size in [*sizes, len(probabilities)]:
        part = probabilities[start : start + size]
        found += decoder.push(part, part)
        start += size
    return found + decoder.finish()


@pytest.mark.parametrize(
    ("drawing", "expected"),
    [
        ("", []),
        ("....", []),
        ("####", [(0, 4)]),
        (".##.", [(1, 3)]),
        (".#~~.", [(1, 4)]),  # between the thresholds a segment goes on,
        (".~~#.", [(3, 4)]),  # but does not begin
        ("~~~~", []),
        ("#.#", [(0, 1), (2, 3)]),
        (".#~#~.~#", [(1, 5), (7, 8)]),
    ],
)
def test_hysteresis(drawing: str, expected: list[tuple[int, int]]) -> None:
    assert decode(drawing) == expected


@pytest.mark.parametrize(
    ("drawing", "expected"),
    [
        ("#..#", [(0, 4)]),  # 40 ms are less than 60,
        ("#...#", [(0, 1), (4, 5)]),  # 60 ms are not
        ("#..#..#", [(0, 7)]),
        ("..#....", [(2, 3)]),  # silence at the ends is no gap
        ("#..", [(0, 1)]),
    ],
)
def test_gaps_shorter_than_60_ms_are_filled(drawing: str, expected: list[tuple[int, int]]) -> None:
    assert decode(drawing, min_gap=0.06) == expected


@pytest.mark.parametrize(
    ("drawing", "expected"),
    [
        (".##.", []),
        (".###.", [(1, 4)]),
        (".##", []),
        ("##.####", [(3, 7)]),
    ],
)
def test_segments_shorter_than_60_ms_are_dropped(
    drawing: str, expected: list[tuple[int, int]]
) -> None:
    assert decode(drawing, min_duration=0.06) == expected


def test_gaps_are_filled_before_short_segments_are_dropped() -> None:
    assert decode("#.#.#", min_gap=0.04, min_duration=0.1) == [(0, 5)]


def test_means_are_over_all_frames_of_the_segment_and_its_filled_gaps() -> None:
    decoder = StreamingDecoder(("speech",), {"speech": ClassDecoding(min_gap=0.04)})
    values = np.array([[9.0], [1.0], [2.0], [6.0], [9.0], [9.0], [9.0]])
    active = np.array([[0.0], [1.0], [0.0], [1.0], [0.0], [0.0], [0.0]])
    (segment,) = decoder.push(active, values)
    assert (segment.onset, segment.offset, segment.means.tolist()) == (1, 4, [3.0])
    assert decoder.finish() == []


def test_a_segment_comes_as_soon_as_nothing_can_change_it() -> None:
    decoder = StreamingDecoder(("speech",), {"speech": ClassDecoding(min_gap=0.06)})
    frames = [np.array([[p]]) for p in (1.0, 0.0, 0.0, 0.0)]
    assert [len(decoder.push(frame, frame)) for frame in frames] == [0, 0, 0, 1]


def test_classes_without_a_rule_are_not_decided() -> None:
    decoder = StreamingDecoder(("speech", "music"), {"music": ClassDecoding()})
    ones = np.ones((3, 2))
    assert decoder.push(ones, ones) == []
    assert [segment.label for segment in decoder.finish()] == ["music"]


def test_classes_may_sound_at_once() -> None:
    decoder = StreamingDecoder(
        ("speech", "music"), {k: ClassDecoding() for k in ("speech", "music")}
    )
    active = np.array([[1, 0], [1, 1], [0, 1], [0, 0]], dtype=float)
    found = [(s.label, s.onset, s.offset) for s in run(decoder, active, [4])]
    assert found == [("speech", 0, 2), ("music", 1, 3)]


def test_only_the_last_frame_reaches_to_the_end_of_the_recording() -> None:
    last = DecodedSegment("speech", 2, 5, np.zeros(1)).to_segment(0.5, 5, 0.1234)
    inner = DecodedSegment("speech", 2, 4, np.zeros(1)).to_segment(0.5, 5, 0.1234)
    assert (last.onset, last.offset) == (0.04, 0.1234)
    assert inner.offset == 0.08


def test_an_offset_above_the_onset_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"offset 0\.6 must not exceed onset 0\.4"):
        ClassDecoding(onset=0.4, offset=0.6)


DRAWINGS = st.text(alphabet=".~#", max_size=60)
SIZES = st.lists(st.integers(0, 9), max_size=30)
SECONDS = st.integers(0, 6).map(lambda frames: frames * 0.02)


@settings(deadline=None)
@given(DRAWINGS, SIZES, SECONDS, SECONDS)
def test_chunks_make_no_difference(
    drawing: str, sizes: list[int], min_gap: float, min_duration: float
) -> None:
    rule = {"min_gap": min_gap, "min_duration": min_duration}
    whole = decode(drawing, **rule)
    assert decode(drawing, sizes, **rule) == whole
    assert whole == by_frames(drawing, round(min_gap * 50), round(min_duration * 50))


@settings(deadline=None)
@given(DRAWINGS, SIZES, SECONDS)
def test_means_are_those_of_the_frames(drawing: str, sizes: list[int], min_gap: float) -> None:
    decoder = StreamingDecoder(("speech",), {"speech": ClassDecoding(min_gap=min_gap)})
    probabilities = timeline(drawing)
    for segment in run(decoder, probabilities, sizes):
        expected = probabilities[segment.onset : segment.offset].mean()
        assert segment.means == pytest.approx([expected])


def by_frames(drawing: str, gap: int, shortest: int) -> list[tuple[int, int]]:
    """Decide frame by frame, as one would on paper."""
    segments: list[list[int]] = []
    on = False
    for t, sign in enumerate(drawing):
        on = sign == "#" or (on and sign == "~")
        if on and segments and (segments[-1][1] == t or t - segments[-1][1] < gap):
            segments[-1][1] = t + 1
        elif on:
            segments.append([t, t + 1])
    return [(a, b) for a, b in segments if b - a >= shortest]
