"""The bootstrap: intervals, differences and fidelity, worked out by hand where that can be."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audioseg_xai.annotation import Segment
from audioseg_xai.comparison import Bootstrap, compare, fidelity
from audioseg_xai.comparison_tables import sheets
from audioseg_xai.config import parse_config
from audioseg_xai.errors import ConfigError, ScoringError
from audioseg_xai.scoring import Counts, Scores, score, score_systems
from audioseg_xai.sheets import markdown


def speech(*counts: tuple[float, float, float]) -> Scores:
    """Return scores of speech: reference, hypothesis and correct seconds of each recording."""
    return Scores({f"r{number}": {"speech": Counts(*c)} for number, c in enumerate(counts)})


def on(label: str, *times: tuple[float, float]) -> list[Segment]:
    return [Segment(onset, offset, label) for onset, offset in times]


# Two recordings of 10 s reference: F1 is 1 in one and 0.5 in the other. Resamples of two are both
# the first (1/4), both the second (1/4), or one of each (1/2): F1 of 1, .5 and .75.
UNEVEN = speech((10, 10, 10), (10, 10, 5))


def test_every_resample_is_pooled() -> None:
    found = compare({"a": UNEVEN}, Bootstrap(resamples=4000, confidence=40))
    (estimate,) = found.systems["a"].values()
    assert estimate.counts == Counts(20, 20, 15)
    # 40 %: from the 30th to the 70th percentile, both in the half whose F1 is .75
    assert estimate.intervals["f1"] == pytest.approx((0.75, 0.75))
    wide = compare({"a": UNEVEN}, Bootstrap(resamples=4000, confidence=60))
    assert wide.systems["a"]["speech"].intervals["f1"] == pytest.approx((0.5, 1.0))


def test_intervals_of_precision_and_recall_are_their_own() -> None:
    # precision 1 in both recordings; recall .5 and 1
    found = compare({"a": speech((10, 5, 5), (10, 10, 10))}, Bootstrap(confidence=90))
    intervals = found.systems["a"]["speech"].intervals
    assert intervals["precision"] == pytest.approx((1, 1))
    assert intervals["recall"] == pytest.approx((0.5, 1))


def test_a_difference_worked_out_by_hand() -> None:
    # b is better by .5 in r0 and worse by .5 in r1 and r2: of 27 resamples of three, 1 has three
    # times r0, 6 twice, 12 once, 8 never; d* is .5, 1/6, -1/6, -.5. F1 of the pool: .5 and 1/3.
    a = speech((10, 10, 0), (10, 10, 5), (10, 10, 10))
    b = speech((10, 10, 5), (10, 10, 0), (10, 10, 5))
    (found,) = compare({"a": a, "b": b}, Bootstrap(resamples=20_000)).differences
    assert (found.first, found.second, found.label) == ("a", "b", "speech")
    assert found.f1 == pytest.approx(-1 / 6)
    assert found.flips == pytest.approx(7 / 27, abs=0.015)
    assert found.p_value == pytest.approx(14 / 27, abs=0.03)
    assert found.interval == pytest.approx((-0.5, 0.5))


def test_the_p_value_is_two_sided_and_never_zero() -> None:
    better = speech(*[(10, 10, 9)] * 12)
    worse = speech(*[(10, 10, 8)] * 12)
    for systems in ({"a": worse, "b": better}, {"a": better, "b": worse}):
        (found,) = compare(systems, Bootstrap(resamples=99)).differences
        assert found.flips == 0
        assert found.p_value == pytest.approx(0.02)  # 2 (1 + 0) / (99 + 1)


def test_a_system_does_not_differ_from_itself() -> None:
    rng = np.random.default_rng(0)
    same = speech(*(tuple(sorted(rng.random(3), reverse=True)) for _ in range(30)))
    (found,) = compare(
        {
            "a": same,
            "b": same,
        }
    ).differences
    assert (found.f1, found.flips, found.p_value) == (0, 0, 1)
    assert found.interval == pytest.approx((0, 0), abs=1e-12)


def test_systems_meet_on_the_same_resamples() -> None:
    # The recordings differ far more than the systems do, b being better by .01 in each.
    hard = [(100.0, 100.0, float(c)) for c in range(10, 90, 4)]
    a, b = speech(*hard), speech(*((r, h, c + 1) for r, h, c in hard))
    found = compare({"a": a, "b": b})
    low, high = found.systems["a"]["speech"].intervals["f1"]
    assert high - low > 0.1
    assert found.differences[0].interval == pytest.approx((0.01, 0.01))


def test_pairs_or_one_baseline() -> None:
    systems = {name: UNEVEN for name in "abc"}
    pairs = [(d.first, d.second) for d in compare(systems).differences]
    assert pairs == [("a", "b"), ("a", "c"), ("b", "c")]
    against = compare(systems, baseline="b").differences
    assert [(d.first, d.second) for d in against] == [("b", "a"), ("b", "c")]
    with pytest.raises(ScoringError, match=r"no system 'd' to compare with: there are a, b, c"):
        compare(systems, baseline="d")


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.tuples(*[st.integers(0, 50)] * 3).map(lambda c: (c[0] + c[2], c[1] + c[2], c[2])),
        min_size=2,
        max_size=4,
    )
)
def test_intervals_lie_among_what_can_be_drawn(counts: list[tuple[int, int, int]]) -> None:
    found = compare({"a": speech(*counts)}, Bootstrap(resamples=50, confidence=99))
    possible = [
        sum((Counts(*counts[i]) for i in chosen), Counts())
        for chosen in itertools.combinations_with_replacement(range(len(counts)), len(counts))
    ]
    for name, (low, high) in found.systems["a"]["speech"].intervals.items():
        values = [getattr(pooled, name) for pooled in possible if pooled.reference]
        assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9


# --- what cannot be told --------------------------------------------------------------------------


def test_one_recording_gives_no_interval(caplog: pytest.LogCaptureFixture) -> None:
    found = compare({"a": speech((10, 10, 9)), "b": speech((10, 10, 8))})
    assert found.systems["a"]["speech"].counts.f1 == 0.9
    assert found.systems["a"]["speech"].intervals == {}
    (difference,) = found.differences
    assert difference.f1 == pytest.approx(-0.1)
    assert (difference.interval, difference.flips, difference.p_value) == (None, None, None)
    assert "with fewer than 2 there are none" in caplog.text
    text = markdown(sheets(found, Bootstrap()))
    assert "one recording, so no interval can be given" in text
    assert "| b - a | speech | -10.0 | - | - |" in text


def test_a_class_in_one_recording_gives_no_interval() -> None:
    scores = speech((10, 10, 9), (0, 1, 0), (0, 0, 0))
    assert compare({"a": scores}).systems["a"]["speech"].intervals == {}


def test_resamples_without_reference_say_nothing() -> None:
    # Counted in, the resamples that never draw r0 or r1 would have an F1 of 1 (nothing at all).
    scores = speech((10, 10, 5), (10, 10, 5), *[(0, 0, 0)] * 4)
    (estimate,) = compare({"a": scores}).systems["a"].values()
    assert estimate.intervals["f1"] == pytest.approx((0.5, 0.5))


def test_few_recordings_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    compare({"a": speech(*[(10, 10, 5)] * 9, (0, 1, 0))})
    assert "few recordings of the reference have speech in 9" in caplog.text
    caplog.clear()
    compare({"a": speech(*[(10, 10, 5)] * 10)})
    assert not caplog.records


@pytest.mark.parametrize(
    "values", [{"resamples": 0}, {"confidence": 100.0}, {"confidence": 0.0}, {"seed": -1}]
)
def test_what_is_no_bootstrap(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        parse_config(values, Bootstrap, "options")


# --- groups ---------------------------------------------------------------------------------------


def test_groups_are_compared_on_their_own() -> None:
    scores = speech((10, 10, 10), (10, 10, 5), (10, 10, 0))
    groups = {"easy": ["r0", "r1"], "hard": ["r1", "r2"]}
    found = compare({"a": scores}, groups=groups)
    assert found.recordings == 3
    assert found.systems["a"]["speech"].counts == Counts(30, 30, 15)
    counts = {name: g.systems["a"]["speech"].counts for name, g in found.groups.items()}
    assert counts == {"easy": Counts(20, 20, 15), "hard": Counts(20, 20, 5)}
    (first, *_) = sheets(found, Bootstrap())
    assert first.header == ["recordings", "F1 %", "speech"]
    assert [row[:2] for row in first.rows] == [
        ["all (3)", "a"],
        ["easy (2)", "a"],
        ["hard (2)", "a"],
    ]


def test_a_class_that_a_group_lacks_has_no_figure() -> None:
    scores = Scores(
        {
            "r0": {"speech": Counts(10, 10, 5), "music": Counts()},
            "r1": {"speech": Counts(), "music": Counts(1, 1, 1)},
        }
    )
    found = compare({"a": scores, "b": scores}, groups={"talk": ["r0"]})
    tables = sheets(found, Bootstrap())
    assert tables[0].rows[-1] == ["talk (1)", "b", "50.0", "-"]
    assert [row[:3] for row in tables[2].rows] == [
        ["all (2)", "b - a", "speech"],
        ["all (2)", "b - a", "music"],
        ["talk (1)", "b - a", "speech"],
    ]


# --- scores of several systems, fidelity ----------------------------------------------------------


def test_systems_are_scored_as_each_alone() -> None:
    reference = {"a": on("speech", (2, 10)), "b": on("speech", (0, 4))}
    uem = {"a": [(0.0, 20.0)], "b": [(0.0, 20.0)]}
    systems = {
        "one": {"a": on("speech", (3, 9)), "b": on("speech", (1, 7))},
        "two": {"a": on("speech", (0, 12)), "b": []},
    }
    found = score_systems(reference, systems, uem, "speech", 0.5)
    for name, hypothesis in systems.items():
        assert found[name] == score(reference, hypothesis, uem, "speech", 0.5)


def test_the_system_that_lacks_a_recording_is_named() -> None:
    reference = {"a": on("speech", (2, 10)), "b": on("speech", (0, 4))}
    uem = {"a": [(0.0, 20.0)], "b": [(0.0, 20.0)]}
    systems = {"one": reference, "two": {"a": []}}
    with pytest.raises(ScoringError, match=r"^two lacks b; .*--allow-missing"):
        score_systems(reference, systems, uem, "speech")


def test_fidelity_counted_by_hand() -> None:
    # seconds      0         1         2
    #              01234567890123456789
    # teacher        |-------|             2-10
    # student            |---------|       6-16: 4 s alike, 4 s missed, 6 s more
    # neither      --              ----    0-2, 16-20: 6 s
    systems = {
        "teacher": {"a": on("music", (2, 10))},
        "student": {"a": on("music", (6, 16))},
        "silent": {},
    }
    found = fidelity(systems, "teacher", {"a": [(0.0, 20.0)]}, ["music"])
    assert list(found) == ["student", "silent"]
    student, silent = found["student"]["music"], found["silent"]["music"]
    assert student.counts == Counts(8, 10, 4)
    assert student.agreement == pytest.approx(0.5)
    assert (silent.counts.f1, silent.agreement) == (0, pytest.approx(0.6))


def test_a_copy_is_wholly_faithful_inside_the_uem_alone() -> None:
    teacher = {"a": on("music", (2, 10)), "b": on("music", (0, 1))}
    student = {"a": on("music", (2, 10), (15, 19)), "b": on("music", (5, 6))}
    systems = {"teacher": teacher, "student": student}
    found = fidelity(systems, "teacher", {"a": [(0.0, 12.0)]}, ["music"])["student"]["music"]
    assert (found.counts.f1, found.agreement, found.scored) == (1, 1, 12)


# --- tables ---------------------------------------------------------------------------------------


def test_markdown_of_two_systems_and_their_fidelity() -> None:
    # Every recording alike: intervals are points.
    a, b = speech(*[(10, 20, 10)] * 10), speech(*[(10, 10, 8)] * 10)
    found = compare({"teacher": a, "s|x": b}, Bootstrap(resamples=99))
    decisions = {"teacher": {"r": on("speech", (0, 2))}, "s|x": {"r": on("speech", (1, 4))}}
    faithful = fidelity(decisions, "teacher", {"r": [(0.0, 10.0)]}, ["speech"])
    text = markdown(sheets(found, Bootstrap(resamples=99), "teacher", faithful))
    assert text == (
        "F1 in %, pooled over 10 recordings; in brackets the 95 % interval of 99 bootstrap "
        "resamples of the recordings.\n"
        "\n"
        "| F1 % | speech |\n"
        "| --- | ---: |\n"
        "| teacher | 66.7 [66.7, 66.7] |\n"
        "| s\\|x | 80.0 [80.0, 80.0] |\n"
        "\n"
        "Precision and recall in %, and seconds.\n"
        "\n"
        "| system | class | precision % | recall % | reference s | hypothesis s |\n"
        "| --- | --- | ---: | ---: | ---: | ---: |\n"
        "| teacher | speech | 50.0 [50.0, 50.0] | 100.0 [100.0, 100.0] | 100.0 | 200.0 |\n"
        "| s\\|x | speech | 80.0 [80.0, 80.0] | 80.0 [80.0, 80.0] | 100.0 | 100.0 |\n"
        "\n"
        "Differences in F1, in points, on the same resamples; how many of them have another sign, "
        "and p of no difference (two-sided, not corrected for the number of comparisons).\n"
        "\n"
        "| difference | class | F1 points | other sign % | p |\n"
        "| --- | --- | ---: | ---: | ---: |\n"
        "| s\\|x - teacher | speech | +13.3 [+13.3, +13.3] | 0.0 | 0.02 |\n"
        "\n"
        "Fidelity to teacher: its output as the reference, and the share of the time in which "
        "both decide alike.\n"
        "\n"
        "| system | class | F1 % | alike % |\n"
        "| --- | --- | ---: | ---: |\n"
        "| s\\|x | speech | 40.0 | 70.0 |\n"
    )
