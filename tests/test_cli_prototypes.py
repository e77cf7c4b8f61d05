"""`xai-segment prototypes --agree-with`: only of decisions that another system shares."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from audioseg_xai import cli
from audioseg_xai.annotation import Segment, write_rttm
from audioseg_xai.explain import Explanation, Readout, shared_decisions
from audioseg_xai.explanation_archive import read_prototypes, write_explanations

Run = Callable[..., Result]

CLASSES = ("speech", "music")
READOUT = Readout(CLASSES, np.eye(4, 3), np.ones((2, 3)), np.zeros(2), np.arange(4) * 2000.0)
# seconds             0         1         2
#                     012345678901234567890
# student, speech     |---||-------|            0-4, 5-13
# student, music          |---------------|     4-20
# teacher, speech       |-------|               2-10: half of the first, 5 of 8 s of the second
# teacher, music      |-||--| |-----|           0-2, 3-6, 8-14: 8 of 16 s
STUDENT = (
    Segment(0, 4, "speech"),
    Segment(4, 20, "music"),
    Segment(5, 13, "speech"),
)
TEACHER = [
    Segment(0, 2, "music"),
    Segment(2, 10, "speech"),
    Segment(3, 6, "music"),
    Segment(8, 14, "music"),
]


def explanation(uri: str = "a", segments: tuple[Segment, ...] = STUDENT) -> Explanation:
    count = len(segments)
    relevance = np.outer(10.0 ** np.arange(count), [1.0, 0.0, 2.0])
    logits = np.arange(count, dtype=float)
    return Explanation(uri, 20.0, 1000, 0.1, segments, relevance, relevance @ np.eye(3, 4), logits)


@pytest.mark.parametrize(
    ("overlap", "kept"), [(0.4, [0, 1, 2]), (0.5, [0, 1, 2]), (0.51, [2]), (0.625, [2]), (0.7, [])]
)
def test_segments_are_kept_by_share_of_the_same_class(overlap: float, kept: list[int]) -> None:
    found = shared_decisions(explanation(), TEACHER, overlap)
    assert found.segments == tuple(STUDENT[row] for row in kept)
    assert found.mean_logit.tolist() == kept
    np.testing.assert_array_equal(found.relevance, explanation().relevance[kept])
    np.testing.assert_array_equal(found.spectra, explanation().spectra[kept])


def test_decisions_that_overlap_count_once() -> None:
    # two halves of the same second of 4: a share of a quarter and not of a half
    twice = [Segment(0, 1, "speech"), Segment(0, 1, "speech")]
    assert not shared_decisions(explanation(), twice, 0.5).segments


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 999_000), st.integers(1, 99_999)), max_size=6))
def test_a_system_shares_its_own_decisions_as_a_file_has_them(
    times: list[tuple[int, int]],
) -> None:
    exact = tuple(Segment(a / 16_000, (a + n) / 16_000, "music") for a, n in times)
    rounded = [
        Segment(max(0.0, s.onset - 4e-4), s.offset - min(4e-4, s.duration / 2), s.label)
        for s in exact
    ]
    assert shared_decisions(explanation(segments=exact), rounded, 1.0).segments == exact


# --- as a user runs it ----------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    with write_explanations("x.h5", READOUT, {}) as writer:
        for uri in ("a", "b"):
            with writer.recording(uri) as recording:
                recording.finish(explanation(uri))
    write_rttm({"a": TEACHER}, "teacher.rttm")
    write_rttm({"other": TEACHER}, "other.rttm")

    def call(*options: str) -> Result:
        words = ["prototypes", "x.h5", "--output", "p.h5", *options]
        return CliRunner().invoke(cli.main, words)

    return call


def test_kept_and_dropped_are_logged_and_stored(run: Run) -> None:
    done = run("--agree-with", "teacher.rttm", "--overlap", "0.6")
    assert done.exit_code == 0, done.stderr
    lines = done.stderr.splitlines()
    assert "teacher.rttm: has nothing for 1 of 2 recordings, such as b" in lines[0]
    assert lines[1:4] == [
        "speech: 1 segments, and 3 that teacher.rttm does not share",
        "music: 0 segments, and 2 that teacher.rttm does not share",
        "prototypes: p.h5",
    ]
    assert "most characteristic components" in done.stderr
    _, made = read_prototypes("p.h5")
    assert made.dropped is not None
    assert (made.counts.tolist(), made.dropped.tolist()) == ([1, 0], [3, 2])
    assert made.relevance.tolist() == [[100, 0, 200], [0, 0, 0]]
    with h5py.File("p.h5") as file:
        assert '"agree_with": "teacher.rttm", "overlap": 0.6' in file.attrs["provenance"]
        assert '"teacher.rttm": "' in file.attrs["provenance"]


def test_without_another_system_all_segments_count(run: Run) -> None:
    assert run().exit_code == 0
    _, made = read_prototypes("p.h5")
    assert (made.counts.tolist(), made.dropped) == ([4, 2], None)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--agree-with", "other.rttm"], 1, "other.rttm: has none of the explained recordings"),
        (["--agree-with", "no.rttm"], 1, "no.rttm: cannot be read"),
        (["--agree-with", "teacher.rttm", "--overlap", "0"], 2, "0 is not in the range 0<x<=1"),
        (["--output", "teacher.rttm", "--agree-with", "teacher.rttm"], 2, "would be overwritten"),
        (["--output", "x.h5/p.h5"], 2, "x.h5/p.h5: cannot be written"),
        (["--figure", "p.gif"], 2, "p.gif: must end in .png, .pdf or .svg"),
        (["--figure", "."], 2, ".: is a folder: name a file to write"),
    ],
)
def test_errors_come_before_the_work(run: Run, options: list[str], code: int, message: str) -> None:
    done = run(*options)
    assert done.exit_code == code
    assert message in done.stderr.splitlines()[-1]
    assert not Path("p.h5").exists()
