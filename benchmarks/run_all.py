"""Run all benchmarks, one after the other, and write what they found as one table.

    python benchmarks/run_all.py --datadir DIR [--python pyannote=ENV/bin/python]
    python benchmarks/run_all.py --quick          # less of each: under 5 minutes in all
    python benchmarks/run_all.py --only speed,nmf
    python benchmarks/run_all.py --only ''        # measure nothing, write the table again

A full run keeps each result in `benchmarks/results/NAME.json` and writes the table of all that are
kept between the markers of `benchmarks/README.md`, and their own tables into
`benchmarks/results.md`; `--quick` only prints. Exit codes: 0 all ran,
3 some did not, which are listed with the reason.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import click
from machine import one_line
from programs import ProgramError, run_program
from results import Result, number, table, to_markdown

from audioseg_xai.cli import PARTLY, command, log
from audioseg_xai.errors import UsageError
from audioseg_xai.files import write_text_atomic

FOLDER = Path(__file__).resolve().parent
KEPT = FOLDER / "results"
MARKERS = ("<!-- results: written by run_all.py -->", "<!-- end of results -->")
PEERS = "peers"


def find_benchmarks(folder: Path = FOLDER) -> tuple[dict[str, Path], dict[str, str]]:
    """Return the scripts that follow the contract of README.md, and why others do not, by name."""
    found, reasons = {}, {}
    for path in sorted(folder.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        if path.name == Path(__file__).name or "@click.command" not in text:
            continue
        if "publish(" in text:
            found[path.stem] = path
        else:
            reasons[path.stem] = f"writes no result: run python benchmarks/{path.name} by itself"
    return found | {PEERS: folder / PEERS / "run.py"}, reasons


def choose(only: str | None, found: Mapping[str, Path]) -> list[str]:
    """Return the names that `--only` lists, or all.

    Raises
    ------
    UsageError
        If there is no benchmark of a name.
    """
    names = list(found) if only is None else [name.strip() for name in only.split(",") if name]
    unknown = [name for name in names if name not in found]
    if unknown:
        raise UsageError(f"--only: {unknown[0]!r} is no benchmark: there are {', '.join(found)}")
    return names


def run_one(script: Path, arguments: Sequence[str]) -> Result:
    """Run a benchmark and return its result.

    Raises
    ------
    ProgramError
        If it fails, or writes no result.
    """
    with tempfile.TemporaryDirectory() as name:
        target = Path(name) / "result.json"
        run_program([sys.executable, script, "--json", target, *arguments], threads=True)
        if not target.exists():
            raise ProgramError(f"{script.name}: wrote no result with --json")
        return Result.read(target)


def run_selected(
    names: Iterable[str], scripts: Mapping[str, Path], arguments: Mapping[str, Sequence[str]]
) -> tuple[list[Result], dict[str, str]]:
    """Run benchmarks; return results, and why the others gave none."""
    results, reasons = [], {}
    for name in names:
        log.info("%s ...", name)
        try:
            results.append(run_one(scripts[name], arguments[name]))
        except ProgramError as error:
            reasons[name] = str(error)
    return results, reasons


def keep(results: Iterable[Result]) -> None:
    """Put results into the folder of those that the table is made of."""
    for result in results:
        result.write(KEPT / f"{result.name}.json")


def kept() -> list[Result]:
    """Return all results that are kept, in the order of their names."""
    return [Result.read(path) for path in sorted(KEPT.glob("*.json"))]


def summary(results: Sequence[Result], reasons: Mapping[str, str]) -> str:
    """Return one table of ratios and limits, and the machines that they were measured on."""
    machines = list(dict.fromkeys(one_line(result.machine) for result in results))
    rows = []
    for result in results:
        where = f"{result.date} [{machines.index(one_line(result.machine)) + 1}]"
        cells = [(what, number(value)) for what, value in result.ratios.items()]
        cells += [(f"limit: {limit.what}", limit.quotient) for limit in result.limits]
        rows += [
            {"benchmark": result.name, "what": what, "result": value, "measured": where}
            for what, value in cells
        ]
    rows += [
        {"benchmark": name, "what": "did not run", "result": reason, "measured": "-"}
        for name, reason in reasons.items()
    ]
    notes = [f"[{index}] {machine}" for index, machine in enumerate(machines, start=1)]
    return "\n\n".join([table(rows) if rows else "No results yet.", *notes])


def peers_table(results: Sequence[Result]) -> str:
    """Return F1 and speed of all detectors, the first table of `peers`; empty without it."""
    rows = [list(result.rows) for result in results if result.name == PEERS]
    if not rows:
        return ""
    first = [row for row in rows[0] if tuple(row) == tuple(rows[0][0])]
    return (
        f"\n\nDetectors on the same recordings, F1 in % and speed on one thread:\n\n{table(first)}"
    )


def details(results: Sequence[Result]) -> str:
    """Return the tables of each benchmark, under its name, day and machine."""
    return "\n\n".join(
        f"## {result.name}\n\n{result.date}, {one_line(result.machine)}\n\n{to_markdown(result)}"
        for result in results
    )


def between_markers(page: str, text: str) -> str:
    """Return a page with `text` in place of what is between its markers.

    Raises
    ------
    UsageError
        If a marker is not there.
    """
    before, begin, rest = page.partition(MARKERS[0])
    _, end, after = rest.partition(MARKERS[1])
    if not (begin and end):
        raise UsageError(f"README.md: the lines {MARKERS[0]} and {MARKERS[1]} are not there")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def peer_arguments(datadirs: Sequence[Path], pythons: Sequence[str]) -> list[str]:
    """Return what `peers/run.py` takes besides what every benchmark does."""
    folders = [part for folder in datadirs for part in ("--datadir", str(folder))]
    return folders + [part for text in pythons for part in ("--python", text)]


@command("benchmarks")
@click.option("--quick", is_flag=True, help="Measure less of each, and only print.")
@click.option("--only", metavar="NAME,...", help="Run these alone.")
@click.option(
    "--datadir", "datadirs", multiple=True, metavar="DIR", help="For peers: what to compare on.",
    type=click.Path(file_okay=False, path_type=Path),
)  # fmt: skip
@click.option("--python", "pythons", multiple=True, metavar="NAME=PATH", help="For peers.")
def main(
    quick: bool, only: str | None, datadirs: tuple[Path, ...], pythons: tuple[str, ...]
) -> None:
    """Run all benchmarks and write one table of ratios, machine and date."""
    scripts, others = find_benchmarks()
    names = choose(only, scripts)
    arguments = {name: ["--quick"] if quick else [] for name in names}
    reasons = others if only is None else {}
    if PEERS in names and not datadirs:
        names.remove(PEERS)
        reasons[PEERS] = "needs recordings with labels: say --datadir DIR"
    elif PEERS in names:
        arguments[PEERS] += peer_arguments(datadirs, pythons)
    results, failed = run_selected(names, scripts, arguments)
    reasons |= failed
    if not quick:
        keep(results)
        results = kept()
        page = (FOLDER / "README.md").read_text(encoding="utf-8")
        text = summary(results, reasons) + peers_table(results)
        write_text_atomic(FOLDER / "README.md", between_markers(page, text))
        write_text_atomic(
            FOLDER / "results.md", f"# Benchmarks, all tables\n\n{details(results)}\n"
        )
    print(f"{summary(results, reasons)}\n\n{details(results)}")
    if reasons:
        log.error("did not run: %s", ", ".join(reasons))
        sys.exit(PARTLY)


if __name__ == "__main__":
    main()
