"""What the corpora share: shared time, lengths, splits, reports, and the table of uses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from audioseg_xai.config import load_yaml
from audioseg_xai.corpora.coverage import covered, speech_and_overlap
from audioseg_xai.corpora.labelled import Labelled, fit
from audioseg_xai.corpora.lengths import audio_duration
from audioseg_xai.corpora.loose import check_id
from audioseg_xai.corpora.parts import divide, parse_split
from audioseg_xai.corpora.report import Report
from audioseg_xai.corpora.table import CorpusTable
from audioseg_xai.errors import AudioError, ConfigError, CorpusError, UsageError

RECIPES = Path(__file__).parents[1] / "recipes"

# --- shared time ----------------------------------------------------------------------------------

regions = st.lists(
    st.tuples(st.integers(0, 30), st.integers(1, 10)).map(
        lambda p: (p[0] / 10, (p[0] + p[1]) / 10)
    ),
    max_size=6,
)


@given(groups=st.lists(regions, max_size=5), at_least=st.integers(1, 4))
def test_covered_counts_groups_tenth_by_tenth(groups, at_least):
    def sounds(found, tenth):
        return any(onset <= (tenth + 0.5) / 10 < offset for onset, offset in found)

    result = covered(groups, at_least)
    for tenth in range(45):
        expected = sum(sounds(group, tenth) for group in groups) >= at_least
        assert sounds(result, tenth) == expected
    ends = [time for region in result for time in region]
    assert ends == sorted(set(ends))  # disjoint, not even touching


@given(regions)
def test_one_speaker_never_overlaps(turns):
    found = speech_and_overlap({"A": turns})
    assert {segment.label for segment in found} <= {"speech"}


def test_rounding_is_no_overlap():
    turns = {"A": [(0.1, 0.1 + 0.2)], "B": [(0.3, 0.5)]}  # 0.1 + 0.2 is 4e-17 more than 0.3
    assert [(s.onset, s.offset, s.label) for s in speech_and_overlap(turns)] == [
        (0.1, 0.5, "speech")
    ]


# --- names, lengths, labels beside audio ----------------------------------------------------------


@pytest.mark.parametrize("name", ["show", "émission-2", "a.b_c", "節目"])
def test_names(name):
    assert check_id(name) == name


@pytest.mark.parametrize(
    "name", ["", " a", "a b", "..", "../a", "/a", "a\\b", ".a", "a\0", "a\x07", ";;a", "a\u2028b"]
)
def test_names_that_are_none(name):
    with pytest.raises(CorpusError, match="cannot name a recording") as caught:
        check_id(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("decode", [False, True])
@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_a_length_is_that_of_the_decoded_audio(tmp_path, suffix, decode):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, np.zeros((44_101, 2)), 44_100)
    exact = sum(len(block) for block in soundfile.blocks(path, 1024)) / 44_100
    assert audio_duration(path, decode=decode) == pytest.approx(exact, abs=0.03)
    if suffix != "mp3":
        assert audio_duration(path, decode=decode) == 44_101 / 44_100


def test_damage_in_the_middle_is_found_by_decoding(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, np.random.default_rng(0).uniform(-1, 1, 80_000), 16_000)
    content = bytearray(path.read_bytes())
    content[50_000:54_000] = bytes(4_000)
    path.write_bytes(content)
    with pytest.raises(AudioError):
        audio_duration(path, decode=True)


@given(end=st.floats(0.1, 30))
def test_labels_end_where_the_audio_ends_or_are_refused(end):
    report, source = Report(), Path("a.rttm")
    segments = speech_and_overlap({"A": [(0, end)]})
    found = fit("a", Labelled(Path("a.wav"), segments, None, source), 10.0, report)
    assert (found is None) == (end > 10.5) == bool(report.problems)
    assert found is None or [s.offset for s in found.segments] == [min(round(end, 6), 10.0)]


def test_a_report_is_one_line_each_and_counts_repairs_of_a_kind():
    report = Report()
    for name in "abcde":
        report.repair(f"{name}.rttm", "has CRLF line ends")
    report.problem("x\ny.rttm", "is\nodd", "fix it", line=3, uri="x")
    report.problem("x\ny.rttm", "is\nodd", "fix it", line=3, uri="x")
    assert list(report.repair_lines()) == ["a.rttm, b.rttm, c.rttm and 2 more: has CRLF line ends"]
    assert [str(p) for p in report.problems] == ["x y.rttm:3: is odd; fix it"]
    assert report.left_out == {"x"}


# --- parts of OpenBMAT ----------------------------------------------------------------------------


@given(
    uris=st.sets(st.text("abc123", min_size=1), min_size=3, max_size=60),
    shares=st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0.25, 0.25), (0.98, 0.01, 0.01)]),
)
def test_parts_are_disjoint_complete_and_of_their_size(uris, shares):
    split = dict(zip(("train", "valid", "test"), shares, strict=True))
    parts = divide(sorted(uris), split)
    assert sorted(uri for part in parts.values() for uri in part) == sorted(uris)
    assert all(parts.values())
    assert all(abs(len(parts[n]) - split[n] * len(uris)) <= 2 for n in split)
    assert divide(sorted(uris, reverse=True), split) == parts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train", "write train=0.8,valid=0.1,test=0.1"),
        ("train=most,test=0.1", "write train="),
        ("train=0.8,test=0.1", "add up to 0.9, not to 1"),
        ("train=1.2,test=-0.2", "'test=-0.2' is no name and positive share"),
        ("train=0.5,all=0.5", "'all=0.5' is no name"),
        ("../x=0.5,y=0.5", "'../x=0.5' is no name"),
        ("train=nan", "no name and positive share"),
    ],
)
def test_splits_that_are_none(text, message):
    with pytest.raises(UsageError, match=message):
        parse_split(text)


# --- the table of uses ----------------------------------------------------------------------------


def test_the_table_of_the_paper():
    table = load_yaml(RECIPES / "broadcast/conf/corpora.yaml", CorpusTable)
    everything = ("speech", "music", "noise")
    voices = ("speech", "overlap")
    assert dict(table.rows("teacher")) == {
        "albayzin": everything,
        "openbmat": ("music",),
        "allies": voices,
        "dihard": voices,
    }
    assert dict(table.rows("student")) == {"albayzin": everything, "dihard": voices}
    assert dict(table.rows("test")) == {
        "albayzin/test": everything,
        "allies/allies_clean": ("speech", "music", "overlap"),
        "dihard/eval": voices,
    }
    assert dict(table.rows("student", "train")) == {
        "albayzin/train": everything,
        "dihard/train": voices,
    }
    assert dict(table.rows("student", "valid")) == {
        "albayzin/dev": everything,
        "dihard/valid": voices,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("corpora: {a: {classes: [speech], train: x, trian: y}}", "unknown key 'corpora.a.trian'"),
        ("corpora: {a: {classes: [voice]}}", "unknown class 'voice'"),
        ("corpora: {a: {classes: []}}", "no class named"),
        ("corpora: {a: {classes: [speech], trains: [pupil]}}", "'teacher' or 'student'"),
        ("corpora: {../a: {classes: [speech]}}", "should match pattern"),
        ("corpus: {}", "corpora: Field required"),
    ],
)
def test_tables_that_are_none(tmp_path, text, message):
    (tmp_path / "t.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_yaml(tmp_path / "t.yaml", CorpusTable)
