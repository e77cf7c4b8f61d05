"""Where the files of a corpus lie."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from audioseg_xai.corpora.report import Report
from audioseg_xai.errors import CorpusError

AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg")
"""Audio formats in which corpora come, where the format is not part of the layout."""

_SHOWN = 8


def expect_folder(folder: Path, root: Path, expected: str) -> Path:
    """Return `folder` if it is one.

    Raises
    ------
    CorpusError
        With what was `expected` of the corpus below `root`, and what is there.
    """
    if not folder.is_dir():
        raise unexpected(root, expected)
    return folder


def unexpected(root: Path, expected: str) -> CorpusError:
    """Return the error of a folder that is not laid out as `expected`."""
    return CorpusError(
        f"{root}: expected {expected}, found {_contents(root)}; give the folder that holds them"
    )


def index_files(root: Path, suffixes: Iterable[str]) -> dict[str, list[Path]]:
    """Return the files below `root` that end in one of `suffixes`, by name without suffix.

    Links to folders are followed, each folder once; hidden files and folders are passed over,
    because some systems leave a hidden companion beside every file.
    """
    wanted = tuple(suffixes)
    index: dict[str, list[Path]] = {}
    visited: set[str] = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        folders[:] = [] if real in visited else sorted(f for f in folders if f[0] != ".")
        names = [] if real in visited else sorted(names)
        visited.add(real)
        for name in names:
            path = Path(folder, name)
            if name[0] != "." and path.suffix.lower() in wanted:
                index.setdefault(path.stem, []).append(path)
    return index


def pick(
    index: Mapping[str, list[Path]], uri: str, kind: str, root: Path, report: Report
) -> Path | None:
    """Return the one file of a recording; none, or several, is a problem.

    Parameters
    ----------
    index : mapping
        From `index_files`.
    uri : str
        The recording.
    kind : str
        What the file is called in the message: its suffix, or "audio".
    root : Path
        The corpus.
    report : Report
        Takes the problem.
    """
    found = index.get(uri, [])
    if len(found) == 1:
        return found[0]
    if found:
        what = f"{len(found)} {kind} files are called {uri!r}: {found[0]} and {found[1]}"
        report.problem(root, what, "leave one of them", uri=uri)
    else:
        what = f"no {kind} file of {uri!r}"
        report.problem(root, what, "put it there, or take the name off the list", uri=uri)
    return None


def _contents(root: Path) -> str:
    names = sorted(path.name + "/" * path.is_dir() for path in root.iterdir())
    if not names:
        return "an empty folder"
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" * (len(names) > _SHOWN))
