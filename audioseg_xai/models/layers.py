"""The layers of a network in NumPy, for frames that arrive in blocks.

Each layer keeps the rows that the next block needs, so nothing is computed twice and what is worked
on fits into the cache of a core. What comes out, all blocks joined, is what the PyTorch layer of
the same weights makes of the whole recording, zeros beyond its ends included.

All rows are (n, channels), or (n, bands x channels) with the channels of a band side by side.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_STEPS = 32
"""Outputs of a 2-D convolution at once: what they are made of stays in the cache of a core."""

_BANDS = 4
"""Bands of one input channel that share a matrix product; alone, nine products are too few."""


class Layer(Protocol):
    """What turns rows that arrive in blocks into rows."""

    def push(self, rows: Floats, /) -> Floats:
        """Take the next rows, shape (n, D); return what they complete, shape (m, E)."""

    def finish(self) -> Floats:
        """Return what remains at the end, shape (m, E)."""


class Chain:
    """Layers in sequence.

    Parameters
    ----------
    layers : sequence of Layer
        The first one takes what arrives.
    piece : int, optional
        Rows that go through all layers at once, at most.
    """

    def __init__(self, layers: Sequence[Layer], piece: int | None = None) -> None:
        self.layers, self.piece = layers, piece

    def push(self, rows: Floats) -> Floats:
        """Take the next rows; return what they complete."""
        if self.piece is None or len(rows) <= self.piece:
            return self._from(0, rows)
        starts = range(0, len(rows), self.piece)
        return np.concatenate([self._from(0, rows[a : a + self.piece]) for a in starts])

    def finish(self) -> Floats:
        """Return what remains at the end."""
        ends = [self._from(i + 1, layer.finish()) for i, layer in enumerate(self.layers)]
        return np.concatenate(ends)

    def _from(self, first: int, rows: Floats) -> Floats:
        for layer in self.layers[first:]:
            rows = layer.push(rows)
        return rows


class Affine:
    """A linear map of each row on its own: rows @ weights + bias.

    Parameters
    ----------
    weights : numpy.ndarray, shape (D, E)
    bias : numpy.ndarray, shape (E,) or ()
    """

    def __init__(self, weights: Floats, bias: Floats) -> None:
        self.weights, self.bias = np.ascontiguousarray(weights), bias

    def push(self, rows: Floats) -> Floats:
        """Map rows (n, D) to (n, E)."""
        out: Floats = rows @ self.weights
        out += self.bias
        return out

    def finish(self) -> Floats:
        """Return nothing, shape (0, E)."""
        return np.zeros((0, self.weights.shape[1]), np.float32)


class DilatedBlock:
    """`models.tcn.TCNBlock`: x + second(relu(first(x))), the first a dilated convolution.

    Parameters
    ----------
    first : numpy.ndarray, shape (channels, channels, kernel)
        Weights of the dilated convolution, its norm folded in.
    first_bias : numpy.ndarray, shape (channels,)
    second : numpy.ndarray, shape (channels, channels)
        Weights of the 1x1 convolution.
    second_bias : numpy.ndarray, shape (channels,)
    dilation : int
        Rows between the taps.
    scratch : Scratch
        Shared by blocks that take turns.
    """

    def __init__(
        self,
        first: Floats,
        first_bias: Floats,
        second: Floats,
        second_bias: Floats,
        dilation: int,
        scratch: Scratch,
    ) -> None:
        outputs, self.channels, self.kernel = first.shape
        self.dilation, self.reach = dilation, dilation * (self.kernel // 2)
        self._first = np.ascontiguousarray(first.transpose(2, 1, 0).reshape(-1, outputs))
        self._second = np.ascontiguousarray(second.T)
        self._first_bias, self._second_bias = first_bias, second_bias
        self._zeros = np.zeros_like(first_bias)
        self._scratch = scratch
        self._past = Past(self.channels, self.reach)

    def push(self, rows: Floats) -> Floats:
        """Map rows (n, channels) to (m, channels): n but for the first `reach` rows."""
        self._past.append(len(rows))[:] = rows
        return self._compute()

    def finish(self) -> Floats:
        """Return the last rows; behind the end there are zeros."""
        self._past.append(self.reach)[:] = 0
        return self._compute()

    def _compute(self) -> Floats:
        rows = self._past.rows
        count = max(len(rows) - 2 * self.reach, 0)
        seen = self._scratch.take("seen", count, self.kernel * self.channels)
        for tap in range(self.kernel):
            column, row = tap * self.channels, tap * self.dilation
            seen[:, column : column + self.channels] = rows[row : row + count]
        hidden = self._scratch.take("hidden", count, self.channels)
        np.matmul(seen, self._first, out=hidden)
        hidden += self._first_bias
        np.maximum(hidden, self._zeros, out=hidden)
        out = hidden @ self._second
        out += self._second_bias
        out += rows[self.reach : self.reach + count]
        self._past.drop(count)
        return out


class BandConvolution:
    """A 3 x 3 convolution over rows and bands, zeros around, then relu; every second band remains.

    Parameters
    ----------
    weights : numpy.ndarray, shape (outputs, channels, 3, 3)
        Over outputs, inputs, rows and bands; the norm folded in.
    bias : numpy.ndarray, shape (outputs,)
    bands : int
        Bands of the input.
    stride : int
        Rows from one output to the next.
    """

    def __init__(self, weights: Floats, bias: Floats, bands: int, stride: int) -> None:
        outputs, self.channels = weights.shape[:2]
        self.bands, self.stride = bands, stride
        halved = (bands + 1) // 2
        grouped = (_BANDS if self.channels == 1 else 1, 1)
        self.group = next(size for size in grouped if halved % size == 0)
        self.groups, self.outputs = halved // self.group, outputs
        # NumPy is fastest with a bias, and zeros, for each value of a row.
        self._weights, self._bias = self._matrix(weights), np.tile(bias, halved)
        self._zeros = np.zeros_like(self._bias)
        # A band of zeros in front and, where the last output needs it, behind.
        self._past = Past((2 * halved + 1) * self.channels, 1)
        self._skipped = 0  # rows that a stride steps over and that have not arrived
        self._seen = np.empty((_STEPS, self.groups, *self._patch), np.float32)

    def push(self, rows: Floats) -> Floats:
        """Map rows (n, bands x channels) to (m, ceil(bands / 2) x outputs)."""
        self._append(len(rows))[:] = rows
        return self._compute()

    def finish(self) -> Floats:
        """Return the last rows; behind the end there are zeros."""
        self._append(1)[:] = 0
        return self._compute()

    @property
    def _patch(self) -> tuple[int, int]:
        """Rows that a group of output bands sees, and the values in each."""
        return 3, (2 * self.group + 1) * self.channels

    def _matrix(self, weights: Floats) -> Floats:
        """Return the weights (values of a patch, group x outputs) of a group of bands."""
        moved = weights.transpose(2, 3, 1, 0)  # rows, bands, channels, outputs
        matrix = np.zeros((3, 2 * self.group + 1, self.channels, self.group, self.outputs))
        for band in range(self.group):
            matrix[:, 2 * band : 2 * band + 3, :, band] = moved
        return matrix.reshape(3 * self._patch[1], -1).astype(np.float32)

    def _append(self, count: int) -> Floats:
        appended = self._past.append(count)
        return appended[:, self.channels : (1 + self.bands) * self.channels]

    def _compute(self) -> Floats:
        self._step(0)
        rows = self._past.rows
        count = max((len(rows) - 3) // self.stride + 1, 0)
        out = np.empty((count, self.groups * self.group * self.outputs), np.float32)
        row, value = rows.strides
        # What overlaps is a view; the patches side by side are made for some outputs at once.
        shape = (count, self.groups, *self._patch)
        strides = (self.stride * row, 2 * self.group * self.channels * value, row, value)
        patches: Floats = np.ndarray(shape, np.float32, rows, 0, strides)
        for start in range(0, count, _STEPS):
            self._convolve(patches[start : start + _STEPS], out[start : start + _STEPS])
        self._step(count * self.stride)
        return out

    def _step(self, count: int) -> None:
        self._skipped += count
        there = min(self._skipped, len(self._past.rows))
        self._past.drop(there)
        self._skipped -= there

    def _convolve(self, patches: Floats, out: Floats) -> None:
        seen = self._seen[: len(patches)]
        np.copyto(seen, patches)
        grouped = out.reshape(len(out) * self.groups, -1)
        np.matmul(seen.reshape(len(grouped), -1), self._weights, out=grouped)
        out += self._bias
        np.maximum(out, self._zeros, out=out)


class Interpolation:
    """`models.networks.interpolated`: rows between rows that lie `stride` frames apart.

    Parameters
    ----------
    stride : int
        Rows made of each.
    channels : int
        Values of a row.
    """

    def __init__(self, stride: int, channels: int) -> None:
        self.stride = stride
        self._last: Floats = np.zeros((0, channels), np.float32)

    def push(self, rows: Floats) -> Floats:
        """Map rows (n, channels) to (stride n, channels), less `stride` the first time."""
        known = np.concatenate([self._last, rows])
        self._last = known[-1:]
        return self._between(known[:-1], known[1:])

    def finish(self) -> Floats:
        """Return the last row, held; a recording may end before that."""
        return self._between(self._last, self._last)

    def _between(self, here: Floats, following: Floats) -> Floats:
        out = np.empty((len(here), self.stride, here.shape[1]), np.float32)
        difference = following - here
        for step in range(self.stride):
            np.multiply(difference, np.float32(step / self.stride), out=out[:, step])
            out[:, step] += here
        return out.reshape(-1, here.shape[1])


class Past:
    """Rows in one piece of memory: those that are still needed, and new ones behind them.

    Parameters
    ----------
    columns : int
        Values of a row.
    zeros : int
        Rows of zeros that are there before any other.
    """

    def __init__(self, columns: int, zeros: int) -> None:
        self._memory: Floats = np.zeros((2 * zeros + 1, columns), np.float32)
        self._stop = zeros

    @property
    def rows(self) -> Floats:
        """What is there, shape (n, columns); until the next row is appended or dropped."""
        return self._memory[: self._stop]

    def append(self, count: int) -> Floats:
        """Make room for `count` rows behind the others; return it, to be written."""
        missing = self._stop + count - len(self._memory)
        if missing > 0:
            more = np.zeros((missing, self._memory.shape[1]), np.float32)
            self._memory = np.concatenate([self._memory, more])
        self._stop += count
        return self._memory[self._stop - count : self._stop]

    def drop(self, count: int) -> None:
        """Forget the first `count` rows."""
        if count:
            remaining = self._stop - count
            self._memory[:remaining] = self._memory[count : self._stop]
            self._stop = remaining


class Scratch:
    """Memory that layers use in turn, because what was used last is in the cache."""

    def __init__(self) -> None:
        self._memory: dict[str, Floats] = {}

    def take(self, name: str, rows: int, columns: int) -> Floats:
        """Return an array (rows, columns) with anything in it, valid until the next of its name."""
        memory = self._memory.get(name)
        if memory is None or memory.size < rows * columns:
            memory = self._memory[name] = np.empty(rows * columns, np.float32)
        return memory[: rows * columns].reshape(rows, columns)


def dilations(blocks: int, repeats: int) -> list[int]:
    """Return the dilation of each block of a TCN."""
    return [2**block for _, block in itertools.product(range(repeats), range(blocks))]
