"""Where crops lie: recordings by duration, corpora by share, rare classes more often."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from audioseg_xai.archive import Archive, ArchiveEntry, full_labels
from audioseg_xai.config import Config
from audioseg_xai.errors import TrainingError
from audioseg_xai.labels import UNKNOWN

Share = Annotated[float, Field(gt=0)]


class BalanceConfig(Config):
    """How often crops come from which corpus, and show which class.

    Attributes
    ----------
    corpora : {'hours', 'equal'} or dict
        Draw from each corpus in proportion to its hours, equally often, or in proportion to the
        weight that stands at its name: a part of the path of its archive, ``dihard`` for
        ``exp/archives/dihard/train``.
    classes : float
        Share of the crops that are drawn for a class: each class that is active in a corpus has
        its turn equally often there, and frames of it are equally likely to be in the crop.
    crops_per_recording : int, optional
        So many crops in a row come from one recording, which has to be opened once for all of
        them: for archives of very many short recordings on a file system that is slow to open
        files. Crops of a batch are then more alike. By default each crop is drawn on its own.
    """

    corpora: Literal["hours", "equal"] | dict[str, Share] = "hours"
    classes: float = Field(default=0.0, ge=0, le=1)
    crops_per_recording: int | None = Field(default=None, ge=1)


class Recording(NamedTuple):
    """A recording of one of several archives."""

    archive: Archive
    entry: ArchiveEntry

    def labels(self) -> NDArray[np.int8]:
        """Return its labels (T, 4), and read nothing else.

        Raises
        ------
        ArchiveError
            If the file is missing or damaged.
        """
        return self.archive.read_labels(self.entry)


class Place(NamedTuple):
    """A crop: frames from `start` on of a recording."""

    recording: Recording
    start: int


def recordings_of(archives: Iterable[Archive]) -> list[Recording]:
    """Return all recordings of several archives."""
    return [Recording(archive, entry) for archive in archives for entry in archive.entries]


def known_classes(archives: Iterable[Archive], classes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the classes that at least one recording of the archives has labels for."""
    known: set[str] = set()
    for recording in recordings_of(archives):
        seen = (full_labels(recording.labels(), classes) != UNKNOWN).any(axis=0)
        known |= {name for name, there in zip(classes, seen, strict=True) if there}
        if len(known) == len(classes):
            break
    return tuple(name for name in classes if name in known)


class Parts:
    """Recordings cut into parts, and how many frames of each part show which class.

    Each label is read once, and what is kept is a few bytes a part.

    Parameters
    ----------
    recordings : sequence of Recording
        What is cut.
    length : int
        Frames of a part; the last one of a recording may be shorter.
    classes : tuple of str
        Axis C.

    Attributes
    ----------
    owner : numpy.ndarray, shape (n,)
        Number of the recording that a part belongs to.
    start, stop : numpy.ndarray, shape (n,)
        Its frames, ``[start, stop)``.
    active : numpy.ndarray, shape (n, C)
        In how many of them each class is known to be active.
    """

    def __init__(
        self, recordings: Sequence[Recording], length: int, classes: tuple[str, ...]
    ) -> None:
        frames = [recording.entry.num_frames for recording in recordings]
        starts = [np.arange(0, total, length) for total in frames]
        self.owner = np.repeat(np.arange(len(recordings)), [len(each) for each in starts])
        self.start = np.concatenate(starts)
        self.stop = np.minimum(self.start + length, np.array(frames)[self.owner])
        counts = [
            np.add.reduceat(full_labels(recording.labels(), classes) == 1, each, axis=0, dtype=int)
            for recording, each in zip(recordings, starts, strict=True)
        ]
        self.active = np.concatenate(counts).astype(np.int32)

    def place(
        self, number: int, recording: Recording, crop: int, rng: np.random.Generator
    ) -> Place:
        """Return a crop of `recording` drawn from all those that hold the whole of part `number`.

        A recording that is shorter than a crop gives the one that begins with it.
        """
        low = max(0, int(self.stop[number]) - crop)
        high = min(int(self.start[number]), max(0, recording.entry.num_frames - crop))
        return Place(recording, int(rng.integers(low, high + 1)))


class CropSampler:
    """Draws crops of recordings.

    Parameters
    ----------
    archives : sequence of Archive
        The corpora.
    crop : int
        Frames a crop; shorter recordings are never drawn.
    balance : BalanceConfig
        Shares of corpora and classes.
    classes : tuple of str
        Those that have their turn, if `balance` says so.

    Raises
    ------
    TrainingError
        If a corpus has no recording of that length, or the weights do not name the corpora.
    """

    def __init__(
        self,
        archives: Sequence[Archive],
        crop: int,
        balance: BalanceConfig,
        classes: tuple[str, ...],
    ) -> None:
        self.crop, self.share = crop, balance.classes
        self.together = balance.crops_per_recording or 1
        self.recordings = recordings_of(archives)
        lengths = np.array([each.entry.num_frames for each in self.recordings], dtype=float)
        usable = np.where(lengths >= crop, lengths, 0)
        owner = np.repeat(np.arange(len(archives)), [len(archive) for archive in archives])
        _check_lengths(archives, owner, usable, crop)
        pools = _pools(archives, owner, balance)
        self.weights = np.zeros(len(usable))
        for share, members in pools:
            self.weights[members] = share * (usable[members] / usable[members].sum())
        if self.share:
            self._prepare_parts(pools, classes)

    def draw(self, rng: np.random.Generator, number: int) -> list[Place]:
        """Return `number` crops."""
        visits = -(-number // self.together)
        chosen = rng.choice(len(self.recordings), visits, p=self.weights)
        chosen = np.repeat(chosen, self.together)[:number]
        places = [self._anywhere(self.recordings[index], rng) for index in chosen]
        if self.share:
            for turn in np.flatnonzero(rng.random(number) < self.share):
                places[turn] = self._for_class(rng)
        return places

    def _anywhere(self, recording: Recording, rng: np.random.Generator) -> Place:
        return Place(recording, int(rng.integers(recording.entry.num_frames - self.crop + 1)))

    def _for_class(self, rng: np.random.Generator) -> Place:
        part = int(np.searchsorted(self._cumulated, rng.random(), side="right"))
        recording = self._long[self._parts.owner[part]]
        return self._parts.place(part, recording, self.crop, rng)

    def _prepare_parts(self, pools: Sequence[_Pool], classes: tuple[str, ...]) -> None:
        kept = np.flatnonzero(self.weights)
        self._long = [self.recordings[index] for index in kept]
        # A crop holds any part of half its length whole, from many positions.
        self._parts = Parts(self._long, max(1, self.crop // 2), classes)
        pool_of = np.empty(len(self.recordings), dtype=int)
        for number, (_, members) in enumerate(pools):
            pool_of[members] = number
        part_pool = pool_of[kept][self._parts.owner]
        weights = np.zeros(len(part_pool))
        for number, (share, _) in enumerate(pools):
            members = part_pool == number
            weights[members] = share * self._turns(members)
        cumulated = np.cumsum(weights)
        self._cumulated = cumulated / cumulated[-1]

    def _turns(self, members: NDArray[np.bool_]) -> NDArray[np.floating]:
        """Return the chance of each part of a pool: classes in turn, each by its frames."""
        active = self._parts.active[members].astype(float)
        totals = active.sum(axis=0)
        if not totals.any():  # nothing is known of what it holds: all is equally likely
            return _normalised((self._parts.stop - self._parts.start)[members].astype(float))
        return _normalised((active[:, totals > 0] / totals[totals > 0]).sum(axis=1))


_Pool = tuple[float, NDArray[np.intp]]
"""Share of the crops, and the numbers of the recordings that they come from."""


def _pools(
    archives: Sequence[Archive], owner: NDArray[np.intp], balance: BalanceConfig
) -> list[_Pool]:
    if balance.corpora == "hours":
        return [(1.0, np.arange(len(owner)))]
    if balance.corpora == "equal":
        shares = np.ones(len(archives))
    else:
        shares = np.array(_named_weights(archives, balance.corpora))
    listed = _normalised(shares).tolist()
    return [(share, np.flatnonzero(owner == number)) for number, share in enumerate(listed)]


def _named_weights(archives: Sequence[Archive], weights: dict[str, float]) -> list[float]:
    found: dict[int, float] = {}
    for name, weight in weights.items():
        named = [number for number, archive in enumerate(archives) if _names(name, archive)]
        if len(named) != 1 or named[0] in found:
            raise TrainingError(
                f"data.balance.corpora: {name!r} is part of the paths of {len(named)} archives, or "
                "of one named before: give each archive a part of its path that no other has"
            )
        found[named[0]] = weight
    missing = [archive for number, archive in enumerate(archives) if number not in found]
    if missing:
        raise TrainingError(
            f"data.balance.corpora: no weight for {missing[0].folder}: name a part of its path"
        )
    return [found[number] for number in range(len(archives))]


def _names(name: str, archive: Archive) -> bool:
    wanted, parts = PurePath(name).parts, archive.folder.parts
    ends = range(len(wanted), len(parts) + 1)
    return bool(wanted) and any(parts[end - len(wanted) : end] == wanted for end in ends)


def _check_lengths(
    archives: Sequence[Archive], owner: NDArray[np.intp], usable: NDArray[np.floating], crop: int
) -> None:
    for number, archive in enumerate(archives):
        if not usable[owner == number].any():
            raise TrainingError(
                f"{archive.folder}: no recording is as long as a crop of {crop} frames: "
                "lower 'crop'"
            )


def _normalised(values: NDArray[np.floating]) -> NDArray[np.floating]:
    return values / values.sum()
