"""Losses, against values worked out by hand."""

import math

import pytest
import torch

from audioseg_xai.losses import (
    distillation_loss,
    label_loss,
    reconstruction_loss,
    sparsity_loss,
)


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def test_label_loss_is_the_mean_over_known_labels() -> None:
    logits = torch.tensor([[[logit(0.8), logit(0.25)], [logit(0.5), 7.0]]])
    labels = torch.tensor([[[1, 0], [1, -1]]], dtype=torch.int8)
    expected = -(math.log(0.8) + math.log(0.75) + math.log(0.5)) / 3
    assert label_loss(logits, labels).item() == pytest.approx(expected, rel=1e-5)


def test_unknown_labels_have_no_gradient() -> None:
    logits = torch.randn(2, 5, 4, requires_grad=True)
    labels = torch.randint(0, 2, (2, 5, 4))
    labels[..., 2] = -1
    label_loss(logits, labels).backward()
    assert logits.grad is not None
    assert logits.grad[..., 2].count_nonzero() == 0
    assert logits.grad[..., 0].count_nonzero() > 0


def test_nothing_known_is_no_loss() -> None:
    assert label_loss(torch.randn(1, 3, 4), torch.full((1, 3, 4), -1)).item() == 0


def test_distillation_is_the_divergence_from_teacher_to_student() -> None:
    p, q = 0.9, 0.6
    expected = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    found = distillation_loss(torch.tensor([[[logit(q)]]]), torch.tensor([[[logit(p)]]]))
    assert found.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_distillation_is_zero_only_where_both_agree(temperature: float) -> None:
    teacher = torch.randn(2, 7, 4)
    assert distillation_loss(teacher, teacher, temperature).item() == pytest.approx(0, abs=1e-6)
    assert distillation_loss(teacher + 0.5, teacher, temperature).item() > 1e-3


def test_distillation_pulls_the_student_towards_the_teacher() -> None:
    student = torch.zeros(1, 1, 2, requires_grad=True)
    distillation_loss(student, torch.tensor([[[2.0, -2.0]]])).backward()
    assert student.grad is not None
    assert student.grad[0, 0, 0] < 0 < student.grad[0, 0, 1]


def test_reconstruction_and_sparsity_are_means() -> None:
    assert reconstruction_loss(torch.zeros(1, 2, 3), torch.full((1, 2, 3), 2.0)).item() == 4.0
    assert sparsity_loss(torch.tensor([[[1.0, 3.0], [0.0, 0.0]]])).item() == 1.0
