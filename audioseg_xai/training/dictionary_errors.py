"""How well a dictionary reconstructs each class of each corpus, in each frequency band."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from audioseg_xai.frames import SAMPLE_RATE
from audioseg_xai.labels import CLASSES, UNKNOWN
from audioseg_xai.nmf import BandErrors, Dictionary, band_edges, encode
from audioseg_xai.training.frame_sampling import FrameSample

log = logging.getLogger(__name__)

ALL, NONE = "all", "none"

Group = tuple[str, str]
"""Corpus and class."""


def class_errors(
    samples: Iterable[FrameSample], dictionary: Dictionary, corpora: Sequence[str], bands: int = 8
) -> dict[str, Any]:
    """Return the relative error ||X - W H|| / ||X|| of each class in each band.

    Parameters
    ----------
    samples : iterable of FrameSample
        Frames to reconstruct.
    dictionary : Dictionary
        What with.
    corpora : sequence of str
        Name of each archive that the frames are from.
    bands : int, optional
        Number of bands of equal width.

    Returns
    -------
    dict
        ``bands``: lowest and highest frequency of each, in Hz; ``rows``: for each corpus, where
        there are several, and for all together, for each class, the frames without a class
        ("none") and all frames: ``corpus``, ``class``, ``frames``, ``relative_error`` and
        ``band_errors``, which are None where the spectrogram is silent. A frame counts for every
        class that is known to be active in it. JSON values.
    """
    errors: BandErrors[Group] = BandErrors(bands)
    for sample in samples:
        h = encode(sample.spectra, dictionary.atoms, dictionary.sparsity, loss=dictionary.loss)
        errors.add(sample.spectra, h @ dictionary.atoms.T, _members(sample, corpora))
    edges = band_edges(dictionary.atoms.shape[0], bands, SAMPLE_RATE / 2)
    rows = [_row(errors, group) for group in errors.frames if errors.frames[group]]
    return {"bands": [list(edge) for edge in edges], "rows": rows}


def _members(sample: FrameSample, corpora: Sequence[str]) -> dict[Group, torch.Tensor]:
    active = sample.labels == 1
    known = (sample.labels != UNKNOWN).any(dim=1)
    classes = {ALL: torch.ones_like(known), NONE: known & ~active.any(dim=1)}
    classes |= dict(zip(CLASSES, active.unbind(dim=1), strict=True))
    places = {ALL: classes[ALL]}
    if len(corpora) > 1:
        places |= {name: sample.archive == number for number, name in enumerate(corpora)}
    return {
        (place, label): there & those
        for place, there in places.items()
        for label, those in classes.items()
    }


def _row(errors: BandErrors[Group], group: Group) -> dict[str, Any]:
    total, bands = errors.relative(group)
    return {
        "corpus": group[0],
        "class": group[1],
        "frames": errors.frames[group],
        "relative_error": total,
        "band_errors": bands,
    }


def log_errors(errors: dict[str, Any]) -> None:
    """Log a line for each row of `class_errors`; when debugging, show the whole table on stderr."""
    if log.isEnabledFor(logging.DEBUG):
        _print_table(errors)
        return
    for row in errors["rows"]:
        where = "" if row["corpus"] == ALL else f"{row['corpus']}, "
        error = _cell(row["relative_error"])
        log.info("%s%s: relative error %s, %d frames", where, row["class"], error, row["frames"])


def _print_table(errors: dict[str, Any]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table("corpus", "class", title="relative error, by band in kHz", box=box.SIMPLE)
    for name in ("frames", ALL, *(f"{low / 1000:.0f}-" for low, _ in errors["bands"])):
        table.add_column(name, justify="right")
    for row in errors["rows"]:
        cells = [_cell(value) for value in (row["relative_error"], *row["band_errors"])]
        table.add_row(row["corpus"], row["class"], str(row["frames"]), *cells)
    width = None if sys.stderr.isatty() else 500
    Console(stderr=True, width=width, markup=False, emoji=False).print(table)


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
