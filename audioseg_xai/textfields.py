"""Text files with a record a line, fields between spaces: what RTTM, UEM and others share."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from audioseg_xai.errors import AnnotationError
from audioseg_xai.files import atomic_path

Source = str | Path | IO[Any]
"""A path, or an open text or binary file."""

COMMENT = ";;"
"""What a comment line begins with."""


def field_lines(source: Source) -> Iterator[tuple[str, list[str]]]:
    """Read the fields of every line that is neither blank nor a comment.

    Parameters
    ----------
    source : str, Path or file
        What to read; a byte-order mark and any kind of line end are accepted.

    Yields
    ------
    where : str
        ``path:line``, for messages.
    fields : list of str
        At least one.

    Raises
    ------
    AnnotationError
        If `source` cannot be read or is not text.
    """
    name, text = read_text(source)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if fields and not fields[0].startswith(COMMENT):
            yield f"{name}:{number}", fields


def read_text(source: Source) -> tuple[str, str]:
    """Return the name of `source`, for messages, and its text without byte-order mark.

    Raises
    ------
    AnnotationError
        If it cannot be read or is not UTF-8.
    """
    content: str | bytes
    if isinstance(source, (str, Path)):
        name = str(source)
        try:
            content = Path(source).read_bytes()
        except OSError as error:
            raise AnnotationError(f"{name}: cannot be read: {error.strerror}") from None
    else:
        name = str(getattr(source, "name", "<stream>"))
        content = source.read()
    if isinstance(content, str):
        return name, content.removeprefix("\ufeff")
    try:
        return name, content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise AnnotationError(f"{name}: not UTF-8 text; is it the right file?") from None


def write_lines(lines: Iterable[str], target: str | Path | IO[str]) -> None:
    """Write `lines`, adding line ends, as they come; a path is written whole or not at all."""
    ended = (f"{line}\n" for line in lines)
    # Those that are sorted first may take long to begin: no file waits for them half-made.
    first = list(itertools.islice(ended, 1))
    if not isinstance(target, (str, Path)):
        target.writelines(itertools.chain(first, ended))
        return
    with atomic_path(target) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.writelines(itertools.chain(first, ended))


def parse_number(text: str, what: str) -> float:
    """Return the number that `text` stands for; `what` names it in messages.

    Raises
    ------
    AnnotationError
        If it is no number, or not a finite one.
    """
    try:
        value = float(text)
    except ValueError:
        raise AnnotationError(
            f"{what} {text!r} is not a number; write seconds, like 12.345"
        ) from None
    if not math.isfinite(value):
        raise AnnotationError(f"{what} {text!r} is not finite; correct or remove the line")
    return value


def check_times(onset: float, offset: float) -> None:
    """Check that both times, in seconds, bound a stretch of time inside a recording.

    Raises
    ------
    AnnotationError
        If one is not finite, `onset` is negative, or `offset` does not come after it.
    """
    if not (math.isfinite(onset) and math.isfinite(offset)):
        raise AnnotationError(f"times {onset} and {offset} must be finite; correct or remove them")
    if onset < 0:
        raise AnnotationError(
            f"onset {onset} is negative; times count from the start of the recording"
        )
    if offset <= onset:
        raise AnnotationError(
            f"offset {offset} is not after onset {onset}; correct or remove the segment"
        )


def decimal_bounds(onset: float, offset: float) -> tuple[Decimal, Decimal]:
    """Round both times to the fewest decimals, at least three, that keep them apart."""
    rounded = (
        (Decimal(f"{onset:.{decimals}f}"), Decimal(f"{offset:.{decimals}f}"))
        for decimals in itertools.count(3)
    )
    return next((first, last) for first, last in rounded if first < last)
