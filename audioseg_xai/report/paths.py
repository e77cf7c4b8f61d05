"""Where the output of each recording goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import click

from audioseg_xai.errors import UsageError

FIGURES = (".png", ".pdf", ".svg")
"""What a figure may end in."""

Scale = Literal["hz", "mel"]
"""Of frequency in figures: in Hz spectrograms are linear, and spectra logarithmic."""

scale_option = click.option(
    "--scale", type=click.Choice(["hz", "mel"]), help="Of frequency in figures; else hz."
)


def chosen_scale(scale: Scale | None, figure: str | Path | None) -> Scale:
    """Return the scale of a figure.

    Raises
    ------
    UsageError
        If one is chosen and no figure is wanted.
    """
    if scale is not None and figure is None:
        raise UsageError("--scale: is about the figure: say --figure FILE as well")
    return scale or "hz"


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
