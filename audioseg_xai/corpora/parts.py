"""Dividing a set of recordings into parts, the same everywhere."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Mapping, Sequence

from audioseg_xai.datadir import DataDir
from audioseg_xai.errors import DataDirError, UsageError

ALL = "all"
"""Name of a set that was not divided."""


def parse_split(text: str) -> dict[str, float]:
    """Return names and shares of parts, from ``train=0.8,valid=0.1,test=0.1``.

    Raises
    ------
    UsageError
        If it does not read so, a share is not positive, or they do not add up to 1.
    """
    split: dict[str, float] = {}
    for part in text.split(","):
        name, _, share = part.strip().partition("=")
        try:
            split[name] = float(share)
        except ValueError:
            raise UsageError(f"--split {text!r}: write train=0.8,valid=0.1,test=0.1") from None
        if not name.isidentifier() or name == ALL or not split[name] > 0:
            raise UsageError(f"--split: {part.strip()!r} is no name and positive share of a part")
    if abs(sum(split.values()) - 1) > 1e-6:
        raise UsageError(f"--split: the shares add up to {sum(split.values()):g}, not to 1")
    return split


def divide(uris: Sequence[str], split: Mapping[str, float]) -> dict[str, list[str]]:
    """Return the recordings of each part.

    The recordings are ordered by the SHA-256 digest of their names, which has nothing to do with
    where they come from, and cut by the shares; no part is empty while there are recordings
    enough. The same names give the same parts, everywhere.

    Parameters
    ----------
    uris : sequence of str
        The recordings.
    split : mapping of str to float
        Names and shares of the parts; shares add up to 1.

    Examples
    --------
    >>> divide(["a", "b", "c", "d"], {"train": 0.75, "test": 0.25})
    {'train': ['b', 'c', 'd'], 'test': ['a']}
    """
    ordered = sorted(uris, key=lambda uri: hashlib.sha256(uri.encode()).hexdigest())
    parts, start = {}, 0
    for number, (name, bound) in enumerate(
        zip(split, itertools.accumulate(split.values()), strict=True), 1
    ):
        most = max(start, len(ordered) - (len(split) - number))
        stop = min(max(round(bound * len(ordered)), start + 1), most)
        parts[name] = sorted(ordered[start:stop])
        start = stop
    return parts


def divide_data(data: DataDir, split: Mapping[str, float]) -> dict[str, DataDir]:
    """Return the parts of a data directory, see `divide`.

    Raises
    ------
    DataDirError
        If there are fewer recordings than parts.
    """
    if len(data.uris) < len(split):
        raise DataDirError(f"{len(data.uris)} recordings cannot make {len(split)} parts")
    return {name: _subset(data, uris) for name, uris in divide(data.uris, split).items()}


def _subset(data: DataDir, uris: Sequence[str]) -> DataDir:
    return dataclasses.replace(
        data,
        wav={uri: data.wav[uri] for uri in uris},
        duration={uri: data.duration[uri] for uri in uris},
        reference={uri: data.reference.get(uri, []) for uri in uris},
        uem={uri: data.uem[uri] for uri in uris},
        groups={uri: data.groups[uri] for uri in uris if uri in data.groups},
    )
