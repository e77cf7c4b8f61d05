"""OpenBMAT and Albayzin as nobody should release them: each fault is said, or repaired."""

from __future__ import annotations

import json
import re

import pytest
from corpora_dummies import (
    albayzin,
    catalan,
    hum,
    openbmat,
    prepare,
    quick_disk,
    timeline,
    turn,
    write,
)

from audioseg_xai.datadir import DataDir
from audioseg_xai.errors import CorpusError

pytestmark = pytest.mark.usefixtures(quick_disk.__name__)

TSV = "tsv/MD_mapping/one/a.tsv"
JSON = "json/MD_mapping.json"
SHOW = "rttm/radio1.rttm"


# --- OpenBMAT, TSV --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("0.0\t4.0\n", "one/a.tsv:1: expected 3 fields between tabs, found 2"),
        ("0.0 4.0 music\n", "one/a.tsv:1: expected 3 fields between tabs, found 1"),
        (
            "0\t4\tmusic\n4\t5\tsong\n",
            "one/a.tsv:2: unknown class 'song': expected music, fg-music",
        ),
        ("0\tnan\tmusic\n", "one/a.tsv:1: end 'nan' is not finite"),
        ("4\t0\tmusic\n", "one/a.tsv:1: offset 0.0 is not after onset 4.0"),
        ("-1\t4\tmusic\n", "one/a.tsv:1: onset -1.0 is negative"),
        ("0:00\t4\tmusic\n", "one/a.tsv:1: start '0:00' is not a number; write seconds"),
        ("start\tend\tclass\n", "one/a.tsv:1: start 'start' is not a number"),
        ("", "one/a.tsv: is empty; copy it again"),
        ("0\t6\tmusic\n4\t10\tno-music\n", "'one' says music and no music of 'a' for 2.000 s"),
    ],
)
def test_a_bad_opinion_leaves_the_piece_out(tmp_path, content, message):
    root = write(openbmat(tmp_path / "corpus"), {TSV: content})
    report = prepare("openbmat", root, tmp_path / "out")
    assert any(message in str(problem) for problem in report.problems), report.problems
    assert DataDir.read(tmp_path / "out/all").uris == ["b"]


def test_opinions_beyond_the_end_of_the_audio(tmp_path):
    root = openbmat(tmp_path / "corpus")
    hum(root / "audio/a.wav", seconds=8.0)
    hum(root / "audio/b.wav", seconds=9.75)
    report = prepare("openbmat", root, tmp_path / "out")
    assert "labels of a reach to 10.000 s, its audio only to 8.000 s" in str(report.problems[0])
    data = DataDir.read(tmp_path / "out/all")
    assert data.uris == ["b"] and data.uem["b"] == [(0, 9.75)]
    assert "clipped" in next(report.repair_lines())


@pytest.mark.parametrize("form", ["tsv", "json"])
def test_audio_and_annotations_that_do_not_pair(tmp_path, form):
    root = openbmat(tmp_path / "corpus", form)
    (root / "audio/a.wav").unlink()
    hum(root / "audio/c.wav")
    report = prepare("openbmat", root, tmp_path / "out")
    said = "\n".join(map(str, report.problems))
    assert "no audio file of 'a'; put it there" in said
    assert "audio/c.wav: no annotation of 'c'" in said
    assert DataDir.read(tmp_path / "out/all").uris == ["b"]


def test_two_audio_files_of_one_name(tmp_path):
    root = openbmat(tmp_path / "corpus")
    hum(root / "more/a.flac")
    report = prepare("openbmat", root, tmp_path / "out")
    assert "2 audio files are called 'a'" in str(report.problems[0])
    assert "leave one of them" in str(report.problems[0]) and report.left_out == {"a"}


def test_a_name_with_a_space(tmp_path):
    root = write(openbmat(tmp_path / "corpus"), {"tsv/MD_mapping/one/a b.tsv": "0\t1\tmusic\n"})
    report = prepare("openbmat", root, tmp_path / "out")
    assert "one/a b.tsv: 'a b' cannot name a recording" in str(report.problems[0])
    assert DataDir.read(tmp_path / "out/all").uris == ["a", "b"]


def test_annotators_who_agree_nowhere(tmp_path):
    root = openbmat(tmp_path / "corpus")
    for annotator in ("two", "six"):
        (root / f"tsv/MD_mapping/{annotator}/a.tsv").unlink()
    report = prepare("openbmat", root, tmp_path / "out")
    assert "'a': the annotators (1 of 3) agree nowhere; leave it out" in str(report.problems[0])


def test_the_same_segment_twice_and_crlf(tmp_path):
    text = "0\t4\tmusic\r\n0\t4\tmusic\r\n4\t10\tno-music\r\n"
    root = write(openbmat(tmp_path / "corpus"), {TSV: text})
    report = prepare("openbmat", root, tmp_path / "out")
    assert not report.problems and "CRLF" in next(report.repair_lines())
    assert timeline(DataDir.read(tmp_path / "out/all"), "a", "music") == [(0, 5)]


# --- OpenBMAT, JSON -------------------------------------------------------------------------------


def segment(**changes):
    return {"0": {"start": 0.0, "end": 10.0, "class": "music"} | changes}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("a.wav", segment(start="0.0"), "annotations.one.a.wav: time '0.0' is no number"),
        ("a.wav", segment(end=True), "annotations.one.a.wav: time True is no number"),
        ("a.wav", segment(end=None), "time None is no number"),
        ("a.wav", segment(end=-5), "offset -5.0 is not after onset 0.0"),
        ("a.wav", segment(start=10.0, end=0.0), "offset 0.0 is not after onset 10.0"),
        ("a.wav", segment(end=10**400), "is not finite"),
        ("a.wav", segment(**{"class": "song"}), "unknown class 'song'"),
        ("a.wav", segment(**{"class": ["music"]}), "unknown class ['music']"),
        ("a.wav", {"0": {"start": 0.0, "class": "music"}}, "segment '0' is no object with start"),
        ("a.wav", {"0": [0.0, 1.0, "music"]}, "segment '0' is no object with start, end and"),
        ("a.wav", [[0.0, 1.0, "music"]], "expected an object, found a list"),
        ("../x.wav", segment(), "'../x' cannot name a recording"),
        ("/etc/passwd", segment(), "'/etc/passwd' cannot name a recording"),
        ("a\0b", segment(), r"'a\x00b' cannot name a recording"),
        ("", segment(), "'' cannot name a recording"),
    ],
)
def test_a_bad_value_leaves_the_piece_out(tmp_path, name, value, message):
    root = openbmat(tmp_path / "corpus", "json")
    content = json.loads((root / JSON).read_text())
    content["annotations"]["one"][name] = value
    write(root, {JSON: json.dumps(content)})
    report = prepare("openbmat", root, tmp_path / "out")
    assert message in str(report.problems[0]) and JSON in str(report.problems[0])
    assert DataDir.read(tmp_path / "out/all").uris == (["b"] if name == "a.wav" else ["a", "b"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"annotations":\n {"one": }', "json:2: is not JSON: Expecting value; copy it again"),
        ('{"annotations": {"one": {"a": {"0": {"start": NaN}}}}}', "json: holds NaN, which is no"),
        ('{"annotations": {}, "annotations": {}}', "key 'annotations' is there twice"),
        ('{"agreement": {}}', r"expected an object under the key 'annotations', found \['agree"),
        ("[]", "expected an object under the key 'annotations', found a list"),
        ('{"annotations": {"one": []}}', "expected an object under the key 'one'"),
        ('{"annotations": {}}', "no file is annotated in it"),
        ("[" * 100_000, "is nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "Exceeds the limit"),
        ('{"a": "\xe9"}'.encode("latin-1"), "is not UTF-8; save it as UTF-8"),
        ("", "cannot be used; copy it again"),
        (b"\xff\xfe{\0}\0", "cannot be used"),
    ],
)
def test_a_file_of_all_annotations_that_cannot_be_used_is_an_error(tmp_path, content, message):
    root = write(openbmat(tmp_path / "corpus", "json"), {JSON: content})
    with pytest.raises(CorpusError, match=message) as caught:
        prepare("openbmat", root, tmp_path / "out")
    assert "\n" not in str(caught.value) and "MD_mapping.json" in str(caught.value)
    assert not (tmp_path / "out").exists()


# --- Albayzin -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (turn("radio1", 0, 1, "mu") + turn("radio1", 0, 1, "jingle"), "rttm:2: unknown class 'jin"),
        (turn("radio1", 0, 1, "ov"), "rttm:1: overlap is not annotated in Albayzin"),
        (turn("radio1", 3, -2, "mu"), "rttm:1: duration -2 is not positive"),
        (turn("radio2", 0, 1, "mu"), "rttm:1: is about 'radio2' in the file of 'radio1'"),
        (turn("radio1", 0, 11, "mu"), "labels of radio1 reach to 11.000 s"),
        ("", "radio1.rttm: is empty; copy it again; where nothing sounds, say so"),
        (None, "no .rttm file of 'radio1'"),
    ],
)
def test_a_bad_show_is_left_out(tmp_path, content, message):
    root = albayzin(tmp_path / "corpus")
    if content is None:
        (root / SHOW).unlink()
    else:
        write(root, {SHOW: content})
    report = prepare("albayzin", root, tmp_path / "out")
    assert message in str(report.problems[0])
    assert report.left_out == {"radio1"} and (tmp_path / "out/dev").is_dir()


def test_a_wav_file_that_is_cut_off(tmp_path):
    root = albayzin(tmp_path / "corpus")
    whole = (root / "wav/radio1.wav").read_bytes()
    (root / "wav/radio1.wav").write_bytes(whole[: len(whole) // 2])
    report = prepare("albayzin", root, tmp_path / "out")
    assert re.search(r"radio1.wav: ends before the 10.000 s that", str(report.problems[0]))


def test_lists_are_needed_and_those_of_one_set(tmp_path):
    root = albayzin(tmp_path / "corpus")
    (root / "lists/AragonRadio").rename(root / "lists/other")
    prepare("albayzin", root, tmp_path / "out")
    write(root, {"lists/another/train.txt": "radio1\n"})
    with pytest.raises(CorpusError, match=r"lists of several sets \(another, other\)"):
        prepare("albayzin", root, tmp_path / "again")
    (root / "lists").rename(root / "listen")
    with pytest.raises(CorpusError, match=r"AragonRadio/\{train,dev,test\}.txt, found"):
        prepare("albayzin", root, tmp_path / "again")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Music", "Applause", "tv1.trs:4: 'Applause' at 0 s is none of music, speech, speech"),
        ('<Sync time="2"/>', '<Sync time="x"/>', "tv1.trs:5: time 'x' is not a number"),
        ('<Sync time="2"/>', '<Sync time="12"/>', "tv1.trs:5: <Sync> at 12.0 s is not in order"),
        ('<Sync time="4"/>', '<Sync time="1"/>', "tv1.trs:6: <Sync> at 1.0 s is not in order"),
        ("Sync ", "Who ", "has neither text between <Sync> points nor topics that name a class"),
    ],
)
def test_exclusive_classes_that_are_none(tmp_path, old, new, message):
    root = catalan(tmp_path / "corpus")
    text = (root / "trs/tv1.trs").read_text()
    assert old in text
    write(root, {"trs/tv1.trs": text.replace(old, new)})
    report = prepare("albayzin", root, tmp_path / "out")
    assert message in str(report.problems[0])
    assert DataDir.read(tmp_path / "out/all").uris == ["tv2"]
