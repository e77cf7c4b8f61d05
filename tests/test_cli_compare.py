"""`xai-segment compare`, as a user runs it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from audioseg_xai import cli

Run = Callable[..., Result]


def rttm(*segments: tuple[str, float, float]) -> str:
    return "".join(
        f"SPEAKER {uri} 1 {onset} {offset - onset} <NA> <NA> speech <NA> <NA>\n"
        for uri, onset, offset in segments
    )


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    # a and b have 10 s of speech each; one finds 10 and 8 s of it, two 6 and 4 s; 20 s are scored
    Path("ref.rttm").write_text(rttm(("a", 0, 10), ("b", 0, 10)))
    Path("one.rttm").write_text(rttm(("a", 0, 10), ("b", 2, 10)))
    Path("two.rttm").write_text(rttm(("a", 0, 6), ("b", 2, 6)))
    Path("part.rttm").write_text(rttm(("a", 0, 6)))
    Path("all.uem").write_text("a 1 0 20\nb 1 0 20\n")
    Path("groups").write_text("a first\nb second\na core\nb core\n")

    def call(*options: str, systems: tuple[str, ...] = ("one=one.rttm", "two=two.rttm")) -> Result:
        words = ["compare", "--reference", "ref.rttm", "--uem", "all.uem", "--classes", "speech"]
        words += [word for system in systems for word in ("--system", system)]
        return CliRunner().invoke(cli.main, [*words, *options])

    return call


def test_everything_at_once(run: Run) -> None:
    done = run(
        *("--groups", "groups", "--fidelity-to", "one", "--resamples", "50", "--seed", "3"),
        *("--json", "new/c.json", "--markdown", "c.md"),
    )
    assert done.exit_code == 0, done.output
    found = json.loads(Path("new/c.json").read_text())
    one, two = (found["systems"][name]["speech"] for name in ("one", "two"))
    assert (one["recall"], two["recall"]) == pytest.approx((0.9, 0.5))
    assert one["intervals"]["recall"] == pytest.approx([0.8, 1.0])
    (difference,) = found["differences"]
    assert difference["f1"] == pytest.approx(two["f1"] - one["f1"])
    assert difference["flips"] == 0
    assert difference["p_value"] == pytest.approx(2 / 51)
    assert list(found["groups"]) == ["first", "second", "core"]
    assert found["groups"]["second"]["systems"]["two"]["speech"]["recall"] == pytest.approx(0.4)
    assert found["groups"]["core"]["systems"]["two"] == found["systems"]["two"]
    # with one as the reference of two: 18 s, 10 s, 10 s correct; 8 of 40 s are decided apart
    faithful = found["fidelity"]["two"]["speech"]
    assert (faithful["recall"], faithful["agreement"]) == pytest.approx((10 / 18, 0.8))
    config = found["provenance"]["config"]
    assert (config["resamples"], config["seed"], config["confidence"]) == (50, 3, 95)
    assert set(found["provenance"]["inputs"]) == {
        *("ref.rttm", "all.uem", "groups", "one.rttm", "two.rttm")
    }
    assert "| all (2) | one | 94.7 [88.9, 100.0] |\n" in Path("c.md").read_text()
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["all", "(2)", "one", "94.7", "[88.9,", "100.0]"] in rows
    assert ["two", "speech", "71.4", "80.0"] in rows


def test_seeds_change_draws_and_nothing_else(run: Run) -> None:
    def compared(seed: str) -> dict[str, object]:
        run("--seed", seed, "--resamples", "7", "--json", "c.json")
        found: dict[str, object] = json.loads(Path("c.json").read_text())
        found.pop("provenance")
        return found

    assert compared("0") == compared("0")
    assert compared("0") != compared("1")


def test_one_system_has_intervals_and_no_difference(run: Run) -> None:
    done = run(systems=("one=one.rttm",))
    assert done.exit_code == 0, done.output
    assert "94.7 [88.9, 100.0]" in done.stdout
    assert "Differences" not in done.stdout


def test_a_missing_hypothesis_follows_the_rules_of_score(run: Run) -> None:
    systems = ("one=one.rttm", "part=part.rttm")
    done = run(systems=systems)
    assert done.exit_code == 1
    assert "error: part lacks b; if nothing was found there" in done.stderr
    done = run("--allow-missing", systems=systems)
    assert done.exit_code == 0
    assert "counted as empty, because part lacks b" in done.stderr


def test_without_uem_all_systems_are_scored_on_the_same_stretch(run: Run) -> None:
    Path("long.rttm").write_text(rttm(("a", 0, 30), ("b", 0, 10)))
    words = ["compare", "--reference", "ref.rttm", "--classes", "speech", "--json", "c.json"]
    words += ["--fidelity-to", "one", "--system", "one=one.rttm", "--system", "long=long.rttm"]
    done = CliRunner().invoke(cli.main, words)
    assert done.exit_code == 0 and "no UEM given" in done.stderr
    faithful = json.loads(Path("c.json").read_text())["fidelity"]["long"]["speech"]
    assert faithful["scored_seconds"] == 40  # a to 30 s, b to 10 s


@pytest.mark.parametrize(
    ("options", "systems", "code", "message"),
    [
        ([], ("one.rttm",), 2, "'one.rttm' is not NAME=RTTM"),
        ([], ("=one.rttm",), 2, "'=one.rttm' is not NAME=RTTM"),
        ([], ("x=one.rttm", "x=two.rttm"), 2, "two are called 'x'"),
        (["--baseline", "y"], ("x=one.rttm",), 2, "no system is called 'y': there are x"),
        (["--fidelity-to", "y"], ("x=one.rttm",), 2, "no system is called 'y': there are x"),
        (["--resamples", "0"], ("x=one.rttm",), 2, "0 is not in the range"),
        (["--markdown", "one.rttm"], ("x=one.rttm",), 2, "one.rttm: would be overwritten"),
        (["--json", "groups/x"], ("x=no.rttm",), 2, "groups/x: cannot be written"),
        ([], ("x=no.rttm",), 1, "no.rttm: cannot be read"),
        (["--groups", "odd"], ("x=one.rttm",), 1, "odd:2: group 'typo' has none of the scored"),
        (["--groups", "all.uem"], ("x=one.rttm",), 1, "all.uem:1: expected '<uri> <group>'"),
    ],
)
def test_errors_are_one_line_and_a_code(
    run: Run, options: list[str], systems: tuple[str, ...], code: int, message: str
) -> None:
    Path("odd").write_text("a good\nA typo\n")
    done = run("--json", "c.json", *options, systems=systems)
    assert done.exit_code == code
    assert message in done.stderr.splitlines()[-1]
    assert done.stdout == "" and not Path("c.json").exists()
