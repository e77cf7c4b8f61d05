"""`xai-segment explain` and `xai-segment prototypes`, as a user runs them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from dummies import write_sound

from audioseg_xai import cli
from audioseg_xai.annotation import read_rttm
from audioseg_xai.explanation_archive import ExplanationArchive, read_prototypes

Run = Callable[..., Result]


@pytest.fixture
def run(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    write_sound(tmp_path / "good.wav")

    def call(*arguments: str) -> Result:
        words = ["explain", "--model", str(model), "--device", "cpu", *arguments]
        return CliRunner().invoke(cli.main, words)

    return call


def test_everything_at_once(run: Run, tmp_path: Path, model: Path) -> None:
    done = run("good.wav", "--rttm", "o.rttm", "--hdf5", "o.h5", "--figure", "o.png")
    assert (done.exit_code, done.stdout) == (0, "")
    assert (tmp_path / "o.png").read_bytes().startswith(b"\x89PNG")
    written = read_rttm(tmp_path / "o.rttm")["good"]
    with ExplanationArchive(tmp_path / "o.h5") as archive:
        found = archive.explanation("good")
        in_archive = sorted((s.label, s.onset, round(s.offset, 3)) for s in found.segments)
        assert in_archive == sorted((s.label, s.onset, s.offset) for s in written)
        assert archive.probabilities("good").shape == (found.num_frames, 4) == (299, 4)
        assert archive.provenance["config"]["relevance_threshold"] == found.threshold == 0.1
        digest = archive.provenance["config"]["model_digest"]
    described = CliRunner().invoke(cli.main, ["models", str(model), "--json"])
    assert json.loads(described.stdout)["digest"] == digest


def test_what_the_archive_says_adds_up(run: Run, tmp_path: Path) -> None:
    run("good.wav", "--rttm", "o.rttm")
    with ExplanationArchive(tmp_path / "o.h5") as archive:
        found, readout = archive.explanation("good"), archive.readout
        activations = archive.activations("good").astype(float)
    for row, segment in enumerate(found.segments):
        c = readout.classes.index(segment.label)
        end = None if segment.offset == found.duration else round(segment.offset * 50)
        z = activations[round(segment.onset * 50) : end].mean(axis=0)
        np.testing.assert_allclose(found.relevance[row], z * readout.weights[c], atol=2e-2)
        total = found.relevance[row].sum() + readout.bias[c]
        assert total == pytest.approx(found.mean_logit[row], rel=1e-4)
        kept = np.where(
            found.relevance[row] > 0.1 * found.relevance[row].max(), found.relevance[row], 0
        )
        np.testing.assert_allclose(
            found.spectra[row], readout.dictionary @ kept, rtol=1e-4, atol=1e-5
        )


def test_the_table_is_on_stderr_and_says_where_outputs_are(run: Run) -> None:
    done = run("good.wav", "--hdf5", "o.h5")
    assert all(line.startswith("SPEAKER good ") for line in done.stdout.splitlines())
    rows = [line.split() for line in done.stderr.splitlines() if line.strip()]
    assert rows[0][:4] == ["recording", "class", "seconds", "share"]
    assert [row[-2] for row in rows[2:6] if row[-1] == "kHz"]
    assert ["explanation:", "o.h5"] in rows
    seconds = {row[row[0] == "good"]: float(row[(row[0] == "good") + 1]) for row in rows[2:6]}
    music = [line.split() for line in done.stdout.splitlines() if " music " in line]
    assert seconds["music"] == pytest.approx(sum(float(m[4]) for m in music), abs=0.051)


def test_tau_selects_less(run: Run, tmp_path: Path) -> None:
    run("good.wav", "--hdf5", "all.h5", "--tau", "0")
    run("good.wav", "--hdf5", "top.h5", "--tau", "0.99", "--compress")
    with ExplanationArchive("all.h5") as every, ExplanationArchive("top.h5") as top:
        low, high = every.explanation("good"), top.explanation("good")
    assert (low.threshold, high.threshold) == (0, 0.99)
    assert low.spectra.sum() > 1.1 * high.spectra.sum()
    np.testing.assert_array_equal(low.relevance, high.relevance)


def test_a_figure_a_recording(run: Run, tmp_path: Path) -> None:
    write_sound(tmp_path / "b.wav", 3)
    done = run("good.wav", "b.wav", "--figure", "figures/{uri}.svg")
    assert done.exit_code == 0
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"good.svg", "b.svg"}


def test_a_bad_recording_leaves_nothing_and_the_others_are_done(run: Run, tmp_path: Path) -> None:
    bad = write_sound(tmp_path / "bad.wav", 5)
    bad.write_bytes(bad.read_bytes()[:50_000])
    done = run("bad.wav", "good.wav", "--rttm", "o.rttm", "--figure", "{uri}.png", "--hdf5", "o.h5")
    assert done.exit_code == 3
    assert "bad.wav: ends after" in done.stderr
    assert list(read_rttm(tmp_path / "o.rttm")) == ["good"]
    assert {path.name for path in tmp_path.glob("*.png")} == {"good.png"}
    with ExplanationArchive(tmp_path / "o.h5") as archive:
        assert archive.uris == ["good"]


def test_nothing_is_written_when_all_fail(run: Run, tmp_path: Path) -> None:
    (tmp_path / "o.h5").write_text("from before")
    done = run("missing.wav", "--rttm", "o.rttm", "--hdf5", "o.h5")
    assert (done.exit_code, len(done.stderr.splitlines())) == (1, 1)
    assert (tmp_path / "o.h5").read_text() == "from before"
    assert {path.name for path in tmp_path.iterdir()} == {"o.h5", "good.wav"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("good.wav",), "nowhere to put the explanation: say --hdf5 FILE"),
        (("good.wav", "--figure", "x.gif"), "must end in .png, .pdf or .svg"),
        (("good.wav", "b.wav", "--figure", "x.png"), "put {uri} into the name"),
        (("good.wav", "--hdf5", "x", "--rttm", "x"), "x: would be overwritten"),
    ],
)
def test_usage_errors(run: Run, arguments: tuple[str, ...], message: str) -> None:
    done = run(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert message in line


def test_prototypes_are_means_over_archives(run: Run, tmp_path: Path) -> None:
    write_sound(tmp_path / "b.wav", 9, seed=3)
    run("good.wav", "--hdf5", "1.h5")
    run("b.wav", "--hdf5", "2.h5")
    words = ["prototypes", "1.h5", "2.h5", "--output", "p.h5", "--figure", "p.png"]
    done = CliRunner().invoke(cli.main, words)
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "p.png").exists()
    readout, made = read_prototypes(tmp_path / "p.h5")
    rows = []
    for name in ("1.h5", "2.h5"):
        with ExplanationArchive(name) as archive:
            for item in archive:
                labels = [segment.label for segment in item.segments]
                rows += [item.relevance[i] for i, label in enumerate(labels) if label == "noise"]
    c = readout.classes.index("noise")
    assert made.counts[c] == len(rows) > 1
    np.testing.assert_allclose(made.relevance[c], np.mean(rows, axis=0), rtol=1e-5)
    np.testing.assert_allclose(made.spectra[c], readout.dictionary @ made.relevance[c], rtol=1e-5)


def test_prototypes_of_a_missing_archive(run: Run) -> None:
    done = CliRunner().invoke(cli.main, ["prototypes", "no.h5", "--output", "p.h5"])
    assert done.exit_code == 1
    assert "no.h5: no such file" in done.stderr
