"""`xai-segment probe`, as a user runs it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from audioseg_xai import cli
from audioseg_xai.explain import Explanation, Readout
from audioseg_xai.explanation_archive import write_explanations

K = 4
READOUT = Readout(("speech",), np.eye(5, K), np.ones((1, K)), np.zeros(1), np.arange(5) * 2000.0)
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> Run:
    """Ten recordings of 4 s: 'f' in the first half, 'm' in the second, told by component 3."""
    monkeypatch.chdir(tmp_path)
    lines, nothing = ["uri,onset,offset,label"], np.zeros((0, K))
    with write_explanations("x.h5", READOUT, {}) as writer:
        for n in range(10):
            frames = rng.random((200, K))
            frames[100:, 3] += 1
            with writer.recording(f"r{n}") as recording:
                recording.push(np.zeros((200, 1)), frames)
                found = Explanation(f"r{n}", 4.005, 200, 0.1, (), nothing, nothing, np.zeros(0))
                recording.finish(found)
            lines += [f"r{n},0,2,f", f"r{n},2,4,m"]
    Path("x.csv").write_text("\n".join(lines))
    rows = (line.split(",") for line in lines[1:])
    Path("x.rttm").write_text(
        "".join(f"SPEAKER {u} 1 {a}.0 2.0 <NA> <NA> {v} <NA> <NA>\n" for u, a, _, v in rows)
    )
    Path("six").write_text("".join(f"r{n}\n" for n in range(6)))
    Path("four").write_text("".join(f"r{n}\n" for n in range(6, 10)))

    def call(*options: str) -> Result:
        return CliRunner().invoke(cli.main, ["probe", "x.h5", *options])

    return call


def test_folds_tables_and_figure(run: Run) -> None:
    done = run(
        *("--labels", "x.csv", "--folds", "3", "--json", "new/p.json", "--markdown", "p.md"),
        *("--figure", "p.png"),
    )
    assert done.exit_code == 0, done.output
    found = json.loads(Path("new/p.json").read_text())
    assert found["labels"] == ["f", "m"]
    assert found["quality"] == {"accuracy": 1, "macro_f1": 1, "uar": 1}
    assert found["chance"]["uar"] == 0.5
    assert found["confusion"] == [[10, 0], [0, 10]]
    assert sorted(fold["test"] for fold in found["folds"]) == [6, 6, 8]
    assert all(fold["train"] + fold["test"] == 20 for fold in found["folds"])
    assert found["top"]["m"][0] == 3 == np.argmax(found["relevance"]["m"])
    assert found["centre_hz"] == [0, 2000, 4000, 6000]
    assert found["differences"]["m"][3] > 1 > -1 > found["differences"]["f"][3]
    assert found["provenance"]["config"]["folds"] == 3
    assert set(found["provenance"]["inputs"]) == {"x.h5", "x.csv"}
    text = Path("p.md").read_text()
    assert "| probe | 100.0 | 100.0 | 100.0 |\n" in text
    assert "| f | 10 | 0 |\n" in text and "| m | 3 | 6000 |" in text
    assert ["probe", "100.0", "100.0", "100.0"] in [s.split() for s in done.stdout.splitlines()]
    assert Path("p.png").read_bytes().startswith(b"\x89PNG")


def test_lists_and_labels_of_rttm(run: Run) -> None:
    done = run(
        *("--labels", "x.rttm", "--train-list", "six", "--test-list", "four", "--json", "p.json")
    )
    assert done.exit_code == 0, done.output
    found = json.loads(Path("p.json").read_text())
    assert found["folds"] == [{"train": 12, "test": 8, "accuracy": 1}]
    assert set(found["provenance"]["inputs"]) == {"x.h5", "x.rttm", "six", "four"}


def test_a_split_in_the_labels(run: Run) -> None:
    header, *lines = Path("x.csv").read_text().splitlines()
    sides = (f"{line},{'test' if line < 'r3' else 'train'}" for line in lines)
    Path("split.csv").write_text("\n".join([f"{header},split", *sides]))
    done = run("--labels", "split.csv")
    assert done.exit_code == 0, done.output
    assert "6 examples tested in one split" in done.stdout
    done = run("--labels", "split.csv", "--folds", "3")
    assert done.exit_code == 1
    assert "folds, and a split by lists or labels: ask for one of them" in done.stderr
    done = run("--labels", "split.csv", "--train-list", "six", "--test-list", "four")
    assert "the labels have a column split: leave it out, or the lists" in done.stderr


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--labels", "no.csv"], 1, "no.csv: cannot be read"),
        (["--labels", "six"], 1, "six:1: expected a line that begins with SPEAKER"),
        (["--labels", "x.csv", "--folds", "11"], 1, "there are 10: say --folds 10"),
        (["--labels", "x.csv", "--min-examples", "11"], 1, "too few of f (10), m (10)"),
        (["--labels", "x.csv", "--train-list", "six"], 1, "give both, or none"),
        (
            ["--labels", "x.csv", "--train-list", "six", "--test-list", "six"],
            1,
            "r0 is in the lists of both training and test",
        ),
        (["--labels", "x.csv", "--train-list", "x.rttm", "--test-list", "six"], 1, "x.rttm:1: exp"),
        (["--labels", "x.csv", "--json", "x.csv"], 2, "x.csv: would be overwritten"),
        (["--labels", "x.csv", "--markdown", "x.csv/y"], 2, "x.csv/y: cannot be written"),
        (["--labels", "x.csv", "--figure", "p.gif"], 2, "p.gif: must end in .png, .pdf or .svg"),
        (["no.h5", "--labels", "x.csv"], 1, "no.h5: no such file"),
    ],
)
def test_errors_are_one_line_and_a_code(
    run: Run, options: list[str], code: int, message: str
) -> None:
    done = run(*options)
    assert done.exit_code == code
    assert message in done.stderr.splitlines()[-1]
    assert done.stdout == ""
