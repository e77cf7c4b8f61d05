"""The plan for an archive on a cluster: bounds, simulation, and what is counted."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

from cluster import Cluster, Work, bottleneck, bounds, simulate
from programs import run_program
from results import Result
from scale import quotients
from scale_plan import Costs, plan_page, plan_rows, works

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
IDEAL = Cluster(nodes=2, cores=2, read=1e9, write=1e9, opens=1e12, start=0, spread=0, failures=0)
WORK = Work(
    hours=1000, recording=0.5, cpu=10, startup=0, read=60, written=100, startup_opens=1500,
    recording_opens=2,
)  # fmt: skip
COSTS = Costs(
    decoding={"flac, 16 kHz mono": 0.5, "mp3, 44.1 kHz stereo": 3.0},
    computing={"spectrogram and network": 4.0},
    programs={"segment": 5.0, "explain": 6.0, "explain --compress": 9.0},
    feature_cpu=1.0,
    start=1.0,
    audio_mb={"flac, 16 kHz mono": 60.0, "mp3, 44.1 kHz stereo": 30.0},
    stored_mb={
        "RTTM": 0.0, "explanation archive": 100.0, "explanation archive, --compress": 20.0
    },
    start_opens=1500,
    recording_opens=1,
    calls={"segment": {"reads": 10, "writes": 0}, "explain": {"reads": 10, "writes": 10}},
    segments=500,
    operations=200.0,
)  # fmt: skip


def test_bounds_counted_by_hand():
    cluster = replace(IDEAL, read=2.0, write=0.5, opens=100.0, start=1.0)
    assert bounds(cluster, replace(WORK, startup=4.0), shards=10) == {
        "processors": (1000 * 10 + 10 * 5) / 4,
        "reading": 30.0,
        "writing": 200.0,
        "opening files": (2 * 2000 + 1500 * 10) / 100,
    }


def test_the_environment_on_the_nodes_saves_the_opens_of_starting():
    cluster = replace(IDEAL, opens=100.0, local_environment=True)
    assert bounds(cluster, WORK, shards=10)["opening files"] == 2 * 2000 / 100


def test_one_core_needs_the_sum_of_all_work():
    outcome = simulate(replace(IDEAL, nodes=1, cores=1), WORK, shards=20)
    assert outcome.wall == pytest.approx(10_000)
    assert outcome.idle == pytest.approx(0)
    assert (outcome.lost, outcome.requeued) == (0, 0)


def test_fewer_jobs_than_cores_leave_cores_idle():
    outcome = simulate(replace(IDEAL, nodes=8), WORK, shards=4)
    assert outcome.idle >= 0.75


def test_a_slow_file_system_stretches_the_run():
    slow = replace(IDEAL, write=0.01)
    assert bottleneck(slow, WORK, 400) == "writing"
    assert simulate(slow, WORK, 400).wall >= 1000 * 100 / 1e3 / 0.01


@settings(max_examples=30, deadline=None)
@given(
    nodes=st.integers(1, 5), cores=st.integers(1, 4), shards=st.integers(1, 60),
    write=st.floats(0.001, 10), opens=st.floats(1, 1e5), seed=st.integers(0, 9),
)  # fmt: skip
def test_no_run_beats_its_bounds(nodes, cores, shards, write, opens, seed):
    cluster = replace(IDEAL, nodes=nodes, cores=cores, write=write, opens=opens)
    outcome = simulate(cluster, WORK, shards, seed)
    assert outcome.wall >= 0.999 * max(bounds(cluster, WORK, shards).values())
    assert 0 <= outcome.idle < 1


def test_failures_cost_more_the_larger_the_jobs():
    frail = replace(IDEAL, failures=24.0, repair=60.0, requeue=10.0)
    work = replace(WORK, hours=10_000)
    large, small = simulate(frail, work, shards=40), simulate(frail, work, shards=4000)
    assert large.requeued > 0 and small.requeued > 0
    assert large.lost > 2 * small.lost > 0
    assert small.wall > simulate(IDEAL, work, shards=4000).wall


def test_plan_names_the_first_bottleneck():
    cluster = Cluster(nodes=64, cores=32, read=20, write=10, opens=1e9)
    plans = works(COSTS, 100_000)
    rows = {row["what"]: row for row in plan_rows(plans, cluster)}
    assert rows["explain, flac 16 kHz"]["first bottleneck"] == "writing"
    assert rows["explain, flac 16 kHz"]["writing, s"] == pytest.approx(1000)
    assert rows["segment, mp3 44.1 kHz stereo"]["first bottleneck"] == "processors"
    assert plans["segment, mp3 44.1 kHz stereo"].cpu == 5.0 + 3.0 - 0.5


def test_page_tells_assumptions_measurements_and_remedies():
    measured = Result("scale", COSTS.rows(), {"peak memory": 1.05}, [COSTS.limit(100.0)], {})
    page = plan_page(measured, COSTS, Cluster(nodes=2, cores=2, opens=10), 100.0)
    assert "2 nodes of 2 cores" in page
    assert "50.0 of 100 GFLOP/s, 50 %" in page
    assert "- peak memory: **1.05**" in page
    assert "- **opening files**: Starting Python opens many small files." in page


def test_quotients_compare_the_last_with_the_first():
    rows = [{"p": "a", "s": 2.0}, {"p": "b", "s": 5}, {"p": "a", "s": 3.0}, {"p": "b", "s": 5}]
    assert quotients(rows, "p", "s") == {"a": 1.5, "b": 1.0}


def observed(folder, number):
    """Return the counts of a module that opens a file `number` times, and exits with 0."""
    module = "import sys\nfor _ in range(int(sys.argv[1])):\n    open(__file__, 'rb').read(1)\n"
    (folder / "opens.py").write_text(module + "sys.exit(0)\n")
    counts = folder / "counts.json"
    code = f"import runpy, sys; sys.path.insert(0, {str(folder)!r}); sys.argv = sys.argv[1:]; "
    code += "runpy.run_path(sys.argv[0], run_name='__main__')"
    program = [sys.executable, "-B", "-c", code, BENCHMARKS / "observe.py", counts, "opens"]
    run_program([*program, str(number)])
    return json.loads(counts.read_text())


def test_observe_counts_opens_and_reads(tmp_path):
    few, many = observed(tmp_path, 3), observed(tmp_path, 53)
    assert many["opens"] - few["opens"] == 50
    assert many["reads"] - few["reads"] >= 50
