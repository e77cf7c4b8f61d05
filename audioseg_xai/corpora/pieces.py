"""Decoded files become the FLAC pieces of a pool, under names that say where they come from."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile as sf

from audioseg_xai.corpora.pool import PoolItem
from audioseg_xai.corpora.sources import Choice, Source, Sources
from audioseg_xai.files import atomic_path
from audioseg_xai.frames import SAMPLE_RATE


def stems(choices: list[Choice]) -> list[str]:
    """Return a file name without suffix for each file of a source, all of them different.

    Parameters
    ----------
    choices : list of Choice
        The files.

    Returns
    -------
    list of str
        Their paths without the folders all have in common, in ASCII, with ``+`` for ``/``; with
        the suffix, and with a digest, where two files would be called the same.
    """
    common = os.path.commonpath([os.path.dirname(choice.path) or "." for choice in choices])
    prefix = "" if common in (".", "") else common + "/"
    relative = [choice.path.removeprefix(prefix) for choice in choices]
    bare = Counter(_slug(os.path.splitext(path)[0]) for path in relative)
    full = Counter(_slug(path) for path in relative)
    return [_stem(path, bare, full) for path in relative]


def _stem(path: str, bare: Counter[str], full: Counter[str]) -> str:
    short, long = _slug(os.path.splitext(path)[0]), _slug(path)
    if bare[short] == 1:
        return short
    if full[long] == 1:
        return long
    digest = hashlib.blake2b(path.encode(), digest_size=4).hexdigest()
    return f"{long}-{digest}"  # names in other scripts have no letter left that tells them apart


def _slug(path: str) -> str:
    return re.sub(r"[^A-Za-z0-9_+.-]", "_", path.replace("/", "+"))


def write_pieces(
    choice: Choice,
    stem: str,
    samples: npt.NDArray[np.float32],
    source: Source,
    sources: Sources,
    root: Path,
) -> Iterator[PoolItem | None]:
    """Write one decoded file into a pool, in pieces when it is long.

    Parameters
    ----------
    choice : Choice
        What the file is.
    stem : str
        Its name in the pool; pieces get ``@`` and their offset in whole seconds behind it.
    samples : numpy.ndarray, shape (N,)
        Mono samples in [-1, 1] at 16 kHz.
    source : Source
        Where it comes from.
    sources : Sources
        Lengths and levels.
    root : Path
        The pool.

    Yields
    ------
    PoolItem or None
        An item a piece; None for one that is too short or near-silent, which is not written.
    """
    kind = choice.kind
    if kind == "noise" and len(samples) < sources.event_seconds * SAMPLE_RATE:
        kind = "event"
    step = round(sources.piece_seconds * SAMPLE_RATE)
    for start in range(0, max(len(samples), 1), step):
        piece = samples[start : start + step]
        if len(piece) < sources.min_seconds * SAMPLE_RATE or _level(piece) < sources.silence_db:
            yield None
            continue
        name = stem if len(samples) <= step else f"{stem}@{start // SAMPLE_RATE:05d}"
        path = f"{kind}/{source.name}/{name}.flac"
        _write_flac(root / path, piece)
        seconds = len(piece) / SAMPLE_RATE
        yield PoolItem(
            path, kind, source.name, choice.speaker, seconds, source.licence, choice.split
        )


def _level(samples: npt.NDArray[np.float32]) -> float:
    power = float(np.mean(np.square(samples, dtype=np.float64)))
    return 10 * float(np.log10(max(power, 1e-20)))


def _write_flac(path: Path, samples: npt.NDArray[np.float32]) -> None:
    with atomic_path(path) as temporary:
        sf.write(temporary, np.clip(samples, -1.0, 1.0), SAMPLE_RATE, "PCM_16", format="FLAC")
