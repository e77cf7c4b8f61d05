"""The figures of a study as tables, for people."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

_COLUMNS = {
    "p - q": ("drop", "{:.3f}"),
    "x random": ("ratio", "{:.1f}"),
    "fidelity": ("fidelity", "{:.2f}"),
    "AI": ("average_increase", "{:.1f}"),
    "AD": ("average_drop", "{:.1f}"),
    "AG": ("average_gain", "{:.1f}"),
    "deletion": ("deletion", "{:.3f}"),
    "insertion": ("insertion", "{:.3f}"),
    "Gini": ("gini", "{:.2f}"),
    "entropy": ("complexity", "{:.1f}"),
    "CPU s": ("seconds", "{:.4f}"),
}


def rows(figures: dict[str, Any]) -> Iterator[list[str]]:
    """Yield the cells of a row for each class and method; what was not measured is empty."""
    for label, methods in figures["methods"].items():
        for method, values in methods.items():
            cells = [form.format(values[key]) for key, form in _COLUMNS.values()]
            unknown = [values[key] != values[key] for key, _ in _COLUMNS.values()]
            timed = values["seconds"] > 0
            blank = [
                gone or (key == "seconds" and not timed)
                for gone, (key, _) in zip(unknown, _COLUMNS.values(), strict=True)
            ]
            yield [
                label,
                str(int(values["decisions"])),
                method,
                *("" if empty else cell for empty, cell in zip(blank, cells, strict=True)),
            ]


def header() -> list[str]:
    """Return the names of the columns."""
    return ["class", "segments", "method", *_COLUMNS]


def markdown_table(figures: dict[str, Any]) -> str:
    """Return the table as Markdown, and below it the figures that are no matter of method."""
    lines = [header(), ["---", "---:", "---", *["---:"] * len(_COLUMNS)], *rows(figures)]
    table = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    return table + "\n" + "".join(f"- {line}\n" for line in facts(figures))


def facts(figures: dict[str, Any]) -> list[str]:
    """Return what was measured once for all methods, a line each."""
    selected = figures["selected components"]
    energy = figures["energy removed"]
    stability = figures["stability"]
    errors = figures["reconstruction error, eighths of the spectrum"]
    return [
        "selected: "
        + ", ".join(
            f"{name} {selected[name]:.1f} components with {100 * energy[name]:.0f} % of the energy"
            for name in selected
        ),
        f"completeness: relevances and bias miss the mean logit by {figures['incompleteness']:.1e}",
        "stability (cosine): " + ", ".join(f"{k} {v:.3f}" for k, v in stability.items()),
        "relative reconstruction error, low to high eighths of the spectrum: "
        + "; ".join(
            f"{name} {' '.join('-' if e is None else f'{e:.3f}' for e in found)}"
            for name, found in errors.items()
        ),
    ]


def print_study(figures: dict[str, Any]) -> None:
    """Print the table on stdout."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE)
    for number, name in enumerate(header()):
        table.add_column(name, justify="left" if number in (0, 2) else "right")
    last = None
    for cells in rows(figures):
        if last not in (None, cells[0]):
            table.add_section()
        table.add_row(*cells)
        last = cells[0]
    console = Console(width=None if sys.stdout.isatty() else 200, markup=False, emoji=False)
    console.print(table)
    for line in facts(figures):
        console.print(line, soft_wrap=True)
