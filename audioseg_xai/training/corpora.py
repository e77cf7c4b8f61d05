"""The archives of a training, and what a batch of them has to carry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from audioseg_xai.archive import Archive
from audioseg_xai.errors import ArchiveError
from audioseg_xai.models.front_end import FeatureFrontEndConfig
from audioseg_xai.models.networks import NetworkConfig
from audioseg_xai.training.identity import archive_digest

Signal = Literal["spectrogram", "features", "samples"]
"""What crops are made of: stored spectrograms, these with stored features, or samples."""


@dataclass(frozen=True)
class Corpora:
    """The archives of a training, one a corpus.

    Attributes
    ----------
    train : sequence of Archive
        Learned from.
    valid : sequence of Archive
        What stops the training.
    augment_with : sequence of Archive
        Noise, music and speech that may be added.
    """

    train: Sequence[Archive]
    valid: Sequence[Archive]
    augment_with: Sequence[Archive] = ()

    @classmethod
    def open(
        cls, train: Iterable[Path], valid: Iterable[Path], augment_with: Iterable[Path] = ()
    ) -> Self:
        """Open archives.

        Raises
        ------
        ArchiveError
            If one is missing or empty.
        """
        return cls(*([Archive(folder) for folder in each] for each in (train, valid, augment_with)))

    @property
    def archives(self) -> list[Archive]:
        """All of them."""
        return [*self.train, *self.valid, *self.augment_with]

    def digests(self) -> dict[str, str]:
        """Return a name and a digest for each archive."""
        roles = {"train": self.train, "valid": self.valid, "augment_with": self.augment_with}
        return {
            role if len(archives) == 1 else f"{role}_{number}": archive_digest(archive)
            for role, archives in roles.items()
            for number, archive in enumerate(archives, start=1)
        }


def listens_to_features(config: NetworkConfig) -> bool:
    """Tell whether a network listens to upstream features instead of a spectrogram."""
    return isinstance(config.front_end, FeatureFrontEndConfig)


def choose_signal(corpora: Corpora, networks: Iterable[NetworkConfig], mixes: bool) -> Signal:
    """Return what crops are made of, so that all networks hear what they listen to.

    Parameters
    ----------
    corpora : Corpora
        Archives.
    networks : iterable of NetworkConfig
        Of all networks that hear a batch.
    mixes : bool
        Whether sounds are added up, which features cannot be.

    Raises
    ------
    ArchiveError
        If a network listens to features, and archives hold neither features nor samples, or some
        the one and some the other.
    """
    samples = all(archive.has_samples for archive in corpora.train)
    if not any(listens_to_features(config) for config in networks):
        return "samples" if mixes and samples else "spectrogram"
    features = all(archive.feature_shape is not None for archive in corpora.train)
    if features and not (mixes and samples):
        return "features"
    if samples:
        return "samples"
    lacking = next(
        (a for a in corpora.train if a.feature_shape is None and not a.has_samples),
        None,
    )
    if lacking is None:
        folders = ", ".join(str(archive.folder) for archive in corpora.train)
        raise ArchiveError(f"{folders}: some hold features, others samples: make them alike")
    raise ArchiveError(
        f"{lacking.folder}: holds neither the upstream features that the network listens to nor "
        "samples: run 'xai-segment cache-features' with --upstream or --store audio"
    )
