"""Masked crops: what the student hears again, and what it should say then."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audioseg_xai.models.networks import Student, StudentConfig
from audioseg_xai.training.data import Batch
from audioseg_xai.training.masking import Masked, Masker, masking_loss

BINS, FRAMES = 257, 60
SPEECH_BINS = slice(40, 60)


def _student() -> Student:
    config = StudentConfig.model_validate(
        {"components": BINS, "front_end": {"kind": "spectrogram", "bands": 8, "channels": [2]}}
    )
    network = Student(config, torch.eye(BINS))
    with torch.no_grad():
        network.classifier.weight.zero_()
        network.classifier.weight[0, SPEECH_BINS] = 0.1
    return network


@pytest.fixture
def student() -> Student:
    """Return a student with W = I whose speech rests on bins 40 to 59."""
    return _student()


def _crop() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    spectrogram = 5 + torch.rand(1, FRAMES, BINS, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(1, FRAMES, 4, dtype=torch.int8)
    labels[0, 10:50, 0] = 1
    labels[0, :, 1] = -1
    return spectrogram, labels, spectrogram.clone()


@pytest.fixture
def crop() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return spectrogram, labels (speech in frames 10 to 49) and activations of one crop."""
    return _crop()


def mask(student, crop, seed: int, share: float = 1.0, part: int = 0, parts: int = 1) -> Masked:
    """Return crops masked, or those of one part of a batch."""
    spectrogram, labels, activations = crop
    nothing = torch.zeros(len(labels), 0)
    batch = Batch(spectrogram, labels, nothing, nothing, seed, part, parts)
    return Masker(student, share)(batch, activations)


def masked_by_kind(student, crop) -> dict[str, Masked]:
    """Return an example of each way of masking, told apart by what is wanted of speech."""
    found = {}
    for seed in range(60):
        masked = mask(student, crop, seed)
        if not len(masked.labels):
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


def test_crops_without_components_count_as_the_class_says(student, crop):
    spectrogram, labels, activations = crop
    nothing = torch.zeros(1, 0)
    counts = {}
    for seed in range(60):
        batch = Batch(spectrogram, labels, nothing, nothing, seed)
        masked = Masker(student, 1.0, {"speech": 0.25, "noise": 9.0})(batch, activations)
        if len(masked.labels) and masked.labels[0, 10, 2] == -1:
            counts[masked.labels[0, 10, 0].item()] = masked.weights.item()
    assert counts == {0: 0.25, 1: 1.0}


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


def test_without_random_components_other_classes_are_unknown_where_they_were(student, crop):
    spectrogram, labels, activations = crop
    labels = labels.clone()
    labels[0, 30:60, 3] = 1
    masked = masked_by_kind(student, (spectrogram, labels, activations))["random"]
    wanted = labels[0].clone()
    wanted[30:50, 3] = -1
    assert torch.equal(masked.labels[0], wanted)


def test_frames_without_the_class_stay_as_they_are(student, crop):
    for masked in masked_by_kind(student, crop).values():
        for frames in (slice(0, 10), slice(50, FRAMES)):
            assert torch.allclose(masked.spectrogram[0, frames], crop[0][0, frames], atol=1e-5)
            assert torch.equal(masked.labels[0, frames], crop[1][0, frames])


def test_nothing_is_masked_where_no_class_is_long_enough(student, crop):
    spectrogram, labels, activations = crop
    labels = labels.clone()
    labels[0, 20:50, 0] = 0  # 10 frames of speech are left
    masked = mask(student, (spectrogram, labels, activations), seed=0)
    assert [tuple(part.shape) for part in masked] == [(0, FRAMES, BINS), (0, FRAMES, 4), (0, 1, 1)]
    assert masking_loss(torch.zeros(0, FRAMES, 4), masked).item() == 0


def test_a_seed_gives_the_same_masks(student, crop):
    one, two = (mask(student, crop, seed=5) for _ in range(2))
    assert len(one.labels) == 1
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


@settings(deadline=None, max_examples=15)
@given(
    st.integers(0, 2**62 - 1),
    st.sampled_from([0.05, 0.3, 0.5, 0.8, 1.0]),
    st.sampled_from([(2, 1), (2, 3), (3, 2), (4, 2), (6, 1)]),
)
def test_parts_of_a_batch_are_masked_as_the_batch(seed, share, split):
    parts, own = split
    network, one = _student(), _crop()
    crops = tuple(torch.cat([part] * (parts * own)) for part in one)
    whole = mask(network, crops, seed, share)
    pieces = [
        mask(
            network, tuple(part.chunk(parts)[number] for part in crops), seed, share, number, parts
        )
        for number in range(parts)
    ]
    for found, expected in zip(zip(*pieces, strict=True), whole, strict=True):
        assert torch.equal(torch.cat(found), expected)


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.5, [1, 3, 5, 7]), (0.25, [3, 7]), (0.01, [7]), (1.0, [*range(8)]), (0.4, [2, 5, 7])],
)
def test_the_crops_that_are_masked_lie_evenly_in_the_batch(student, crop, share, expected):
    crops = [part.repeat(8, *[1] * (part.dim() - 1)) for part in crop]
    crops[1][:, :, 3] = torch.arange(8)[:, None]  # says which crop it is, and is no class's label
    seen = set()
    for seed in range(20):  # some find no random components that are unlike the relevant ones
        seen |= {int(labels[0, 3]) for labels in mask(student, crops, seed, share).labels}
    assert sorted(seen) == expected


def test_crops_of_a_batch_differ_in_what_is_masked(student, crop):
    crops = tuple(torch.cat([part] * 8) for part in crop)
    heard = mask(student, crops, seed=0).spectrogram
    assert len({tuple(each.flatten().tolist()) for each in heard}) > 4


def test_gradients_reach_the_activations_through_the_mask(student, crop):
    spectrogram, labels, activations = (torch.cat([part] * 8) for part in crop)
    activations.requires_grad_()
    masked = mask(student, (spectrogram, labels, activations), seed=1)
    masked.spectrogram.sum().backward()
    assert activations.grad is not None and activations.grad.abs().sum() > 0


def test_the_loss_ignores_unknown_labels_and_weighs_crops():
    labels = torch.tensor([[[1.0, -1.0]], [[0.0, -1.0]]])
    logits = torch.tensor([[[0.0, 7.0]], [[0.0, -7.0]]])
    masked = Masked(torch.zeros(2, 1, 3), labels, torch.tensor([[[1.0]], [[0.5]]]))
    assert masking_loss(logits, masked).item() == pytest.approx(0.6931, abs=1e-4)
    certain = torch.tensor([[[50.0, 0.0]], [[0.0, 0.0]]])
    assert masking_loss(certain, masked).item() == pytest.approx(0.5 * 0.6931 / 1.5, abs=1e-4)
