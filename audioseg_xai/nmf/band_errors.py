"""How well a dictionary reconstructs which frames at which frequencies."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

import torch

GroupT = TypeVar("GroupT", bound=Hashable)


def band_edges(num_bins: int, bands: int, highest: float) -> list[tuple[float, float]]:
    """Return the lowest and the highest frequency of each band of `BandErrors`.

    Parameters
    ----------
    num_bins : int
        F.
    bands : int
        Number of bands.
    highest : float
        Frequency of the last bin, in Hz.

    Examples
    --------
    >>> band_edges(257, 2, 8000.0)
    [(0.0, 4000.0), (4031.25, 8000.0)]
    """
    parts = torch.arange(num_bins).tensor_split(bands)
    width = highest / max(1, num_bins - 1)
    return [(part[0].item() * width, part[-1].item() * width) for part in parts if len(part)]


class BandErrors(Generic[GroupT]):
    """Relative reconstruction error of groups of frames, in bands of equal width.

    Frames come in parts, of which only sums of squares are kept.

    Parameters
    ----------
    bands : int, optional
        Number of bands from 0 Hz to half the sample rate; fewer if there are fewer bins.
    """

    def __init__(self, bands: int = 8) -> None:
        self.bands = bands
        self.frames: dict[GroupT, int] = {}
        self._error: dict[GroupT, torch.Tensor] = {}
        self._energy: dict[GroupT, torch.Tensor] = {}

    def add(
        self,
        spectrogram: torch.Tensor,
        reconstruction: torch.Tensor,
        members: Mapping[GroupT, torch.Tensor],
    ) -> None:
        """Add frames.

        Parameters
        ----------
        spectrogram, reconstruction : torch.Tensor, shape (T, F)
            X and W H.
        members : mapping of group to torch.Tensor, shape (T,), bool
            Which frames belong to a group; a frame may belong to several.
        """
        error = self._squares(spectrogram - reconstruction)
        energy = self._squares(spectrogram)
        for group, chosen in members.items():
            self.frames[group] = self.frames.get(group, 0) + int(chosen.sum())
            for sums, values in ((self._error, error), (self._energy, energy)):
                found = values[chosen].sum(dim=0)
                sums[group] = sums[group] + found if group in sums else found

    def _squares(self, values: torch.Tensor) -> torch.Tensor:
        parts = [part for part in values.tensor_split(self.bands, -1) if part.shape[-1]]
        return torch.stack([part.square().sum(-1, dtype=torch.float64) for part in parts], -1)

    def relative(self, group: GroupT) -> tuple[float | None, list[float | None]]:
        """Return ||X - W H|| / ||X|| of a group, and the same in each band, low to high.

        None where X is silent.
        """
        error, energy = self._error[group], self._energy[group]
        pairs = zip(error.tolist(), energy.tolist(), strict=True)
        return _ratio(error.sum().item(), energy.sum().item()), [_ratio(*pair) for pair in pairs]


def _ratio(error: float, energy: float) -> float | None:
    return float((error / energy) ** 0.5) if energy > 0 else None
