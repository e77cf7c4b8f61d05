"""What was wrong with a corpus, and what was repaired: collected, so that the rest goes on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_SHOWN = 3  # places of a repair, before "and N more"


@dataclass(frozen=True)
class Problem:
    """One thing that a person has to correct.

    Attributes
    ----------
    path : str
        The file, or the folder, where it was found.
    line : int or None
        Line of the file, from 1; None when it is about the whole file.
    what : str
        What is wrong.
    remedy : str
        What to do.
    uri : str
        The recording that is left out because of it; empty when none is.
    """

    path: str
    line: int | None
    what: str
    remedy: str
    uri: str = ""

    def __str__(self) -> str:
        """Return one line: ``path:line: what; remedy``."""
        return f"{_place(self.path, self.line)}: {_one_line(self.what)}; {_one_line(self.remedy)}"


@dataclass(frozen=True)
class Repair:
    """One thing that was put right without asking.

    Attributes
    ----------
    path, line
        Where, as in `Problem`.
    what : str
        What was found, and what was done about it.
    """

    path: str
    line: int | None
    what: str


@dataclass
class Report:
    """Problems and repairs in the order in which they were found."""

    problems: list[Problem] = field(default_factory=list)
    repairs: list[Repair] = field(default_factory=list)
    _seen: set[Problem] = field(default_factory=set, repr=False)

    def problem(
        self, path: str | Path, what: str, remedy: str, *, line: int | None = None, uri: str = ""
    ) -> None:
        """Note a problem, once; with `uri`, that recording is left out."""
        found = Problem(str(path), line, what, remedy, uri)
        if found not in self._seen:
            self._seen.add(found)
            self.problems.append(found)

    def error(
        self, path: str | Path, error: Exception, *, line: int | None = None, uri: str = ""
    ) -> None:
        """Note an error whose message reads ``[place: ]what; remedy``, as ours do."""
        text = re.sub(r"^<stream>:\d+: ", "", str(error)).removeprefix(f"{path}: ")
        what, separator, remedy = text.rpartition("; ")
        if not separator:
            what, separator, remedy = text.rpartition(": ")
        self.problem(path, what or text, remedy or "correct the file", line=line, uri=uri)

    def repair(self, path: str | Path, what: str, *, line: int | None = None) -> None:
        """Note a repair."""
        self.repairs.append(Repair(str(path), line, what))

    @property
    def left_out(self) -> set[str]:
        """Recordings with a problem."""
        return {problem.uri for problem in self.problems if problem.uri}

    def repair_lines(self) -> Iterator[str]:
        """Yield a line for each kind of repair, with the first places where it was made."""
        places: dict[str, list[str]] = {}
        for repair in self.repairs:
            places.setdefault(repair.what, []).append(_place(repair.path, repair.line))
        for what, found in places.items():
            more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            yield f"{', '.join(found[:_SHOWN])}{more}: {_one_line(what)}"


def _place(path: str, line: int | None) -> str:
    text = _one_line(path)
    return text if line is None else f"{text}:{line}"


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
