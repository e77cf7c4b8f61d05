"""Source pools: the folder of clean speech, music and noise files that mixtures are made of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from audioseg_xai.errors import CorpusError
from audioseg_xai.files import write_text_atomic

KINDS = ("speech", "music", "noise", "event", "distractor")
"""What an item is: noise goes on (3 s and more), events are short, distractors carry no label."""

SPLITS = ("train", "valid")
INDEX = "pool.jsonl"


@dataclass(frozen=True)
class PoolItem:
    """One audio file of a pool: FLAC, mono, 16 kHz.

    Attributes
    ----------
    path : str
        Relative to the pool, with forward slashes.
    kind : str
        One of `KINDS`.
    source : str
        The package or corpus it comes from.
    speaker : str or None
        Who speaks; every speech item has one.
    duration : float
        In seconds.
    licence : str
        An SPDX expression where there is one.
    split : str
        ``train`` or ``valid``.
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
        """Read and validate the index of a pool; the audio files are not looked at.

        Raises
        ------
        CorpusError
            If there is no index, or a line of it does not hold.
        """
        path = Path(root) / INDEX
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except OSError:
            raise CorpusError(
                f"{path}: no such index: make a pool with `xai-segment prepare open`"
            ) from None
        items = [_parse(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line]
        pool = cls(Path(root), tuple(sorted(items, key=lambda item: item.path)))
        pool.validate()
        return pool

    def write(self) -> None:
        """Validate the items and write the index, whole or not at all."""
        self.validate()
        ordered = sorted(self.items, key=lambda item: item.path)
        text = "".join(json.dumps(asdict(item), ensure_ascii=False) + "\n" for item in ordered)
        write_text_atomic(self.root / INDEX, text)

    def validate(self, audio: bool = False) -> None:
        """Check the items, one by one and together.

        Parameters
        ----------
        audio : bool
            Also check that every audio file is there.

        Raises
        ------
        CorpusError
            If a path comes twice, a value is impossible, or a speaker is in both splits.
        """
        seen: set[str] = set()
        for item in self.items:
            if item.path in seen:
                raise CorpusError(f"{self.root}: {item.path} is listed twice")
            seen.add(item.path)
            _check(item, f"{self.root}: {item.path}")
            if audio and not (self.root / item.path).is_file():
                raise CorpusError(f"{self.root}: {item.path} is listed but is not there")
        self._check_speakers()

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

    def _check_speakers(self) -> None:
        splits: dict[str, str] = {}
        for item in self.items:
            if item.speaker is None:
                continue
            if splits.setdefault(item.speaker, item.split) != item.split:
                raise CorpusError(
                    f"{self.root}: speaker {item.speaker} is in train and in valid: "
                    "leave whole speakers out"
                )


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


def _parse(line: str, where: str) -> PoolItem:
    try:
        values: dict[str, Any] = json.loads(line)
        return PoolItem(**{name.name: values.pop(name.name) for name in fields(PoolItem)}, **values)
    except (json.JSONDecodeError, AttributeError) as error:
        raise CorpusError(f"{where}: not a JSON object: {error}") from None
    except KeyError as error:
        raise CorpusError(f"{where}: key {error} is missing") from None
    except TypeError:
        raise CorpusError(f"{where}: unknown keys {', '.join(map(repr, values))}") from None


def _check(item: PoolItem, where: str) -> None:
    if Path(item.path).is_absolute() or ".." in Path(item.path).parts:
        raise CorpusError(f"{where}: the path must lie inside the pool")
    for name, allowed in (("kind", KINDS), ("split", SPLITS)):
        if getattr(item, name) not in allowed:
            raise CorpusError(
                f"{where}: {name} {getattr(item, name)!r} is none of {', '.join(allowed)}"
            )
    if not (isinstance(item.duration, int | float) and 0 < item.duration < float("inf")):
        raise CorpusError(f"{where}: duration {item.duration!r} is no positive number of seconds")
    if item.kind == "speech" and not item.speaker:
        raise CorpusError(f"{where}: speech without a speaker")
