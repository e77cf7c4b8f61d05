"""Text files of corpora, read line by line: what is wrong with one line does not hide the next.

Repaired, with a warning: a byte-order mark, CRLF line ends, and text in Latin-1 instead of UTF-8.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from audioseg_xai.annotation import Region, Segment, check_uri, read_rttm, read_uem
from audioseg_xai.corpora.report import Report
from audioseg_xai.errors import AnnotationError, AudiosegError, CorpusError, LabelError
from audioseg_xai.labels import canonical

EMPTY = "copy it again; where nothing sounds, say so with a comment line that begins with ';;'"

_BOM = b"\xef\xbb\xbf"

ParsedT = TypeVar("ParsedT")


def check_id(name: str) -> str:
    """Return `name` if it can name a recording, and a file inside a folder.

    Raises
    ------
    CorpusError
        If it has whitespace, a folder, or characters that cannot be printed in it, or begins
        with a dot.
    """
    try:
        check_uri(name)
    except AnnotationError as error:
        raise CorpusError(str(error)) from None
    if "/" in name or "\\" in name or name.startswith(".") or not name.isprintable():
        raise CorpusError(
            f"{name!r} cannot name a recording: no '/', '\\', control characters or leading '.'; "
            "write the file name without folder and suffix"
        )
    return name


def read_bytes(path: Path, report: Report, uri: str = "", *, remedy: str = EMPTY) -> bytes | None:
    """Return what is in a text file, without byte-order mark; None, with a problem, if nothing is.

    Parameters
    ----------
    path : Path
        The file.
    report : Report
        Takes problems and repairs.
    uri : str
        The recording that is left out when the file is unusable.
    remedy : str
        What to do about an empty file.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        report.problem(path, reason, "put the file there, or correct its permissions", uri=uri)
        return None
    if not content.removeprefix(_BOM).strip():
        report.problem(path, "is empty", remedy, uri=uri)
        return None
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content:
        report.problem(path, "is UTF-16, or no text", "save it as UTF-8", uri=uri)
        return None
    if content.startswith(_BOM):
        report.repair(path, "has a byte-order mark, which was passed over")
    return content.removeprefix(_BOM)


def read_lines(
    path: Path, report: Report, uri: str = "", *, remedy: str = EMPTY
) -> Iterator[tuple[int, str]]:
    """Yield number and text of every line that is not blank; none, with a problem, if unusable."""
    content = read_bytes(path, report, uri, remedy=remedy)
    if content is None:
        return
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
        report.repair(path, "is not UTF-8 and was read as Latin-1")
    if "\r" in text:
        report.repair(path, "has CRLF line ends, which were accepted")
    # Not splitlines: a name may hold a character that counts as the end of a line there.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    yield from ((number, line) for number, line in enumerate(lines, 1) if line.strip())


def parse_lines(
    path: Path,
    report: Report,
    parse: Callable[[str], ParsedT | None],
    uri: str = "",
    *,
    remedy: str = EMPTY,
) -> list[tuple[int, ParsedT]]:
    """Parse every line; one that is not understood becomes a problem and the others go on.

    Parameters
    ----------
    path : Path
        The file.
    report : Report
        Takes problems and repairs.
    parse : callable
        Takes a line; returns None for one that says nothing, raises an error of ours.
    uri : str
        The recording that is left out because of a bad line.
    remedy : str
        What to do about an empty file.

    Returns
    -------
    list of (int, parsed)
        With the numbers of the lines.
    """
    parsed = []
    for number, line in read_lines(path, report, uri, remedy=remedy):
        try:
            found = parse(line)
        except AudiosegError as error:
            report.error(path, error, line=number, uri=uri)
            continue
        if found is not None:
            parsed.append((number, found))
    return parsed


def rttm_line(line: str) -> tuple[str, Segment] | None:
    """Return uri and segment, label as it stands, of an RTTM line; None for a comment.

    Raises
    ------
    AnnotationError
        If it is not understood.
    """
    for uri, segments in read_rttm(io.StringIO(line), raw_labels=True).items():
        return uri, segments[0]
    return None


def class_line(line: str) -> tuple[str, Segment] | None:
    """Return uri and segment, labelled with a class, of an RTTM line; None for a comment.

    Raises
    ------
    AnnotationError
        If it is not understood, or the label is no class.
    """
    found = rttm_line(line)
    if found is None:
        return None
    uri, segment = found
    try:
        label = canonical(segment.label)
    except LabelError as error:
        raise AnnotationError(f"{error}; correct the label") from None
    return uri, Segment(segment.onset, segment.offset, label, segment.confidence)


def uem_line(line: str) -> tuple[str, Region] | None:
    """Return uri and region of a UEM line; None for a comment.

    Raises
    ------
    AnnotationError
        If it is not understood.
    """
    for uri, regions in read_uem(io.StringIO(line)).items():
        return uri, regions[0]
    return None


def read_list(path: Path, report: Report) -> list[str]:
    """Return the names of recordings in a list, one a line, in order and each once.

    Lines that begin with ``#`` or ``;;`` are comments. A name that is not one, or comes twice,
    becomes a problem.
    """
    names: dict[str, int] = {}
    remedy = "write the name of a recording a line"
    for number, name in parse_lines(path, report, _list_line, remedy=remedy):
        if name in names:
            what = f"{name!r} was in line {names[name]} already"
            report.problem(path, what, "leave one of the lines out", line=number)
        names.setdefault(name, number)
    return list(names)


def own_lines(
    path: Path, lines: list[tuple[int, tuple[str, ParsedT]]], uri: str, report: Report
) -> list[tuple[int, ParsedT]]:
    """Return what a file says about `uri`; a line about another recording becomes a problem."""
    own = []
    for number, (name, value) in lines:
        if name == uri:
            own.append((number, value))
        else:
            what = f"is about {name!r} in the file of {uri!r}"
            report.problem(path, what, "move or correct the line", line=number, uri=uri)
    return own


def read_own_uem(path: Path, uri: str, report: Report) -> list[Region]:
    """Return the regions of a UEM file about one recording, in seconds."""
    lines = parse_lines(path, report, uem_line, uri, remedy="write '<uri> 1 <onset> <offset>'")
    return [region for _, region in own_lines(path, lines, uri, report)]


def _list_line(line: str) -> str | None:
    text = line.strip(" \t")
    return None if text.startswith(("#", ";;")) else check_id(text)
