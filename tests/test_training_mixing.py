"""Sounds that are added to crops: their level, and the labels of the sum."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from audioseg_xai.archive import Archive
from audioseg_xai.config import parse_config
from audioseg_xai.errors import ArchiveError, ConfigError, TrainingError
from audioseg_xai.features import SpectrogramConfig, log_spectrogram
from audioseg_xai.labels import CLASSES
from audioseg_xai.training.corpora import Corpora
from audioseg_xai.training.data import Batch, CropDataset, CropSource, DataConfig
from audioseg_xai.training.mixing import (
    AugmentConfig,
    SampleMedium,
    SpectrogramMedium,
    mix_labels,
    mixing_gain,
)
from tests.training_dummies import corpora, labels, write_archive

SPEECH, MUSIC, NOISE, OVERLAP = range(4)
some_labels = arrays(np.int8, (9, 4), elements=st.sampled_from([-1, 0, 1]))


def possible(row: tuple[int, ...]) -> list[tuple[int, ...]]:
    """All truths that a row of labels may stand for; overlap is speech."""
    choices = [(0, 1) if value == -1 else (value,) for value in row]
    return [truth for truth in itertools.product(*choices) if truth[SPEECH] >= truth[OVERLAP]]


def truly_mixed(one: tuple[int, ...], other: tuple[int, ...]) -> list[int]:
    mixed = [max(pair) for pair in zip(one, other, strict=True)]
    mixed[OVERLAP] = max(mixed[OVERLAP], one[SPEECH] * other[SPEECH])
    return mixed


def test_labels_of_a_mixture_are_what_can_be_known_and_nothing_else() -> None:
    # Music and noise do not depend on each other nor on speech: one of them stands for both.
    rows = [
        (speech, music, 0, overlap)
        for speech, music, overlap in itertools.product((-1, 0, 1), repeat=3)
        if (speech, overlap) != (0, 1)
    ]
    for one, other in itertools.product(rows, rows):
        truths = [truly_mixed(a, b) for a in possible(one) for b in possible(other)]
        expected = [each[0] if len(set(each)) == 1 else -1 for each in zip(*truths, strict=True)]
        found = mix_labels(np.array([one], np.int8), np.array([other], np.int8))
        assert found[0].tolist() == expected, (one, other)


@given(some_labels, some_labels)
def test_it_makes_no_difference_which_sound_comes_first(
    one: NDArray[np.int8], other: NDArray[np.int8]
) -> None:
    assert np.array_equal(mix_labels(one, other), mix_labels(other, one))
    assert set(np.unique(mix_labels(one, other))) <= {-1, 0, 1}


@given(some_labels)
def test_silence_adds_nothing(one: NDArray[np.int8]) -> None:
    one[one[:, SPEECH] == 0, OVERLAP] = 0
    one[one[:, OVERLAP] == 1, SPEECH] = 1
    assert np.array_equal(mix_labels(one, np.zeros_like(one)), one)


def test_the_gain_makes_the_ratio_over_the_frames_that_count() -> None:
    power, added = torch.tensor([8.0, 4.0, 100.0]), torch.tensor([7.0, 2.0, 4.0])
    active, sounding = np.array([True, True, False]), np.array([False, True, True])
    # 6 over 3, to be 10 dB: a factor of 0.2.
    assert mixing_gain(power, active, added, sounding, 10.0) == pytest.approx(0.2)
    assert mixing_gain(power, ~(active | True), added, sounding, 10.0) == 1.0
    assert mixing_gain(power, active, 0 * added, sounding, 10.0) == 1.0


def test_powers_of_spectrograms_are_added() -> None:
    medium = SpectrogramMedium(3)
    one, other = torch.tensor([[1.0, 4.0, 0.0]]), torch.tensor([[2.0, 0.0, 6.0]])
    mixed = medium.add(one.log1p(), other.log1p(), 0.5)
    assert torch.allclose(torch.expm1(mixed), torch.tensor([[2.0, 4.0, 3.0]]), atol=1e-5)
    assert medium.power(one.log1p()).tolist() == [pytest.approx(5 / 3)]


def test_samples_are_added_with_the_root_of_the_gain() -> None:
    medium = SampleMedium()
    crop = medium.blank(3)
    assert len(crop) == 320 * 2 + 400
    medium.put(crop, torch.ones(400), 1)
    assert crop[:320].sum() == 0 and crop[320:720].sum() == 400 and crop[720:].sum() == 0
    assert medium.power(crop).tolist() == [pytest.approx(80 / 400), 1.0, pytest.approx(80 / 400)]
    assert torch.equal(medium.add(crop, crop, 4.0), 3 * crop)


# --- in crops -----------------------------------------------------------------------------------

CROP = 60


def flat(frames: int, power: float) -> NDArray[np.float32]:
    return np.full((frames, 257), np.log1p(power), dtype=np.float32)


def speech_archive(folder: Path, **unknown: None) -> Archive:
    made = labels(200, speech=slice(0, 200), **unknown)
    return write_archive(folder, {"s": {"spectrogram": flat(200, 1000.0), "labels": made}})


def clip_archive(folder: Path, name: str, frames: int = 20) -> Archive:
    """A recording, shorter than a crop, of one class."""
    made = labels(frames, **{name: slice(0, frames)})
    return write_archive(folder, {"n": {"spectrogram": flat(frames, 50.0), "labels": made}})


def batch_of(sources: Corpora, augment: dict[str, Any], size: int = 16) -> Batch:
    values = {"crop": CROP, "batch_size": size, "gain": (0, 0), "equaliser": 0}
    config = parse_config(values | {"augment": augment}, DataConfig, "test")
    source = CropSource(sources, config, CLASSES)
    return CropDataset(source, seed=0, first=0, steps=1)[0]


def test_noise_is_added_at_its_ratio_and_labelled_where_it_is(tmp_path: Path) -> None:
    speech, noise = speech_archive(tmp_path / "s"), clip_archive(tmp_path / "n", "noise")
    sources = Corpora([speech], [speech], [noise])
    batch = batch_of(sources, {"noise": 1.0, "noise_snr": (10.0, 10.0)})
    there = batch.labels[..., NOISE] == 1
    assert there.sum(1).tolist() == [20] * 16
    power = torch.expm1(batch.spectrogram).mean(2)
    assert power[there].numpy() == pytest.approx(1100, rel=0.02)  # a tenth of 1000 more
    assert power[~there].numpy() == pytest.approx(1000, rel=0.02)
    assert (batch.labels[..., SPEECH] == 1).all() and (batch.labels[..., OVERLAP] == 0).all()


def test_a_chance_is_a_chance(tmp_path: Path) -> None:
    speech, music = speech_archive(tmp_path / "s"), clip_archive(tmp_path / "m", "music", 90)
    batch = batch_of(Corpora([speech], [speech], [music]), {"music": 0.25}, size=200)
    found = (batch.labels[..., MUSIC] == 1).all(1).float().mean().item()
    assert found == pytest.approx(0.25, abs=0.12)  # 4 standard deviations


def test_speech_added_to_speech_is_overlap(tmp_path: Path) -> None:
    speech = speech_archive(tmp_path / "s")
    batch = batch_of(corpora(speech), {"overlap": 1.0, "overlap_snr": (3.0, 3.0)})
    assert (batch.labels[..., OVERLAP] == 1).all() and (batch.labels[..., SPEECH] == 1).all()
    expected = 1000 * (1 + 10**-0.3)
    assert torch.expm1(batch.spectrogram).mean().item() == pytest.approx(expected, rel=0.02)


def test_classes_that_no_corpus_annotates_stay_unknown(tmp_path: Path) -> None:
    speech = speech_archive(tmp_path / "s", noise=None, music=None)
    noise = clip_archive(tmp_path / "n", "noise")
    batch = batch_of(Corpora([speech], [speech], [noise]), {"noise": 1.0})
    assert (batch.labels[..., [MUSIC, NOISE]] == -1).all()
    assert (batch.labels[..., [SPEECH, OVERLAP]] != -1).all()


def with_samples(folder: Path, level: float, seed: int, **active: object) -> Archive:
    rng = np.random.default_rng(seed)
    samples = rng.normal(0, level * 32768, 320 * 99 + 400).round()
    spectrogram = log_spectrogram(torch.from_numpy(samples / 32768).float(), SpectrogramConfig())
    arrays = {"samples": samples, "labels": labels(100, **active), "spectrogram": spectrogram}
    return write_archive(folder, {"a": {k: np.asarray(v) for k, v in arrays.items()}})


def test_archives_of_samples_are_mixed_as_samples(tmp_path: Path) -> None:
    speech = with_samples(tmp_path / "s", 0.1, seed=1, speech=slice(0, 100))
    noise = with_samples(tmp_path / "n", 0.02, seed=2, noise=slice(0, 100))
    sources = Corpora([speech], [speech], [noise])
    config = DataConfig(
        crop=CROP,
        batch_size=4,
        gain=(0.0, 0.0),
        equaliser=0.0,
        augment=AugmentConfig(noise=1.0, noise_snr=(6.0, 6.0)),
    )
    source = CropSource(sources, config, CLASSES, signal="samples")
    batch = CropDataset(source, seed=0, first=0, steps=1)[0]
    assert batch.samples.shape == (4, 320 * (CROP - 1) + 400)
    assert batch.samples.square().mean().item() == pytest.approx(0.01 * (1 + 10**-0.6), rel=0.05)
    assert (batch.labels[..., [SPEECH, NOISE]] == 1).all()
    heard = torch.stack([log_spectrogram(each, SpectrogramConfig()) for each in batch.samples])
    assert torch.equal(batch.spectrogram, heard)


def test_features_cannot_be_mixed(tmp_path: Path) -> None:
    arrays = {"features": np.ones((100, 5)), "labels": labels(100, speech=slice(0, 100))}
    archive = write_archive(tmp_path, {"a": arrays})
    config = DataConfig(crop=CROP, augment=AugmentConfig(overlap=0.5))
    with pytest.raises(TrainingError, match=r"computed already: .*--store audio"):
        CropSource(corpora(archive), config, CLASSES, signal="features")


def test_samples_can_be_mixed_with_samples_only(tmp_path: Path) -> None:
    speech = with_samples(tmp_path / "s", 0.1, seed=1, speech=slice(0, 100))
    noise = clip_archive(tmp_path / "n", "noise")
    config = DataConfig(crop=CROP, augment=AugmentConfig(noise=0.5))
    with pytest.raises(ArchiveError, match=r"/n: holds no samples to add.*--store audio"):
        CropSource(Corpora([speech], [speech], [noise]), config, CLASSES, signal="samples")


@pytest.mark.parametrize("kind", ["noise", "music", "overlap"])
def test_nothing_to_add_is_an_error(tmp_path: Path, kind: str) -> None:
    archive = write_archive(tmp_path, {"a": {"labels": labels(100)}})
    with pytest.raises(TrainingError, match=rf"data\.augment\.{kind}: no recording .* labelled"):
        batch_of(Corpora([archive], [archive], [archive]), {kind: 0.1})


def test_a_range_that_falls_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"noise_snr: .*lower end .* first"):
        parse_config({"noise_snr": (20, 5)}, AugmentConfig, "test")
