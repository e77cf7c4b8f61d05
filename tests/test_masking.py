"""Masks: what the components of the dictionary share among them."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from audioseg_xai.masking import component_mask, masked_log_power

TWO_BINS = torch.tensor([[1.0, 0.0], [0.0, 1.0]])


@given(st.integers(0, 10_000), st.sampled_from(["power", "ratio"]))
@example(8616, "power")  # nothing is left unselected
def test_a_mask_and_its_complement_share_every_bin(seed, kind):
    generator = torch.Generator().manual_seed(seed)
    activations = torch.rand(5, 6, generator=generator) * 8
    dictionary = torch.rand(9, 6, generator=generator)
    selected = (torch.rand(6, generator=generator) > 0.5).float()
    mask = component_mask(activations, dictionary, selected, kind)
    complement = component_mask(activations, dictionary, 1 - selected, kind)
    assert mask.min() >= 0 and mask.max() <= 1
    assert torch.allclose(mask + complement, torch.ones_like(mask), atol=1e-5)


@pytest.mark.parametrize("kind", ["power", "ratio"])
def test_components_that_share_no_bin_are_told_apart_completely(kind):
    mask = component_mask(torch.tensor([[3.0, 5.0]]), TWO_BINS, torch.tensor([1.0, 0.0]), kind)
    assert mask.tolist() == [[pytest.approx(1.0, abs=1e-3), pytest.approx(0.0, abs=1e-6)]]


def test_the_power_mask_is_the_ratio_of_the_powers_that_the_parts_stand_for():
    one_bin = torch.ones(1, 2)
    heard = torch.tensor([[math.log(1 + 9.0), math.log(1 + 1.0)]])  # powers 9 and 1
    mask = component_mask(heard, one_bin, torch.tensor([1.0, 0.0]))
    assert mask.item() == pytest.approx(0.9, abs=1e-5)


def test_the_ratio_mask_is_the_ratio_of_the_compressed_parts():
    mask = component_mask(
        torch.tensor([[9.0, 1.0]]), torch.ones(1, 2), torch.tensor([1.0, 0.0]), "ratio"
    )
    assert mask.item() == pytest.approx(0.9)


@pytest.mark.parametrize("kind", ["power", "ratio"])
def test_loud_components_do_not_overflow(kind):
    mask = component_mask(
        torch.tensor([[500.0, 499.0]]), torch.ones(1, 2), torch.tensor([1.0, 0.0]), kind
    )
    assert torch.isfinite(mask).all() and mask.item() > 0.5


@pytest.mark.parametrize("kind", ["power", "ratio"])
def test_a_silent_bin_belongs_to_the_complement(kind):
    mask = component_mask(torch.zeros(1, 2), TWO_BINS, torch.ones(2), kind)
    assert mask.tolist() == [[0.0, 0.0]]


def test_components_can_be_selected_frame_by_frame():
    selected = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    mask = component_mask(torch.full((2, 2), 4.0), TWO_BINS, selected)
    assert (mask > 0.5).tolist() == [[True, False], [False, True]]


def test_half_the_amplitude_is_a_quarter_of_the_power():
    log_power = torch.log1p(torch.tensor([[8.0]]))
    assert masked_log_power(log_power, torch.tensor([[0.5]])).item() == pytest.approx(math.log(3))
