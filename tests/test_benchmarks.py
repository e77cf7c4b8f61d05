"""What the benchmarks have in common: results, programs, and the command that runs them all."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

import run_all
from machine import describe_machine, one_line
from programs import ProgramError, run_program
from results import Limit, Result, number, table, to_markdown

from audioseg_xai.errors import UsageError

MACHINE = {"processor": "Abacus", "cores": "2", "memory": "1 GiB"}


def result(name="speed", **changes):
    given = {"rows": [{"program": "ours", "wall s": 1.25}], "ratios": {"theirs / ours": 2.0}}
    given |= {"machine": MACHINE, "date": "2026-01-02"}
    return Result(name, **given | changes)


def test_table_puts_numbers_to_the_right():
    rows = [{"program": "a|b", "hours": 1, "MB": 409.7}, {"program": "c", "hours": 10, "MB": "-"}]
    assert table(rows).splitlines() == [
        "| program | hours | MB |",
        "| --- | ---: | ---: |",
        "| a\\|b | 1 | 410 |",
        "| c | 10 | - |",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0123456, "0.0123"),
        (90.0, "90.0"),
        (99.96, "100."),
        (1234.5, "1234"),
        (7, "7"),
        ("x", "x"),
    ],
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


def test_rows_of_other_columns_start_another_table():
    rows = [{"a": 1}, {"a": 2}, {"b": 3}]
    text = to_markdown(result(rows=rows, ratios={}))
    assert [block.splitlines()[0] for block in text.split("\n\n")] == ["| a |", "| b |"]
    assert text.count("---:") == 2


def test_markdown_says_how_far_from_the_limit():
    limit = Limit("network", 25.0, 100.0, "GFLOP/s")
    text = to_markdown(result(limits=[limit]))
    assert "- theirs / ours: **2.00**" in text
    assert "- limit: network: 25.0 of 100 GFLOP/s, 25 %" in text


CELLS = st.one_of(st.text(max_size=5), st.integers(-9, 9), st.floats(-1e6, 1e6))


@given(
    rows=st.lists(st.dictionaries(st.text(max_size=5), CELLS, min_size=1, max_size=3), max_size=3),
    ratios=st.dictionaries(st.text(max_size=5), st.floats(0, 10), max_size=2),
)
def test_a_result_comes_back_as_it_was_written(rows, ratios):
    written = result(rows=rows, ratios=ratios, limits=[Limit("w", 1.0, 2.0, "GB/s")])
    assert Result.from_json(written.to_json()) == written


def test_numbers_of_numpy_can_be_written(tmp_path):
    result(ratios={"x": np.float32(0.5)}).write(tmp_path / "x.json")
    assert json.loads((tmp_path / "x.json").read_text())["ratios"] == {"x": 0.5}


def test_machine_in_one_line():
    assert one_line(MACHINE) == "Abacus, 2 cores, 1 GiB"
    found = describe_machine()
    assert int(found["cores"]) >= 1 and "numpy" in found["versions"]


# --- programs -------------------------------------------------------------------------------------


def test_program_tells_output_and_time():
    run = run_program([sys.executable, "-c", "print(sum(range(10**6)))"])
    assert run.output == "499999500000\n"
    assert run.wall > 0 and run.cpu > 0


def test_peak_memory_is_that_of_the_program_and_not_ours():
    held = np.ones(30_000_000)  # 240 MB
    assert run_program([sys.executable, "-S", "-c", "pass"]).peak < 100
    large = run_program([sys.executable, "-S", "-c", "held = b'x' * 150_000_000"])
    assert 150 < large.peak < held.nbytes / 1e6


def test_failed_program_says_the_last_line():
    program = [sys.executable, "-c", "import sys; sys.exit('no model here')"]
    with pytest.raises(ProgramError, match="exit code 1: no model here"):
        run_program(program)


def test_absent_program():
    with pytest.raises(ProgramError, match="/no/such: no such program"):
        run_program(["/no/such"])


def test_program_runs_on_one_thread_unless_told(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    program = [sys.executable, "-c", "import os; print(os.environ['OMP_NUM_THREADS'])"]
    assert run_program(program).output == "1\n"
    assert run_program(program, threads=True).output == "7\n"


# --- all of them ----------------------------------------------------------------------------------

SCRIPT = """
import json, sys
path = sys.argv[sys.argv.index("--json") + 1]
content = {"name": "fake", "rows": [], "ratios": {"x": 3.0}, "limits": [], "machine": {},
           "date": "2026-01-02"}
open(path, "w").write(json.dumps(content))
"""


def script(folder, name, text):
    path = folder / f"{name}.py"
    path.write_text(text)
    return path


def test_finds_what_follows_the_contract(tmp_path):
    found, _ = run_all.find_benchmarks()
    assert {"nmf", "report", "upstream", "scale", "peers"} <= set(found)
    assert not {"run_all", "results", "machine", "programs"} & set(found)
    script(tmp_path, "good", "@click.command()\ndef main(): publish(x)")
    script(tmp_path, "old", "@click.command()\ndef main(): print(x)")
    script(tmp_path, "library", "def publish(x): ...")
    found, reasons = run_all.find_benchmarks(tmp_path)
    assert set(found) == {"good", "peers"}
    assert reasons == {"old": "writes no result: run python benchmarks/old.py by itself"}


def test_runs_what_works_and_says_why_the_rest_does_not(tmp_path):
    scripts = {
        "good": script(tmp_path, "good", SCRIPT),
        "bad": script(tmp_path, "bad", "import sys; sys.exit('pip install abacus')"),
        "mute": script(tmp_path, "mute", ""),
    }
    results, reasons = run_all.run_selected(scripts, scripts, {name: [] for name in scripts})
    assert [found.ratios for found in results] == [{"x": 3.0}]
    assert "pip install abacus" in reasons["bad"]
    assert "wrote no result" in reasons["mute"]


def test_summary_is_one_table_with_machines_and_reasons():
    other = result("nmf", machine=MACHINE | {"cores": "4"}, limits=[Limit("w", 1, 2, "GB/s")])
    text = run_all.summary([result(), other], {"peers": "needs recordings"})
    assert text.splitlines()[2:6] == [
        "| speed | theirs / ours | 2.00 | 2026-01-02 [1] |",
        "| nmf | theirs / ours | 2.00 | 2026-01-02 [2] |",
        "| nmf | limit: w | 1 of 2 GB/s, 50 % | 2026-01-02 [2] |",
        "| peers | did not run | needs recordings | - |",
    ]
    assert text.endswith("[1] Abacus, 2 cores, 1 GiB\n\n[2] Abacus, 4 cores, 1 GiB")


def test_table_of_detectors_is_the_first_of_peers():
    rows = [
        {"system": "ours", "F1": 90.0},
        {"system": "b", "F1": "-"},
        {"system": "b", "what": "c"},
    ]
    text = run_all.peers_table([result(), result("peers", rows=rows)])
    assert text.splitlines()[-4:] == [
        "| system | F1 |",
        "| --- | ---: |",
        "| ours | 90.0 |",
        "| b | - |",
    ]
    assert run_all.peers_table([result()]) == ""


def test_page_keeps_what_is_around_the_markers():
    begin, end = run_all.MARKERS
    page = f"# Title\n{begin}\nold\n{end}\nrest\n"
    new = run_all.between_markers(page, "new")
    assert new == f"# Title\n{begin}\n\nnew\n\n{end}\nrest\n"
    assert run_all.between_markers(new, "new") == new
    with pytest.raises(UsageError, match="are not there"):
        run_all.between_markers("# Title\n", "new")


def test_only_refuses_what_is_no_benchmark():
    assert run_all.choose("b, a", {"a": Path(), "b": Path()}) == ["b", "a"]
    assert run_all.choose("", {"a": Path()}) == []
    assert run_all.choose(None, {"a": Path()}) == ["a"]
    with pytest.raises(UsageError, match="'c' is no benchmark: there are a"):
        run_all.choose("c", {"a": Path()})


def test_kept_results_are_read_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(run_all, "KEPT", tmp_path)
    run_all.keep([result("b"), result("a"), result("b", ratios={"new": 1.0})])
    assert [(found.name, found.ratios) for found in run_all.kept()] == [
        ("a", {"theirs / ours": 2.0}),
        ("b", {"new": 1.0}),
    ]
