"""Which corpus trains what, and which classes are labelled in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from audioseg_xai.config import Config
from audioseg_xai.errors import LabelError
from audioseg_xai.labels import parse_classes

Role = Literal["teacher", "student", "test"]
Network = Literal["teacher", "student"]


def _classes(names: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return parse_classes(names)
    except LabelError as error:
        raise ValueError(str(error)) from None


Classes = Annotated[tuple[str, ...], AfterValidator(_classes)]
"""Some of the four classes, or their aliases; comes out in the order of `labels.CLASSES`."""

Name = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
"""Name of a corpus or of a data directory."""


class TestSet(Config):
    """A data directory to test on, and the classes that are scored there."""

    classes: Classes


class CorpusUse(Config):
    """What a corpus is used for.

    `classes` are labelled in its training data; `train` and `valid` name the data directories
    that networks learn from and are chosen with; `tests` are those that results are reported on.
    """

    classes: Classes
    trains: tuple[Network, ...] = ()
    train: Name = "train"
    valid: Name | None = None
    tests: dict[Name, TestSet] = {}


class CorpusTable(Config):
    """The use of each corpus, by name."""

    corpora: dict[Name, CorpusUse]

    def rows(self, role: Role, data: str | None = None) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield what plays a role, and its classes.

        Parameters
        ----------
        role : {'teacher', 'student', 'test'}
            What is trained, or whether it is tested on.
        data : {'train', 'valid'}, optional
            Name the data directory as well: ``<corpus>/<directory>``. Corpora without one are
            left out. Tests are always named so.
        """
        for name, use in self.corpora.items():
            if role == "test":
                yield from ((f"{name}/{test}", part.classes) for test, part in use.tests.items())
            elif role in use.trains:
                folder = {"train": use.train, "valid": use.valid}[data] if data else ""
                if folder is not None:
                    yield (f"{name}/{folder}" if folder else name), use.classes
