"""What commands say on stderr and how many items go through them: logs, errors, progress.

Imports here stay light, because `xai-segment --help` pays for them.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TextIO, TypeVar

import click

from audioseg_xai.errors import AudiosegError, UsageError

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future, ProcessPoolExecutor

PROGRAM = "xai-segment"
FAILED, USAGE, PARTLY, INTERRUPTED = 1, 2, 3, 130

log = logging.getLogger("audioseg_xai")

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

# --- logs and errors ----------------------------------------------------------------------------

EXIT_CODE_KEY = "audioseg_xai.exit_code"
"""Where `run_items` leaves, in the meta data of click's context, what the command exits with."""


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what `sys.stderr` is at the time: a progress bar or a test may replace it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, value: TextIO) -> None:
        raise AttributeError("the stream is sys.stderr, whatever that is")


class _Formatter(logging.Formatter):
    """News are bare lines; warnings and errors name the program, as compilers do."""

    def __init__(self, prefix: str) -> None:
        super().__init__("%(message)s")
        self._prefix = prefix

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if record.levelno < logging.WARNING:
            return text
        return f"{self._prefix}: {record.levelname.lower()}: {text}"


def configure_logging(prefix: str = PROGRAM, verbose: bool = False) -> None:
    """Send the package's log to stderr, in place of an earlier configuration.

    Parameters
    ----------
    prefix : str
        What warnings and errors start with.
    verbose : bool
        Whether debug messages and tracebacks are shown.
    """
    handler = _StderrHandler()
    handler.setFormatter(_Formatter(prefix))
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(logging.DEBUG if verbose else logging.INFO)


def describe_error(error: BaseException) -> str:
    """Return one line about `error`: its message when it is ours, else its kind as well."""
    message = " ".join(str(error).split())
    if isinstance(error, AudiosegError):
        return message
    if isinstance(error, ModuleNotFoundError):
        return f"needs the Python package {error.name!r}: `{PROGRAM} doctor` says what to install"
    if isinstance(error, OSError) and error.strerror:
        reason = _reason(error.errno, error.strerror)
        return f"{error.filename}: {reason}" if error.filename else reason
    return f"unexpected {type(error).__name__}: {message} (-v shows where)"


def _reason(number: int | None, text: str) -> str:
    # HDF5 puts its whole story into the text, in lines.
    return os.strerror(number) if number is not None and "\n" in text else text


# --- many items, progress -----------------------------------------------------------------------


@dataclass
class Outcome(Generic[ResultT]):
    """What `run_items` leaves: results of the items that are done, names of those that failed."""

    done: list[ResultT] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 when nothing failed, 1 when everything did, 3 in between."""
        if not self.failed:
            return 0
        return PARTLY if self.done else FAILED


def run_items(
    items: Iterable[ItemT],
    process: Callable[[ItemT], ResultT],
    *,
    describe: Callable[[ItemT], str] = str,
    num_workers: int = 1,
    threads: bool = False,
    collect: Callable[[ResultT], object] | None = None,
) -> Outcome[ResultT]:
    """Process each item; one that fails is logged as one line and the others go on.

    It returns, so that the command can still write what is done; when the command returns,
    it exits with `Outcome.exit_code`.

    Parameters
    ----------
    items : iterable
        What to process.
    process : callable
        Takes an item. With several processes it and the items must be picklable.
    describe : callable, optional
        Name of an item, for the log.
    num_workers : int
        How many items are worked on at once; 0 and 1 both mean one, in this process.
    threads : bool
        Whether workers are threads, which share what `process` holds, instead of processes.
    collect : callable, optional
        Gets each result in this process, in the order of the items, as soon as it is its turn.
        What it raises fails the item.

    Returns
    -------
    Outcome
        ``done``: results in the order of the items. ``failed``: names of the others.
    """
    listed = list(items)
    outcome: Outcome[ResultT] = Outcome()
    results = _outcomes(listed, partial(_attempt, process), num_workers, threads)
    shown = progress(results, total=len(listed))
    with closing(results), closing(shown):  # neither workers nor a bar are left if `collect` fails
        for item, (result, error) in zip(listed, shown, strict=True):
            if error is None and collect is not None:
                _, error = _attempt(collect, result)
            if error is None:
                outcome.done.append(result)
            else:
                outcome.failed.append(describe(item))
                log.error(_named(describe(item), error))
    _summarise(outcome, len(listed))
    return outcome


def _outcomes(
    items: Sequence[ItemT], attempt: Callable[[ItemT], Any], num_workers: int, threads: bool
) -> Generator[Any, None, None]:
    if num_workers <= 1 or len(items) <= 1:
        yield from map(attempt, items)
    elif threads:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(num_workers) as pool:
            yield from pool.map(attempt, items)
    else:
        yield from _in_order(_in_processes(items, attempt, num_workers))


def _in_processes(
    items: Sequence[ItemT], attempt: Callable[[ItemT], Any], num_workers: int
) -> Iterator[tuple[int, Any]]:
    # A process that dies takes the pool along. Items start in order, so it worked on one of the
    # first that are unfinished: these get a process each, one at a time; the rest a new pool.
    pending = list(range(len(items)))
    while pending:
        lost: list[int] = []
        for number, result in _in_pool(items, pending, attempt, num_workers):
            if result is None:
                lost.append(number)
            else:
                yield number, result
        for suspect in lost[:num_workers]:
            ((_, result),) = _in_pool(items, [suspect], attempt, 1)
            yield suspect, result or (None, "the process working on it died (out of memory?)")
        pending = lost[num_workers:]


def _in_pool(
    items: Sequence[ItemT], numbers: Sequence[int], attempt: Callable[[ItemT], Any], workers: int
) -> Iterator[tuple[int, Any]]:
    """Yield number and outcome of some items; None is the outcome of those that were lost."""
    from concurrent.futures import BrokenExecutor

    with _pool(min(workers, len(numbers))) as pool:
        futures = [_submit(pool, attempt, items[number]) for number in numbers]
        try:
            for number, future in zip(numbers, futures, strict=True):
                try:
                    result = future.result()
                except BrokenExecutor:
                    result = None
                yield number, result
        finally:
            for future in futures:
                future.cancel()


def _pool(num_workers: int) -> ProcessPoolExecutor:
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    # Not fork: it copies locks that threads of torch or of an audio library may hold.
    return ProcessPoolExecutor(
        num_workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=configure_logging,
        initargs=(PROGRAM, log.isEnabledFor(logging.DEBUG)),
    )


def _submit(pool: Executor, attempt: Callable[[ItemT], Any], item: ItemT) -> Future[Any]:
    from concurrent.futures import BrokenExecutor, Future

    try:
        return pool.submit(attempt, item)
    except BrokenExecutor as error:  # an earlier item broke the pool already
        failed: Future[Any] = Future()
        failed.set_exception(error)
        return failed


def _in_order(numbered: Iterable[tuple[int, Any]]) -> Iterator[Any]:
    waiting: dict[int, Any] = {}
    due = 0
    for number, result in numbered:
        waiting[number] = result
        while due in waiting:
            yield waiting.pop(due)
            due += 1


def _attempt(process: Callable[[ItemT], Any], item: ItemT) -> tuple[Any, str | None]:
    try:
        return process(item), None
    except (BrokenPipeError, UsageError):
        raise  # these concern the whole call, not the item
    except Exception as error:
        log.debug("traceback", exc_info=True)
        return None, describe_error(error)


def _named(name: str, message: str) -> str:
    return message if name in message else f"{name}: {message}"


def _summarise(outcome: Outcome[Any], total: int) -> None:
    if outcome.failed and total > 1:
        names = ", ".join(outcome.failed)
        others = ", the others are done" if outcome.done else ""
        log.error(f"{len(outcome.failed)} of {total} failed{others}: {names}")
    context = click.get_current_context(silent=True)
    if context is not None:
        context.meta[EXIT_CODE_KEY] = max(outcome.exit_code, context.meta.get(EXIT_CODE_KEY, 0))


def progress(
    iterable: Iterable[ItemT], total: int | None = None, description: str = ""
) -> Generator[ItemT, None, None]:
    """Yield from `iterable` while a bar on stderr follows, when stderr is a terminal.

    Parameters
    ----------
    iterable : iterable
        What to go through.
    total : int, optional
        How many items there are; by default the length of `iterable` if it has one.
    description : str, optional
        Text before the bar.
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    with progress_bar(total, description) as advance:
        for item in iterable:
            yield item
            advance(1)


@contextmanager
def progress_bar(
    total: float | None = None, description: str = ""
) -> Iterator[Callable[[float], None]]:
    """Show a bar on stderr, when that is a terminal, and yield a function that moves it.

    Parameters
    ----------
    total : float, optional
        The amount of work, in any unit; None when unknown.
    description : str, optional
        Text before the bar.

    Yields
    ------
    callable
        Takes the amount of work done since the last call.
    """
    if not sys.stderr.isatty():
        yield lambda amount: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description or "working", total=total)
        yield lambda amount: bar.advance(task, amount)
