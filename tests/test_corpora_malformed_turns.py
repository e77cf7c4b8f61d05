"""DIHARD as nobody should release them: each fault is said, or repaired as documented.

A case is a file, what stands in it, what is said, and whether the recording is left out. In all
of them the other recordings go on.
"""

from __future__ import annotations

import re

import pytest
from corpora_dummies import dihard, prepare, quick_disk, spoil, timeline, turn

from audioseg_xai.datadir import DataDir
from audioseg_xai.errors import CorpusError

pytestmark = pytest.mark.usefixtures(quick_disk.__name__)

ONE = "DH_DEV_0001"
RTTM, UEM, FLAC = f"data/rttm/{ONE}.rttm", f"data/uem/{ONE}.uem", f"data/flac/{ONE}.flac"
TBL = "docs/recordings.tbl"
GOOD = turn(ONE, 1, 2, "A")
HEAD = "uri\tin_core\tlang\tdomain\tsource\n"
TAIL = "DH_DEV_0002\tFalse\teng\tmeeting\tx\nDH_EVAL_0001\tTrue\teng\tcourt\tx\n"


def table(row: str) -> str:
    return f"{HEAD}{row}\n{TAIL}"


LEFT_OUT = {
    "too few columns": (RTTM, f"{GOOD}SPEAKER {ONE} 1 1.0 2.0 <NA> <NA>\n", "rttm:2: expected 10"),
    "space in a uri": (RTTM, turn("DH DEV", 1, 2, "A"), "rttm:1: expected 10 fields, found 11"),
    "space in a speaker": (RTTM, turn(ONE, 1, 2, "Jean D."), "rttm:1: expected 10 .*, found 11"),
    "negative duration": (
        RTTM,
        GOOD + turn(ONE, 3, -1, "A"),
        "rttm:2: duration -1 is not positive",
    ),
    "zero duration": (RTTM, turn(ONE, 3, 0, "A"), "rttm:1: duration 0 is not positive; correct"),
    "negative onset": (RTTM, turn(ONE, -3, 4, "A"), r"rttm:1: onset -3.0 is negative"),
    "NaN": (RTTM, turn(ONE, float("nan"), 4, "A"), "rttm:1: onset 'nan' is not finite"),
    "infinite": (RTTM, turn(ONE, 3, float("inf"), "A"), "rttm:1: duration 'inf' is not finite"),
    "decimal comma": (RTTM, GOOD.replace(" 2 ", " 2,5 "), "rttm:1: duration '2,5' is not a number"),
    "channel": (RTTM, GOOD.replace(" 1 1 ", " 2 1 "), "rttm:1: channel '2': expected 0 or 1"),
    "another kind of line": (RTTM, "LEXEME " + GOOD[8:], "rttm:1: .* begins with SPEAKER, found"),
    "another recording": (RTTM, turn("DH_DEV_0002", 1, 2, "A"), "rttm:1: is about 'DH_DEV_0002'"),
    "id with a folder": (
        RTTM,
        turn("../x", 1, 2, "A"),
        r"rttm:1: is about '\.\./x' in the file of",
    ),
    "empty": (RTTM, "", "rttm: is empty; copy it again"),
    "only blank lines": (RTTM, "\n \r\n", "rttm: is empty"),
    "UTF-16": (RTTM, GOOD.encode("utf-16"), "rttm: is UTF-16, or no text; save it as UTF-8"),
    "NUL in it": (RTTM, GOOD.replace("A", "\0"), "rttm: is UTF-16, or no text"),
    "a turn past the end": (RTTM, turn(ONE, 1, 29, "A"), "reach to 30.000 s, its audio only to 10"),
    "no RTTM": (RTTM, None, f"data: no .rttm file of '{ONE}'; put it there"),
    "UEM swapped": (UEM, f"{ONE} 1 9.0 1.0\n", "uem:1: offset 1.0 is not after onset 9.0"),
    "UEM with three columns": (UEM, f"{ONE} 0 9\n", "uem:1: expected 4 fields, found 3"),
    "UEM outside the audio": (UEM, f"{ONE} 1 700 710\n", "reach to 710.000 s, its audio only"),
    "UEM behind the audio": (UEM, f"{ONE} 1 10.1 10.4\n", "no part of DH_DEV_0001 is annotated"),
    "UEM of another": (UEM, "DH_DEV_0002 1 0 10\n", "uem:1: is about 'DH_DEV_0002'"),
    "UEM empty": (UEM, "", "uem: is empty; write '<uri> 1 <onset> <offset>'"),
    "no UEM": (UEM, None, f"data: no .uem file of '{ONE}'"),
    "no audio": (FLAC, None, f"data: no .flac file of '{ONE}'"),
    "audio that is none": (FLAC, b"a page of text" * 99, "flac: holds no audio"),
    "empty audio": (FLAC, b"", r"flac: is empty \(0 bytes\); copy or export it again"),
    "core or not": (
        TBL,
        table(f"{ONE}\tmaybe\teng\tcourt\tx"),
        "tbl:2: in_core 'maybe' is neither",
    ),
    "spaces for tabs": (
        TBL,
        table(f"{ONE} True eng court x"),
        "tbl:2: expected uri, in_core, domain",
    ),
    "domain with a space": (
        TBL,
        table(f"{ONE}\tTrue\teng\ta b\tx"),
        "tbl:2: domain 'a b' has a space",
    ),
    "a row twice": (
        TBL,
        table("\n".join([f"{ONE}\tTrue\te\tc\tx"] * 2)),
        "tbl:3: .* in line 2 already",
    ),
    "no row": (TBL, HEAD + TAIL, f"tbl: no line about '{ONE}', so that its domain is not known"),
    "core in one file alone": (
        TBL,
        table(f"{ONE}\tFalse\teng\tcourt\tx"),
        f"core/all.uem: '{ONE}' is listed, but not in core by docs/recordings.tbl",
    ),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_a_recording_is_left_out_and_the_others_go_on(tmp_path, case):
    name, content, message = LEFT_OUT[case]
    root = dihard(tmp_path / "corpus")
    spoil(root, name, content)
    report = prepare("dihard", root, tmp_path / "out")
    said = "\n".join(map(str, report.problems))
    assert re.search(message, said), said
    assert all("; " in str(p) and "\n" not in str(p) for p in report.problems)
    assert DataDir.read(tmp_path / "out/dev").uris == ["DH_DEV_0002"]
    assert DataDir.read(tmp_path / "out/eval").uris == ["DH_EVAL_0001"]


REPAIRED = {
    "turn ends 0.3 s late": (RTTM, turn(ONE, 1, 9.3, "A"), [(1, 10)], "up to 0.5 s beyond"),
    "turn after the end": (RTTM, GOOD + turn(ONE, 10.1, 0.2, "A"), [(1, 3)], "up to 0.5 s beyond"),
    "UEM ends 0.3 s late": (UEM, f"{ONE} 1 0 10.3\n", [(1, 6), (8, 9)], "up to 0.5 s beyond"),
    "byte-order mark": (RTTM, b"\xef\xbb\xbf" + GOOD.encode(), [(1, 3)], "has a byte-order mark"),
    "CRLF": (RTTM, GOOD.replace("\n", "\r\n"), [(1, 3)], "has CRLF line ends"),
    "Latin-1": (RTTM, GOOD.replace("A ", "Ren\xe9 ").encode("latin-1"), [(1, 3)], "as Latin-1"),
    "own turns overlap": (RTTM, GOOD + turn(ONE, 2, 3, "A"), [(1, 5)], "were merged"),
    "the same turn twice": (RTTM, GOOD * 2, [(1, 3)], "were merged"),
    "not sorted": (RTTM, turn(ONE, 5, 1, "A") + GOOD, [(1, 3), (5, 6)], None),
    "comments": (RTTM, f";; x\n\nSPKR-INFO {ONE} 1\n{GOOD}", [(1, 3)], None),
    "nine fields": (RTTM, GOOD.replace(" <NA>\n", "\n"), [(1, 3)], None),
    "nobody speaks": (RTTM, ";; nobody\n", [], None),
}


@pytest.mark.parametrize("case", REPAIRED)
def test_a_recording_is_kept_with_or_without_a_warning(tmp_path, case):
    name, content, speech, warning = REPAIRED[case]
    root = dihard(tmp_path / "corpus")
    spoil(root, name, content)
    report = prepare("dihard", root, tmp_path / "out")
    lines = list(report.repair_lines())
    assert not report.problems and len(lines) == (warning is not None)
    assert warning is None or (warning in lines[0] and name in lines[0])
    data = DataDir.read(tmp_path / "out/dev")
    assert timeline(data, ONE, "speech") == speech and timeline(data, ONE, "overlap") in (
        [],
        [(4.5, 5)],
    )
    assert data.uem[ONE] == [(0, 10)]


WHOLE_FILE = {
    "no table": (TBL, None, "tbl: cannot be read: No such file"),
    "a table without columns": (TBL, "name,core\n", "tbl:1: no column uri, in_core, domain"),
    "a row of nothing on disk": (
        TBL,
        table(f"{ONE}\tTrue\te\tc\tx\nDH_DEV_9\tFalse\te\tc\tx"),
        "DH_DEV_9",
    ),
    "a path in the table": (
        TBL,
        table(f"{ONE}\tTrue\te\tc\tx\n../x\tFalse\te\tc\tx"),
        "tbl:3: '../x' cannot",
    ),
    "an absolute path": (
        TBL,
        table(f"{ONE}\tTrue\te\tc\tx\n/etc/x\tFalse\te\tc\tx"),
        "tbl:3: '/etc/x' cannot",
    ),
    "neither dev nor eval": (
        "data/rttm/DH_TEST_1.rttm",
        GOOD,
        "'DH_TEST_1' is neither of the dev set",
    ),
    "a file name with a space": ("data/rttm/DH_DEV 7.rttm", GOOD, "data: 'DH_DEV 7' cannot name"),
}


@pytest.mark.parametrize("case", WHOLE_FILE)
def test_what_is_about_no_recording_leaves_them_all(tmp_path, case):
    name, content, message = WHOLE_FILE[case]
    root = dihard(tmp_path / "corpus")
    spoil(root, name, content)
    report = prepare("dihard", root, tmp_path / "out")
    assert any(message in str(problem) for problem in report.problems)
    assert DataDir.read(tmp_path / "out/dev").uris == [ONE, "DH_DEV_0002"]


def test_a_flac_file_that_is_cut_off(tmp_path):
    root = dihard(tmp_path / "corpus")
    whole = (root / FLAC).read_bytes()
    (root / FLAC).write_bytes(whole[: len(whole) // 2])
    report = prepare("dihard", root, tmp_path / "out")
    assert report.left_out == {ONE} and "copy it again" in str(report.problems[0])


def test_nothing_usable_is_an_error_and_writes_nothing(tmp_path):
    root = dihard(tmp_path / "corpus")
    for path in root.glob("data/uem/*"):
        path.unlink()
    with pytest.raises(CorpusError, match="nothing can be used; nothing was written"):
        prepare("dihard", root, tmp_path / "out")
    assert not (tmp_path / "out").exists()
