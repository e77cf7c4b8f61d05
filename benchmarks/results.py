"""What a benchmark says, in one form: rows, ratios, and how far it is from what the machine allows.

Every script of this folder that `run_all.py` starts takes `--quick` and `--json FILE` (`options`),
and hands what it found to `publish`, which prints Markdown and writes the file:

    {"name": "speed",
     "rows": [{"program": "xai-segment explain", "hours": 1.0, "wall s": 10.2}, ...],
     "ratios": {"CPU time of silero-vad / ours": 6.1},
     "limits": [{"what": "matrix products", "reached": 21.0, "bound": 58.0, "unit": "GFLOP/s"}],
     "machine": {...}, "date": "2026-11-21"}

Rows are tables: rows that follow each other and have the same keys share one. Cells are text or
numbers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import click
from machine import describe_machine

from audioseg_xai.files import write_text_atomic

Cell = str | int | float
CommandT = TypeVar("CommandT", bound=Callable[..., Any])


@dataclass(frozen=True)
class Limit:
    """What a part reached, and what the machine allows at most.

    Attributes
    ----------
    what : str
        The part, and what bounds it.
    reached, bound : float
        In `unit`.
    unit : str
        A rate (more is better), such as GFLOP/s, GB/s or files/s.
    """

    what: str
    reached: float
    bound: float
    unit: str

    @property
    def quotient(self) -> str:
        """What was reached of what is allowed, and the share of it."""
        share = f"{100 * self.reached / self.bound:.0f} %"
        return f"{number(self.reached)} of {number(self.bound)} {self.unit}, {share}"


@dataclass(frozen=True)
class Result:
    """What a benchmark found.

    Attributes
    ----------
    name : str
        Of the script, without `.py`.
    rows : list of dict
        Cell by column, a dict a line.
    ratios : dict of str to float
        The few numbers to remember: what is divided by what, and the quotient.
    limits : list of Limit
        Empty where nothing physical bounds it.
    machine : dict of str to str
        What it ran on.
    date : str
        Day, ISO 8601, UTC.
    """

    name: str
    rows: Sequence[Mapping[str, Cell]]
    ratios: Mapping[str, float]
    limits: Sequence[Limit] = ()
    machine: Mapping[str, str] = field(default_factory=describe_machine)
    date: str = field(default_factory=lambda: datetime.now(UTC).date().isoformat())

    @classmethod
    def from_json(cls, text: str) -> Result:
        """Return what `to_json` gave."""
        content = json.loads(text)
        return cls(**content | {"limits": [Limit(**limit) for limit in content["limits"]]})

    @classmethod
    def read(cls, path: Path) -> Result:
        """Return what `write` wrote."""
        return cls.from_json(path.read_text(encoding="utf-8"))

    def to_json(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self), indent=2, default=float) + "\n"

    def write(self, path: Path) -> None:
        """Write it as JSON, whole or not at all."""
        write_text_atomic(path, self.to_json())


def options(command: CommandT) -> CommandT:
    """Add `--quick` and `--json` to a click command: arguments `quick` and `json_path`."""
    quick = click.option("--quick", is_flag=True, help="Measure less: at most half a minute.")
    path = click.option(
        "--json", "json_path", type=Path, metavar="FILE", help="Write the result here too."
    )
    return quick(path(command))


def publish(result: Result, json_path: Path | None = None) -> None:
    """Print a result as Markdown and, with `json_path`, write it to a file."""
    print(to_markdown(result))
    if json_path is not None:
        result.write(json_path)


def to_markdown(result: Result) -> str:
    """Return tables, ratios and limits of a result, without its name and machine."""
    parts = [table(list(rows)) for _, rows in groupby(result.rows, key=_columns)]
    listed = [f"- {what}: **{number(value)}**" for what, value in result.ratios.items()]
    listed += [f"- limit: {limit.what}: {limit.quotient}" for limit in result.limits]
    return "\n\n".join([*parts, "\n".join(listed)]).strip()


def _columns(row: Mapping[str, Cell]) -> tuple[str, ...]:
    return tuple(row)


def table(rows: Sequence[Mapping[str, Cell]]) -> str:
    """Return rows of the same columns as a Markdown table, numbers to the right."""
    columns = list(rows[0])
    right = [not isinstance(rows[0][column], str) for column in columns]
    lines = [columns, ["---:" if numeric else "---" for numeric in right]]
    lines += [[number(row[column]) for column in columns] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def number(value: Cell) -> str:
    """Return a cell as text, a number with three significant digits or all of its whole part."""
    if isinstance(value, str):
        return value.replace("|", "\\|")
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:#.3g}"
