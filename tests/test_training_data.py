"""Crops: a function of seed and step, from corpora and classes as the balance says."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from audioseg_xai.archive import Archive, ArchiveEntry
from audioseg_xai.config import parse_config
from audioseg_xai.errors import ArchiveError, TrainingError
from audioseg_xai.features import SpectrogramConfig, log_spectrogram
from audioseg_xai.labels import CLASSES
from audioseg_xai.training.data import (
    CropDataset,
    CropSource,
    DataConfig,
    augment,
    augment_samples,
)
from audioseg_xai.training.sampling import (
    BalanceConfig,
    CropSampler,
    Parts,
    Place,
    Recording,
    known_classes,
)
from tests.training_dummies import corpora, labels, make_archive, write_archive


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return make_archive(tmp_path_factory.mktemp("corpus"))


BALANCED = {"balance": {"classes": 0.5}, "augment": {"overlap": 0.5}}


SHORT = {"short": 0.5, "short_crop": 30}


@pytest.mark.parametrize("settings", [{}, BALANCED, SHORT, BALANCED | SHORT])
def test_a_batch_depends_on_its_step_alone(tmp_path: Path, settings: dict[str, Any]) -> None:
    speech = {"labels": labels(300, speech=slice(100, 180))}
    archive = write_archive(tmp_path, {"a": speech, "b": {"labels": labels(150)}})
    config = parse_config({"crop": 100, "batch_size": 3} | settings, DataConfig, "test")

    def dataset(first: int) -> CropDataset:
        return CropDataset(
            CropSource(corpora(archive), config, CLASSES), seed=1, first=first, steps=9
        )

    whole, resumed = dataset(0), dataset(4)
    for one, other in zip(whole[6][:4], resumed[2][:4], strict=True):
        assert torch.equal(one, other)
    assert whole[6][4:] == resumed[2][4:]
    assert whole[6].seed != whole[7].seed
    assert not torch.equal(whole[6].spectrogram, whole[7].spectrogram)
    assert len(resumed) == 5


def test_some_batches_have_short_crops_also_of_short_recordings(tmp_path: Path) -> None:
    sounds = {"long": {"labels": labels(100)}, "short": {"labels": labels(40, music=slice(0, 40))}}
    config = DataConfig(crop=100, batch_size=8, short=0.3, short_crop=40)
    source = CropSource(corpora(write_archive(tmp_path, sounds)), config, CLASSES)
    batches = [CropDataset(source, seed=1, first=0, steps=99)[step] for step in range(60)]
    lengths = [batch.spectrogram.shape[1] for batch in batches]
    assert {*lengths} == {40, 100}
    assert 6 < lengths.count(40) < 30
    music = CLASSES.index("music")
    for batch, length in zip(batches, lengths, strict=True):
        assert batch.labels.shape == (8, length, 4)
    drawn = torch.cat(
        [b.labels[:, 0, music] for b, n in zip(batches, lengths, strict=True) if n == 40]
    )
    assert set(drawn.tolist()) == {0, 1}


def test_crops_longer_than_every_recording_are_refused(archive: Archive) -> None:
    with pytest.raises(TrainingError, match="lower 'crop'"):
        CropSource(corpora(archive), DataConfig(crop=9999), CLASSES)


def test_each_corpus_needs_a_recording_of_the_length_of_a_crop(tmp_path: Path) -> None:
    long = write_archive(tmp_path / "long", {"a": {"labels": labels(100)}})
    short = write_archive(tmp_path / "short", {"b": {"labels": labels(49)}})
    with pytest.raises(TrainingError, match=r"short: no recording is as long as .* 50 frames"):
        CropSampler([long, short], 50, BalanceConfig(), CLASSES)


def test_augmentation_is_a_gain_in_power(rng: np.random.Generator) -> None:
    config = DataConfig(gain=(-6.0, -6.0), equaliser=0.0)
    power = torch.rand(2, 5, 257) * 1e6
    changed = torch.expm1(augment(power.log1p(), config, rng))
    assert torch.allclose(changed, power * 10**-0.6, rtol=1e-3, atol=1e-2)


def test_samples_and_spectrograms_are_augmented_alike() -> None:
    config = DataConfig(gain=(-12.0, 6.0), equaliser=6.0)
    # Tones amid bins, far from the ends: what a smooth filter does to them is a gain.
    time = torch.arange(320 * 99 + 400) / 16_000
    tones = torch.stack([0.3 * torch.sin(2 * torch.pi * f * time) for f in (1000.0, 4000.0)])
    settings = SpectrogramConfig()
    heard = [
        torch.stack([log_spectrogram(each, settings) for each in filtered])
        for filtered in (tones, augment_samples(tones, config, np.random.default_rng(5)))
    ]
    expected = augment(heard[0], config, np.random.default_rng(5))
    bins = [32, 128]  # 1000 and 4000 Hz of 31.25 Hz each
    for crop, k in enumerate(bins):
        assert torch.allclose(heard[1][crop, 10:90, k], expected[crop, 10:90, k], atol=0.02)
        assert (expected[crop, 50, k] - heard[0][crop, 50, k]).abs() > 0.1


# --- balance ------------------------------------------------------------------------------------


def two_corpora(folder: Path) -> list[Archive]:
    """A has 3 recordings of 1000 frames, b one; noise is rare, and only in a."""
    quiet, loud = {"labels": labels(1000)}, {"labels": labels(1000, noise=slice(700, 710))}
    one = {"x": quiet, "y": loud, "z": {"labels": labels(1000, speech=slice(0, 1000))}}
    two = {"x": {"labels": labels(1000, noise=None, speech=slice(0, 500))}}
    return [write_archive(folder / "a" / "train", one), write_archive(folder / "b" / "train", two)]


def drawn(archives: list[Archive], balance: dict[str, Any], number: int = 4000) -> list[Place]:
    config = parse_config(balance, BalanceConfig, "test")
    return CropSampler(archives, 50, config, CLASSES).draw(np.random.default_rng(2), number)


def share(places: list[Place], archive: Archive) -> float:
    return float(np.mean([place.recording.archive is archive for place in places]))


@pytest.mark.parametrize("classes", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(
    ("corpora", "expected"), [("hours", 0.75), ("equal", 0.5), ({"a": 1.0, "b": 4.0}, 0.2)]
)
def test_corpora_have_the_share_that_is_asked_for(
    tmp_path: Path, corpora: object, classes: float, expected: float
) -> None:
    archives = two_corpora(tmp_path)
    found = share(drawn(archives, {"corpora": corpora, "classes": classes}), archives[0])
    if corpora == "hours" and classes:
        # Speech is active in 1000 frames of a and 500 of b; noise in a alone.
        expected = (1 - classes) * 0.75 + classes * (0.5 * 2 / 3 + 0.5)
    assert found == pytest.approx(expected, abs=0.03)  # 4 standard deviations


def has_noise(place: Place) -> bool:
    return bool((place.recording.labels()[place.start : place.start + 50, 2] == 1).any())


def test_rare_classes_have_their_turn(tmp_path: Path) -> None:
    archives = two_corpora(tmp_path)[:1]
    by_chance = np.mean([has_noise(place) for place in drawn(archives, {}, 1500)])
    in_turn = np.mean([has_noise(place) for place in drawn(archives, {"classes": 1.0}, 1500)])
    # 59 of the 951 positions in one of three recordings show the noise.
    assert by_chance == pytest.approx(59 / 951 / 3, abs=0.015)  # 4 standard deviations
    # Speech and noise take turns, and each noise crop shows the noise.
    assert in_turn == pytest.approx(0.5, abs=0.05)


def test_a_corpus_of_which_nothing_is_known_is_drawn_from_anywhere(tmp_path: Path) -> None:
    nothing = np.full((400, 4), -1, dtype=np.int8)
    archive = write_archive(tmp_path, {"a": {"labels": nothing}})
    starts = [place.start for place in drawn([archive], {"classes": 1.0})]
    assert min(starts) < 20 and max(starts) > 330


def test_crops_may_come_from_one_recording_in_a_row(tmp_path: Path) -> None:
    many = {f"r{number}": {"labels": labels(60)} for number in range(50)}
    archive = write_archive(tmp_path, many)
    places = drawn([archive], {"crops_per_recording": 4}, 402)
    uris = [place.recording.entry.uri for place in places]
    assert all(uris[first] == uris[first + step] for first in range(0, 400, 4) for step in range(4))
    assert len(uris) == 402 and len(set(uris[::4])) > 40
    assert len({place.start for place in places}) == 11  # but from anywhere in it
    alone, one = drawn([archive], {}), drawn([archive], {"crops_per_recording": 1})
    assert alone == one


@given(st.integers(50, 400), st.integers(2, 50), st.integers(0, 2**32 - 1))
def test_crops_lie_inside_their_recordings(frames: int, crop: int, seed: int) -> None:
    entry = ArchiveEntry("a", "a.h5", frames)
    made = np.random.default_rng(seed).integers(-1, 2, (frames, 4)).astype(np.int8)

    class Known(Recording):
        def labels(self) -> NDArray[np.int8]:
            return made

    recording = Known(None, entry)  # type: ignore[arg-type]
    parts = Parts([recording], max(1, crop // 2), CLASSES)
    assert parts.active.sum(0).tolist() == (made == 1).sum(0).tolist()
    rng = np.random.default_rng(seed)
    for number in range(len(parts.owner)):
        start = parts.place(number, recording, crop, rng).start
        assert 0 <= start <= frames - crop
        assert start <= parts.start[number] and parts.stop[number] <= start + crop


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"a": 1.0}, r"no weight for .*b/train: name a part of its path"),
        ({"a": 1.0, "b": 1.0, "c": 1.0}, r"'c' is part of the paths of 0 archives"),
        ({"train": 1.0}, r"'train' is part of the paths of 2 archives"),
        ({"a": 1.0, "a/train": 2.0, "b": 1.0}, r"'a/train' .* or of one named before"),
    ],
)
def test_weights_must_name_each_corpus_once(
    tmp_path: Path, weights: dict[str, float], message: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        drawn(two_corpora(tmp_path), {"corpora": weights})


def test_labels_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    archive = write_archive(tmp_path, {"a": {"labels": labels(10)}})
    (tmp_path / "a.h5").write_bytes(b"no HDF5")
    with pytest.raises(ArchiveError, match=r"a\.h5: cannot be read.*delete it"):
        known_classes([archive], CLASSES)
