"""Random crops of an archive: batch number `step` is a function of the seed and of `step` alone.

So a run that was interrupted goes on with exactly the batches that it would have seen.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch.utils.data import DataLoader, Dataset

from audioseg_xai.archive import Archive, ArchiveEntry, full_labels
from audioseg_xai.config import Config
from audioseg_xai.errors import ArchiveError, TrainingError
from audioseg_xai.labels import UNKNOWN


class DataConfig(Config):
    """How batches are drawn.

    Attributes
    ----------
    crop : int
        Frames a crop.
    batch_size : int
        Crops a batch.
    gain : tuple of float
        Range of the random gain, in dB.
    equaliser : float
        Largest random change of a frequency, in dB; smooth over frequency.
    """

    crop: int = Field(default=1000, ge=2)
    batch_size: int = Field(default=16, ge=1)
    gain: tuple[float, float] = (-30.0, 10.0)
    equaliser: float = Field(default=6.0, ge=0)


class Batch(NamedTuple):
    """A batch of crops.

    Attributes
    ----------
    spectrogram : torch.Tensor, shape (B, T, F), float32
        log(1 + power).
    labels : torch.Tensor, shape (B, T, C), int8
        1, 0 or -1 (unknown).
    features : torch.Tensor, shape (B, T, D) or (0,), float32
        Upstream features, empty where the network does not ask for any.
    """

    spectrogram: torch.Tensor
    labels: torch.Tensor
    features: torch.Tensor


class CropDataset(Dataset[Batch]):
    """Batches by step; item `i` is the batch of step `first + i`."""

    def __init__(
        self,
        archive: Archive,
        config: DataConfig,
        classes: tuple[str, ...],
        *,
        seed: int,
        first: int,
        steps: int,
        features: bool = False,
    ) -> None:
        self.archive, self.config, self.classes = archive, config, classes
        self.seed, self.first, self.steps, self.features = seed, first, steps, features
        lengths = np.array([entry.num_frames for entry in archive.entries], dtype=float)
        usable = np.where(lengths >= config.crop, lengths, 0)
        if not usable.any():
            raise TrainingError(
                f"{archive.folder}: no recording is as long as a crop of {config.crop} frames: "
                "lower 'crop'"
            )
        self.weights = usable / usable.sum()

    def __len__(self) -> int:
        return self.steps - self.first

    def __getitem__(self, item: int) -> Batch:
        """Return the batch of step `first + item`."""
        rng = np.random.default_rng([self.seed, self.first + item])
        chosen = rng.choice(len(self.archive), self.config.batch_size, p=self.weights)
        crops = [self._crop(self.archive.entries[index], rng) for index in chosen]
        spectrogram, labels, features = (torch.stack(parts) for parts in zip(*crops, strict=True))
        return Batch(augment(spectrogram, self.config, rng), labels, features)

    def _crop(self, entry: ArchiveEntry, rng: np.random.Generator) -> tuple[torch.Tensor, ...]:
        start = int(rng.integers(entry.num_frames - self.config.crop + 1))
        spectrogram, labels, features = self.archive.read(
            entry, start, start + self.config.crop, self.features
        )
        listened = torch.zeros(0) if features is None else torch.from_numpy(features).float()
        wanted = torch.from_numpy(full_labels(labels, self.classes))
        return torch.from_numpy(spectrogram).float(), wanted, listened


def augment(
    spectrogram: torch.Tensor, config: DataConfig, rng: np.random.Generator
) -> torch.Tensor:
    """Change the gain and the frequency response of each crop at random.

    Parameters
    ----------
    spectrogram : torch.Tensor, shape (B, T, F)
        log(1 + power).
    config : DataConfig
        Ranges.
    rng : numpy.random.Generator
        Source of chance.

    Returns
    -------
    torch.Tensor, shape (B, T, F)
        log(1 + power of what a recorder with another gain and response would have heard).
    """
    crops, _, bins = spectrogram.shape
    gain = rng.uniform(*config.gain, size=(crops, 1))
    knots = rng.uniform(-config.equaliser, config.equaliser, size=(crops, 7))
    positions = np.linspace(0, 6, bins)
    response = np.stack([np.interp(positions, np.arange(7), row) for row in knots])
    factor = torch.from_numpy(10 ** ((gain + response) / 10)).float().unsqueeze(1)
    return torch.expm1(spectrogram).mul_(factor).log1p_()


def loader(dataset: CropDataset, num_workers: int) -> DataLoader[Batch]:
    """Return a loader that prepares the next batches while the network computes."""
    return DataLoader(
        dataset,
        batch_size=None,
        num_workers=num_workers,
        prefetch_factor=2 if num_workers else None,
    )


def check_bins(archive: Archive, num_bins: int) -> None:
    """Check that the spectrograms of an archive have F = `num_bins`.

    Raises
    ------
    ArchiveError
        If they have another number of bins.
    """
    if archive.num_bins != num_bins:
        raise ArchiveError(
            f"{archive.folder}: its spectrograms have {archive.num_bins} bins, the network wants "
            f"{num_bins}: run 'xai-segment cache-features --fft-size {2 * (num_bins - 1)}', or set "
            f"network.spectrogram.fft_size to {2 * (archive.num_bins - 1)}"
        )


def known_classes(archive: Archive, classes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the classes that at least one recording of the archive has labels for."""
    known: set[str] = set()
    for entry in archive.entries:
        labels = full_labels(archive.read(entry)[1], classes)
        seen = (labels != UNKNOWN).any(axis=0)
        known |= {name for name, there in zip(classes, seen, strict=True) if there}
        if len(known) == len(classes):
            break
    return tuple(name for name in classes if name in known)
