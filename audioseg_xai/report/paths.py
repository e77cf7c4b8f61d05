"""Where the output of each recording goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from audioseg_xai.errors import UsageError

FIGURES = (".png", ".pdf", ".svg")
"""What a figure may end in."""


def output_paths(
    uris: Sequence[str], pattern: str | None, option: str, suffixes: Sequence[str]
) -> dict[str, Path]:
    """Return the output of each recording, by uri; none without a pattern.

    Parameters
    ----------
    uris : sequence of str
        The recordings.
    pattern : str or None
        A path; ``{uri}`` in it stands for the recording.
    option : str
        What messages call it, such as ``--figure``.
    suffixes : sequence of str
        What it may end in, in lower case.

    Raises
    ------
    UsageError
        If it ends in something else, or several recordings would go to one file.
    """
    if pattern is None:
        return {}
    check_suffix(pattern, option, suffixes)
    if len(uris) > 1 and "{uri}" not in pattern:
        raise UsageError(
            f"{option} {pattern}: {len(uris)} recordings need as many files: put {{uri}} into the "
            "name"
        )
    return {uri: Path(pattern.replace("{uri}", uri.replace("/", "_"))) for uri in uris}


def check_suffix(path: str | Path | None, option: str, suffixes: Sequence[str] = FIGURES) -> None:
    """Refuse a path that ends in none of `suffixes`, before any work is done; None is no path.

    Raises
    ------
    UsageError
        If it ends in something else.
    """
    if path is not None and Path(path).suffix.lower() not in suffixes:
        raise UsageError(f"{option} {path}: must end in {_alternatives(suffixes)}")


def _alternatives(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last
