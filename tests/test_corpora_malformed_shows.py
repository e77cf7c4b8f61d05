"""ALLIES as nobody should release it: each fault is said, or repaired as documented."""

from __future__ import annotations

import re

import pytest
from corpora_dummies import TRS, allies, hum, prepare, quick_disk, spoil, timeline, write

from audioseg_xai.datadir import DataDir

pytestmark = pytest.mark.usefixtures(quick_disk.__name__)

MDTM, LST, SHOW_TRS = "mdtm/CLEAN.mdtm", "lst/Test-D.lst", "trs/CLEAN.trs"
SPEAKER = "CLEAN 1 1.5 3.0 speaker NA adult_male Jean\n"
BOMB = (
    '<?xml version="1.0"?>\n<!DOCTYPE Trans [\n<!ENTITY a "aaaaaaaaaa">\n'
    '<!ENTITY b "&a;&a;&a;&a;">]>\n<Trans>&b;</Trans>'
)

SHOWS = {
    "seven columns": (
        MDTM,
        f"{SPEAKER}CLEAN 1 1.5 3.0 speaker NA Jean\n",
        "mdtm:2: expected 8 fields",
    ),
    "nine columns": (
        MDTM,
        SPEAKER.replace("Jean", "Jean Bon"),
        "mdtm:1: expected 8 fields, found 9",
    ),
    "mdtm duration": (
        MDTM,
        SPEAKER.replace("3.0", "-3.0"),
        "mdtm:1: duration -3.0 is not positive",
    ),
    "mdtm NaN": (MDTM, SPEAKER.replace("1.5", "NaN"), "mdtm:1: onset 'NaN' is not finite"),
    "an end for a duration": (
        MDTM,
        SPEAKER.replace("3.0", "9.9"),
        "reach to 11.400 s, its audio only",
    ),
    "mdtm channel": (MDTM, SPEAKER.replace(" 1 ", " A "), "mdtm:1: channel 'A': expected 0 or 1"),
    "mdtm of another show": (MDTM, SPEAKER.replace("CLEAN", "DEBATE"), "mdtm:1: is about 'DEBATE'"),
    "mdtm onset": (MDTM, SPEAKER.replace("1.5", "-0.5"), "mdtm:1: onset -0.5 is negative"),
    "broken XML": (
        SHOW_TRS,
        TRS.partition("</Turn")[0],
        "trs:11: is not XML: no element found; correct it",
    ),
    "XML crossed": (
        SHOW_TRS,
        TRS.replace("</Turn>", "</Tur>"),
        "trs:11: is not XML: mismatched tag",
    ),
    "entity bomb": (SHOW_TRS, BOMB, "trs:3: defines the entity 'a', which is refused"),
    "no end of turn": (
        SHOW_TRS,
        TRS.replace(' endTime="10">\n<S', ">\n<S"),
        "trs:4: <Turn> without endTime",
    ),
    "turn swapped": (
        SHOW_TRS,
        TRS.replace('"10">\n<S', '"-1">\n<S'),
        "trs:4: offset -1.0 is not after",
    ),
    "trs NaN": (SHOW_TRS, TRS.replace('"2.5"', '"nan"'), "trs:6: time 'nan' is not finite"),
    "back in time": (SHOW_TRS, TRS.replace('"6"', '"1"'), "trs:9: <Background> at 1.0 s goes back"),
    "another XML": (SHOW_TRS, "<eaf></eaf>", "expected <Trans>, found <eaf>; is it a .trs file"),
    "unknown encoding": (SHOW_TRS, TRS.replace("ISO-8859-1", "klingon"), "trs:1: "),
    "sync outside": (
        SHOW_TRS,
        TRS.replace("</Turn>", '</Turn><Sync time="1"/>'),
        "trs:11: <Sync> outside",
    ),
    "no trs": (SHOW_TRS, None, "no .trs file of 'CLEAN'"),
}


@pytest.mark.parametrize("case", SHOWS)
def test_a_show_is_left_out_and_the_others_go_on(tmp_path, case):
    name, content, message = SHOWS[case]
    root = allies(tmp_path / "corpus")
    hum(root / "wav/MORE.wav")
    write(root, {"trs/DEBATE.trs": TRS.encode("latin-1")})
    spoil(root, name, content)
    report = prepare("allies", root, tmp_path / "out")
    said = "\n".join(map(str, report.problems))
    assert re.search(message, said) and report.left_out == {"CLEAN"}, said
    assert DataDir.read(tmp_path / "out/Test-D").uris == ["DEBATE"]
    assert not (tmp_path / "out/allies_clean").exists()
    assert "no recording of the set allies_clean is left" in said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("DEBATE\n../x\n", "lst:2: '../x' cannot name a recording"),
        ("DEBATE\n/etc/passwd\n", "lst:2: '/etc/passwd' cannot name"),
        ("DEBATE\nA SHOW\n", "lst:2: 'A SHOW' cannot name a recording"),
        ("DEBATE\n.hidden\n", "lst:2: '.hidden' cannot name"),
        ("DEBATE\n\x1b[31m\n", r"lst:2: '\x1b[31m' cannot name"),
        ("DEBATE\nCLEAN\nDEBATE\n", "lst:3: 'DEBATE' was in line 1 already; leave one"),
        ("DEBATE\nNOWHERE\n", "no .wav file of 'NOWHERE'; put it there, or take the name off"),
    ],
)
def test_a_bad_line_of_a_list(tmp_path, content, message):
    root = write(allies(tmp_path / "corpus"), {LST: content})
    report = prepare("allies", root, tmp_path / "out")
    assert any(message in str(problem) for problem in report.problems)
    assert "DEBATE" in DataDir.read(tmp_path / "out/Test-D").uris


def test_an_empty_list(tmp_path):
    root = write(allies(tmp_path / "corpus"), {LST: ""})
    report = prepare("allies", root, tmp_path / "out")
    assert any("Test-D.lst: is empty; write the name" in str(p) for p in report.problems)
    assert DataDir.read(tmp_path / "out/unlisted").uris == ["DEBATE", "MORE"]


@pytest.mark.parametrize(
    ("name", "content", "warning"),
    [
        (MDTM, SPEAKER + SPEAKER.replace("speaker", "noscore"), "type 'noscore', not 'speaker'"),
        (MDTM, SPEAKER * 2, "were merged"),
        (MDTM, f"# x\n;; y\n{SPEAKER}", None),
        (SHOW_TRS, TRS.encode("latin-1"), None),
        (SHOW_TRS, TRS.replace("ISO-8859-1", "UTF-8").encode("latin-1"), "read as Latin-1"),
        (SHOW_TRS, TRS.partition("\n")[2].encode("latin-1"), "read as Latin-1"),
        (SHOW_TRS, TRS.replace("ISO-8859-1", "windows-1252").encode("cp1252"), None),
    ],
)
def test_a_show_is_kept(tmp_path, name, content, warning):
    root = allies(tmp_path / "corpus")
    spoil(root, name, content)
    report = prepare("allies", root, tmp_path / "out")
    lines = list(report.repair_lines())
    assert not report.problems and len(lines) == (warning is not None), lines
    assert warning is None or warning in lines[0]
    data = DataDir.read(tmp_path / "out/allies_clean")
    assert timeline(data, "CLEAN", "music") == [(2.5, 6), (9, 10)]
    assert timeline(data, "CLEAN", "speech")[0][0] == 1.5


def test_what_an_external_entity_points_to_is_not_read(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text('<Background time="0" type="music" level="high"/>')
    trs = TRS.replace('SYSTEM "trans-14.dtd"', f'SYSTEM "{secret}"')
    root = write(allies(tmp_path / "corpus"), {SHOW_TRS: trs.encode("latin-1")})
    prepare("allies", root, tmp_path / "out")
    data = DataDir.read(tmp_path / "out/allies_clean")
    assert timeline(data, "CLEAN", "music") == [(2.5, 6), (9, 10)]
    entity = f'[<!ENTITY x SYSTEM "{secret}">]'
    write(root, {SHOW_TRS: TRS.replace('SYSTEM "trans-14.dtd"', entity).encode("latin-1")})
    report = prepare("allies", root, tmp_path / "again")
    assert any("trs:2: defines the entity 'x'" in str(p) for p in report.problems)
