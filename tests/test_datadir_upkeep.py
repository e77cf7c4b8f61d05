"""`xai-segment datadir validate` and `fix`: what is wrong is listed, what can be is put right."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from corpora_dummies import hum, quick_disk, timeline, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audioseg_xai import cli
from audioseg_xai.annotation import Segment
from audioseg_xai.corpora.upkeep import fix, validate
from audioseg_xai.datadir import DataDir
from audioseg_xai.errors import DataDirError

pytestmark = pytest.mark.usefixtures(quick_disk.__name__)


def run(*words: object) -> Result:
    return CliRunner().invoke(cli.main, ["datadir", *map(str, words)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a valid data directory of two recordings of 10 s, with groups."""
    path = tmp_path / "set"
    for uri in "ab":
        hum(path / f"{uri}.wav")
    DataDir(
        wav={uri: path / f"{uri}.wav" for uri in "ab"},
        duration=dict.fromkeys("ab", 10.0),
        reference={"a": [Segment(1, 3, "speech"), Segment(2, 9.5, "music")], "b": []},
        uem={"a": [(0.0, 5.0), (6.0, 10.0)], "b": [(0.0, 10.0)]},
        classes=("speech", "music"),
        groups={"a": ("core", "full"), "b": ("full",)},
    ).write(path)
    return path


# --- groups ---------------------------------------------------------------------------------------


def test_groups_are_a_file_of_lines_and_read_back(folder):
    assert (folder / "groups").read_text() == "a core\na full\nb full\n"
    data = DataDir.read(folder)
    assert data.groups == {"a": ("core", "full"), "b": ("full",)}
    data.write(folder)
    assert DataDir.read(folder) == data


def test_without_groups_there_is_no_such_file_and_an_old_one_goes(folder):
    data = DataDir.read(folder)
    DataDir(data.wav, data.duration, data.reference, data.uem, data.classes).write(folder)
    assert not (folder / "groups").exists()
    assert DataDir.read(folder).groups == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a core full\n", r"groups:1: expected '<uri> <group>', found 'a core full'"),
        ("a\n", r"groups:1: expected '<uri> <group>', found 'a'"),
        ("c full\n", "groups has c, which wav.scp lacks"),
    ],
)
def test_groups_that_are_none(folder, text, message):
    write(folder, {"groups": text})
    with pytest.raises(DataDirError, match=message):
        DataDir.read(folder)


# --- validate -------------------------------------------------------------------------------------


def test_a_valid_one(folder):
    done = run("validate", folder)
    assert (done.exit_code, done.stdout) == (0, f"{folder}: valid\n")


@pytest.mark.parametrize(
    ("name", "content", "messages"),
    [
        ("wav.scp", "b b.wav\na a.wav\n", ["wav.scp:2: a comes after b; sort it with 'LC_ALL=C"]),
        ("wav.scp", "a a.wav\na a.wav\nb b.wav\n", ["wav.scp:2: a was there before"]),
        ("wav.scp", "a sox x |\nb b.wav\n", ["wav.scp:1: 'sox x |' is a shell command"]),
        ("wav.scp", "a/b a.wav\nb b.wav\n", ["wav.scp:1: 'a/b' cannot name a recording"]),
        ("wav.scp", "a\nb b.wav\nc\n", ["wav.scp:1: expected '<uri> <value>'", "wav.scp:3: exp"]),
        ("wav.scp", "a c.wav\nb b.wav\n", ["c.wav: no such file"]),
        ("reco2dur", "a 10\nb ten\n", ["reco2dur:2: duration 'ten' is not a number; write"]),
        ("reco2dur", "a 10\n", ["set: reco2dur lacks b; correct it"]),
        ("reco2dur", "a 9.9\nb 10\n", ["a.wav: lasts 10.000 s, but reco2dur says 9.900 s for a"]),
        ("ref.rttm", "SPEAKER a 1 0 1\n", ["ref.rttm:1: expected 10 fields, found 5"]),
        (
            "ref.rttm",
            "SPEAKER a 1 0 -1 <NA> <NA> speech\nSPEAKER a 1 0 1 <NA> <NA> Jim <NA> <NA>\n",
            ["ref.rttm:1: expected 10 fields, found 8", "ref.rttm:2: unknown class 'Jim'"],
        ),
        ("ref.rttm", "SPEAKER a 1 0 1 <NA> <NA> no <NA> <NA>\n", ["noise, which the file classes"]),
        ("all.uem", "a 1 0 10\nb 1 9 0\n", ["all.uem:2: offset 0.0 is not after onset 9.0"]),
        ("all.uem", "a 1 0 10\nb 1 0 60\n", ["b: all.uem reaches to 60.000 s in 10.000 s"]),
        ("all.uem", None, ["set: all.uem missing; make it; 'datadir fix' can make reco2dur"]),
        ("classes", "voice\n", ["classes: unknown class 'voice'"]),
        ("classes", "", ["classes: no class named"]),
        ("groups", "a\n", ["groups:1: expected '<uri> <group>', found 'a'"]),
        ("reco2dur", b"a 10\nb 10\n\xe9 1\n", ["reco2dur", "not UTF-8"]),
        ("a.wav", b"", ["a.wav: is empty (0 bytes)"]),
        ("a.wav", None, ["a.wav: no such file"]),
    ],
)
def test_what_is_wrong_is_listed_with_its_line(folder, name, content, messages):
    if content is None:
        (folder / name).unlink()
    else:
        write(folder, {name: content})
    done = run("validate", folder)
    assert done.exit_code == cli.FAILED and done.stdout == ""
    for message in messages:
        assert message in done.stderr, done.stderr


def test_several_are_validated_each_on_its_own(folder, tmp_path):
    done = run("validate", folder, tmp_path / "none")
    assert done.exit_code == cli.PARTLY and done.stdout == f"{folder}: valid\n"
    assert "none: no wav.scp in it; is it a data directory?" in done.stderr


def test_without_looking_at_the_audio(folder):
    (folder / "a.wav").unlink()
    assert run("validate", "--no-audio", folder).exit_code == 0


# --- fix ------------------------------------------------------------------------------------------


def test_all_that_can_be_fixed_at_once(folder, tmp_path):
    hum(folder / "b.wav", seconds=8.0)
    write(
        folder,
        {
            "wav.scp": "b b.wav\r\na a.wav\r\nb b.wav\r\nc c.wav\r\nd a.wav\nd b.wav\n",
            "reco2dur": "b 10\na 10\n",
            "ref.rttm": "SPEAKER b 1 7 3 <NA> <NA> speech <NA> <NA>\n"
            "SPEAKER b 1 8.5 1 <NA> <NA> music <NA> <NA>\n"
            "SPEAKER z 1 7 3 <NA> <NA> speech <NA> <NA>\n",
            "all.uem": "b 1 2 10\n",
            "groups": "a core\nz core\n",
        },
    )
    done = run("fix", folder, "--output", tmp_path / "fixed")
    assert done.exit_code == 0, done.stderr
    said = "\n".join(line.replace(str(folder), "set") for line in done.stdout.splitlines())
    assert said.splitlines() == [
        "set/wav.scp:2: a comes after b: sorted, one line each",
        "set/wav.scp:3: b was there before: sorted, one line each",
        "set/wav.scp:6: d was there before: sorted, one line each",
        "set/reco2dur:2: a comes after b: sorted, one line each",
        "set/wav.scp: has CRLF line ends, which were accepted",
        "b: duration 8.000 s, was 10.000 s",
        "c: dropped: set/c.wav: no such file: check the path",
        "d: dropped: it has several audio files or durations",
        "z: dropped from ref.rttm: wav.scp lacks it",
        "z: dropped from groups: wav.scp lacks it",
        "a: scored as a whole: all.uem lacked it",
        "b: all.uem clipped at 8.000 s",
        "b: 2 segments clipped at 8.000 s",
    ]
    fixed = DataDir.read(tmp_path / "fixed")
    assert fixed.duration == {"a": 10.0, "b": 8.0}
    assert timeline(fixed, "b", "speech") == [(7, 8)] and timeline(fixed, "b", "music") == []
    assert fixed.uem == {"a": [(0, 10)], "b": [(2, 8)]} and fixed.groups == {"a": ("core",)}
    assert not validate(tmp_path / "fixed").problems
    assert fix(tmp_path / "fixed", tmp_path / "again") == []


def test_nothing_to_fix_is_a_copy(folder, tmp_path):
    done = run("fix", folder, "--output", tmp_path / "fixed")
    assert (done.exit_code, done.stdout) == (0, "")
    assert DataDir.read(tmp_path / "fixed") == DataDir.read(folder)
    again = run("fix", folder, "--output", tmp_path / "fixed")
    assert again.exit_code == cli.USAGE and "--overwrite" in again.stderr


def test_durations_are_made_where_there_are_none(folder, tmp_path):
    (folder / "reco2dur").unlink()
    assert fix(folder, tmp_path / "fixed") == [
        "a: duration 10.000 s, was not there",
        "b: duration 10.000 s, was not there",
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("ref.rttm", "SPEAKER a 1 0 x <NA> <NA> speech <NA> <NA>\n", "ref.rttm:1: duration 'x'"),
        ("ref.rttm", "SPEAKER a 1 0 1 <NA> <NA> Jim <NA> <NA>\n", "ref.rttm:1: unknown class"),
        ("ref.rttm", "SPEAKER a 1 0 1 <NA> <NA> no <NA> <NA>\n", "noise, which the file classes"),
        ("ref.rttm", None, "ref.rttm missing; write it: it cannot be made up"),
        ("classes", None, "classes missing; write it"),
        ("wav.scp", "a sox |\nb b.wav\n", "wav.scp:1: 'sox |' is a shell command"),
        ("wav.scp", None, "no wav.scp in it"),
        ("wav.scp", "a none.wav\n", "no recording is left; first: a"),
    ],
)
def test_what_needs_a_person_is_refused(folder, tmp_path, name, content, message):
    if content is None:
        (folder / name).unlink()
    else:
        write(folder, {name: content})
    done = run("fix", folder, "--output", tmp_path / "fixed")
    assert done.exit_code == cli.FAILED and message in done.stderr, done.stderr
    assert not (tmp_path / "fixed").exists()


tenths = st.integers(0, 150).map(lambda n: n / 10)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.permutations(["a", "b", "c"]),
    spans=st.lists(
        st.tuples(st.sampled_from("abz"), tenths, tenths, st.sampled_from(["sp", "mu"])), max_size=6
    ),
    scored=st.lists(st.tuples(st.sampled_from("abz"), tenths, tenths), max_size=4),
)
def test_what_is_fixed_is_valid_and_stays_so(folder, tmp_path, order, spans, scored):
    rttm = "".join(
        f"SPEAKER {uri} 1 {on} {size + 0.1} <NA> <NA> {label} <NA> <NA>\n"
        for uri, on, size, label in spans
    )
    write(
        folder,
        {
            "wav.scp": "".join(f"{uri} {uri}.wav\n" for uri in order),
            "reco2dur": "".join(f"{uri} 7\n" for uri in order),
            "ref.rttm": rttm,
            "all.uem": "".join(f"{u} 1 {on} {on + size + 0.1}\n" for u, on, size in scored)
            or ";; nothing\n",
            "groups": ";; none\n",
        },
    )
    output = tmp_path / "fixed"
    shutil.rmtree(output, ignore_errors=True)
    scored_inside = {u for u in "ab" if not any(s[0] == u for s in scored)}
    scored_inside |= {u for u, onset, _ in scored if u in "ab" and onset < 10}
    if not scored_inside:
        return
    fix(folder, output)
    assert set(DataDir.read(output).uris) == scored_inside
    assert not validate(output).problems
    assert fix(output, output) == []


def test_a_data_directory_is_divided_by_name_alone(tmp_path: Path) -> None:
    uris = [f"rec{number}" for number in range(10)]
    whole = DataDir(
        wav={uri: Path(f"/audio/{uri}.wav") for uri in uris},
        duration=dict.fromkeys(uris, 5.0),
        reference={"rec3": [Segment(1.0, 2.0, "speech")]},
        uem={uri: [(0.0, 5.0)] for uri in uris},
        classes=("speech",),
        groups={"rec3": ("core",)},
    )
    whole.write(tmp_path / "whole")
    words = ["split", str(tmp_path / "whole"), "--parts", "train=0.8,valid=0.2"]
    words += ["--output", str(tmp_path)]
    done = CliRunner().invoke(cli.main, ["datadir", *words])
    assert done.exit_code == 0, done.stderr
    parts = [DataDir.read(tmp_path / name) for name in ("train", "valid")]
    assert [len(part.uris) for part in parts] == [8, 2]
    assert sorted(parts[0].uris + parts[1].uris) == uris
    owner = next(part for part in parts if "rec3" in part.uris)
    assert owner.reference["rec3"] == [Segment(1.0, 2.0, "speech")]
    assert owner.groups == {"rec3": ("core",)}
    again = CliRunner().invoke(cli.main, ["datadir", *words])
    assert again.exit_code == 2 and "is there already" in again.stderr
