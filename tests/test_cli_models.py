"""`xai-segment models`, as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from dummies import save_student, student

from audioseg_xai import cli
from audioseg_xai.decode import ClassDecoding


@pytest.fixture
def model(tmp_path: Path) -> Path:
    rules = {"speech": ClassDecoding(onset=0.625), "music": ClassDecoding(min_gap=0.25)}
    return save_student(tmp_path / "model", decoding=rules)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.main, ["models", *arguments])


def test_it_says_what_a_model_is(model: Path) -> None:
    done = run(str(model))
    assert done.exit_code == 0, done.stderr
    rows = {words[0]: words[1:] for line in done.stdout.splitlines() if (words := line.split())}
    assert rows["kind"] == ["student"]
    assert rows["card"] == [str(model / "README.md")]
    assert int(rows["parameters"][0]) == sum(p.numel() for p in student().parameters())
    assert rows["dummy"] == ["f1"]
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["speech", "0.625", "0.5", "0", "0"] in lines
    assert ["music", "0.5", "0.5", "0", "0.25"] in lines


def test_json_is_for_programs(model: Path) -> None:
    described = json.loads(run(str(model), "--json").stdout)
    assert described["classes"] == ["speech", "music", "noise", "overlap"]
    assert set(described["decoding"]) == {"speech", "music"}
    assert described["metrics"]["dummy"]["music"] == {"f1": 0.5}


def test_a_missing_model_is_one_line(tmp_path: Path) -> None:
    done = run(str(tmp_path / "none"))
    assert (done.exit_code, len(done.stderr.splitlines())) == (1, 1)
    assert "a model directory holds config.json" in done.stderr


def test_a_damaged_model_is_one_line(model: Path) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    done = run(str(model))
    assert (done.exit_code, len(done.stderr.splitlines())) == (1, 1)
    assert "model.safetensors: cannot be read" in done.stderr
