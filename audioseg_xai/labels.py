"""The four classes, in the order that every array with a class axis follows."""

from __future__ import annotations

from collections.abc import Iterable

from audioseg_xai.errors import LabelError

CLASSES: tuple[str, ...] = ("speech", "music", "noise", "overlap")
"""Class names; axis C of every array is in this order."""

UNKNOWN = -1
"""Label of a class that nobody annotated: it takes part in no loss and in no score."""

_ALIASES = {"sp": "speech", "mu": "music", "no": "noise", "ov": "overlap"}


def canonical(name: str) -> str:
    """Return the class that `name` stands for.

    Parameters
    ----------
    name : str
        A class name or one of the aliases ``sp``, ``mu``, ``no``, ``ov``; case is ignored.

    Returns
    -------
    str
        One of `CLASSES`.

    Raises
    ------
    LabelError
        If `name` is neither.

    Examples
    --------
    >>> canonical("mu")
    'music'
    """
    lowered = name.lower()
    found = _ALIASES.get(lowered, lowered)
    if found not in CLASSES:
        raise LabelError(
            f"unknown class {name!r}: expected one of {', '.join(CLASSES)} "
            f"(or {', '.join(_ALIASES)})"
        )
    return found


def class_index(name: str) -> int:
    """Return the position of class `name` (or of its alias) on the class axis."""
    return CLASSES.index(canonical(name))


def parse_classes(names: str | Iterable[str]) -> tuple[str, ...]:
    """Return the classes named in a comma-separated string or an iterable, in `CLASSES` order.

    Raises
    ------
    LabelError
        If a name is unknown, or none is given.
    """
    listed = names.split(",") if isinstance(names, str) else names
    wanted = {canonical(name.strip()) for name in listed if name.strip()}
    if not wanted:
        raise LabelError(f"no class named: expected some of {', '.join(CLASSES)}")
    return tuple(name for name in CLASSES if name in wanted)
