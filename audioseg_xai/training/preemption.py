"""Being told to stop: SIGUSR1 or SIGTERM lets a training end where it can go on later."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from audioseg_xai.errors import TrainingError

ResultT = TypeVar("ResultT")

SIGNALS = (signal.SIGUSR1, signal.SIGTERM)
"""What a scheduler sends before it takes the machine away; the first one also on request."""


class PreemptedError(TrainingError):
    """A training that was told to stop, and left a checkpoint to go on from."""


class _StopNowError(Exception):
    """Raised out of a function that may be broken off."""


class _State:
    received: signal.Signals | None = None
    watching = False
    may_raise = False


def _note(number: int, frame: Any) -> None:
    _State.received = signal.Signals(number)
    if _State.may_raise:
        _State.may_raise = False
        raise _StopNowError


@contextmanager
def noticed() -> Iterator[None]:
    """Note signals instead of being ended by them; blocks may lie inside each other.

    In a thread other than the main one signals stay what they are: Python allows no more.
    """
    if _State.watching or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _note) for number in SIGNALS}
    _State.watching, _State.received = True, None
    try:
        yield
    finally:
        _State.watching, _State.received = False, None
        for number, handler in before.items():
            signal.signal(number, handler)


def received() -> signal.Signals | None:
    """Return the signal that came, None if none did."""
    return _State.received


def unless_told(function: Callable[[], ResultT]) -> ResultT | None:
    """Return what a function returns; None, and at once, if a signal comes meanwhile or came.

    What the function changes is then half done: it should change nothing.
    """
    try:
        try:
            _State.may_raise = True
            if _State.received is not None:
                raise _StopNowError
            return function()
        finally:
            _State.may_raise = False
    except _StopNowError:
        return None


def ignore(worker: int = 0) -> None:
    """Let a process that prepares batches live as long as the one that it works for.

    A scheduler signals all processes of a job; without batches the training could not finish its
    step.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
