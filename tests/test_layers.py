"""Layers in NumPy: what PyTorch makes of the whole, from blocks of any size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from audioseg_xai.models.configs import TCNConfig
from audioseg_xai.models.layers import (
    Affine,
    BandConvolution,
    Chain,
    DilatedBlock,
    Interpolation,
    Layer,
    Past,
    Scratch,
    dilations,
)
from audioseg_xai.models.networks import interpolated
from audioseg_xai.models.running_mean import RunningMean
from audioseg_xai.models.tcn import TCNBlock

Floats = NDArray[np.float32]

cut_points = st.lists(st.integers(0, 60), max_size=6).map(sorted)


def rows_of(frames: int, columns: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal((frames, columns)).astype(np.float32)


def streamed(layer: Layer, rows: Floats, cuts: list[int]) -> Floats:
    parts = [layer.push(part) for part in np.split(rows, cuts)]
    return np.concatenate([*parts, layer.finish()])


@settings(deadline=None, max_examples=40)
@given(
    frames=st.integers(1, 60),
    bands=st.integers(3, 17),
    channels=st.integers(1, 3),
    stride=st.integers(1, 4),
    cuts=cut_points,
)
def test_a_convolution_over_bands_is_that_of_pytorch(
    frames: int, bands: int, channels: int, stride: int, cuts: list[int]
) -> None:
    rows = rows_of(frames, bands * channels)
    weights, bias = rows_of(5, channels * 9).reshape(5, channels, 3, 3), rows_of(1, 5)[0]
    image = torch.from_numpy(rows).reshape(1, frames, bands, channels).permute(0, 3, 1, 2)
    expected = torch.nn.functional.conv2d(
        image, torch.from_numpy(weights), torch.from_numpy(bias), (stride, 2), 1
    ).relu()
    found = streamed(BandConvolution(weights, bias, bands, stride), rows, cuts)
    expected_rows = expected.permute(0, 2, 3, 1).flatten(2)[0].numpy()
    assert found.shape == expected_rows.shape
    np.testing.assert_allclose(found, expected_rows, atol=1e-5)


def test_more_outputs_than_are_computed_at_once() -> None:
    rows, weights = rows_of(200, 8), rows_of(16, 9).reshape(16, 1, 3, 3)
    expected = torch.nn.functional.conv2d(
        torch.from_numpy(rows)[None, None], torch.from_numpy(weights), None, (1, 2), 1
    ).relu()
    found = streamed(BandConvolution(weights, np.zeros(16, np.float32), 8, 1), rows, [])
    np.testing.assert_allclose(found, expected.permute(0, 2, 3, 1).flatten(2)[0], atol=1e-5)


@settings(deadline=None, max_examples=40)
@given(
    frames=st.integers(1, 60),
    kernel=st.sampled_from([1, 3, 5]),
    dilation=st.sampled_from([1, 2, 16]),
    cuts=cut_points,
)
def test_a_dilated_block_is_that_of_pytorch(
    frames: int, kernel: int, dilation: int, cuts: list[int]
) -> None:
    torch.manual_seed(0)
    block = TCNBlock(TCNConfig(channels=4, kernel=kernel), dilation).eval()
    first, _, _, second = block.layers
    with torch.no_grad():
        first_weight = first.weight.numpy() / np.float32(np.sqrt(1 + 1e-5))
        layer = DilatedBlock(
            first_weight,
            np.zeros(4, np.float32),
            second.weight[:, :, 0].numpy(),
            second.bias.numpy(),
            dilation,
            Scratch(),
        )
        rows = rows_of(frames, 4)
        expected = block(torch.from_numpy(rows).T[None])[0].T
    np.testing.assert_allclose(streamed(layer, rows, cuts), expected, atol=1e-5)


@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize("cuts", [[], [1], [0, 3, 4]])
def test_rows_are_interpolated_as_by_pytorch(stride: int, cuts: list[int]) -> None:
    rows = rows_of(6, 3)
    expected = interpolated(torch.from_numpy(rows)[None], stride, 6 * stride)[0]
    found = streamed(Interpolation(stride, 3), rows, cuts)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_hand_counted_interpolation() -> None:
    rows = np.array([[0.0], [4.0], [2.0]], np.float32)
    found = streamed(Interpolation(2, 1), rows, [1])
    assert found[:, 0].tolist() == [0, 2, 4, 3, 2, 2]


@pytest.mark.parametrize("piece", [None, 1, 7, 100])
def test_a_chain_is_its_layers_in_sequence(piece: int | None) -> None:
    rows, weights = rows_of(30, 4), rows_of(4, 4)
    bias = np.ones(4, np.float32)

    def layers() -> list[Layer]:
        zero = np.zeros((4, 4, 3), np.float32)
        doubling = DilatedBlock(zero, bias, weights, bias, 2, Scratch())
        return [Affine(weights, bias), doubling, Interpolation(2, 4)]

    affine, dilated, interpolation = layers()
    expected = streamed(interpolation, streamed(dilated, affine.push(rows), []), [])
    found = streamed(Chain(layers(), piece), rows, [5, 11])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_what_is_past_begins_with_zeros_and_is_forgotten_from_the_front() -> None:
    past = Past(columns=1, zeros=2)
    past.append(3)[:] = [[1], [2], [3]]
    past.drop(1)
    past.append(1)[:] = 4
    assert past.rows[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_dilations_double_and_begin_anew() -> None:
    assert dilations(blocks=3, repeats=2) == [1, 2, 4, 1, 2, 4]


# --- running mean -------------------------------------------------------------------------------


def test_hand_counted_means() -> None:
    mean = RunningMean(context=1)
    assert mean.push(np.array([2.0, 4.0])).tolist() == [3.0]
    assert mean.push(np.array([9.0])).tolist() == [5.0]
    assert mean.finish().tolist() == [6.5]


@settings(deadline=None, max_examples=60)
@given(values=st.lists(st.floats(0, 1e6), max_size=60), context=st.integers(1, 25), cuts=cut_points)
def test_means_are_those_of_each_window_however_values_arrive(
    values: list[float], context: int, cuts: list[int]
) -> None:
    array = np.array(values)
    windows = [array[max(t - context, 0) : t + context + 1] for t in range(len(array))]
    mean, whole = RunningMean(context), RunningMean(context)
    parts = [mean.push(part) for part in np.split(array, cuts)]
    found = np.concatenate([*parts, mean.finish()])
    np.testing.assert_allclose(found, [window.mean() for window in windows], rtol=1e-9)
    np.testing.assert_array_equal(found, np.concatenate([whole.push(array), whole.finish()]))


def test_a_click_leaves_no_error_behind() -> None:
    values = np.full(200, 1e-9)
    values[20] = 1e15  # a difference of sums would be off by more than all that follows
    mean = RunningMean(context=5)
    found = np.concatenate([mean.push(values), mean.finish()])
    np.testing.assert_allclose(found[26:], 1e-9, rtol=1e-12)
