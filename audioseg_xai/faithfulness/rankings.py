"""Orders in which parts of a spectrogram are taken away: components, bins, frequency bands."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch

from audioseg_xai.faithfulness.decision import Decision
from audioseg_xai.masking import MaskKind, component_mask


class Ranking(ABC):
    """Parts of a segment, the most relevant first.

    Parameters
    ----------
    decision : Decision
        The segment.
    size : int
        Number of parts.
    """

    def __init__(self, decision: Decision, size: int) -> None:
        self.decision, self.size = decision, size
        self._removed: dict[int, float] = {}

    @abstractmethod
    def mask(self, count: int) -> torch.Tensor:
        """Return the mask (T, F) of the first `count` parts: 1 where they are, 0 elsewhere."""

    def removed(self, count: int) -> float:
        """Return the share of the energy that goes with the first `count` parts."""
        if count not in self._removed:
            self._removed[count] = self.decision.removed_energy(1 - self.mask(count))
        return self._removed[count]

    def count_for_energy(self, share: float) -> int:
        """Return with how many parts the nearest to a share of the energy goes."""
        low, high = 0, self.size
        while low < high:
            middle = (low + high) // 2
            if self.removed(middle) < share:
                low = middle + 1
            else:
                high = middle
        nearer = low and share - self.removed(low - 1) < self.removed(low) - share
        return low - 1 if nearer else low


class ComponentRanking(Ranking):
    """Components of the dictionary in a given order.

    Parameters
    ----------
    decision : Decision
        The segment.
    order : torch.Tensor, shape (n,)
        Components, the most relevant first.
    kind : str, optional
        How masks divide a bin, see `masking`.
    """

    def __init__(self, decision: Decision, order: torch.Tensor, kind: MaskKind = "power") -> None:
        super().__init__(decision, len(order))
        self.order, self.kind = order, kind

    def mask(self, count: int) -> torch.Tensor:
        """Return the mask of the first `count` components, shape (T, F)."""
        selected = torch.zeros(self.decision.dictionary.shape[1])
        selected[self.order[:count]] = 1
        return component_mask(
            self.decision.activations, self.decision.dictionary, selected, self.kind
        )


class FrameRanking(Ranking):
    """Components ordered in each frame by what they add to that frame's logit."""

    def __init__(self, decision: Decision, kind: MaskKind = "power") -> None:
        relevance = decision.activations * decision.weights
        super().__init__(decision, int((relevance > 0).sum(1).max().item()))
        self.kind = kind
        self._ranks = (-relevance).argsort(1).argsort(1)
        self._positive = relevance > 0

    def mask(self, count: int) -> torch.Tensor:
        """Return the mask of the first `count` components of each frame, shape (T, F)."""
        selected = ((self._ranks < count) & self._positive).float()
        return component_mask(
            self.decision.activations, self.decision.dictionary, selected, self.kind
        )


class BinRanking(Ranking):
    """Time-frequency bins by a score.

    Parameters
    ----------
    decision : Decision
        The segment.
    scores : torch.Tensor, shape (T, F)
        The higher, the more relevant.
    """

    def __init__(self, decision: Decision, scores: torch.Tensor) -> None:
        super().__init__(decision, scores.numel())
        order = scores.flatten().argsort(descending=True)
        self._ranks = torch.empty_like(order)
        self._ranks[order] = torch.arange(self.size)
        self._shape = scores.shape
        energy = decision.power.flatten()[order].double().cumsum(0)
        self._share = energy / energy[-1].clamp_min(1e-9)

    def mask(self, count: int) -> torch.Tensor:
        """Return 1 for the first `count` bins, shape (T, F)."""
        return (self._ranks < count).float().reshape(self._shape)

    def removed(self, count: int) -> float:
        """Return the share of the energy in the first `count` bins."""
        return self._share[count - 1].item() if count else 0.0


class BandRanking(Ranking):
    """Frequency bands of equal width over the whole segment, by their score.

    Parameters
    ----------
    decision : Decision
        The segment.
    spectrum : torch.Tensor, shape (F,)
        Relevance a frequency.
    bands : int, optional
        How many.
    """

    def __init__(self, decision: Decision, spectrum: torch.Tensor, bands: int = 16) -> None:
        super().__init__(decision, bands)
        self._bins = torch.arange(len(spectrum)).tensor_split(bands)
        scores = torch.stack([spectrum[band].sum() for band in self._bins])
        self._order = scores.argsort(descending=True)

    def mask(self, count: int) -> torch.Tensor:
        """Return 1 in the first `count` bands, shape (T, F)."""
        mask = torch.zeros_like(self.decision.normalised)
        for band in self._order[:count].tolist():
            mask[:, self._bins[band]] = 1
        return mask
