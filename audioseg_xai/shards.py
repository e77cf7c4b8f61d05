"""Shares of a list of recordings, and the record beside each output that tells whether it is whole.

Beside ``part.2.rttm`` lies ``part.2.rttm.json``: which share of how many it is, which recordings
went in and which of them failed, what all shares must have in common, and the digest of the file.
It is written last, so a file without a record that fits it is not whole.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click

from audioseg_xai.errors import ShardError, UsageError
from audioseg_xai.files import sha256_file, write_text_atomic

ItemT = TypeVar("ItemT")
FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


@dataclass(frozen=True)
class Job:
    """A share of some work.

    Attributes
    ----------
    number : int
        Which, from 1.
    total : int
        Of how many.
    """

    number: int
    total: int

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"

    @classmethod
    def parse(cls, text: str) -> Job:
        """Return the job that `text`, such as ``2/8``, means.

        Raises
        ------
        UsageError
            If it is no such pair, or beyond its number.
        """
        number, _, total = text.partition("/")
        if not (number.isdecimal() and total.isdecimal() and 1 <= int(number) <= int(total)):
            raise UsageError(f"--job {text}: say which part of how many, such as 2/8")
        return cls(int(number), int(total))

    def share(self, items: Sequence[ItemT], weights: Sequence[float] = ()) -> list[ItemT]:
        """Return the items that this job does, in their order.

        All jobs together do each item once. The heaviest items are dealt out first, each to the
        job with the least to do so far (the lowest number of several): the largest sum of weights
        is at most 4/3 of the smallest possible one (R. L. Graham, "Bounds on multiprocessing
        timing anomalies", SIAM J. Appl. Math. 17, 1969, theorem 2).

        Parameters
        ----------
        items : sequence
            All the work.
        weights : sequence of float, optional
            How much work each item is, such as its duration; equal by default.
        """
        sizes = list(weights) or [1.0] * len(items)
        queue = [(0.0, number) for number in range(1, self.total + 1)]
        mine = []
        for index in sorted(range(len(items)), key=lambda i: (-sizes[i], i)):
            load, number = queue[0]
            heapq.heapreplace(queue, (load + sizes[index], number))
            if number == self.number:
                mine.append(index)
        return [items[index] for index in sorted(mine)]


def job_option(function: FunctionT) -> FunctionT:
    """Add `--job`, passed as `job`: a Job, or None."""
    return click.option(
        "--job",
        metavar="I/N",
        callback=lambda ctx, parameter, value: None if value is None else Job.parse(value),
        help="Do share I of N of the recordings; xai-segment join puts the outputs together.",
    )(function)


# --- records ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ShardRecord:
    """What a record tells about its file.

    Attributes
    ----------
    job : Job
        Which share it is.
    recordings : dict of str to int
        Place in the whole list, from 0, of each recording that went in.
    failed : tuple of str
        Those of them that nothing was made of.
    whole_list : str
        Digest of the whole list.
    settings : dict
        What all shares must have in common, such as the digest of the model.
    sha256 : str
        Digest of the file.
    """

    job: Job
    recordings: dict[str, int]
    failed: tuple[str, ...]
    whole_list: str
    settings: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""


class Shard:
    """One job's share of a list of recordings, and the records of what it makes.

    Parameters
    ----------
    uris : sequence of str
        The whole list.
    job : Job
        Which share of it.
    durations : sequence of float, optional
        Of each recording, in seconds, so that the shares take equally long.

    Attributes
    ----------
    places : list of int
        Where in the list its recordings stand, from 0.
    """

    def __init__(self, uris: Sequence[str], job: Job, durations: Sequence[float] = ()) -> None:
        self.uris, self.job = list(uris), job
        self.places = job.share(range(len(self.uris)), durations)

    def begin(self, outputs: Iterable[Path | None]) -> None:
        """Remove the records of `outputs`: what is there from before is whole no longer."""
        for output in outputs:
            if output is not None:
                record_path(output).unlink(missing_ok=True)

    def finish(
        self, outputs: Iterable[Path | None], done: Container[str], settings: Mapping[str, Any]
    ) -> None:
        """Write the record of each of `outputs`.

        Parameters
        ----------
        outputs : iterable of Path or None
            What was made; None is nothing.
        done : container of str
            The recordings that did not fail.
        settings : mapping
            What all shares must have in common; must serialise to JSON.
        """
        mine = {self.uris[place]: place for place in self.places}
        failed = tuple(uri for uri in mine if uri not in done)
        text = "\n".join(self.uris)
        whole_list = hashlib.sha256(text.encode()).hexdigest()
        for output in outputs:
            if output is not None:
                record = ShardRecord(
                    self.job, mine, failed, whole_list, dict(settings), sha256_file(output)
                )
                write_text_atomic(record_path(output), json.dumps(asdict(record), indent=1) + "\n")


def record_path(path: str | Path) -> Path:
    """Return where the record of the file `path` lies."""
    return Path(f"{path}.json")


def read_record(path: str | Path) -> ShardRecord:
    """Return the record of the file `path`, which fits it.

    Raises
    ------
    ShardError
        If the file is missing, or not whole.
    """
    record = _parse_record(path)
    if not Path(path).is_file():
        raise ShardError(f"{path}: no such file: {_again(record)}")
    if sha256_file(path) != record.sha256:
        raise ShardError(f"{path}: is not what {record_path(path).name} tells: {_again(record)}")
    return record


def _parse_record(path: str | Path) -> ShardRecord:
    place = record_path(path)
    try:
        values = json.loads(place.read_text(encoding="utf-8"))
        job, failed = Job(**values.pop("job")), tuple(values.pop("failed"))
        return ShardRecord(job=job, failed=failed, **values)
    except FileNotFoundError:
        raise ShardError(
            f"{path}: is not whole, or no shard (no {place.name}): make it with --job"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ShardError(f"{place}: is no record of a shard: {error}: run the job again") from None


def _again(record: ShardRecord) -> str:
    return f"run job {record.job} again"


def read_records(paths: Sequence[str | Path]) -> dict[str | Path, ShardRecord]:
    """Return the records of shards that make up a whole, by file, in the order of the jobs.

    Raises
    ------
    ShardError
        If a shard is missing or not whole, or they are not shards of one thing; names all of them.
    """
    records: dict[str | Path, ShardRecord] = {}
    problems = []
    for path in paths:
        try:
            records[path] = read_record(path)
        except ShardError as error:
            problems.append(str(error))
    if problems:
        raise ShardError("; ".join(problems))
    _check_alike(records)
    _check_complete(records)
    return dict(sorted(records.items(), key=lambda item: item[1].job.number))


def _check_alike(records: Mapping[str | Path, ShardRecord]) -> None:
    (first, model), *others = records.items()
    for path, record in others:
        if record.job.total != model.job.total:
            raise ShardError(f"{path}: is share {record.job}, but {first} is {model.job}")
        if record.whole_list != model.whole_list:
            raise ShardError(f"{path}: was made of another list of recordings than {first}")
        names = sorted({*record.settings, *model.settings})
        unlike = [n for n in names if record.settings.get(n) != model.settings.get(n)]
        if unlike:
            raise ShardError(
                f"{path}: was made with another {' and '.join(unlike)} than {first}: "
                f"{_again(record)}"
            )


def _check_complete(records: Mapping[str | Path, ShardRecord]) -> None:
    found: dict[int, str | Path] = {}
    total = 0
    for path, record in records.items():
        number, total = record.job.number, record.job.total
        if number in found:
            raise ShardError(f"{found[number]} and {path}: are both share {record.job}")
        found[number] = path
    missing = [f"{number}/{total}" for number in range(1, total + 1) if number not in found]
    if missing:
        raise ShardError(f"missing: the shards of --job {', '.join(missing)}: name them as well")
