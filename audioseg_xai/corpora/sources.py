"""Which files of which source become what: the rules of a `sources.yaml`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pydantic import Field, field_validator, model_validator

from audioseg_xai.config import Config
from audioseg_xai.corpora.pool import Kind, Split

AUDIO_SUFFIXES = (".wav", ".ogg", ".oga", ".opus", ".flac", ".mp3", ".wv", ".g722", ".gsm", ".au")


class Rule(Config):
    """What some of the files of a source are. In patterns `*` also crosses folders.

    Attributes
    ----------
    kind : str
        Files of kind `noise` that are shorter than `Sources.event_seconds` become events.
    include, exclude : tuple of str
        Glob patterns on the path inside the source.
    sung : tuple of str
        Patterns of music with vocals: left out unless `Sources.vocals` is set.
    pattern, speaker : str
        A regular expression searched in the path, and a template filled from its named groups
        and `{source}`: the speaker's name.
    split : str
        Where the files go.
    valid : tuple of str
        Patterns of files that go to `valid` all the same, such as a fold.
    valid_speakers : int or tuple of str
        Names of speakers that go to `valid`, or how many of the last ones in order do.
    """

    kind: Kind
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    sung: tuple[str, ...] = ()
    pattern: str = ""
    speaker: str = "{source}"
    split: Split = "train"
    valid: tuple[str, ...] = ()
    valid_speakers: int | tuple[str, ...] = 0

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return pattern

    def takes(self, path: str, vocals: bool) -> bool:
        """Tell whether this rule is about the file at `path`."""
        refused = self.exclude if vocals else [*self.exclude, *self.sung]
        return _matches(path, self.include) and not _matches(path, refused)

    def speaker_of(self, path: str, source: str) -> str | None:
        """Return who speaks in the file; None when this is not speech or the pattern fails."""
        if self.kind != "speech":
            return None
        found = re.search(self.pattern, path)
        return self.speaker.format(source=source, **found.groupdict()) if found else None


class Source(Config):
    """A package or a corpus: its name, licence and rules; the first rule that takes a file counts.

    Attributes
    ----------
    name : str
        Of the Debian package, or of the corpus.
    licence : str
        SPDX expression, as the copyright file of the package says.
    attribution : str
        Whom to name, for licences that ask for it.
    archives : tuple of str
        Patterns of zip archives inside the package that hold the audio.
    exclude : tuple of str
        Patterns of files that no rule shall take.
    rules : tuple of Rule
        At least one.
    """

    name: str
    licence: str
    attribution: str = ""
    archives: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = Field(min_length=1)


class Sources(Config):
    """A whole `sources.yaml`.

    Attributes
    ----------
    piece_seconds : float
        Longer files are cut into pieces of this length.
    min_seconds : float
        Shorter files and pieces are dropped.
    event_seconds : float
        Noise shorter than this is an event.
    silence_db : float
        Files and pieces whose mean power is below this (dB re full scale) are dropped.
    vocals : bool
        Whether music with vocals is taken.
    packages, extra_speech, extra_noise : tuple of Source
        Debian packages, and what may lie in the folders a user names on the command line.
    """

    piece_seconds: float = Field(60.0, gt=0)
    min_seconds: float = Field(0.3, ge=0)
    event_seconds: float = Field(3.0, ge=0)
    silence_db: float = -65.0
    vocals: bool = False
    packages: tuple[Source, ...] = ()
    extra_speech: tuple[Source, ...] = ()
    extra_noise: tuple[Source, ...] = ()

    @model_validator(mode="after")
    def _names_are_unique(self) -> Sources:
        names = [s.name for s in (*self.packages, *self.extra_speech, *self.extra_noise)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"sources named twice: {', '.join(twice)}")
        return self


@dataclass(frozen=True)
class Choice:
    """A file that a rule takes.

    Attributes
    ----------
    path : str
        Inside the source, with forward slashes.
    kind, split : str
        As in a pool.
    speaker : str or None
        Who speaks.
    """

    path: str
    kind: str
    speaker: str | None
    split: str


def choose(source: Source, paths: Iterable[str], vocals: bool = False) -> list[Choice]:
    """Apply the rules of a source.

    Parameters
    ----------
    source : Source
        The rules.
    paths : iterable of str
        Files inside the source; those that are no audio by their suffix are passed over.
    vocals : bool
        Whether music with vocals is taken.

    Returns
    -------
    list of Choice
        Sorted by path; speech whose speaker the pattern does not find is left out.
    """
    taken: dict[int, list[str]] = {}
    for path in sorted(paths):
        number = _rule_for(path, source, vocals)
        if number is not None:
            taken.setdefault(number, []).append(path)
    choices = [c for n, listed in taken.items() for c in _apply(source, source.rules[n], listed)]
    return sorted(choices, key=lambda choice: choice.path)


def _rule_for(path: str, source: Source, vocals: bool) -> int | None:
    if not path.lower().endswith(AUDIO_SUFFIXES) or _matches(path, source.exclude):
        return None
    numbers = (n for n, rule in enumerate(source.rules) if rule.takes(path, vocals))
    return next(numbers, None)


def _apply(source: Source, rule: Rule, paths: list[str]) -> list[Choice]:
    speakers = {path: rule.speaker_of(path, source.name) for path in paths}
    held_out = _held_out(rule, {name for name in speakers.values() if name is not None})
    return [
        Choice(path, rule.kind, speakers[path], _split(rule, path, speakers[path], held_out))
        for path in paths
        if rule.kind != "speech" or speakers[path] is not None
    ]


def _held_out(rule: Rule, speakers: set[str]) -> set[str]:
    if isinstance(rule.valid_speakers, tuple):
        return set(rule.valid_speakers)
    return set(sorted(speakers)[len(speakers) - rule.valid_speakers :])


def _split(rule: Rule, path: str, speaker: str | None, held_out: set[str]) -> str:
    if speaker in held_out or _matches(path, rule.valid):
        return "valid"
    return rule.split


def _matches(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)
