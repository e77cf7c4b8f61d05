"""Frames for dictionary learning: from all recordings, every kind of frame with its share.

The kind of a frame is its archive, the classes that somebody annotated there, and which of these
are active. Every archive has the same share of the frames; within it, every set of annotated
classes; within that, every combination of active classes, "none" included. So a corpus that
annotates speech alone counts as much as one that annotates all classes, and its frames are never
taken for frames without music. A kind that has less than its share gives all of its frames, and
what is left is divided among the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from audioseg_xai.archive import Archive
from audioseg_xai.console import run_items
from audioseg_xai.errors import ArchiveError, TrainingError
from audioseg_xai.labels import CLASSES, UNKNOWN
from audioseg_xai.models.level import LevelNorm
from audioseg_xai.models.networks import NetworkConfig
from audioseg_xai.training.data import check_bins
from audioseg_xai.training.sampling import Recording, recordings_of

BATCH = 2048
"""Frames of a batch."""

_POOL = 16 * BATCH
"""Frames that are mixed before they are cut into batches."""

_EXCERPT = 2000
"""Frames of an excerpt: what is read at once."""

_RUN = 64
"""Frames of a kind that an excerpt gives at least, if it has them, to be worth reading."""

Purpose = Literal["learn", "hold", "report"]
_PURPOSES: tuple[Purpose, ...] = ("learn", "hold", "report")

Kind = tuple[int, int, int]
"""Archive, bits of the annotated classes, bits of the active ones."""


class FrameSample(NamedTuple):
    """Some frames.

    Attributes
    ----------
    spectra : torch.Tensor, shape (T, F), float32
        Normalised, non-negative.
    labels : torch.Tensor, shape (T, C), int8
        1, 0 or -1 (unknown).
    archive : torch.Tensor, shape (T,), int64
        Number of the archive that each is from.
    """

    spectra: torch.Tensor
    labels: torch.Tensor
    archive: torch.Tensor


class FrameSampler:
    """Draws frames of archives, balanced over kinds.

    The labels of all recordings are read once, and a few bytes for each excerpt of 40 s are kept.

    Parameters
    ----------
    archives : sequence of Archive
        The corpora.
    network : NetworkConfig
        Its level normalisation and FFT size.
    seed : int
        Of all draws.

    Raises
    ------
    ArchiveError
        If an archive was made with another FFT size than the network's.
    TrainingError
        If no recording can be read. One that cannot is logged, and the others are used.
    """

    def __init__(self, archives: Sequence[Archive], network: NetworkConfig, seed: int) -> None:
        for archive in archives:
            check_bins(archive, network.spectrogram.num_bins)
        self.archives, self.level, self.seed = archives, network.level, seed
        self._num_bins = network.spectrogram.num_bins
        self._level = LevelNorm(network.level, network.spectrogram.fft_size)
        self._recordings = recordings_of(archives)
        self._archive = np.repeat(np.arange(len(archives)), [len(each) for each in archives])
        self._scan()

    @property
    def counts(self) -> dict[Kind, int]:
        """How many frames there are of each kind."""
        totals = self._counts.sum(axis=0, dtype=np.int64)
        return dict(zip(self._kinds, totals.tolist(), strict=True))

    def _scan(self) -> None:
        numbers = range(len(self._recordings))
        found = run_items(
            numbers,
            partial(_count, self._recordings),
            describe=lambda number: self._recordings[number].entry.uri,
        ).done
        rows = [row for row in found if len(row.code)]
        if not rows:
            raise TrainingError("no recording has frames that can be read: check the archives")
        self._owner = np.concatenate([np.full(row.excerpts, row.recording) for row in rows])
        self._excerpt = np.concatenate([np.arange(row.excerpts) for row in rows])
        offsets = np.cumsum([0, *(row.excerpts for row in rows[:-1])])
        where = np.concatenate(
            [row.where + first for row, first in zip(rows, offsets, strict=True)]
        )
        kinds = [
            (int(self._archive[row.recording]), *divmod(int(code), _BITS))
            for row in rows
            for code in row.code
        ]
        self._kinds: list[Kind] = sorted(set(kinds))
        column = {kind: number for number, kind in enumerate(self._kinds)}
        self._counts = np.zeros((len(self._owner), len(self._kinds)), dtype=np.int16)
        counted = np.concatenate([row.frames for row in rows])
        self._counts[where, [column[kind] for kind in kinds]] = counted

    def draw(
        self, frames: int, purpose: Purpose = "learn", number: int = 0
    ) -> Iterator[FrameSample]:
        """Yield frames in random order, at most 2048 at a time.

        Parameters
        ----------
        frames : int
            How many in all; fewer if the archives have fewer. None comes twice.
        purpose : {'learn', 'hold', 'report'}
            What for; each has draws of its own.
        number : int
            Of the draw; each is another one, and the same one every time.

        Yields
        ------
        FrameSample
            What is held at once does not depend on `frames`, nor on how many recordings there are.
        """
        rng = np.random.default_rng([self.seed, _PURPOSES.index(purpose), number])
        order = rng.permutation(len(self._owner))
        wanted = self._wanted(order, frames)
        pool = _Pool(self._num_bins)
        for excerpt in order[wanted[order].any(axis=1)]:
            pool.add(self._read(int(excerpt), wanted[excerpt], rng))
            if pool.size >= _POOL:
                yield from pool.batches(rng)
        yield from pool.batches(rng, rest=True)

    def sample(self, frames: int, purpose: Purpose = "learn") -> FrameSample:
        """Return what `draw` yields, all at once."""
        parts = zip(*self.draw(frames, purpose), strict=True)
        return FrameSample(*(torch.cat(part) for part in parts))

    def _wanted(self, order: NDArray[np.integer], frames: int) -> NDArray[np.int16]:
        """Return how many frames of each kind (columns) each excerpt (rows) is to give."""
        shares = equal_shares(self.counts, frames)
        wanted = np.zeros_like(self._counts)
        for column, kind in enumerate(self._kinds):
            counts = self._counts[order, column].astype(np.int64)
            wanted[order, column] = _divided_among(counts, shares[kind])
        return wanted

    def _read(
        self, excerpt: int, wanted: NDArray[np.int16], rng: np.random.Generator
    ) -> FrameSample:
        number = int(self._owner[excerpt])
        archive, entry = self._recordings[number]
        start = int(self._excerpt[excerpt]) * _EXCERPT
        stop = min(start + _EXCERPT, entry.num_frames)
        context = self._level.config.context
        first = max(0, start - context)
        spectrogram, labels, _ = archive.read(entry, first, stop + context)
        normalised = self._level(torch.from_numpy(spectrogram).float().unsqueeze(0))[0]
        inside = slice(start - first, stop - first)
        codes = _codes(labels[inside])
        chosen = [
            rng.choice(np.flatnonzero(codes == _code(kind)), count, replace=False)
            for kind, count in zip(self._kinds, wanted, strict=True)
            if count
        ]
        rows = torch.from_numpy(np.concatenate(chosen))
        spectra = normalised[inside][rows]
        if not spectra.isfinite().all():
            raise ArchiveError(
                f"{archive.folder / entry.file}: its spectrogram holds values that are not finite: "
                "delete it and run 'xai-segment cache-features' again"
            )
        owner = torch.full((len(rows),), int(self._archive[number]))
        return FrameSample(spectra, torch.from_numpy(labels[inside])[rows], owner)


def equal_shares(counts: dict[Kind, int], frames: int) -> dict[Kind, int]:
    """Divide frames equally: among archives, in these among sets of annotated classes, and so on.

    Parameters
    ----------
    counts : dict
        How many frames there are of each kind.
    frames : int
        How many to take in all.

    Returns
    -------
    dict
        How many to take of each kind: no more than there are, and `frames` in all if there are so
        many.

    Examples
    --------
    >>> equal_shares({(0, 1, 0): 90, (0, 1, 1): 3, (1, 3, 0): 90}, 20)
    {(0, 1, 0): 7, (0, 1, 1): 3, (1, 3, 0): 10}
    """
    return _divided(sorted(counts.items()), frames, 0)


def _divided(counts: list[tuple[Kind, int]], frames: int, depth: int) -> dict[Kind, int]:
    if depth == 3:
        ((kind, available),) = counts
        return {kind: min(available, frames)}
    groups = [list(group) for _, group in groupby(counts, key=lambda pair: pair[0][depth])]
    shares = _level([sum(count for _, count in group) for group in groups], frames)
    taken: dict[Kind, int] = {}
    for group, share in zip(groups, shares, strict=True):
        taken |= _divided(group, share, depth + 1)
    return taken


def _level(available: Sequence[int], frames: int) -> list[int]:
    shares = [0] * len(available)
    for done, index in enumerate(sorted(range(len(available)), key=lambda i: available[i])):
        shares[index] = min(available[index], frames // (len(available) - done))
        frames -= shares[index]
    return shares


def _divided_among(counts: NDArray[np.int64], share: int) -> NDArray[np.int64]:
    """Return how many of `share` frames to take from each excerpt, in the order of the draw."""
    part = -(-counts * share // counts.sum())
    most = np.minimum(counts, np.maximum(part, _RUN))
    return np.clip(share - (most.cumsum() - most), 0, most)


# --- excerpts -----------------------------------------------------------------------------------

_BITS = 1 << 4
"""One bit a class."""


class _Counted(NamedTuple):
    """How many frames of which code are in which excerpt of a recording; zeros left out."""

    recording: int
    excerpts: int
    where: NDArray[np.intp]
    code: NDArray[np.intp]
    frames: NDArray[np.int16]


def _count(recordings: Sequence[Recording], number: int) -> _Counted:
    codes = _codes(recordings[number].labels())
    excerpts = -(-len(codes) // _EXCERPT)
    index = np.arange(len(codes)) // _EXCERPT * _BITS**2 + codes
    table = np.bincount(index, minlength=excerpts * _BITS**2).reshape(excerpts, _BITS**2)
    where, code = np.nonzero(table)
    return _Counted(number, excerpts, where, code, table[where, code].astype(np.int16))


def _codes(labels: NDArray[np.int8]) -> NDArray[np.int64]:
    bits = 1 << np.arange(labels.shape[1])
    codes: NDArray[np.int64] = (labels != UNKNOWN) @ bits * _BITS + (labels == 1) @ bits
    return codes


def _code(kind: Kind) -> int:
    return kind[1] * _BITS + kind[2]


class _Pool:
    """Where frames are mixed: in memory that is taken once, so that it cannot be fragmented."""

    def __init__(self, num_bins: int) -> None:
        capacity = _POOL + _EXCERPT
        self.size = 0
        self.parts = FrameSample(
            torch.empty(capacity, num_bins),
            torch.empty(capacity, len(CLASSES), dtype=torch.int8),
            torch.empty(capacity, dtype=torch.int64),
        )

    def add(self, sample: FrameSample) -> None:
        """Take frames in; there is room for those of an excerpt while `size` is below _POOL."""
        end = self.size + len(sample.spectra)
        for mine, theirs in zip(self.parts, sample, strict=True):
            mine[self.size : end] = theirs
        self.size = end

    def batches(self, rng: np.random.Generator, rest: bool = False) -> Iterator[FrameSample]:
        """Yield whole batches in random order; what is left stays here, unless asked for too."""
        order = torch.from_numpy(rng.permutation(self.size))
        whole = self.size if rest else self.size // BATCH * BATCH
        for first in range(0, whole, BATCH):
            rows = order[first : min(first + BATCH, whole)]
            yield FrameSample(*(part[rows] for part in self.parts))
        left = FrameSample(*(part[order[whole:]] for part in self.parts))
        self.size = 0
        self.add(left)
