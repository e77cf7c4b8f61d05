"""Scores: counted by hand, and equal to pyannote.metrics."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyannote import core
from pyannote.metrics.detection import DetectionPrecisionRecallFMeasure

from audioseg_xai.annotation import Segment, merge_regions
from audioseg_xai.errors import LabelError, ScoringError
from audioseg_xai.labels import CLASSES
from audioseg_xai.scoring import Counts, fast_counts, fast_score, score

TIMES = st.integers(0, 4000).map(lambda ticks: ticks / 100)  # 0 to 40 s by 10 ms


@st.composite
def regions(draw):
    onset = draw(TIMES)
    return onset, onset + draw(st.integers(1, 1000)) / 100


SEGMENTS = st.lists(
    st.builds(lambda r, label: Segment(*r, label), regions(), st.sampled_from(CLASSES)), max_size=12
)
SETS = st.dictionaries(
    st.sampled_from(["r1", "r2", "r3"]),
    st.tuples(SEGMENTS, SEGMENTS, st.lists(regions(), min_size=1, max_size=3).map(merge_regions)),
    min_size=1,
)


def unzip(files):
    return [{uri: parts[k] for uri, parts in files.items()} for k in range(3)]


def annotation(segments, label):
    result = core.Annotation()
    for track, segment in enumerate(segments):
        result[core.Segment(segment.onset, segment.offset), track] = segment.label
    return result.subset([label])


def pyannote(files, label, collar=0.0):
    metric = DetectionPrecisionRecallFMeasure(collar=collar)
    values = {
        uri: metric(
            annotation(reference, label),
            annotation(hypothesis, label),
            uem=core.Timeline([core.Segment(*region) for region in uem]),
        )
        for uri, (reference, hypothesis, uem) in files.items()
    }
    return metric, values


def on(label, *times):
    return [Segment(onset, offset, label) for onset, offset in times]


class TestByHand:
    """Each figure can be counted on the drawn timeline; a column is one second."""

    def test_one_recording(self):
        # seconds     0         1         2
        #             0123456789012345678901234
        # reference     |-------|    |---|          2-10, 15-19: 12 s
        # hypothesis  |---|  |----|       |--|      0-4, 7-12, 20-23: 12 s
        # correct       |-|  |--|                   2-4, 7-10: 5 s
        scores = score(
            {"a": on("speech", (2, 10), (15, 19))},
            {"a": on("speech", (0, 4), (7, 12), (20, 23))},
            {"a": [(0, 25)]},
            "speech",
        )
        found = scores.pooled["speech"]
        assert found == Counts(reference=12, hypothesis=12, correct=5)
        assert (found.precision, found.recall, found.f1) == pytest.approx((5 / 12,) * 3)

    def test_only_the_uem_counts(self):
        # reference    |---------|        0-10
        # hypothesis       |---------|    4-14
        # uem            |---|  |--|      2-6, 9-12
        scores = score(
            {"a": on("music", (0, 10))},
            {"a": on("music", (4, 14))},
            {"a": [(2, 6), (9, 12)]},
            ["music"],
        )
        assert scores.pooled["music"] == Counts(reference=5, hypothesis=5, correct=3)

    def test_collar_is_half_on_each_side_of_a_reference_boundary(self):
        # reference       |-------|       4-12
        # collar of 2   |-|-|   |-|-|     3-5, 11-13 are not scored
        # hypothesis    |------------|    3-16
        scores = score(
            {"a": on("noise", (4, 12))},
            {"a": on("noise", (3, 16))},
            {"a": [(0, 20)]},
            "noise",
            collar=2.0,
        )
        assert scores.pooled["noise"] == Counts(reference=6, hypothesis=9, correct=6)

    def test_segments_that_overlap_count_once(self):
        # reference   |---|          0-4
        #               |----|       2-7
        # hypothesis  |-------|      0-8, twice
        scores = score(
            {"a": on("speech", (0, 4), (2, 7))},
            {"a": on("speech", (0, 8), (0, 8))},
            {"a": [(0, 10)]},
            "speech",
        )
        assert scores.pooled["speech"] == Counts(reference=7, hypothesis=8, correct=7)

    def test_pooled_is_over_seconds_not_over_files(self):
        # long:  90 of 100 s found, nothing wrong;  short: 0 of 1 s found, 1 s wrong
        scores = score(
            {"long": on("speech", (0, 100)), "short": on("speech", (0, 1))},
            {"long": on("speech", (0, 90)), "short": on("speech", (1, 2))},
            {"long": [(0, 100)], "short": [(0, 2)]},
            "speech",
        )
        assert scores.files["short"]["speech"].f1 == 0
        found = scores.pooled["speech"]
        assert (found.precision, found.recall) == pytest.approx((90 / 91, 90 / 101))

    def test_classes_are_scored_apart_and_in_axis_order(self):
        both = on("speech", (0, 4)) + on("music", (0, 4))
        scores = score({"a": both}, {"a": on("speech", (0, 4))}, {"a": [(0, 5)]}, "music,sp")
        assert scores.classes == ("speech", "music")
        assert scores.pooled["speech"].f1 == 1
        assert scores.pooled["music"] == Counts(reference=4)
        assert scores.pooled["music"].f1 == 0

    def test_nothing_said_where_nothing_is(self):
        counts = Counts()
        assert (counts.precision, counts.recall, counts.f1) == (1, 1, 1)


class TestAgainstPyannote:
    @settings(max_examples=40, deadline=None)
    @given(SETS, st.sampled_from([0.0, 0.25, 1.0]))
    def test_every_file_and_the_pool_are_equal(self, files, collar):
        reference, hypothesis, uem = unzip(files)
        scores = score(reference, hypothesis, uem, CLASSES, collar)
        for label in CLASSES:
            metric, values = pyannote(files, label, collar)
            pooled = scores.pooled[label]
            assert (pooled.precision, pooled.recall, pooled.f1) == metric.compute_metrics()
            assert pooled.f1 == abs(metric)
            assert {uri: by[label].f1 for uri, by in scores.files.items()} == values

    @settings(max_examples=60, deadline=None)
    @given(SETS)
    def test_the_sweep_agrees_within_a_microsecond(self, files):
        reference, hypothesis, uem = unzip(files)
        fast = fast_score(reference, hypothesis, uem).to_dict()
        slow = score(reference, hypothesis, uem).to_dict()
        assert fast["files"].keys() == slow["files"].keys()
        for label in CLASSES:
            assert fast["pooled"][label] == pytest.approx(slow["pooled"][label], abs=1e-6)
            for uri in files:
                expected = pytest.approx(slow["files"][uri][label], abs=1e-6)
                assert fast["files"][uri][label] == expected

    def test_times_of_any_decimals(self):
        rng = np.random.default_rng(3)

        def draw(count):
            onsets = rng.uniform(0, 600, count)
            return list(zip(onsets, onsets + rng.exponential(2.0, count) + 0.01, strict=True))

        reference, hypothesis, uem = on("speech", *draw(80)), on("speech", *draw(80)), draw(9)
        slow = score({"a": reference}, {"a": hypothesis}, {"a": uem}, "speech").pooled["speech"]
        fast = fast_score({"a": reference}, {"a": hypothesis}, {"a": uem}, "speech")
        assert fast.pooled["speech"].to_dict() == pytest.approx(slow.to_dict(), abs=1e-6)


class TestFastCounts:
    def test_by_hand(self):
        found = fast_counts([(2, 10), (15, 19)], [(0, 4), (7, 12), (20, 23)], [(0, 25)])
        assert found == Counts(12, 12, 5)

    def test_order_and_overlap_do_not_matter(self):
        found = fast_counts([(2, 7), (0, 4)], [(0, 8), (0, 8)], [(5, 10), (0, 6)])
        assert found == Counts(7, 8, 7)

    @pytest.mark.parametrize("uem", [[], [(5, 6)]])
    def test_nothing_to_count(self, uem):
        assert fast_counts(np.zeros((0, 2)), [], uem) == Counts()


REFERENCE = {"a": on("speech", (1, 3)), "b": on("speech", (0, 2))}
UEM = {"a": [(0.0, 10.0)], "b": [(0.0, 10.0)]}


class TestRecordings:
    def test_missing_hypothesis_is_an_error_that_names_it(self):
        with pytest.raises(ScoringError, match=r"the hypothesis lacks b; .*--allow-missing"):
            score(REFERENCE, {"a": on("speech", (1, 3))}, UEM)
        with pytest.raises(ScoringError, match="lacks b"):
            fast_score(REFERENCE, {"a": []}, UEM)

    def test_missing_hypothesis_can_be_allowed(self, caplog):
        hypothesis = {"a": on("speech", (1, 3))}
        scores = score(REFERENCE, hypothesis, UEM, "speech", allow_missing=True)
        assert scores.files["b"]["speech"] == Counts(reference=2)
        assert "counted as empty, because the hypothesis lacks b" in caplog.text

    def test_an_empty_hypothesis_is_not_a_missing_one(self, caplog):
        scores = score(REFERENCE, {"a": [], "b": []}, UEM, "speech")
        assert scores.pooled["speech"] == Counts(reference=4)
        assert not caplog.records

    def test_long_lists_are_cut(self):
        reference = {f"r{i}": on("speech", (0, 1)) for i in range(8)}
        with pytest.raises(ScoringError, match="lacks r0, r1, r2, r3, r4 and 3 more"):
            score(reference, {}, None)

    def test_recordings_in_one_place_only_are_warned_of(self, caplog):
        hypothesis = {"a": [], "b": [], "x": [], "silent": on("speech", (0, 1))}
        uem = {"a": [(0, 5)], "silent": [(0, 5)]}
        scores = score(REFERENCE, hypothesis, uem, "speech")
        assert list(scores.files) == ["a", "silent"]
        assert scores.files["silent"]["speech"] == Counts(hypothesis=1)
        assert [record.getMessage() for record in caplog.records] == [
            "the reference has nothing, so nothing may be found, in silent",
            "not scored, because the UEM lacks b",
            "not scored, because neither reference nor UEM has x",
        ]

    def test_without_uem_from_zero_to_the_last_offset_with_a_warning(self, caplog):
        # a: reference 1-3, hypothesis 2-7: false alarm 3-7;  b: reference 0-2, hypothesis 1-2
        hypothesis = {"a": on("speech", (2, 7)), "b": on("speech", (1, 2))}
        scores = score(REFERENCE, hypothesis, None, "speech")
        assert scores.files["a"]["speech"] == Counts(reference=2, hypothesis=5, correct=1)
        assert scores.files["b"]["speech"] == Counts(reference=2, hypothesis=1, correct=1)
        assert "no UEM given" in caplog.text

    def test_class_without_reference_is_warned_of(self, caplog):
        caplog.set_level(logging.WARNING)
        score(REFERENCE, {"a": [], "b": []}, UEM, "speech,noise,music")
        assert "the reference has no music, noise" in caplog.text
        assert "--classes" in caplog.text

    def test_names_that_do_not_match(self):
        with pytest.raises(ScoringError, match=r"none of the recordings of the UEM .*a\.wav"):
            score(REFERENCE, REFERENCE, {"a.wav": [(0, 1)]})

    @pytest.mark.parametrize("uem", [None, {}])
    def test_nothing_to_score(self, uem):
        with pytest.raises(ScoringError, match="nothing to score"):
            score({}, {}, uem)

    @pytest.mark.parametrize("collar", [-0.1, float("nan"), float("inf")])
    def test_collar_that_is_no_duration(self, collar):
        with pytest.raises(ScoringError, match="collar"):
            score(REFERENCE, REFERENCE, UEM, collar=collar)

    def test_unknown_class(self):
        with pytest.raises(LabelError, match="'voice'"):
            score(REFERENCE, REFERENCE, UEM, "voice")
