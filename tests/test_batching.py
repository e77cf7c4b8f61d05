"""Batcher: inputs of threads that come while the device is busy are computed together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
import torch
from dummies import sound, student

from audioseg_xai.batching import Batcher
from audioseg_xai.inference import Segmenter


class Device:
    """Doubles what it gets; is at work on its first batch until it is let go."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.busy, self.go = threading.Event(), threading.Event()

    def __call__(self, batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        self.shapes.append(tuple(batch.shape))
        self.busy.set()
        assert self.go.wait(30)
        if (batch < 0).any():
            raise RuntimeError("out of memory")
        return 2 * batch, batch.sum(1)


def await_that(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def asked_while_busy(
    device: Device, inputs: list[torch.Tensor], limit: int = 16
) -> list[Future[tuple[torch.Tensor, ...]]]:
    """Ask for one input, for the others while the device is at work on it, then let it go."""
    batcher = Batcher(device, limit)
    with ThreadPoolExecutor(len(inputs)) as pool:
        futures = [pool.submit(batcher, inputs[0])]
        assert device.busy.wait(30)
        for number, each in enumerate(inputs[1:], 1):
            futures.append(pool.submit(batcher, each))
            await_that(lambda number=number: len(batcher._waiting) >= number)
        device.go.set()
    return futures


def test_who_comes_meanwhile_is_computed_together_with_inputs_of_the_same_shape() -> None:
    device = Device()
    inputs = [torch.full((size,), float(value)) for value, size in enumerate([3, 3, 5, 3, 5, 3])]
    futures = asked_while_busy(device, inputs)
    assert device.shapes[0] == (1, 3)
    assert sorted(device.shapes[1:]) == [(2, 5), (3, 3)]
    for each, future in zip(inputs, futures, strict=True):
        doubled, total = future.result()
        torch.testing.assert_close(doubled, 2 * each)
        torch.testing.assert_close(total, each.sum())


def test_no_more_than_the_limit_is_computed_at_once() -> None:
    device = Device()
    futures = asked_while_busy(device, [torch.ones(3) * value for value in range(6)], limit=2)
    assert sorted(device.shapes) == [(1, 3), (1, 3), (2, 3), (2, 3)]
    assert [future.result()[1].item() for future in futures] == [0, 3, 6, 9, 12, 15]


def test_a_batch_that_fails_is_computed_one_by_one() -> None:
    device = Device()
    inputs = [torch.ones(3), -torch.ones(3), torch.ones(3), torch.ones(4)]
    first, wrong, same, other = asked_while_busy(device, inputs)
    assert [future.result()[1].item() for future in (first, same, other)] == [3, 3, 4]
    with pytest.raises(RuntimeError, match="out of memory"):
        wrong.result()
    assert sorted(device.shapes) == [(1, 3), (1, 3), (1, 3), (1, 4), (2, 3)]


def test_recordings_of_several_threads_get_what_they_get_alone() -> None:
    segmenter = Segmenter(student(), chunk=50)
    sounds = [sound(2.0 + number / 2, seed=number) for number in range(6)]

    def logits(samples: np.ndarray) -> np.ndarray:
        return np.concatenate([chunk.logits for chunk in segmenter.process([samples])])

    alone = [logits(samples) for samples in sounds]
    batches: list[int] = []
    network = segmenter.network.forward

    def forward(inputs: torch.Tensor) -> object:
        await_that(lambda: batches or segmenter._decide_together._waiting)  # there is company
        batches.append(len(inputs))
        return network(inputs)

    segmenter.network.forward = forward  # type: ignore[method-assign]
    with ThreadPoolExecutor(len(sounds)) as pool:
        for expected, found in zip(alone, pool.map(logits, sounds), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-4)
    assert max(batches) > 1
