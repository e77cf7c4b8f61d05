"""`xai-segment report`, and `explain --report`, as a user runs them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from dummies import save_student, sound, write_sound
from report_dummies import SEGMENTS, write_archive

from audioseg_xai import cli
from audioseg_xai.annotation import Segment, write_rttm
from audioseg_xai.audio import write_wav

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    write_archive(tmp_path / "x.h5", ["rec", "b"])
    write_wav(tmp_path / "rec.wav", sound(6.0))

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(cli.main, ["report", *arguments])

    return call


def data(path: str) -> dict[str, Any]:
    found = re.search(
        r'<script type="application/json" id="report-data">(.*?)</script>', Path(path).read_text()
    )
    assert found is not None
    content: dict[str, Any] = json.loads(found[1])
    return content


def test_a_page_a_recording(run: Run) -> None:
    done = run("x.h5", "--output", "pages/{uri}.html")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.splitlines() == ["report: pages/b.html", "report: pages/rec.html"]
    report = data("pages/rec.html")
    assert (report["uri"], report["duration"]) == ("rec", 6.0)
    assert report["segments"]["label"] == [segment.label for segment in SEGMENTS]
    assert report["spectrogram"]["kind"] == "reconstruction"
    assert report["media"] == {"kind": "none", "link": None}
    assert report["prototypes"]["counts"] == [4, 2, 2, 0]
    assert report["prototypes"]["source"] == "2 recordings"


def test_with_sound_and_others(run: Run, tmp_path: Path) -> None:
    reference = [Segment(0.5, 2.0, "speech"), Segment(2.5, 3.0, "speech"), Segment(1, 5, "music")]
    write_rttm({"rec": reference}, tmp_path / "ref.rttm")
    write_rttm({"rec": list(SEGMENTS)}, tmp_path / "same.rttm")
    done = run(
        "x.h5", "rec.wav", "--uri", "rec", "--output", "rec.html", "--reference", "ref.rttm",
        "--hypothesis", "a copy=same.rttm", "--worst", "worst.txt",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    report = data("rec.html")
    assert report["spectrogram"]["kind"] == "sound"
    assert [lane["name"] for lane in report["lanes"]] == ["reference", "a copy"]
    assert report["lanes"][0]["classes"] == ["speech", "music"]
    (error,) = report["differing"]
    assert (error["onset"], error["offset"], error["what"]) == (3.0, 3.5, "false alarm")
    worst = Path("worst.txt").read_text()
    assert worst == "3.000000\t3.500000\tspeech: false alarm (reference)\n"
    assert (
        len(re.findall(r'id="audio-data">[A-Za-z0-9+/]{1000}', Path("rec.html").read_text())) == 1
    )


def test_without_a_reference_the_worst_is_the_least_certain(run: Run) -> None:
    run("x.h5", "--uri", "rec", "--output", "rec.html", "--worst", "worst.txt")
    lines = Path("worst.txt").read_text().splitlines()
    # Music lies 0.1 above its threshold, 0.5, from 1 to 5 s, and 0.3 below the other before and
    # after: on average 0.2, 0.1 and 0.2 in stretches of 2 s. Nothing else is nearer.
    assert lines[0] == "0.000000\t6.000000\tmusic: as near as 0.10 to the threshold"


def test_a_link_leads_from_the_page_to_the_sound(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a b#").mkdir()
    (tmp_path / "rec.wav").rename(tmp_path / "a b#" / "r%c.wav")
    done = run("x.h5", "a b#/r%c.wav", "--uri", "b", "--output", "p/b.html", "--media", "link")
    assert done.exit_code == 0, done.stderr
    assert data("p/b.html")["media"] == {"kind": "link", "link": "../a%20b%23/r%25c.wav"}


def test_a_recording_without_its_audio_fails_alone(run: Run, tmp_path: Path) -> None:
    write_wav(tmp_path / "unrelated.wav", np.zeros(800))
    done = run("x.h5", "rec.wav", "unrelated.wav", "--output", "{uri}.html")
    assert done.exit_code == 3
    assert "b: its audio is not among the files given" in done.stderr
    assert {path.name for path in tmp_path.glob("*.html")} == {"rec.html"}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("no.h5", "--output", "x.html"), 1, "no.h5: no such file"),
        (("x.h5", "--output", "x.html"), 2, "2 recordings need as many files"),
        (("x.h5", "--output", "{uri}.pdf"), 2, "must end in .html or .htm"),
        (("x.h5", "--output", "{uri}.html", "--uri", "c"), 1, "no recording 'c'; it has b, rec"),
        (("x.h5", "--output", "{uri}.html", "--media", "link"), 2, "name the AUDIO to link to"),
        (("x.h5", "zz.wav", "--output", "{uri}.html"), 2, "zz.wav: is none of the explained"),
        (("x.h5", "-", "--output", "{uri}.html"), 2, "standard input: is gone"),
        (("x.h5", "--output", "{uri}.html", "--reference", "x.h5"), 1, "x.h5: not UTF-8 text"),
        (("x.h5", "--output", "{uri}.html", "--classes", "music"), 2, "say what to compare with"),
        (("x.h5", "--output", "{uri}.html", "--hypothesis", "a"), 2, "'a' is not NAME=RTTM"),
    ],
)
def test_what_is_wrong_is_one_line(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    done = run(*arguments)
    assert done.exit_code == code
    assert message in done.stderr.splitlines()[-1]
    assert not list(tmp_path.glob("*.html"))


def test_an_archive_that_does_not_know_its_thresholds(run: Run, tmp_path: Path) -> None:
    write_archive(tmp_path / "y.h5", provenance={"tool": "another"})
    done = run("y.h5", "--output", "x.html")
    assert done.exit_code == 1
    assert "y.h5: does not say with which thresholds it was made" in done.stderr


def test_explain_makes_the_page_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = save_student(tmp_path / "model")
    write_sound(tmp_path / "good.wav")
    words = ["explain", "--model", str(model), "--device", "cpu", "good.wav", "--report", "o.html"]
    done = CliRunner().invoke(cli.main, words)
    assert done.exit_code == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"model", "good.wav", "o.html"}
    report = data("o.html")
    assert len(report["segments"]["label"]) == len(done.stdout.splitlines()) > 0
    assert report["spectrogram"]["kind"] == "sound"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-", "--report", "o.html"), "--report: standard input is gone once it was read"),
        (("x.wav", "--hdf5", "x.h5", "--media", "none"), "--media: is about the page"),
        (("x.wav", "--report", "o.pdf"), "--report o.pdf: must end in .html or .htm"),
    ],
)
def test_explain_refuses_pages_that_cannot_be(arguments: tuple[str, ...], message: str) -> None:
    refused = CliRunner().invoke(cli.main, ["explain", *arguments])
    assert refused.exit_code == 2
    assert message in refused.stderr
