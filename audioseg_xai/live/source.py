"""Standard input that hands out what is there, and ends when the program is told to."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Sequence
from types import FrameType, TracebackType

from audioseg_xai.recordings import STDIN, Recording

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class InterruptibleInput:
    """A descriptor to read from that ends at SIGINT or SIGTERM as if the sender had closed it.

    A context manager, in the main thread: inside it, the first of these signals ends the input,
    and a second one does what it did before. The input ends as well when nobody reads `watched`
    any more: who waits for sound would not notice.

    Parameters
    ----------
    descriptor : int
        What to read from.
    watched : int, optional
        A pipe that is written to.

    Attributes
    ----------
    name : str
        What error messages call it.
    stopped_by : signal.Signals or None
        The signal that ended it.
    unread : bool
        Whether it ended because nobody reads `watched`.
    """

    name = "standard input"

    def __init__(self, descriptor: int, watched: int | None = None) -> None:
        self.stopped_by: signal.Signals | None = None
        self.unread = False
        self._descriptor, self._watched = descriptor, watched
        self._poll = select.poll()
        self._waiting = select.poll()
        for poll in (self._poll, self._waiting):
            poll.register(descriptor, select.POLLIN)
        if watched is not None:
            self._poll.register(watched, 0)  # errors alone, which poll always reports

    def __enter__(self) -> InterruptibleInput:
        """Take over the signals."""
        # Python goes on with a system call after a signal: a byte in this pipe wakes `poll`.
        self._woken, self._wake = os.pipe()
        self._poll.register(self._woken, select.POLLIN)
        self._before = {number: signal.signal(number, self._stop) for number in _SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the signals back."""
        self._restore()
        os.close(self._woken)
        os.close(self._wake)

    @property
    def stopped(self) -> bool:
        """Whether it ended before the sender closed it."""
        return self.stopped_by is not None or self.unread

    def seekable(self) -> bool:
        """Return False: what was read is gone."""
        return False

    def waiting(self) -> bool:
        """Return whether `read` would return at once."""
        return self.stopped or bool(self._waiting.poll(0))

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes as soon as there are any; none at the end."""
        events = [] if self.stopped else self._poll.poll()
        self.unread = self.unread or any(found == self._watched for found, _ in events)
        return b"" if self.stopped else os.read(self._descriptor, size)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopped_by = signal.Signals(number)
        self._restore()
        os.write(self._wake, b"\0")

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def is_live(recordings: Sequence[Recording]) -> bool:
    """Return whether all that is to be processed is a standard input that cannot seek: a pipe."""
    if [recording.path for recording in recordings] != [STDIN] or sys.stdin is None:
        return False
    return not sys.stdin.buffer.seekable()
