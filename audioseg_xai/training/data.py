"""Random crops of archives: batch number `step` is a function of the seed and of `step` alone.

So a run that was interrupted goes on with exactly the batches that it would have seen.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch.utils.data import DataLoader, Dataset

from audioseg_xai.archive import Archive, full_labels
from audioseg_xai.config import Config
from audioseg_xai.errors import ArchiveError, TrainingError
from audioseg_xai.features import SpectrogramConfig, log_spectrogram
from audioseg_xai.training import preemption
from audioseg_xai.training.corpora import Corpora, Signal
from audioseg_xai.training.mixing import AugmentConfig, Mixer, SampleMedium, SpectrogramMedium
from audioseg_xai.training.sampling import BalanceConfig, CropSampler, Place, known_classes

Part = tuple[int, int]
"""Which part of a batch, from 0, of how many equal ones."""


class DataConfig(Config):
    """How batches are drawn.

    Attributes
    ----------
    crop : int
        Frames a crop.
    batch_size : int
        Crops a batch.
    short : float
        Share of the batches whose crops have `short_crop` frames: what networks know of short
        recordings, which begin and end within what they see at once.
    short_crop : int
        Frames of these crops.
    gain : tuple of float
        Range of the random gain, in dB. Like the equaliser it changes what networks hear as a
        spectrogram or as samples; features that were computed before stay what they are.
    equaliser : float
        Largest random change of a frequency, in dB; smooth over frequency.
    balance : BalanceConfig
        Shares of corpora and of classes.
    augment : AugmentConfig
        What is added to crops.
    """

    crop: int = Field(default=1000, ge=2)
    batch_size: int = Field(default=16, ge=1)
    short: float = Field(default=0.0, ge=0, le=1)
    short_crop: int = Field(default=250, ge=2)
    gain: tuple[float, float] = (-30.0, 10.0)
    equaliser: float = Field(default=6.0, ge=0)
    balance: BalanceConfig = BalanceConfig()
    augment: AugmentConfig = AugmentConfig()

    @model_validator(mode="after")
    def _short_is_shorter(self) -> Self:
        if self.short and self.short_crop >= self.crop:
            raise ValueError(
                f"'short_crop' ({self.short_crop}) must be less than 'crop' ({self.crop})"
            )
        return self


class Batch(NamedTuple):
    """A batch of crops.

    Attributes
    ----------
    spectrogram : torch.Tensor, shape (B, T, F), float32
        log(1 + power).
    labels : torch.Tensor, shape (B, T, C), int8
        1, 0 or -1 (unknown).
    features : torch.Tensor, shape (B, T, D), (B, T, L, D) or (B, 0), float32
        Upstream features, empty where no network asks for any, or they are yet to compute.
    samples : torch.Tensor, shape (B, N) or (B, 0), float32
        Audio in [-1, 1] that features are computed from; empty where none are.
    seed : int
        Of what is drawn at random while the loss is computed; that of the whole batch.
    part, parts : int
        Which part of a batch this is, from 0, of how many equal ones. Each process has one.
    """

    spectrogram: torch.Tensor
    labels: torch.Tensor
    features: torch.Tensor
    samples: torch.Tensor = torch.zeros(0)
    seed: int = 0
    part: int = 0
    parts: int = 1


class CropSource:
    """Makes crops of the training archives.

    Parameters
    ----------
    corpora : Corpora
        Archives.
    config : DataConfig
        How crops are drawn and changed.
    classes : tuple of str
        Axis C.
    signal : {'spectrogram', 'features', 'samples'}
        What crops are made of, see `Signal`.
    fixed : bool
        Whether the spectrogram goes with features that cannot change, and stays as it is too.

    Raises
    ------
    TrainingError
        If an archive has no recording as long as a crop, the weights of the corpora do not name
        them, there is nothing to augment with, or what there is cannot be added up.
    """

    def __init__(
        self,
        corpora: Corpora,
        config: DataConfig,
        classes: tuple[str, ...],
        *,
        signal: Signal = "spectrogram",
        fixed: bool = False,
    ) -> None:
        self.config, self.classes, self.signal, self.fixed = config, classes, signal, fixed
        self.samplers = {
            crop: CropSampler(corpora.train, crop, config.balance, classes)
            for crop in _crops(config)
        }
        bins = corpora.train[0].num_bins
        self.spectrogram = SpectrogramConfig(fft_size=2 * (bins - 1))
        self.medium = SampleMedium() if signal == "samples" else SpectrogramMedium(bins)
        self.mixers: dict[int, Mixer] = {}
        if config.augment.kinds:
            _check_mixable(corpora, signal)
            known = known_classes(corpora.train, classes)
            both = corpora.train, corpora.augment_with
            self.mixers = {
                crop: Mixer(config.augment, crop, self.medium, *both, known)
                for crop in self.samplers
            }

    def batch(self, rng: np.random.Generator, part: Part = (0, 1)) -> Batch:
        """Return a random batch, or some of its crops.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of chance; all parts draw the same.
        part : tuple of int
            Which part of how many is wanted; nothing is read of the others.
        """
        crop = self._crop(rng)
        places = self.samplers[crop].draw(rng, self.config.batch_size)
        response = _Response.draw(len(places), self.config, rng)
        own = _own(len(places), part)
        if self.signal == "features":
            return self._with_features(places[own], crop, response.of(own))
        # Each crop has a source of chance of its own, whoever makes it.
        chances = rng.spawn(len(places))[own]
        crops = [self._mixed(crop, *each) for each in zip(places[own], chances, strict=True)]
        sounds = torch.stack([sound for sound, _ in crops])
        labels = self._labels([labels for _, labels in crops])
        nothing = torch.zeros(len(crops), 0)
        if self.signal == "spectrogram":
            return Batch(response.of(own).on_power(sounds), labels, nothing, nothing)
        samples = response.of(own).on_samples(sounds)
        spectra = torch.stack([log_spectrogram(each, self.spectrogram) for each in samples])
        return Batch(spectra, labels, nothing, samples)

    def _crop(self, rng: np.random.Generator) -> int:
        # The dice are left alone where the share is 0: batches of older configurations stay.
        short = bool(self.config.short) and rng.random() < self.config.short
        return self.config.short_crop if short else self.config.crop

    def _mixed(
        self, crop: int, place: Place, rng: np.random.Generator
    ) -> tuple[torch.Tensor, NDArray[np.int8]]:
        sound, labels = self.medium.read(place.recording, place.start, place.start + crop)
        return self.mixers[crop](sound, labels, rng) if self.mixers else (sound, labels)

    def _with_features(self, places: list[Place], crop: int, response: _Response) -> Batch:
        spectra, labels, features = [], [], []
        for (archive, entry), start in places:
            spectrum, known, found = archive.read(entry, start, start + crop, True)
            spectra.append(torch.from_numpy(spectrum).float())
            labels.append(known)
            features.append(torch.from_numpy(found).float())
        spectrogram = torch.stack(spectra)
        if not self.fixed:
            spectrogram = response.on_power(spectrogram)
        nothing = torch.zeros(len(places), 0)
        return Batch(spectrogram, self._labels(labels), torch.stack(features), nothing)

    def _labels(self, labels: list[NDArray[np.int8]]) -> torch.Tensor:
        wanted = [torch.from_numpy(full_labels(each, self.classes)) for each in labels]
        return torch.stack(wanted)


class CropDataset(Dataset[Batch]):
    """Batches by step; item `i` is the batch of step `first + i`, or a part of it.

    Parameters
    ----------
    source : CropSource
        Makes crops.
    seed : int
        Of all batches.
    first, steps : int
        The steps ``[first, steps)``.
    part : tuple of int
        Which part of each batch, of how many.
    """

    def __init__(
        self, source: CropSource, *, seed: int, first: int, steps: int, part: Part = (0, 1)
    ) -> None:
        self.source, self.seed, self.first, self.steps = source, seed, first, steps
        self.part = part

    def __len__(self) -> int:
        return self.steps - self.first

    def __getitem__(self, item: int) -> Batch:
        """Return the batch of step `first + item`."""
        rng = np.random.default_rng([self.seed, self.first + item])
        batch, (part, parts) = self.source.batch(rng, self.part), self.part
        return batch._replace(seed=int(rng.integers(2**62)), part=part, parts=parts)


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
    return _Response.draw(len(spectrogram), config, rng).on_power(spectrogram)


def augment_samples(
    samples: torch.Tensor, config: DataConfig, rng: np.random.Generator
) -> torch.Tensor:
    """Change the gain and the frequency response of each crop at random, as `augment` does.

    The filter has no phase and is applied to the whole crop in the frequency domain.

    Parameters
    ----------
    samples : torch.Tensor, shape (B, N)
        Audio.
    config : DataConfig
        Ranges.
    rng : numpy.random.Generator
        Source of chance.

    Returns
    -------
    torch.Tensor, shape (B, N)
        What a recorder with another gain and response would have heard.
    """
    return _Response.draw(len(samples), config, rng).on_samples(samples)


class _Response(NamedTuple):
    """Gain and frequency response of recorders, in dB: (B, 1), and (B, 7) from 0 Hz on."""

    gain: NDArray[np.floating]
    knots: NDArray[np.floating]

    @classmethod
    def draw(cls, crops: int, config: DataConfig, rng: np.random.Generator) -> Self:
        gain = rng.uniform(*config.gain, size=(crops, 1))
        return cls(gain, rng.uniform(-config.equaliser, config.equaliser, size=(crops, 7)))

    def of(self, own: slice) -> _Response:
        return _Response(self.gain[own], self.knots[own])

    def decibels(self, bins: int) -> NDArray[np.floating]:
        positions = np.linspace(0, 6, bins)
        smooth = [np.interp(positions, np.arange(7), row) for row in self.knots]
        return self.gain + np.stack(smooth)

    def on_power(self, spectrogram: torch.Tensor) -> torch.Tensor:
        factor = torch.from_numpy(10 ** (self.decibels(spectrogram.shape[2]) / 10)).float()
        return torch.expm1(spectrogram).mul_(factor.unsqueeze(1)).log1p_()

    def on_samples(self, samples: torch.Tensor) -> torch.Tensor:
        spectrum = torch.fft.rfft(samples)
        factor = torch.from_numpy(10 ** (self.decibels(spectrum.shape[1]) / 20)).float()
        return torch.fft.irfft(spectrum * factor, samples.shape[1])


def _crops(config: DataConfig) -> set[int]:
    return {config.crop, config.short_crop} if config.short else {config.crop}


def _own(crops: int, part: Part) -> slice:
    number, total = part
    return slice(number * crops // total, (number + 1) * crops // total)


def loader(dataset: CropDataset, num_workers: int) -> DataLoader[Batch]:
    """Return a loader that prepares the next batches while the network computes."""
    return DataLoader(
        dataset,
        batch_size=None,
        num_workers=num_workers,
        worker_init_fn=preemption.ignore,
        prefetch_factor=2 if num_workers else None,
    )


def _check_mixable(corpora: Corpora, signal: Signal) -> None:
    if signal == "features":
        raise TrainingError(
            f"{corpora.train[0].folder}: data.augment cannot add sounds to features that are "
            "computed already: run 'xai-segment cache-features --store audio' for the archives of "
            "--train and --augment-with, or leave data.augment out"
        )
    for archive in corpora.augment_with:
        if signal == "samples" and not archive.has_samples:
            raise ArchiveError(
                f"{archive.folder}: holds no samples to add to those of --train: "
                "run 'xai-segment cache-features --store audio'"
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
