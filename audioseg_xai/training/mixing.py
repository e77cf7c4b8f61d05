"""Augmentation that changes labels: noise, music or another speaker is added to a crop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator

from audioseg_xai.archive import Archive
from audioseg_xai.config import Config
from audioseg_xai.errors import TrainingError
from audioseg_xai.features import SAMPLE_SCALE
from audioseg_xai.frames import HOP, WINDOW
from audioseg_xai.labels import CLASSES, UNKNOWN
from audioseg_xai.training.sampling import Parts, Recording, recordings_of

Range = tuple[float, float]

Sound = tuple[torch.Tensor, NDArray[np.int8]]
"""A crop, as its `Medium` has it, and its labels (T, 4)."""

SPEECH, OVERLAP = CLASSES.index("speech"), CLASSES.index("overlap")


class AugmentConfig(Config):
    """What is added to crops, how often, and how loud.

    Attributes
    ----------
    noise, music, overlap : float
        Chance that a crop gets noise, music, or further speech.
    noise_snr, music_snr, overlap_snr : tuple of float
        Range of the signal-to-noise ratio in dB: mean power of the crop where something is active
        to mean power of what is added where its class is active. A crop in which nothing is known
        to be active gets what is added at the level that it was recorded with.
    """

    noise: float = Field(default=0.0, ge=0, le=1)
    noise_snr: Range = (5.0, 20.0)
    music: float = Field(default=0.0, ge=0, le=1)
    music_snr: Range = (1.0, 20.0)
    overlap: float = Field(default=0.0, ge=0, le=1)
    overlap_snr: Range = (1.0, 10.0)

    @field_validator("noise_snr", "music_snr", "overlap_snr")
    @classmethod
    def _rises(cls, snr: Range) -> Range:
        if snr[0] > snr[1]:
            raise ValueError("the lower end of the range comes first")
        return snr

    @property
    def kinds(self) -> dict[str, tuple[float, Range, str]]:
        """For all that is ever added: its chance, range of ratios, and class to look for."""
        listed = {
            "overlap": (self.overlap, self.overlap_snr, "speech"),
            "music": (self.music, self.music_snr, "music"),
            "noise": (self.noise, self.noise_snr, "noise"),
        }
        return {kind: found for kind, found in listed.items() if found[0] > 0}


def mix_labels(one: NDArray[np.int8], other: NDArray[np.int8]) -> NDArray[np.int8]:
    """Return the labels of the sum of two recordings.

    A class is active (1) where either recording has it, absent (0) where both are known to lack
    it, and unknown (-1) elsewhere. Overlapped speech, besides, is active where both have speech,
    and known to be absent only where neither has it and one has no speech. Where there is no
    speech there is no overlap, and where there is overlap there is speech, labelled or not.

    Parameters
    ----------
    one, other : numpy.ndarray, shape (T, 4)
        Labels 1, 0 or -1 of each, classes in the order of `labels.CLASSES`.

    Returns
    -------
    numpy.ndarray, shape (T, 4)
        Labels of the mixture.
    """
    one, other = _implied(one), _implied(other)
    mixed = np.where((one == UNKNOWN) | (other == UNKNOWN), UNKNOWN, 0)
    mixed[(one == 1) | (other == 1)] = 1
    alone = (one[:, SPEECH] == 0) | (other[:, SPEECH] == 0)
    both = (one[:, SPEECH] == 1) & (other[:, SPEECH] == 1)
    mixed[(mixed[:, OVERLAP] == 0) & ~alone, OVERLAP] = UNKNOWN
    mixed[both, OVERLAP] = 1
    return mixed.astype(np.int8)


def _implied(labels: NDArray[np.int8]) -> NDArray[np.int8]:
    known = labels.copy()
    known[(known[:, SPEECH] == 0), OVERLAP] = 0
    known[(known[:, OVERLAP] == 1), SPEECH] = 1
    return known


class Medium(Protocol):
    """How crops are read and added: as spectrograms, or as samples."""

    def read(self, recording: Recording, start: int, stop: int) -> Sound:
        """Return frames start to stop of a recording, and their labels (t, 4)."""

    def blank(self, frames: int) -> torch.Tensor:
        """Return a crop of silence."""

    def put(self, crop: torch.Tensor, part: torch.Tensor, offset: int) -> None:
        """Put what was read into a blank crop, `offset` frames after its beginning."""

    def power(self, crop: torch.Tensor) -> torch.Tensor:
        """Return the mean power of each frame of a crop, shape (T,)."""

    def add(self, crop: torch.Tensor, other: torch.Tensor, gain: float) -> torch.Tensor:
        """Return the sum of two crops, the power of the second one times `gain`."""


class SpectrogramMedium:
    """Adds the powers of spectrograms: log(1 + P1 + g P2).

    It is an approximation: the power of a sum of signals has a cross term, which vanishes in the
    mean for signals that know nothing of each other, but not in each bin.

    Parameters
    ----------
    num_bins : int
        F.
    """

    def __init__(self, num_bins: int) -> None:
        self.num_bins = num_bins

    def read(self, recording: Recording, start: int, stop: int) -> Sound:
        """Return log(1 + power), shape (t, F), and labels."""
        spectrogram, labels, _ = recording.archive.read(recording.entry, start, stop)
        return torch.from_numpy(spectrogram).float(), labels

    def blank(self, frames: int) -> torch.Tensor:
        """Return no power at all."""
        return torch.zeros(frames, self.num_bins)

    def put(self, crop: torch.Tensor, part: torch.Tensor, offset: int) -> None:
        """Put a shorter spectrogram into a blank one."""
        crop[offset : offset + len(part)] = part

    def power(self, crop: torch.Tensor) -> torch.Tensor:
        """Return the mean over bins, shape (T,)."""
        return torch.expm1(crop).mean(1)

    def add(self, crop: torch.Tensor, other: torch.Tensor, gain: float) -> torch.Tensor:
        """Return log(1 + P1 + g P2)."""
        return torch.expm1(crop).add_(torch.expm1(other), alpha=gain).log1p_()


class SampleMedium:
    """Adds samples, as air does."""

    def read(self, recording: Recording, start: int, stop: int) -> Sound:
        """Return samples in [-1, 1], shape (320 (t - 1) + 400,), and labels."""
        archive, entry = recording
        samples = torch.from_numpy(archive.read_samples(entry, start, stop))
        return samples.float() / SAMPLE_SCALE, archive.read(entry, start, stop)[1]

    def blank(self, frames: int) -> torch.Tensor:
        """Return silence."""
        return torch.zeros((frames - 1) * HOP + WINDOW)

    def put(self, crop: torch.Tensor, part: torch.Tensor, offset: int) -> None:
        """Put shorter samples into silence."""
        crop[offset * HOP : offset * HOP + len(part)] = part

    def power(self, crop: torch.Tensor) -> torch.Tensor:
        """Return the mean square of each frame, shape (T,)."""
        return crop.unfold(0, WINDOW, HOP).square().mean(1)

    def add(self, crop: torch.Tensor, other: torch.Tensor, gain: float) -> torch.Tensor:
        """Return the sum."""
        return crop + gain**0.5 * other


def mixing_gain(
    power: torch.Tensor,
    active: NDArray[np.bool_],
    added: torch.Tensor,
    sounding: NDArray[np.bool_],
    snr: float,
) -> float:
    """Return the factor for the power of what is added: P1 / (P2 10^(snr / 10)).

    Parameters
    ----------
    power, added : torch.Tensor, shape (T,)
        Power of each frame of a crop, and of what is added to it.
    active, sounding : numpy.ndarray, shape (T,), bool
        The frames over which P1 and P2 are means.
    snr : float
        In dB.

    Returns
    -------
    float
        1 where there is nothing to compare: no such frames, or no power in them.
    """
    if not (active.any() and sounding.any()):
        return 1.0
    one = power[torch.from_numpy(active)].mean().item()
    other = added[torch.from_numpy(sounding)].mean().item()
    return one / (other * 10 ** (snr / 10)) if one > 0 and other > 0 else 1.0


class Source:
    """Crops in which a class is active.

    Parameters
    ----------
    archives : sequence of Archive
        Where to look.
    kind : str
        The class.
    crop : int
        Frames a crop; a shorter recording lies somewhere in a silent one.
    """

    def __init__(self, archives: Sequence[Archive], kind: str, crop: int) -> None:
        self.crop, self._recordings = crop, recordings_of(archives)
        self._parts = Parts(self._recordings, max(1, crop // 2), (kind,))
        self._cumulated = np.cumsum(self._parts.active[:, 0])

    @property
    def empty(self) -> bool:
        """Whether the class is active nowhere."""
        return not self._cumulated[-1]

    def draw(self, medium: Medium, rng: np.random.Generator) -> Sound:
        """Return a crop, each active frame equally likely to be in it, and its labels (T, 4)."""
        drawn = rng.integers(self._cumulated[-1])
        part = int(np.searchsorted(self._cumulated, drawn, side="right"))
        recording = self._recordings[self._parts.owner[part]]
        start = self._parts.place(part, recording, self.crop, rng).start
        frames = min(self.crop, recording.entry.num_frames)
        offset = int(rng.integers(self.crop - frames + 1))
        part_sound, part_labels = medium.read(recording, start, start + frames)
        crop = medium.blank(self.crop)
        medium.put(crop, part_sound, offset)
        # Where nothing is added, nothing of any class is.
        labels = np.zeros((self.crop, len(CLASSES)), dtype=np.int8)
        labels[offset : offset + frames] = part_labels
        return crop, labels


class Mixer:
    """Adds to crops what an `AugmentConfig` says.

    Parameters
    ----------
    config : AugmentConfig
        What, how often, how loud.
    crop : int
        Frames a crop.
    medium : Medium
        How sounds are added.
    train, augment_with : sequence of Archive
        Noise and music come from `augment_with`; speech too, or from `train` if there is none.
    known : tuple of str
        Classes that labels of `train` are about; of the others, nothing but what is added would
        ever be known, so that they stay unknown.

    Raises
    ------
    TrainingError
        If nothing that could be added is there.
    """

    def __init__(
        self,
        config: AugmentConfig,
        crop: int,
        medium: Medium,
        train: Sequence[Archive],
        augment_with: Sequence[Archive],
        known: tuple[str, ...],
    ) -> None:
        self.medium = medium
        self._steps = [
            (chance, snr, CLASSES.index(name), _source(kind, name, crop, train, augment_with))
            for kind, (chance, snr, name) in config.kinds.items()
        ]
        self._untold = [CLASSES.index(name) for name in CLASSES if name not in known]

    def __call__(
        self, crop: torch.Tensor, labels: NDArray[np.int8], rng: np.random.Generator
    ) -> Sound:
        """Return a crop to which something may have been added, and its labels (T, 4)."""
        for chance, snr, column, source in self._steps:
            if rng.random() >= chance:
                continue
            other, there = source.draw(self.medium, rng)
            gain = mixing_gain(
                self.medium.power(crop),
                (labels == 1).any(axis=1),
                self.medium.power(other),
                there[:, column] == 1,
                rng.uniform(*snr),
            )
            crop, labels = self.medium.add(crop, other, gain), mix_labels(labels, there)
        labels = labels.copy()
        labels[:, self._untold] = UNKNOWN
        return crop, labels


def _source(
    kind: str, name: str, crop: int, train: Sequence[Archive], augment_with: Sequence[Archive]
) -> Source:
    places = [augment_with, train] if kind == "overlap" else [augment_with]
    for archives in places:
        if archives and not (source := Source(archives, name, crop)).empty:
            return source
    where = "training or --augment-with" if kind == "overlap" else "--augment-with"
    raise TrainingError(
        f"data.augment.{kind}: no recording of {where} is labelled {name}: "
        "name an archive that has some with --augment-with, or leave it out"
    )
