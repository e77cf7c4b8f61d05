"""What several threads want computed goes through a network together: a GPU with one is idle."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import torch

Function = Callable[[torch.Tensor], tuple[torch.Tensor, ...]]

LIMIT = 16
"""Inputs that are computed at once, at most: so much of a GPU's memory is taken."""


@dataclass(eq=False)
class _Request:
    """An input that waits; one of the other two is set once it has been computed."""

    inputs: torch.Tensor
    results: tuple[torch.Tensor, ...] | None = None
    error: BaseException | None = None

    @property
    def done(self) -> bool:
        return self.results is not None or self.error is not None


class Batcher:
    """Call a function of a batch from several threads, each with one item of it.

    Whoever comes while the device is at work waits, and is then computed along with all others
    that wait with inputs of the same shape. Nobody waits for company: a thread that is alone is
    served at once. Which inputs meet is up to chance, so results depend on it by rounding.

    Parameters
    ----------
    function : callable
        Maps inputs (B, ...) to a tuple of results (B, ...).
    limit : int, optional
        Largest B.

    Examples
    --------
    >>> twice = Batcher(lambda batch: (2 * batch,))
    >>> twice(torch.tensor([1.0, 2.0]))
    (tensor([2., 4.]),)
    """

    def __init__(self, function: Function, limit: int = LIMIT) -> None:
        self.function, self.limit = function, limit
        self._waiting: list[_Request] = []
        self._arrivals, self._device = threading.Lock(), threading.Lock()

    def __call__(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the results of one item, each without the axis B.

        Raises
        ------
        Exception
            What the function raised for this item alone: a batch that fails, because the memory
            does not hold it, is computed again one by one.
        """
        mine = _Request(inputs)
        with self._arrivals:
            self._waiting.append(mine)
        with self._device:
            if not mine.done:
                self._compute(self._together_with(mine))
        if mine.error is not None:
            raise mine.error
        assert mine.results is not None
        return mine.results

    def _together_with(self, first: _Request) -> list[_Request]:
        """Take a request, and those that can be computed with it, from what waits."""
        with self._arrivals:
            shape = first.inputs.shape
            others = [r for r in self._waiting if r is not first and r.inputs.shape == shape]
            taken = [first, *others[: self.limit - 1]]
            self._waiting = [r for r in self._waiting if r not in taken]
        return taken

    def _compute(self, requests: list[_Request]) -> None:
        try:
            results = self.function(torch.stack([r.inputs for r in requests]))
        except Exception as error:
            if len(requests) == 1:
                requests[0].error = error
                return
            for request in requests:
                self._compute([request])
            return
        for number, request in enumerate(requests):
            request.results = tuple(result[number] for result in results)
