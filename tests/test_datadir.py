"""Data directories: what is written is read, and what disagrees is said."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from audioseg_xai.annotation import Segment
from audioseg_xai.datadir import DataDir
from audioseg_xai.errors import DataDirError


def example(folder):
    return DataDir(
        wav={
            "b": folder / "wav/b of May.flac",
            "a": Path("/elsewhere/a.wav"),
            "B": folder / "B.wav",
        },
        duration={"a": 10.0, "b": 3.25, "B": 60.015},
        reference={"a": [Segment(0.5, 2.0, "speech")], "b": [Segment(0.0, 3.25, "music")], "B": []},
        uem={"a": [(0.0, 10.0)], "b": [(0.0, 3.25)], "B": [(0.0, 30.0), (40.0, 60.0)]},
        classes=("speech", "music"),
    )


@pytest.fixture
def written(tmp_path):
    example(tmp_path / "set").write(tmp_path / "set")
    return tmp_path / "set"


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_files_as_kaldi_has_them(written):
    assert {path.name: path.read_text() for path in written.iterdir()} == {
        "wav.scp": "B B.wav\na /elsewhere/a.wav\nb wav/b of May.flac\n",
        "reco2dur": "B 60.015\na 10.0\nb 3.25\n",
        "ref.rttm": "SPEAKER a 1 0.500 1.500 <NA> <NA> speech <NA> <NA>\n"
        "SPEAKER b 1 0.000 3.250 <NA> <NA> music <NA> <NA>\n",
        "all.uem": "B 1 0.000 30.000\nB 1 40.000 60.000\na 1 0.000 10.000\nb 1 0.000 3.250\n",
        "classes": "speech\nmusic\n",
    }


def test_read_gives_what_was_written(written):
    found = DataDir.read(written)
    assert found == example(written)
    assert found.uris == ["B", "a", "b"]


def test_it_moves_with_its_audio(written, tmp_path):
    moved = written.rename(tmp_path / "moved")
    assert DataDir.read(moved).wav["b"] == moved / "wav/b of May.flac"


def test_paths_from_the_working_directory_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = dataclasses.replace(example(tmp_path), wav=dict.fromkeys("Bab", Path("audio/x.wav")))
    data.write("set")
    assert DataDir.read("set").wav["a"] == tmp_path / "audio/x.wav"


def test_windows_text_is_read(written):
    for name in ("wav.scp", "reco2dur", "classes", "all.uem", "ref.rttm"):
        text = (written / name).read_text()
        (written / name).write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert DataDir.read(written) == example(written)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("wav.scp", "/elsewhere/a.wav", "sox a.wav -t wav - |", "wav.scp:2: .*shell command"),
        ("wav.scp", "a /", "B /", "wav.scp:2: B was there before"),
        ("wav.scp", "a /", "A /", "wav.scp:2: A comes after B; .*LC_ALL=C sort"),
        ("wav.scp", "a /elsewhere/a.wav", "a", "wav.scp:2: expected '<uri> <value>', found 'a'"),
        ("reco2dur", "10.0", "ten", "reco2dur:2: duration 'ten' is not a number"),
        ("reco2dur", "10.0", "0", "reco2dur:2: duration '0' is not positive"),
        ("reco2dur", "10.0", "inf", "reco2dur:2: duration 'inf' is not positive and finite"),
        ("reco2dur", "a 10.0\n", "", "set: reco2dur lacks a"),
        ("reco2dur", "b 3.25", "c 3.25", "reco2dur has c, which wav.scp lacks; reco2dur lacks b"),
        ("reco2dur", "10.0", "1.9", r"a: ref.rttm reaches to 2.000 s in 1.900 s of audio"),
        ("all.uem", "b 1 0.000 3.250\n", "", "all.uem lacks b"),
        ("all.uem", "3.250", "33.25", "b: all.uem reaches to 33.250 s"),
        ("all.uem", "3.250", "-1", "all.uem:4: .*not after"),
        ("ref.rttm", "SPEAKER a", "SPEAKER z", "ref.rttm has z, which wav.scp lacks"),
        ("ref.rttm", "music", "noise", "b: ref.rttm has noise, which the file classes does not"),
        ("ref.rttm", "music", "spk", "ref.rttm:2: unknown class 'spk'"),
        ("classes", "music", "voice", "classes: unknown class 'voice'"),
        ("classes", "speech\nmusic\n", "", "classes: no class named"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(written, name, old, new, message):
    edit(written / name, old, new)
    with pytest.raises(DataDirError, match=message) as caught:
        DataDir.read(written)
    assert "\n" not in str(caught.value)


def test_empty_and_missing(written, tmp_path):
    (written / "classes").unlink()
    (written / "all.uem").unlink()
    with pytest.raises(DataDirError, match=r"all\.uem, classes missing"):
        DataDir.read(written)
    with pytest.raises(DataDirError, match="no such directory"):
        DataDir.read(tmp_path / "none")
    with pytest.raises(DataDirError, match="lists no recording"):
        DataDir({}, {}, {}, {}, ("speech",)).write(tmp_path / "new")


def test_not_text(written):
    (written / "wav.scp").write_bytes(b"a \xff\xfe\n")
    with pytest.raises(DataDirError, match=r"wav\.scp: not UTF-8"):
        DataDir.read(written)


def test_a_rounding_error_beyond_the_end_is_tolerated(written):
    edit(written / "reco2dur", "3.25", "3.2495")
    assert DataDir.read(written).duration["b"] == 3.2495


def test_validate_looks_for_the_audio(written):
    data = DataDir.read(written)
    data.validate(check_audio=False)
    with pytest.raises(DataDirError, match=r"B: no audio file .*B\.wav; a: no audio file"):
        data.validate()


def test_many_problems_are_cut(tmp_path):
    wav = {f"r{i}": tmp_path / f"{i}.wav" for i in range(9)}
    data = DataDir(
        wav, dict.fromkeys(wav, 1.0), {}, {uri: [(0.0, 1.0)] for uri in wav}, ("speech",)
    )
    with pytest.raises(DataDirError, match=r"r4: no audio file .*; and 4 more$"):
        data.validate()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wav": {"a b": Path("x.wav")}}, "'a b' cannot name a recording"),
        ({"wav": {"a": Path("sox x.wav - |")}}, "cannot stand in wav.scp"),
        ({"wav": {"a": Path("two\nlines.wav")}}, "cannot stand in wav.scp"),
        ({"duration": {"a": float("nan")}}, "duration nan is not positive"),
        ({"uem": {"a": []}}, "all.uem lacks a"),
    ],
)
def test_nothing_is_written_that_could_not_be_read(tmp_path, change, message):
    parts = {
        "wav": {"a": Path("x.wav")},
        "duration": {"a": 1.0},
        "reference": {},
        "uem": {"a": [(0.0, 1.0)]},
        "classes": ("speech",),
    }
    with pytest.raises(DataDirError, match=message):
        DataDir(**(parts | change)).write(tmp_path / "new")
    assert not (tmp_path / "new").exists()
