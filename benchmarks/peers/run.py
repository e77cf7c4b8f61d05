"""F1 and speed of detectors that others publish beside ours, on data directories of the user's.

    python benchmarks/peers/run.py --datadir DIR [--datadir DIR2] [--peers ours,silero]
        [--model DIR] [--python pyannote=ENV/bin/python] --markdown table.md --json table.json

Every detector hears the same 16 kHz mono WAV files, in a process of its own on one thread, with the
thresholds that its authors publish as defaults, and is scored by `audioseg_xai.scoring` (pooled,
frame-exact, no collar, pyannote.metrics). Classes that it does not decide are "-". A detector that
is not installed is listed with how to install it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from programs import ProgramError, Run, run_program
from results import Cell, Result, options, publish, to_markdown
from worker import load_adapter

from audioseg_xai.annotation import Segment
from audioseg_xai.audio import AudioReader, write_wav
from audioseg_xai.cli import PARTLY, command, log
from audioseg_xai.datadir import DataDir
from audioseg_xai.errors import UsageError
from audioseg_xai.files import write_text_atomic
from audioseg_xai.scoring import score

PEERS = Path(__file__).resolve().parent
ADAPTERS = PEERS / "adapters"
OURS = "ours"
ABSENT = "-"


@dataclass(frozen=True)
class Peer:
    """A detector: its adapter, the interpreter that has it, and what its `load` takes."""

    name: str
    adapter: Path
    python: str = sys.executable
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What a detector did.

    Attributes
    ----------
    segments : dict
        Lists of (onset, offset) by recording, then by class.
    version : str
        Of its distribution.
    load, detect : float
        CPU seconds of importing and loading, and of reading and deciding.
    program : Run
        What its process took, from start to end.
    problem : str
        Why there is nothing; empty when all is well.
    missing : bool
        Whether the problem is that it is not installed.
    """

    segments: Mapping[str, Mapping[str, list[tuple[float, float]]]] = field(default_factory=dict)
    version: str = ""
    load: float = 0.0
    detect: float = 0.0
    program: Run | None = None
    problem: str = ""
    missing: bool = False


def known_peers() -> list[str]:
    """Return the names of all adapters, ours first."""
    names = sorted(path.stem for path in ADAPTERS.glob("*.py"))
    return [OURS, *(name for name in names if name != OURS)]


def run_peer(peer: Peer, recordings: Mapping[str, str], rounds: int) -> Outcome:
    """Run a detector over recordings `rounds` times, a process each; the fastest counts."""
    outcomes = [_run_once(peer, recordings) for _ in range(rounds)]
    failed = [outcome for outcome in outcomes if outcome.problem]
    return failed[0] if failed else min(outcomes, key=lambda outcome: outcome.detect)


def _run_once(peer: Peer, recordings: Mapping[str, str]) -> Outcome:
    with tempfile.TemporaryDirectory() as name:
        request, target = Path(name) / "request.json", Path(name) / "answer.json"
        content = {"options": dict(peer.options), "recordings": dict(recordings)}
        request.write_text(json.dumps(content), encoding="utf-8")
        program = [peer.python, PEERS / "worker.py", peer.adapter, request, target]
        try:
            run = run_program(program)
        except ProgramError as error:
            return Outcome(problem=f"failed: {error}")
        found = json.loads(target.read_text(encoding="utf-8"))
    if "missing" in found:
        install = load_adapter(peer.adapter).INSTALL
        return Outcome(problem=f"not installed ({found['missing']}): {install}", missing=True)
    return Outcome(found["segments"], found["version"], **found["seconds"], program=run)


def prepare(datadirs: Mapping[str, DataDir], folder: Path) -> dict[str, str]:
    """Write every recording as 16 kHz mono WAV; return paths by `<name of the set>/<uri>`."""
    paths = {}
    for name, data in datadirs.items():
        for number, uri in enumerate(data.uris):
            path = folder / name / f"{number}.wav"
            with AudioReader(data.wav[uri]) as reader:
                write_wav(path, reader)
            paths[f"{name}/{uri}"] = str(path)
    return paths


def f1_cells(
    datadirs: Mapping[str, DataDir], outcome: Outcome, decided: Sequence[str]
) -> dict[str, Cell]:
    """Return F1 in % by `<set> <class>`, "-" where the detector does not decide the class."""
    cells: dict[str, Cell] = {}
    for name, data in datadirs.items():
        scored = [label for label in data.classes if label in decided and not outcome.problem]
        cells |= {f"{name} {label}": ABSENT for label in data.classes}
        if scored:
            hypothesis = {uri: _segments(outcome, f"{name}/{uri}", data, uri) for uri in data.uris}
            pooled = score(data.reference, hypothesis, data.uem, scored).pooled
            cells |= {f"{name} {label}": 100 * pooled[label].f1 for label in scored}
    return cells


def _segments(outcome: Outcome, key: str, data: DataDir, uri: str) -> list[Segment]:
    """Return what was found in a recording, cut at its end: some pad the last window."""
    end = data.duration[uri]
    return [
        Segment(max(0.0, onset), min(offset, end), label)
        for label, parts in outcome.segments[key].items()
        for onset, offset in parts
        if min(offset, end) > max(0.0, onset)
    ]


def speed_cells(outcome: Outcome, seconds: float) -> dict[str, Cell]:
    """Return how many seconds of audio a CPU second deals with, and what starting costs."""
    columns = ("deciding, x real time", "whole program, x", "loading, CPU s", "peak MB")
    if outcome.program is None:
        return dict.fromkeys(columns, ABSENT)
    run = outcome.program
    values = (seconds / outcome.detect, seconds / run.cpu, outcome.load, run.peak)
    return dict(zip(columns, values, strict=True))


def describe(peer: Peer, outcome: Outcome) -> dict[str, Cell]:
    """Return the row that says what a detector decides, how, and under which licence."""
    adapter = load_adapter(peer.adapter)
    state = f"{adapter.PACKAGE} {outcome.version}" if not outcome.problem else outcome.problem
    return {
        "system": peer.name, "what": state, "decides": ", ".join(adapter.CLASSES),
        "thresholds": adapter.DECIDES, "licence": adapter.LICENCE,
    }  # fmt: skip


def compare(datadirs: Mapping[str, DataDir], peers: Sequence[Peer], rounds: int) -> Result:
    """Run all detectors on all recordings, one after the other, and return tables and ratios."""
    seconds = sum(sum(data.duration.values()) for data in datadirs.values())
    outcomes: dict[str, Outcome] = {}
    with tempfile.TemporaryDirectory() as name:
        recordings = prepare(datadirs, Path(name))
        for peer in peers:
            log.info("%s ...", peer.name)
            outcomes[peer.name] = run_peer(peer, recordings, rounds)
    rows, ratios = [], {}
    for peer in peers:
        outcome, decided = outcomes[peer.name], load_adapter(peer.adapter).CLASSES
        cells = f1_cells(datadirs, outcome, decided) | speed_cells(outcome, seconds)
        rows.append({"system": peer.name} | cells)
        if (
            peer.name != OURS
            and OURS in outcomes
            and not (outcome.problem + outcomes[OURS].problem)
        ):
            ratio = outcome.detect / outcomes[OURS].detect
            ratios[f"CPU time of {peer.name} / ours, deciding"] = ratio
    described = [describe(peer, outcomes[peer.name]) for peer in peers]
    return Result("peers", [*rows, *described], ratios)


def select(names: str | None, pythons: Sequence[str], model: str | None) -> list[Peer]:
    """Return the detectors that the options name.

    Raises
    ------
    UsageError
        If a name is not that of an adapter, or an interpreter is given otherwise than NAME=PATH.
    """
    known = known_peers()
    wanted = [name.strip() for name in names.split(",")] if names else known
    interpreters = dict(_pair(text) for text in pythons)
    unknown = [name for name in (*wanted, *interpreters) if name not in known]
    if unknown:
        raise UsageError(f"{unknown[0]!r} is no detector: there are {', '.join(known)}")
    options = {OURS: {"model": model}} if model else {}
    return [
        Peer(
            name, ADAPTERS / f"{name}.py", interpreters.get(name, sys.executable),
            options.get(name, {}),
        )
        for name in wanted
    ]  # fmt: skip


def _pair(text: str) -> tuple[str, str]:
    name, separator, path = text.partition("=")
    if not (name and separator and path):
        raise UsageError(f"--python {text}: write NAME=PATH, such as pyannote=env/bin/python")
    return name, path


def read_datadirs(folders: Sequence[Path]) -> dict[str, DataDir]:
    """Return data directories by the name of their folder.

    Raises
    ------
    UsageError
        If two have the same name.
    """
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        raise UsageError("--datadir: two folders have the same name, by which the table tells them")
    datadirs = {name: DataDir.read(path) for name, path in zip(names, folders, strict=True)}
    for data in datadirs.values():
        data.validate()
    return datadirs


@command("peers")
@click.option(
    "--datadir", "folders", multiple=True, required=True, metavar="DIR", help="Data directory.",
    type=click.Path(file_okay=False, path_type=Path),
)  # fmt: skip
@click.option("--peers", metavar="NAME,...", help="Which detectors; else all, ours first.")
@click.option("--model", metavar="DIR", help="Our model; else the bundled one.")
@click.option(
    "--python", "pythons", multiple=True, metavar="NAME=PATH",
    help="Interpreter that has the libraries of a detector; else this one.",
)  # fmt: skip
@click.option("--rounds", default=2, type=click.IntRange(1), help="The fastest counts.")
@click.option("--markdown", type=Path, metavar="FILE", help="Write the tables here too.")
@options
def main(
    folders: tuple[Path, ...],
    peers: str | None,
    model: str | None,
    pythons: tuple[str, ...],
    rounds: int,
    markdown: Path | None,
    quick: bool,
    json_path: Path | None,
) -> None:
    """Compare detectors on data directories: F1 of each class, and speed on one thread."""
    chosen = select(peers, pythons, model)
    result = compare(read_datadirs(folders), chosen, 1 if quick else rounds)
    publish(result, json_path)
    if markdown is not None:
        write_text_atomic(markdown, to_markdown(result) + "\n")
    failed = [row["system"] for row in result.rows if str(row.get("what")).startswith("failed")]
    if failed:
        log.error("failed: %s", ", ".join(map(str, failed)))
        sys.exit(PARTLY)


if __name__ == "__main__":
    main()
