"""Source pools: the folder of clean speech, music and noise files that mixtures are made of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from audioseg_xai.errors import CorpusError
from audioseg_xai.files import write_text_atomic

Kind = Literal["speech", "music", "noise", "event", "distractor"]
"""What an item is: noise goes on (3 s and more), events are short, distractors carry no label."""

Split = Literal["train", "valid"]

KINDS: tuple[str, ...] = get_args(Kind)
SPLITS: tuple[str, ...] = get_args(Split)
INDEX = "pool.jsonl"

_NEEDED = ("path", "kind", "source", "duration", "split")


@dataclass(frozen=True)
class PoolItem:
    """One audio file of a pool: mono, 16 kHz, in a format that libsndfile reads.

    Attributes
    ----------
    path : str
        Relative to the pool, with forward slashes.
    kind : str
        One of `KINDS`.
    source : str
        The package or corpus it comes from.
    speaker : str or None
        Who speaks; files of a source that names nobody count as one speaker.
    duration : float
        In seconds.
    licence : str
        An SPDX expression where there is one; empty when the index does not say.
    split : str
        ``train`` or ``valid``; an index written by hand may have others.
    """

    path: str
    kind: str
    source: str
    speaker: str | None
    duration: float
    licence: str
    split: str


@dataclass(frozen=True)
class Pool:
    """A pool on disk: its folder and its items, sorted by path."""

    root: Path
    items: tuple[PoolItem, ...] = field(default=())

    @classmethod
    def read(cls, root: str | Path) -> Pool:
        """Read and check the index of a pool; the audio files are not looked at.

        An index written by hand may leave out licences and speakers, name splits of its own, and
        have keys beyond those of an item, which are passed over.

        Raises
        ------
        CorpusError
            If there is no index, a line of it does not hold, a path comes twice, or a speaker is
            in two splits.
        """
        index = Path(root) / INDEX
        # Not splitlines: a path may hold a character that counts as the end of a line there.
        lines = enumerate(_text(index).split("\n"), 1)
        places = [(f"{index}:{number}", line) for number, line in lines if line.strip()]
        items = {where: _parse(line, where) for where, line in places}
        _check_all(items.items())
        return cls(Path(root), tuple(sorted(items.values(), key=lambda item: item.path)))

    def write(self) -> None:
        """Validate the items and write the index, whole or not at all."""
        self.validate()
        ordered = sorted(self.items, key=lambda item: item.path)
        text = "".join(json.dumps(asdict(item), ensure_ascii=False) + "\n" for item in ordered)
        write_text_atomic(self.root / INDEX, text)

    def validate(self, audio: bool = False) -> None:
        """Check the items, one by one and together, as strictly as a pool is written.

        Parameters
        ----------
        audio : bool
            Also check that every audio file is there.

        Raises
        ------
        CorpusError
            If a path comes twice, a value is impossible, speech has no speaker, a split is neither
            ``train`` nor ``valid``, or a speaker is in both.
        """
        places = [(f"{self.root}: {item.path}", item) for item in self.items]
        _check_all(places)
        for where, item in places:
            if item.split not in SPLITS:
                raise CorpusError(f"{where}: split {item.split!r} is none of {', '.join(SPLITS)}")
            if item.kind == "speech" and not item.speaker:
                raise CorpusError(f"{where}: speech without a speaker: name who speaks")
        if audio:
            self.check_audio(self.items)

    def of_split(self, split: str) -> list[PoolItem]:
        """Return the items of a split, once it is certain that there are any, and their audio.

        Raises
        ------
        CorpusError
            If the pool has nothing for this split, or lists a file of it that is not there.
        """
        listed = [item for item in self if item.split == split]
        if not listed:
            known = ", ".join(sorted({item.split for item in self})) or "none"
            raise CorpusError(
                f"{self.root / INDEX}: no file of split {split!r} (splits found: {known})"
            )
        self.check_audio(listed)
        return listed

    def check_audio(self, items: Iterable[PoolItem]) -> None:
        """Raise a CorpusError when the audio file of one of `items` is not there."""
        missing = [item.path for item in items if not (self.root / item.path).is_file()]
        if missing:
            raise CorpusError(
                f"{self.root / INDEX}: listed, but not there: {missing[0]!r}{_others(missing)}: "
                "build the pool again, or put the audio where the index says"
            )

    def select(self, kind: str, split: str) -> list[PoolItem]:
        """Return the items of one kind and one split, in order of path."""
        return [item for item in self.items if item.kind == kind and item.split == split]

    def by_speaker(self, split: str) -> dict[str, list[PoolItem]]:
        """Return the speech items of a split by speaker, speakers in order."""
        speakers: dict[str, list[PoolItem]] = {}
        for item in self.select("speech", split):
            speakers.setdefault(item.speaker or item.source, []).append(item)
        return dict(sorted(speakers.items()))

    def summary(self) -> list[Summary]:
        """Return files, hours and speakers of each kind, source and split."""
        groups: dict[tuple[int, str, str], list[PoolItem]] = {}
        for item in self.items:
            key = (KINDS.index(item.kind), item.source, item.split)
            groups.setdefault(key, []).append(item)
        return [Summary.of(groups[key]) for key in sorted(groups)]

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.items)

    def __iter__(self) -> Iterator[PoolItem]:
        """Go through the items in order of path."""
        return iter(self.items)


@dataclass(frozen=True)
class Summary:
    """How much there is of one kind, source and split."""

    kind: str
    source: str
    split: str
    files: int
    hours: float
    speakers: int

    @classmethod
    def of(cls, items: Iterable[PoolItem]) -> Summary:
        """Add up items of one kind, source and split."""
        listed = list(items)
        first = listed[0]
        return cls(
            first.kind,
            first.source,
            first.split,
            len(listed),
            sum(item.duration for item in listed) / 3600,
            len({item.speaker for item in listed if item.speaker is not None}),
        )


def _text(index: Path) -> str:
    try:
        return index.read_text(encoding="utf-8")
    except OSError as error:
        raise CorpusError(
            f"{index}: cannot be read ({error.strerror}): a pool is a folder with {INDEX} and its "
            "audio; make one with `xai-segment prepare open`"
        ) from None
    except UnicodeDecodeError as error:
        raise CorpusError(f"{index}: not UTF-8 ({error}): save it as UTF-8") from None


def _parse(line: str, where: str) -> PoolItem:
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise CorpusError(f"{where}: not a line of JSON: {error}") from None
    if not isinstance(row, dict):
        raise CorpusError(f"{where}: expected a JSON object, found a {type(row).__name__}")
    absent = [key for key in _NEEDED if row.get(key) is None]
    if absent:
        raise CorpusError(f"{where}: no {absent[0]!r}: a line has {', '.join(_NEEDED)}")
    duration, speaker = row["duration"], row.get("speaker")
    return PoolItem(
        path=str(row["path"]),
        kind=str(row["kind"]),
        source=str(row["source"]),
        speaker=None if speaker in (None, "") else str(speaker),
        duration=float(duration) if isinstance(duration, int) else duration,  # else _check tells
        licence=str(row.get("licence") or ""),
        split=str(row["split"]),
    )


def _check_all(places: Iterable[tuple[str, PoolItem]]) -> None:
    """Check items that come with where to find them, for the message."""
    seen: set[str] = set()
    splits: dict[str, str] = {}
    for where, item in places:
        _check(item, where)
        if item.path in seen:
            raise CorpusError(f"{where}: {item.path!r} is listed twice: leave one of the lines out")
        seen.add(item.path)
        if item.speaker and splits.setdefault(item.speaker, item.split) != item.split:
            raise CorpusError(
                f"{where}: speaker {item.speaker} is in {splits[item.speaker]} and in "
                f"{item.split}: leave whole speakers out"
            )


def _check(item: PoolItem, where: str) -> None:
    path = Path(item.path)
    if path.is_absolute() or ".." in path.parts:
        raise CorpusError(
            f"{where}: path {item.path!r} must lie inside the pool: put the file there"
        )
    if item.kind not in KINDS:
        raise CorpusError(f"{where}: kind {item.kind!r} is none of {', '.join(KINDS)}")
    if not (isinstance(item.duration, int | float) and 0 < item.duration < float("inf")):
        raise CorpusError(f"{where}: duration {item.duration!r} is no positive number of seconds")


def _others(missing: list[str]) -> str:
    return f" and {len(missing) - 1} more" if len(missing) > 1 else ""
