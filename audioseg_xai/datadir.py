"""Data directories: a set of recordings with what is known about each.

A data directory holds five text files, in UTF-8: ``wav.scp`` (``<uri> <path>``), ``reco2dur``
(``<uri> <seconds>``), ``ref.rttm``, ``all.uem`` and ``classes`` (the classes that the annotators
labelled, one a line; the others are unknown). ``wav.scp`` and ``reco2dur`` are sorted by uri as
``LC_ALL=C sort`` does, with unique uris. A relative path in ``wav.scp`` starts at the directory.
A sixth file, ``groups``, is there when the recordings belong to subsets: lines ``<uri> <group>``,
as many for a uri as it has groups.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from audioseg_xai.annotation import (
    Region,
    Segment,
    check_uri,
    read_rttm,
    read_uem,
    write_rttm,
    write_uem,
)
from audioseg_xai.errors import AnnotationError, DataDirError, LabelError
from audioseg_xai.files import write_text_atomic
from audioseg_xai.groups import read_pairs
from audioseg_xai.labels import parse_classes
from audioseg_xai.textfields import read_text

TOLERANCE = 0.05
"""Seconds that an annotation may reach beyond the end of its recording: rounding, padding."""

_SHOWN = 5  # names, or problems, in a message before "and N more"
_SORTED = "sort the file with 'LC_ALL=C sort -k1,1'"

ValueT = TypeVar("ValueT")


@dataclass(frozen=True)
class DataDir:
    """A set of recordings and their annotation.

    Parameters
    ----------
    wav : dict of str to Path
        Audio file by uri.
    duration : dict of str to float
        Length by uri, in seconds.
    reference : dict of str to list of Segment
        What sounds, by uri; a recording where nothing does may be left out.
    uem : dict of str to list of (onset, offset)
        What was annotated, by uri, in seconds.
    classes : tuple of str
        The classes that the annotators labelled.
    groups : dict of str to tuple of str, optional
        Subsets that a recording belongs to, by uri.
    """

    wav: dict[str, Path]
    duration: dict[str, float]
    reference: dict[str, list[Segment]]
    uem: dict[str, list[Region]]
    classes: tuple[str, ...]
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def uris(self) -> list[str]:
        """Names of the recordings, in the order of ``LC_ALL=C sort``."""
        return sorted(self.wav)

    @classmethod
    def read(cls, path: str | Path) -> DataDir:
        """Read and validate the data directory `path`.

        Parameters
        ----------
        path : str or Path
            The directory. Audio files need not be there: see `validate`.

        Returns
        -------
        DataDir
            With audio paths that start with `path` where ``wav.scp`` has relative ones, and
            an empty list where ``ref.rttm`` has nothing.

        Raises
        ------
        DataDirError
            If a file is missing or not understood, or files disagree.
        """
        folder = Path(path)
        _check_files(folder)
        try:
            wav = _read_table(folder / "wav.scp", lambda text: audio_path(folder, text))
            data = cls(
                wav=wav,
                duration=_read_table(folder / "reco2dur", seconds),
                reference={uri: [] for uri in wav} | read_rttm(folder / "ref.rttm"),
                uem=read_uem(folder / "all.uem"),
                classes=read_classes(folder / "classes"),
                groups=read_groups(folder / "groups"),
            )
        except AnnotationError as error:
            raise DataDirError(str(error)) from None
        data._check(str(folder), check_audio=False)
        return data

    def write(self, path: str | Path) -> None:
        """Write the files to the directory `path`, each whole or not at all.

        ``groups`` is written when a recording has any, and removed when none has.

        Audio paths inside the directory are written relative to it, so that it can move with
        its audio; others are written absolute.

        Raises
        ------
        DataDirError
            If the parts disagree; nothing is written then.
        """
        self._check(str(path), check_audio=False)
        folder = Path(path)
        wav = {uri: _portable(self.wav[uri], folder) for uri in self.uris}
        write_text_atomic(folder / "wav.scp", _table(wav))
        write_text_atomic(folder / "reco2dur", _table({u: self.duration[u] for u in self.uris}))
        write_rttm(self.reference, folder / "ref.rttm")
        write_uem(self.uem, folder / "all.uem")
        write_text_atomic(folder / "classes", "".join(f"{name}\n" for name in self.classes))
        self._write_groups(folder / "groups")

    def _write_groups(self, path: Path) -> None:
        pairs = [(u, name) for u in sorted(self.groups) for name in sorted(self.groups[u])]
        if pairs:
            write_text_atomic(path, "".join(f"{uri} {name}\n" for uri, name in pairs))
        else:
            path.unlink(missing_ok=True)

    def validate(self, *, check_audio: bool = True) -> None:
        """Check that the parts agree and, with `check_audio`, that the audio files exist.

        Raises
        ------
        DataDirError
            One line with the first few problems.
        """
        self._check("data directory", check_audio)

    def _check(self, name: str, check_audio: bool) -> None:
        problems = list(self.problems())
        if check_audio:
            absent = [uri for uri in self.uris if not self.wav[uri].is_file()]
            problems += [f"{uri}: no audio file {self.wav[uri]}" for uri in absent]
        if problems:
            raise DataDirError(f"{name}: {_some(problems, '; ')}")

    def problems(self) -> Iterator[str]:
        """Yield what the parts disagree about; nothing when all is well."""
        if not self.wav:
            yield "wav.scp lists no recording"
        for uri in self.wav:
            yield from _entry_problems(uri, str(self.wav[uri]))
        scored = [uri for uri, regions in self.uem.items() if regions]
        yield from _difference("reco2dur", self.duration, self.wav, complete=True)
        yield from _difference("all.uem", scored, self.wav, complete=True)
        yield from _difference("ref.rttm", self.reference, self.wav, complete=False)
        yield from _difference("groups", self.groups, self.wav, complete=False)
        for name in sorted({name for names in self.groups.values() for name in names}):
            if name.split() != [name]:
                yield f"group {name!r} cannot stand in the file groups: no spaces, not empty"
        for uri in sorted(set(self.wav) & set(self.duration)):
            yield from self._recording_problems(uri)

    def _recording_problems(self, uri: str) -> Iterator[str]:
        duration = self.duration[uri]
        if not (duration > 0 and math.isfinite(duration)):
            yield f"{uri}: duration {duration} is not positive and finite; correct reco2dur"
        segments, limit = self.reference.get(uri, []), duration + TOLERANCE
        for name, ends in (
            ("ref.rttm", [segment.offset for segment in segments]),
            ("all.uem", [offset for _, offset in self.uem.get(uri, [])]),
        ):
            if max(ends, default=0.0) > limit:
                yield f"{uri}: {name} reaches to {max(ends):.3f} s in {duration:.3f} s of audio"
        extra = sorted({segment.label for segment in segments} - set(self.classes))
        if extra:
            yield f"{uri}: ref.rttm has {', '.join(extra)}, which the file classes does not list"


def _check_files(folder: Path) -> None:
    if not folder.is_dir():
        raise DataDirError(f"{folder}: no such directory")
    names = ("wav.scp", "reco2dur", "ref.rttm", "all.uem", "classes")
    absent = [name for name in names if not (folder / name).is_file()]
    if absent:
        raise DataDirError(f"{folder}: {', '.join(absent)} missing; is it a data directory?")


def _read_table(path: Path, parse: Callable[[str], ValueT]) -> dict[str, ValueT]:
    """Read ``<uri> <value>`` lines that are sorted by uri."""
    table: dict[str, ValueT] = {}
    last = ""
    for number, line in enumerate(read_text(path)[1].splitlines(), start=1):
        try:
            uri, value = table_fields(line, last)
            table[uri] = parse(value)
        except DataDirError as error:
            raise DataDirError(f"{path}:{number}: {error}") from None
        last = uri
    return table


def table_fields(line: str, last: str = "") -> tuple[str, str]:
    """Return uri and value of a line of ``wav.scp``, ``reco2dur`` or ``groups``.

    Parameters
    ----------
    line : str
        The line.
    last : str, optional
        The uri of the line before, which has to be smaller; nothing is by default.

    Raises
    ------
    DataDirError
        If it has no value, or its uri is not greater than `last`.
    """
    fields = line.split(maxsplit=1)
    if len(fields) != 2:
        raise DataDirError(f"expected '<uri> <value>', found {line!r}")
    uri = fields[0]
    if uri == last:
        raise DataDirError(f"{uri} was there before; give each recording its own uri")
    if uri < last:  # code points sort as UTF-8 bytes do
        raise DataDirError(f"{uri} comes after {last}; {_SORTED}")
    return uri, fields[1].strip()


def audio_path(folder: Path, text: str) -> Path:
    """Return the path that ``wav.scp`` in `folder` means.

    Raises
    ------
    DataDirError
        If it is a shell command.
    """
    if text.endswith("|"):
        raise DataDirError(
            f"{text!r} is a shell command, which is not run; write its output to an audio file "
            "and give the path of that"
        )
    return folder / text


def seconds(text: str) -> float:
    """Return the duration that ``reco2dur`` means.

    Raises
    ------
    DataDirError
        If it is no positive and finite number.
    """
    try:
        value = float(text)
    except ValueError:
        raise DataDirError(f"duration {text!r} is not a number; write seconds") from None
    if not (value > 0 and math.isfinite(value)):
        raise DataDirError(f"duration {text!r} is not positive and finite; correct it")
    return value


def read_classes(path: Path) -> tuple[str, ...]:
    """Return the classes that a file ``classes`` lists.

    Raises
    ------
    DataDirError
        If it lists none, or something else.
    """
    try:
        return parse_classes(read_text(path)[1].split())
    except (AnnotationError, LabelError) as error:
        place = "" if isinstance(error, AnnotationError) else f"{path}: "
        raise DataDirError(f"{place}{error}") from None


def read_groups(path: Path) -> dict[str, tuple[str, ...]]:
    """Return the groups of each recording from a file ``groups``; none when it is not there.

    Raises
    ------
    DataDirError
        If a line is not understood; names file and line.
    """
    groups: dict[str, set[str]] = {}
    for _, uri, group in read_pairs(path, DataDirError) if path.exists() else ():
        groups.setdefault(uri, set()).add(group)
    return {uri: tuple(sorted(names)) for uri, names in groups.items()}


def _portable(audio: Path, folder: Path) -> str:
    absolute, base = Path(os.path.abspath(audio)), Path(os.path.abspath(folder))
    inside = absolute.is_relative_to(base)
    return str(absolute.relative_to(base) if inside else absolute)


def _table(values: dict[str, str] | dict[str, float]) -> str:
    return "".join(f"{uri} {value}\n" for uri, value in values.items())


def _entry_problems(uri: str, audio: str) -> Iterator[str]:
    try:
        check_uri(uri)
    except AnnotationError as error:
        yield str(error)
    writable = audio.isprintable() and audio == audio.strip() and not audio.endswith("|")
    if not writable:
        yield f"{uri}: path {audio!r} cannot stand in wav.scp; rename the file"


def _difference(
    name: str, found: Iterable[str], expected: Iterable[str], *, complete: bool
) -> Iterator[str]:
    """Say which uris a file has too many and, where it must be `complete`, too few."""
    extra = sorted(set(found) - set(expected))
    missing = sorted(set(expected) - set(found))
    if extra:
        yield f"{name} has {_some(extra)}, which wav.scp lacks"
    if missing and complete:
        yield f"{name} lacks {_some(missing)}"


def _some(items: list[str], separator: str = ", ") -> str:
    more = f"{separator}and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return separator.join(items[:_SHOWN]) + more
