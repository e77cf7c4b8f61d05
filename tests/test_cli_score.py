"""`xai-segment score`, as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pyannote import core
from pyannote.database.util import load_rttm, load_uem
from pyannote.metrics.detection import DetectionPrecisionRecallFMeasure

PROGRAM = Path(__file__).parents[1] / "bin" / "score.py"
DEVELOPMENT = Path(__file__).parents[2] / "shared" / "data" / "dev" / "labels"

REFERENCE = """\
SPEAKER a 1 2.000 8.000 <NA> <NA> speech <NA> <NA>
SPEAKER a 1 15.000 4.000 <NA> <NA> speech <NA> <NA>
SPEAKER b[x] 1 0.000 10.000 <NA> <NA> music <NA> <NA>
"""
HYPOTHESIS = """\
SPEAKER a 1 0.000 4.000 <NA> <NA> speech 0.9 <NA>
SPEAKER a 1 7.000 5.000 <NA> <NA> speech 0.8 <NA>
SPEAKER a 1 20.000 3.000 <NA> <NA> speech 0.7 <NA>
SPEAKER b[x] 1 4.000 10.000 <NA> <NA> music 0.6 <NA>
"""
UEM = "a 1 0 25\nb[x] 1 0 20\n"


@pytest.fixture
def run(tmp_path):
    (tmp_path / "ref.rttm").write_text(REFERENCE)
    (tmp_path / "hyp.rttm").write_text(HYPOTHESIS)
    (tmp_path / "all.uem").write_text(UEM)

    def call(*options, **settings):
        command = [sys.executable, str(PROGRAM), "--reference", "ref.rttm", *options]
        root = str(PROGRAM.parents[1])
        return subprocess.run(
            command,
            cwd=tmp_path,
            env={"PYTHONPATH": root, "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            encoding="utf-8",
            check=False,
            **settings,
        )

    return call


def rows(text):
    return [line.split() for line in text.splitlines() if line.strip() and "─" not in line]


def test_table_counted_by_hand(run):
    # speech: 12 s, 12 s said, 5 s correct;  music: 10 s, 10 s said, 6 s correct
    done = run("--hypothesis", "hyp.rttm", "--uem", "all.uem", "--classes", "speech,music")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert rows(done.stdout)[1:] == [
        ["speech", "41.67", "41.67", "41.67", "12.00", "12.00"],
        ["music", "60.00", "60.00", "60.00", "10.00", "10.00"],
    ]


def test_per_file_json_and_stdin(run, tmp_path):
    done = run(
        *("--hypothesis", "-", "--uem", "all.uem", "--classes", "sp", "--per-file"),
        *("--json", "new/scores.json", "--collar", "2"),
        input=HYPOTHESIS,
    )
    assert done.returncode == 0, done.stderr
    # not scored in a: 1-3, 9-11, 14-16, 18-20. Left: reference 3-9, 16-18, hypothesis 0-1,
    # 3-4, 7-9, 11-12, 20-23, of which 3-4 and 7-9 are correct
    assert rows(done.stdout)[1:] == [
        ["a", "speech", "37.50", "37.50", "37.50", "8.00", "8.00"],
        ["b[x]", "speech", "100.00", "100.00", "100.00", "0.00", "0.00"],
        ["all", "speech", "37.50", "37.50", "37.50", "8.00", "8.00"],
    ]
    content = json.loads((tmp_path / "new/scores.json").read_text())
    assert content["pooled"] == {"speech": content["files"]["a"]["speech"]}
    assert content["pooled"]["speech"]["f1"] == pytest.approx(0.375)
    assert content["pooled"]["speech"]["correct_seconds"] == pytest.approx(3)
    assert content["provenance"]["config"] == {"collar": 2, "classes": ["speech"], "uem": True}
    assert sorted(content["provenance"]["inputs"]) == ["all.uem", "ref.rttm"]


def test_groups_are_scored_as_well(run, tmp_path):
    (tmp_path / "groups").write_text("b[x] news\na talk\na core\nb[x] core\nz talk\n")
    done = run(
        *("--hypothesis", "hyp.rttm", "--uem", "all.uem", "--classes", "speech,music"),
        *("--groups", "groups", "--json", "scores.json"),
    )
    assert done.returncode == 0, done.stderr
    assert "recordings that have a group, but are not scored: 1" in done.stderr
    assert [row[:2] for row in rows(done.stdout)[1:]] == [
        [name, label] for name in ("news", "talk", "core", "all") for label in ("speech", "music")
    ]
    content = json.loads((tmp_path / "scores.json").read_text())
    groups = content["groups"]
    assert groups["core"] == content["pooled"]
    assert groups["talk"] == content["files"]["a"]
    assert groups["news"]["music"]["correct_seconds"] == pytest.approx(6)
    assert "groups" in content["provenance"]["inputs"]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--hypothesis", "none.rttm"], 1, "none.rttm: cannot be read: No such file"),
        (["--hypothesis", "all.uem"], 1, "all.uem:1: expected a line that begins with SPEAKER"),
        (["--hypothesis", "part.rttm", "--uem", "all.uem"], 1, "the hypothesis lacks b[x]; "),
        (["--hypothesis", "hyp.rttm", "--collar", "-1"], 1, "collar -1.0 is not a duration"),
        (["--hypothesis", "hyp.rttm", "--classes", "voice"], 1, "unknown class 'voice'"),
        (["--hypothesis", "hyp.rttm", "--uem", "hyp.rttm"], 1, "hyp.rttm:1: expected 4 fields"),
        (["--hypothesis", "hyp.rttm", "--groups", "odd"], 1, "odd:2: group 'q' has none of the sc"),
        (["--hypothesis", "hyp.rttm", "--json", "hyp.rttm"], 2, "hyp.rttm: would be overwritten"),
        (["--hypothesis", "-", "--reference", "-"], 2, "only one of --reference and --hypothesis"),
    ],
)
def test_errors_are_one_line_and_a_code(run, tmp_path, options, code, message):
    (tmp_path / "part.rttm").write_text(HYPOTHESIS.splitlines()[0])
    (tmp_path / "odd").write_text("a talk\nA q\n")
    done = run(*options)
    assert done.returncode == code
    assert done.stdout == ""
    errors = done.stderr.splitlines()
    assert errors[-1].startswith("xai-segment score: error: ")
    assert message in errors[-1]
    assert "Traceback" not in done.stderr


def test_warnings_go_to_stderr(run, tmp_path):
    (tmp_path / "part.rttm").write_text(HYPOTHESIS.splitlines()[0])
    done = run("--hypothesis", "part.rttm", "--allow-missing")
    assert done.returncode == 0
    for part in (
        "no UEM given",
        "the hypothesis lacks b[x]",
        "the reference has no noise, overlap",
    ):
        assert part in done.stderr
    assert "warning" not in done.stdout


@pytest.mark.skipif(not DEVELOPMENT.is_dir(), reason="needs the development recordings' labels")
def test_equal_to_pyannote_on_real_labels(run, tmp_path):
    """The reference of each recording, half a second late, serves as its hypothesis."""
    reference, uem = load_rttm(DEVELOPMENT / "mix.rttm"), load_uem(DEVELOPMENT / "mix.uem")
    late = tmp_path / "late.rttm"
    with late.open("w") as out:
        for line in (DEVELOPMENT / "mix.rttm").read_text().splitlines():
            fields = line.split()
            print(*fields[:3], f"{float(fields[3]) + 0.5:.3f}", *fields[4:], file=out)
    hypothesis = load_rttm(late)
    done = run(
        *("--hypothesis", str(late), "--reference", str(DEVELOPMENT / "mix.rttm")),
        *("--uem", str(DEVELOPMENT / "mix.uem"), "--json", "scores.json"),
    )
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "scores.json").read_text())
    for label, found in content["pooled"].items():
        metric = DetectionPrecisionRecallFMeasure()
        empty = core.Annotation()
        for uri, regions in uem.items():
            annotations = (a.get(uri, empty).subset([label]) for a in (reference, hypothesis))
            metric(*annotations, uem=regions)
        assert found["f1"] == pytest.approx(abs(metric), abs=1e-12)
        assert 0.5 < found["f1"] < 1
