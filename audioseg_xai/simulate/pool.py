"""The pool of source audio that mixtures are made of."""

from __future__ import annotations

import json
from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from audioseg_xai.errors import CorpusError
from audioseg_xai.frames import SAMPLE_RATE
from audioseg_xai.simulate.activity import Floats

KINDS = ("speech", "music", "noise", "event", "distractor")
"""What a source file may be; a distractor is played softly and never labelled."""

_KEYS = ("path", "kind", "source", "duration", "split")


@dataclass(frozen=True)
class PoolFile:
    """One source file: where it lies, what it is, who speaks, how long it lasts (seconds)."""

    path: str
    kind: str
    source: str
    duration: float
    split: str
    speaker: str | None = None

    @property
    def voice(self) -> str:
        """Who speaks; files of a source without speaker names count as one voice."""
        return f"{self.source}/{self.speaker or ''}"


class Group:
    """Files to draw from, balanced over what `key` calls the same (a voice, a source).

    A group of D seconds is drawn with a weight of sqrt(min(D, cap)), a file inside it by its
    duration up to 30 s: large sources lead without drowning the small ones.
    """

    def __init__(self, files: Sequence[PoolFile], keys: Sequence[str], cap: float) -> None:
        members: dict[str, list[PoolFile]] = defaultdict(list)
        for file, key in zip(files, keys, strict=True):
            members[key].append(file)
        self.names = sorted(members)
        self.members = [members[name] for name in self.names]
        totals = np.array([sum(file.duration for file in part) for part in self.members])
        self._shares = _cumulative(np.sqrt(np.minimum(totals, cap)))
        self._inner = [
            _cumulative(np.minimum([file.duration for file in part], 30.0))
            for part in self.members
        ]

    def draw(self, rng: np.random.Generator) -> int:
        """Return the position of a group."""
        return int(np.searchsorted(self._shares, rng.random(), side="right"))

    def draw_file(self, rng: np.random.Generator, group: int | None = None) -> PoolFile:
        """Return a file of `group`, or of a drawn one."""
        position = self.draw(rng) if group is None else group
        inner = int(np.searchsorted(self._inner[position], rng.random(), side="right"))
        return self.members[position][inner]


class Pool:
    """The files of one split, by kind.

    Parameters
    ----------
    root : Path
        Folder of the pool.
    files : sequence of PoolFile
        Its files.
    speaker_cap : float
        Seconds beyond which more material of a voice does not raise its weight.
    """

    def __init__(self, root: Path, files: Sequence[PoolFile], speaker_cap: float = 300.0) -> None:
        self.root = root
        self.files = tuple(files)
        self._groups: dict[str, Group] = {}
        for kind in KINDS:
            found = [file for file in files if file.kind == kind]
            keys = [file.voice if kind == "speech" else file.source for file in found]
            if found:
                self._groups[kind] = Group(found, keys, speaker_cap if kind == "speech" else 3600.0)

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
                f"{self.root / 'pool.jsonl'}: no file of kind {kind!r} in this split, which a "
                f"scene of the configuration needs: add some, or give that scene the weight 0"
            )
        return self._groups[kind]

    @classmethod
    def read(cls, root: str | Path, split: str, speaker_cap: float = 300.0) -> Pool:
        """Read the files of `split` from the ``pool.jsonl`` of the folder `root`.

        Raises
        ------
        CorpusError
            If the list is missing, holds a wrong line, names a file that is not there, or has
            nothing for this split.
        """
        listing = Path(root) / "pool.jsonl"
        try:
            lines = listing.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise CorpusError(
                f"{listing}: cannot be read ({error}): --pool wants a folder with pool.jsonl"
            ) from None
        parsed = [
            _parse(line, f"{listing}:{number}")
            for number, line in enumerate(lines, 1)
            if line.strip()
        ]
        files = [file for file in parsed if file.split == split]
        if not files:
            known = ", ".join(sorted({file.split for file in parsed})) or "none"
            raise CorpusError(f"{listing}: no file of split {split!r} (splits found: {known})")
        missing = [file.path for file in files if not (Path(root) / file.path).is_file()]
        if missing:
            raise CorpusError(
                f"{listing}: {len(missing)} listed files are not there, the first {missing[0]!r}: "
                f"build the pool again"
            )
        return cls(Path(root), sorted(files, key=lambda file: file.path), speaker_cap)


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

    def read(self, file: PoolFile, start: int, size: int, *, keep: bool = True) -> Floats:
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

    def _decode(self, file: PoolFile, start: int, size: int) -> NDArray[np.int16]:
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


def _parse(line: str, where: str) -> PoolFile:
    try:
        row: Any = json.loads(line)
    except json.JSONDecodeError as error:
        raise CorpusError(f"{where}: not a line of JSON: {error}") from None
    if not isinstance(row, Mapping):
        raise CorpusError(f"{where}: expected an object, found a {type(row).__name__}")
    absent = [key for key in _KEYS if key not in row]
    if absent:
        raise CorpusError(f"{where}: no {absent[0]!r}: a pool line has {', '.join(_KEYS)}")
    if row["kind"] not in KINDS:
        raise CorpusError(f"{where}: kind {row['kind']!r} is none of {', '.join(KINDS)}")
    duration = row["duration"]
    if not isinstance(duration, (int, float)) or not duration > 0:
        raise CorpusError(f"{where}: duration {duration!r} is not a positive number of seconds")
    texts = {key: str(row[key]) for key in ("path", "kind", "source", "split")}
    speaker = row.get("speaker")
    return PoolFile(duration=float(duration), speaker=speaker and str(speaker), **texts)


def _cumulative(weights: Any) -> NDArray[np.float64]:
    total = np.cumsum(np.asarray(weights, np.float64))
    return np.asarray(total / total[-1])
