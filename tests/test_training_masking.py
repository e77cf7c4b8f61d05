"""Masked crops: what the student hears again, and what it should say then."""

from __future__ import annotations

import pytest
import torch

from audioseg_xai.models.networks import Student, StudentConfig
from audioseg_xai.training.masking import Masked, Masker, masking_loss

BINS, FRAMES = 257, 60
SPEECH_BINS = slice(40, 60)


@pytest.fixture
def student() -> Student:
    """Return a student with W = I whose speech rests on bins 40 to 59."""
    config = StudentConfig.model_validate(
        {"components": BINS, "front_end": {"kind": "spectrogram", "bands": 8, "channels": [2]}}
    )
    network = Student(config, torch.eye(BINS))
    with torch.no_grad():
        network.classifier.weight.zero_()
        network.classifier.weight[0, SPEECH_BINS] = 0.1
    return network


@pytest.fixture
def crop() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return spectrogram, labels (speech in frames 10 to 49) and activations of one crop."""
    spectrogram = 5 + torch.rand(1, FRAMES, BINS, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(1, FRAMES, 4, dtype=torch.int8)
    labels[0, 10:50, 0] = 1
    labels[0, :, 1] = -1
    return spectrogram, labels, spectrogram.clone()


def masked_by_kind(student, crop) -> dict[str, Masked]:
    """Return an example of each way of masking, told apart by what is wanted of speech."""
    spectrogram, labels, activations = crop
    found = {}
    for seed in range(60):
        masked = Masker(student, 1.0)(
            spectrogram, labels, activations, torch.Generator().manual_seed(seed)
        )
        if masked is None:
            continue
        wanted = masked.labels[0, 10:50]
        if (wanted[:, 2] == 0).all():
            found["random"] = masked
        else:
            found["alone" if (wanted[:, 0] == 1).all() else "without"] = masked
    return found


def test_there_are_three_ways(student, crop):
    assert set(masked_by_kind(student, crop)) == {"without", "alone", "random"}


def test_without_its_components_speech_should_go_and_others_are_unknown(student, crop):
    masked = masked_by_kind(student, crop)["without"]
    spectrogram = crop[0]
    heard = masked.spectrogram[0, 10:50]
    assert (heard[:, SPEECH_BINS] < 1e-3).all()
    assert torch.allclose(heard[:, 100:], spectrogram[0, 10:50, 100:], atol=1e-4)
    wanted = masked.labels[0, 10:50]
    assert (wanted[:, 0] == 0).all() and (wanted[:, 1:] == -1).all()


def test_its_components_alone_should_be_enough(student, crop):
    masked = masked_by_kind(student, crop)["alone"]
    heard, spectrogram = masked.spectrogram[0, 10:50], crop[0][0, 10:50]
    assert torch.allclose(heard[:, SPEECH_BINS], spectrogram[:, SPEECH_BINS], atol=1e-3)
    assert (heard[:, 100:] < 1e-3).all()
    assert (masked.labels[0, 10:50, 0] == 1).all()


def test_without_random_components_the_labels_stay(student, crop):
    masked = masked_by_kind(student, crop)["random"]
    assert torch.equal(masked.labels[0], crop[1][0])
    removed = (masked.spectrogram[0, 10:50] < 0.5 * crop[0][0, 10:50]).all(0)
    assert 0 < removed.sum() <= 21  # equal bins: as many as were selected, and one that overshoots
    assert 0.5 <= masked.weights.item() <= 1


def test_frames_without_the_class_stay_as_they_are(student, crop):
    for masked in masked_by_kind(student, crop).values():
        for frames in (slice(0, 10), slice(50, FRAMES)):
            assert torch.allclose(masked.spectrogram[0, frames], crop[0][0, frames], atol=1e-5)
            assert torch.equal(masked.labels[0, frames], crop[1][0, frames])


def test_nothing_is_masked_where_no_class_is_long_enough(student, crop):
    spectrogram, labels, activations = crop
    labels = labels.clone()
    labels[0, 20:50, 0] = 0  # 10 frames of speech are left
    generator = torch.Generator().manual_seed(0)
    assert Masker(student, 1.0)(spectrogram, labels, activations, generator) is None


def test_a_seed_gives_the_same_masks(student, crop):
    one, two = (Masker(student, 1.0)(*crop, torch.Generator().manual_seed(5)) for _ in range(2))
    assert one is not None and two is not None
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_gradients_reach_the_activations_through_the_mask(student, crop):
    spectrogram, labels, activations = crop
    activations = activations.clone().requires_grad_()
    masked = Masker(student, 1.0)(
        spectrogram, labels, activations, torch.Generator().manual_seed(1)
    )
    assert masked is not None
    masked.spectrogram.sum().backward()
    assert activations.grad is not None and activations.grad.abs().sum() > 0


def test_the_loss_ignores_unknown_labels_and_weighs_crops():
    labels = torch.tensor([[[1.0, -1.0]], [[0.0, -1.0]]])
    logits = torch.tensor([[[0.0, 7.0]], [[0.0, -7.0]]])
    masked = Masked(torch.zeros(2, 1, 3), labels, torch.tensor([[[1.0]], [[0.5]]]))
    assert masking_loss(logits, masked).item() == pytest.approx(0.6931, abs=1e-4)
    certain = torch.tensor([[[50.0, 0.0]], [[0.0, 0.0]]])
    assert masking_loss(certain, masked).item() == pytest.approx(0.5 * 0.6931 / 1.5, abs=1e-4)
