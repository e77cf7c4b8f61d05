"""Tables of figures for people: on the terminal, and as Markdown."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Sheet:
    """A table.

    Attributes
    ----------
    caption : str
        What it shows.
    header : list of str
        Names of the columns.
    rows : list of list of str
        The cells.
    names : int
        How many columns hold names; the others hold figures.
    """

    caption: str
    header: list[str]
    rows: list[list[str]]
    names: int

    def markdown(self) -> str:
        """Return the caption and the table as Markdown."""
        rule = ["---"] * self.names + ["---:"] * (len(self.header) - self.names)
        lines = (" | ".join(map(_escaped, cells)) for cells in (self.header, rule, *self.rows))
        return f"{self.caption}\n\n" + "".join(f"| {line} |\n" for line in lines)


def markdown(tables: Iterable[Sheet]) -> str:
    """Return tables as Markdown, an empty line between them."""
    return "\n".join(table.markdown() for table in tables)


def print_sheets(tables: Iterable[Sheet]) -> None:
    """Print tables on stdout."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    # A pipe has no width: let the table be as wide as it must, so that lines stay lines.
    width = None if sys.stdout.isatty() else 500
    console = Console(width=width, markup=False, emoji=False, highlight=False)
    for sheet in tables:
        table = Table(box=box.SIMPLE)
        for number, name in enumerate(sheet.header):
            table.add_column(name, justify="left" if number < sheet.names else "right")
        for cells in sheet.rows:
            table.add_row(*cells)
        console.print(sheet.caption, soft_wrap=True)
        console.print(table)


def _escaped(cell: str) -> str:
    return cell.replace("|", r"\|")
