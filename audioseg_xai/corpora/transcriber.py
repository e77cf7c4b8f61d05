"""Transcriber files (.trs): turns, backgrounds and the text between synchronisation points.

The encoding that the XML declaration names is used. A document type line is allowed, but nothing
that it points to is ever opened, and entities that a file defines itself are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

from audioseg_xai.annotation import Region
from audioseg_xai.corpora.loose import read_bytes
from audioseg_xai.corpora.report import Report
from audioseg_xai.errors import AnnotationError
from audioseg_xai.textfields import check_times, parse_number

_DECLARATION = b"encoding="


class Passage(NamedTuple):
    """What is written about a stretch of time, in seconds, and the line where it begins."""

    onset: float
    offset: float
    text: str
    line: int


@dataclass
class Transcript:
    """What a Transcriber file says; times in seconds.

    Attributes
    ----------
    turns : dict of str to list of (onset, offset)
        Turns by speaker; a turn of two speakers is a turn of each.
    music : list of (onset, offset)
        Where there is background music.
    texts : list of Passage
        What stands between synchronisation points, events included.
    topics : list of Passage
        Topics of the sections.
    end : float
        Where the last turn or section ends.
    """

    turns: dict[str, list[Region]] = field(default_factory=dict)
    music: list[Region] = field(default_factory=list)
    texts: list[Passage] = field(default_factory=list)
    topics: list[Passage] = field(default_factory=list)
    end: float = 0.0


def read_trs(path: Path, report: Report, uri: str) -> Transcript:
    """Read a Transcriber file.

    Background music lasts from ``<Background type="music" ...>`` to the next ``<Background ...
    level="off"/>``, whatever type that names, or to the end.

    Parameters
    ----------
    path : Path
        The file.
    report : Report
        Takes repairs, and what makes the file unusable.
    uri : str
        The recording that is left out if it is.

    Returns
    -------
    Transcript
        Empty when there was a problem.
    """
    content = read_bytes(path, report, uri, remedy="copy it again")
    if content is None:
        return Transcript()
    encoding = _undeclared_encoding(path, content, report)
    reader = _Reader(encoding)
    try:
        reader.parser.Parse(content, True)
        return reader.finish()
    except expat.ExpatError as error:
        reason = expat.ErrorString(error.code)
        report.problem(path, f"is not XML: {reason}", "correct it", line=error.lineno, uri=uri)
    except (AnnotationError, LookupError, ValueError) as error:
        line = reader.parser.CurrentLineNumber
        report.error(path, error, line=line, uri=uri)
    return Transcript()


def _undeclared_encoding(path: Path, content: bytes, report: Report) -> str | None:
    """Return Latin-1 for a file that is not the UTF-8 that XML without declaration has to be."""
    declaration = content[:200].partition(b"?>")[0].lower()
    if _DECLARATION in declaration and b"utf-8" not in declaration:
        return None
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        report.repair(path, "is not UTF-8 and was read as Latin-1")
        return "iso-8859-1"
    return None


class _Reader:
    """Collects what a Transcriber file says while expat reads it."""

    def __init__(self, encoding: str | None) -> None:
        self.parser = expat.ParserCreate(encoding)
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._add_text
        self.parser.EntityDeclHandler = _refuse_entity
        self._handlers = {
            "Topic": self._topic,
            "Section": self._section,
            "Turn": self._turn,
            "Sync": self._sync,
            "Background": self._background,
            "Event": lambda attributes: self._add_text(f" {attributes.get('desc', '')} "),
        }
        self._result = Transcript()
        self._root = ""
        self._topics: dict[str, str] = {}
        self._turn_end: float | None = None
        self._syncs: list[tuple[float, int, list[str]]] = []
        self._backgrounds: list[tuple[float, bool | None]] = []

    def finish(self) -> Transcript:
        """Return all that was read."""
        if self._root != "Trans":
            raise AnnotationError(f"expected <Trans>, found <{self._root}>; is it a .trs file?")
        self._result.music = list(self._music())
        return self._result

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._root = self._root or name
        if name in self._handlers:
            self._handlers[name](attributes)

    def _end(self, name: str) -> None:
        if name == "Turn" and self._turn_end is not None:
            times = [*(time for time, _, _ in self._syncs), self._turn_end]
            for (onset, line, parts), offset in zip(self._syncs, times[1:], strict=True):
                self._result.texts += _passages(onset, offset, "".join(parts), line)
            self._turn_end, self._syncs = None, []

    def _add_text(self, text: str) -> None:
        if self._syncs:
            self._syncs[-1][-1].append(text)

    def _topic(self, attributes: dict[str, str]) -> None:
        self._topics[attributes.get("id", "")] = attributes.get("desc", "")

    def _section(self, attributes: dict[str, str]) -> None:
        onset, offset = self._bounds("Section", attributes)
        topic = attributes.get("topic", "")
        text, line = self._topics.get(topic, topic), self.parser.CurrentLineNumber
        self._result.topics += _passages(onset, offset, text, line)

    def _turn(self, attributes: dict[str, str]) -> None:
        onset, self._turn_end = self._bounds("Turn", attributes)
        for speaker in attributes.get("speaker", "").split():
            self._result.turns.setdefault(speaker, []).append((onset, self._turn_end))

    def _bounds(self, name: str, attributes: dict[str, str]) -> Region:
        onset, offset = (_time(name, attributes, key) for key in ("startTime", "endTime"))
        check_times(onset, offset)
        self._result.end = max(self._result.end, offset)
        return onset, offset

    def _sync(self, attributes: dict[str, str]) -> None:
        time = _time("Sync", attributes, "time")
        if self._turn_end is None:
            raise AnnotationError("<Sync> outside of a <Turn>; correct the file")
        if time > self._turn_end or (self._syncs and time < self._syncs[-1][0]):
            raise AnnotationError(f"<Sync> at {time} s is not in order within its <Turn>; move it")
        self._syncs.append((time, self.parser.CurrentLineNumber, []))

    def _background(self, attributes: dict[str, str]) -> None:
        time = _time("Background", attributes, "time")
        if self._backgrounds and time < self._backgrounds[-1][0]:
            raise AnnotationError(f"<Background> at {time} s goes back in time; correct the file")
        music = "music" in attributes.get("type", "").lower().split()
        off = attributes.get("level", "").lower() == "off"
        self._backgrounds.append((time, False if off else music or None))

    def _music(self) -> Iterator[Region]:
        start: float | None = None
        for time, state in self._backgrounds:  # None: another background, music goes on
            if state and start is None:
                start = time
            elif state is False and start is not None:
                yield from [(start, time)] if time > start else []
                start = None
        if start is not None and self._result.end > start:
            yield start, self._result.end


def _refuse_entity(name: str, *others: object) -> None:
    raise AnnotationError(f"defines the entity {name!r}, which is refused; remove the definition")


def _time(element: str, attributes: dict[str, str], key: str) -> float:
    if key not in attributes:
        raise AnnotationError(f"<{element}> without {key}; add it")
    return parse_number(attributes[key], key)


def _passages(onset: float, offset: float, text: str, line: int) -> list[Passage]:
    """Return the passage, unless there is nothing in it."""
    words = " ".join(text.split())
    return [Passage(onset, offset, words, line)] if words and onset < offset else []
