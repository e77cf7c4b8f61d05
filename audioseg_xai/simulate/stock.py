"""What one split of a pool offers to draw from, and the reading of pieces of its files."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from audioseg_xai.corpora.pool import INDEX, KINDS, Pool, PoolItem
from audioseg_xai.errors import CorpusError
from audioseg_xai.frames import SAMPLE_RATE
from audioseg_xai.simulate.activity import Floats

_SOURCE_CAP = 3600.0


class Group:
    """Files to draw from, balanced over what `key` calls the same (a voice, a source).

    A group of D seconds is drawn with a weight of sqrt(min(D, cap)), a file inside it by its
    duration up to 30 s: large sources lead without drowning the small ones.
    """

    def __init__(self, files: Sequence[PoolItem], keys: Sequence[str], cap: float) -> None:
        members: dict[str, list[PoolItem]] = defaultdict(list)
        for file, key in zip(files, keys, strict=True):
            members[key].append(file)
        self.names = sorted(members)
        self.members = [members[name] for name in self.names]
        totals = np.array([sum(file.duration for file in part) for part in self.members])
        self._shares = _cumulative(np.sqrt(np.minimum(totals, cap)))
        self._inner = [
            _cumulative(np.minimum([file.duration for file in part], 30.0)) for part in self.members
        ]

    def draw(self, rng: np.random.Generator) -> int:
        """Return the position of a group."""
        return int(np.searchsorted(self._shares, rng.random(), side="right"))

    def draw_file(self, rng: np.random.Generator, group: int | None = None) -> PoolItem:
        """Return a file of `group`, or of a drawn one."""
        position = self.draw(rng) if group is None else group
        inner = int(np.searchsorted(self._inner[position], rng.random(), side="right"))
        return self.members[position][inner]


class Stock:
    """The files of one split of a pool by kind, balanced over voices and sources.

    Parameters
    ----------
    pool : Pool
        The pool.
    split : str
        Which of its files to use.
    speaker_cap : float
        Seconds beyond which more material of a voice does not raise its weight.

    Raises
    ------
    CorpusError
        If the pool has nothing for this split, or lists a file of it that is not there.
    """

    def __init__(self, pool: Pool, split: str, speaker_cap: float = 300.0) -> None:
        self.root = pool.root
        pool.of_split(split)  # refuses one that is not there
        self._groups: dict[str, Group] = {}
        for kind in KINDS:
            found = pool.select(kind, split)
            if found and kind == "speech":
                self._groups[kind] = Group(found, [_voice(item) for item in found], speaker_cap)
            elif found:
                self._groups[kind] = Group(found, [item.source for item in found], _SOURCE_CAP)

    def __contains__(self, kind: str) -> bool:
        """Return whether there is any file of `kind`."""
        return kind in self._groups

    def group(self, kind: str) -> Group:
        """Return the files of `kind`.

        Raises
        ------
        CorpusError
            If the pool has none.
        """
        if kind not in self._groups:
            raise CorpusError(
                f"{self.root / INDEX}: no file of kind {kind!r} in this split, which a "
                f"scene of the configuration needs: add some, or give that scene the weight 0"
            )
        return self._groups[kind]


class SourceReader:
    """Reads parts of source files, and keeps short parts decoded for the next time.

    Parameters
    ----------
    root : Path
        Folder that the paths are relative to.
    cache_bytes : int
        Size that the decoded parts may take together (16-bit samples).
    """

    def __init__(self, root: Path, cache_bytes: int) -> None:
        self._root = root
        self._limit = cache_bytes
        self._used = 0
        self._cache: OrderedDict[tuple[str, int, int], NDArray[np.int16]] = OrderedDict()

    def read(self, file: PoolItem, start: int, size: int, *, keep: bool = True) -> Floats:
        """Return up to `size` samples of `file` from sample `start`, in [-1, 1]."""
        key = (file.path, start, size)
        samples = self._cache.get(key)
        if samples is None:
            samples = self._decode(file, start, size)
            if keep:
                self._remember(key, samples)
        else:
            self._cache.move_to_end(key)
        return samples.astype(np.float32) / np.float32(32768)

    def _decode(self, file: PoolItem, start: int, size: int) -> NDArray[np.int16]:
        path = self._root / file.path
        try:
            with soundfile.SoundFile(path) as handle:
                if handle.samplerate != SAMPLE_RATE or handle.channels != 1:
                    raise CorpusError(
                        f"{path}: {handle.samplerate} Hz, {handle.channels} channels: the audio "
                        f"of a pool is {SAMPLE_RATE} Hz mono"
                    )
                handle.seek(min(start, handle.frames))
                return np.asarray(handle.read(size, dtype="int16"))
        except soundfile.LibsndfileError as error:
            raise CorpusError(f"{path}: cannot be decoded: {error}") from None

    def _remember(self, key: tuple[str, int, int], samples: NDArray[np.int16]) -> None:
        self._cache[key] = samples
        self._used += samples.nbytes
        while self._used > self._limit:
            _, oldest = self._cache.popitem(last=False)
            self._used -= oldest.nbytes


def _voice(item: PoolItem) -> str:
    """Return who speaks; files of a source without speaker names count as one voice."""
    return f"{item.source}/{item.speaker or ''}"


def _cumulative(weights: Any) -> NDArray[np.float64]:
    total = np.cumsum(np.asarray(weights, np.float64))
    return np.asarray(total / total[-1])
