"""Regions worth a look: where others decide otherwise, and where a decision hangs by a thread."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audioseg_xai.annotation import Segment, merge_regions
from audioseg_xai.errors import AnnotationError, UsageError
from audioseg_xai.report.paths import output_paths
from audioseg_xai.report.regions import (
    WORST,
    Finding,
    Lane,
    audacity_labels,
    disagreements,
    least_certain,
    subtract,
)
from audioseg_xai.report.systems import Systems, read_systems

spans = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 9)).map(lambda x: (x[0], x[0] + x[1])), max_size=8
).map(merge_regions)


@given(spans, spans)
def test_subtract_is_set_difference(ours: list, theirs: list) -> None:
    def units(regions: list) -> set[int]:
        return {unit for onset, offset in regions for unit in range(int(onset), int(offset))}

    rest = subtract(ours, theirs)
    assert units(rest) == units(ours) - units(theirs)
    assert all(a < b for a, b in rest)
    assert rest == sorted(rest)


#         0    1    2    3    4    5    6    7    8
# ours    |    ssssssssss|    |    |sssssssss|    |
# theirs  |    |    ssssssssss|    |    |    |    |
# ours    |    |    |    |    |    |    mmmmmm    |     theirs says nothing of music
OURS = (
    Segment(1.0, 3.0, "speech"),
    Segment(5.0, 7.0, "speech"),
    Segment(6.0, 7.5, "music"),
)
THEIRS = (Segment(2.0, 4.0, "speech"),)


def test_disagreements_longest_first() -> None:
    lane = Lane("teacher", THEIRS, ("speech",))
    found = disagreements(OURS, lane, ("speech", "music"), [(0.0, 8.0)])
    assert found == [
        Finding(5.0, 7.0, "speech", "only here", "teacher"),
        Finding(1.0, 2.0, "speech", "only here", "teacher"),
        Finding(3.0, 4.0, "speech", "only there", "teacher"),
    ]


def test_of_a_reference_they_are_errors_inside_the_uem() -> None:
    lane = Lane("reference", THEIRS, ("speech", "music"), reference=True)
    found = disagreements(OURS, lane, ("speech",), [(0.0, 3.5), (6.5, 8.0)])
    assert found == [
        Finding(1.0, 2.0, "speech", "false alarm", "reference"),
        Finding(3.0, 3.5, "speech", "missed", "reference"),
        Finding(6.5, 7.0, "speech", "false alarm", "reference"),
    ]


def test_boundaries_that_differ_a_little_are_not_listed() -> None:
    shifted = tuple(Segment(s.onset + 0.05, s.offset + 0.05, s.label) for s in OURS)
    assert disagreements(OURS, Lane("x", shifted, ("speech",)), ("speech",), [(0.0, 8.0)]) == []


def test_least_certain_is_nearest_to_either_threshold() -> None:
    probabilities = np.zeros((500, 2))  # 10 s, 5 stretches of 2 s
    probabilities[100:300, 0] = 0.55  # 0.05 from where segments begin, for 4 s
    probabilities[400:500, 0] = 0.31  # 0.01 from where they end
    probabilities[:, 1] = 0.5  # of a class that was not decided
    found = least_certain(probabilities, ("music", "noise"), {"music": (0.6, 0.3)}, 9.9)
    assert found == [
        Finding(8.0, 9.9, "music", "as near as 0.01 to the threshold"),
        Finding(2.0, 6.0, "music", "as near as 0.05 to the threshold"),
    ]


def test_the_certain_is_not_listed_and_the_uncertain_is_bounded() -> None:
    limits = {"music": (0.5, 0.5)}
    assert least_certain(np.full((700, 1), 0.9), ("music",), limits, 14.0) == []
    every_other = np.repeat(np.arange(2 * WORST + 10) % 2 * 0.45, 100)[:, None]
    found = least_certain(every_other, ("music",), limits, 2.0 * len(every_other))
    assert len(found) == WORST
    assert all(finding.duration == 2.0 for finding in found)


def test_audacity_labels_in_order_of_time_a_line_each() -> None:
    found = [Finding(3, 4.5, "noise", "missed", "my\n\tteacher"), Finding(0.02, 1, "music", "odd")]
    assert audacity_labels(found) == [
        "0.020000\t1.000000\tmusic: odd",
        "3.000000\t4.500000\tnoise: missed (my teacher)",
    ]


# --- files of other systems ---------------------------------------------------------------------


def rttm(path: Path, *lines: tuple[str, float, float, str]) -> Path:
    text = "".join(f"SPEAKER {u} 1 {a} {d} <NA> <NA> {c} <NA> <NA>\n" for u, a, d, c in lines)
    path.write_text(text)
    return path


def test_a_file_speaks_of_the_classes_that_occur_in_it(tmp_path: Path) -> None:
    path = rttm(tmp_path / "x.rttm", ("a", 0, 1, "music"), ("b", 0, 9, "speech"))
    (lane,) = read_systems(None, {"x": path}, ["a", "b"]).lanes("a", 10.0)
    assert (lane.classes, lane.segments) == (("speech", "music"), (Segment(0, 1, "music"),))
    (lane,) = read_systems(None, {"x": path}, ["a"], classes="music,noise").lanes("a", 0.5)
    assert (lane.classes, lane.segments) == (("music", "noise"), (Segment(0, 0.5, "music"),))


def test_what_was_not_annotated_is_not_called_wrong(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = rttm(tmp_path / "ref.rttm", ("a", 0, 1, "music"))
    (tmp_path / "all.uem").write_text("a 1 0 10\nsilent 1 2 8\n")
    systems = read_systems(path, {}, ["a", "b"])
    assert "ref.rttm: has nothing for 1 of 2 recordings, such as b: not compared" in caplog.text
    assert [len(systems.lanes(uri, 10.0)) for uri in ("a", "b")] == [1, 0]
    judged = read_systems(path, {}, ["a", "silent"], uem=tmp_path / "all.uem")
    assert len(judged.lanes("silent", 10.0)) == 1
    assert judged.regions("silent", 5.0) == [(2.0, 5.0)]
    assert Systems().regions("a", 5.0) == [(0.0, 5.0)]


def test_a_file_of_other_recordings_is_refused(tmp_path: Path) -> None:
    path = rttm(tmp_path / "x.rttm", ("other", 0, 1, "music"))
    with pytest.raises(AnnotationError, match=r"x\.rttm: has none of the explained recordings"):
        read_systems(None, {"x": path}, ["a"])


def test_outputs_are_a_file_a_recording() -> None:
    assert output_paths(["a/b", "c"], "x/{uri}.html", "--output", (".html",)) == {
        "a/b": Path("x/a_b.html"),
        "c": Path("x/c.html"),
    }
    assert output_paths(["a"], None, "--worst", (".txt",)) == {}
    with pytest.raises(UsageError, match=r"--output x.pdf: must end in .html or .htm"):
        output_paths(["a"], "x.pdf", "--output", (".html", ".htm"))
    with pytest.raises(UsageError, match=r"2 recordings need as many files: put {uri} into"):
        output_paths(["a", "b"], "x.html", "--output", (".html",))
