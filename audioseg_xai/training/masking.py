"""Training for faithful explanations: decisions must fall with what they are said to rest on.

A network that reads the whole spectrogram can put anything into H, so that components may be
relevant without the sound that they describe being so. Here the student hears some crops again
with a part of the spectrum masked, in one of three ways: without the components that its decision
for a class rests on (the class must go), with these alone (the class must stay), or without random
components of the same energy (all labels must stay). The first two are the masking-out and
masking-in of Paissan et al., "Listenable Maps for Audio Classifiers" (L-MAC), ICML 2024, here of
the network itself and not of a decoder beside it; the third is the control that explanations are
measured against.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

from audioseg_xai.labels import UNKNOWN
from audioseg_xai.losses import label_loss
from audioseg_xai.masking import MaskKind, component_mask, masked_log_power
from audioseg_xai.models.networks import Student

_MIN_FRAMES = 25
"""A class must be active in so many frames of a crop (0.5 s) to be masked."""

_TAU, _USUAL, _LARGEST_TAU = 0.1, 0.7, 0.5
"""The selection: tau of the explanations in 7 of 10 crops, else random up to 0.5."""

_MODES = torch.tensor([0.35, 0.25, 0.40])
"""How often components are taken away, kept alone, or random ones taken away."""

_MOST_SHARED = 0.5
"""Random components with more of the relevance than this are no control."""

_KINDS: tuple[MaskKind, ...] = ("power", "ratio")


class Masked(NamedTuple):
    """Crops with a part of the spectrum masked.

    Attributes
    ----------
    spectrogram : torch.Tensor, shape (n, T, F)
        log(1 + power).
    labels : torch.Tensor, shape (n, T, C)
        1, 0 or -1: what the student should decide.
    weights : torch.Tensor, shape (n, 1, 1)
        How much each crop counts.
    """

    spectrogram: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor


@dataclass
class Masker:
    """Masks crops at random.

    Parameters
    ----------
    student : Student
        Gives W and Theta.
    share : float
        Share of the crops of a batch that are heard again.
    """

    student: Student
    share: float

    def __call__(
        self,
        spectrogram: torch.Tensor,
        labels: torch.Tensor,
        activations: torch.Tensor,
        generator: torch.Generator,
    ) -> Masked | None:
        """Mask the first crops of a batch; return None if no class is active in any of them.

        Parameters
        ----------
        spectrogram : torch.Tensor, shape (B, T, F)
            log(1 + power).
        labels : torch.Tensor, shape (B, T, C)
            1, 0 or -1.
        activations : torch.Tensor, shape (B, T, K)
            H of the crops; gradients go through it into the masks.
        generator : torch.Generator
            Source of chance, on the CPU.
        """
        count = max(1, round(self.share * len(spectrogram)))
        found = [
            self._mask(*crop, generator)
            for crop in zip(spectrogram[:count], labels[:count], activations[:count], strict=True)
        ]
        kept = [masked for masked in found if masked is not None]
        return Masked(*(torch.stack(parts) for parts in zip(*kept, strict=True))) if kept else None

    def _mask(
        self,
        spectrogram: torch.Tensor,
        labels: torch.Tensor,
        activations: torch.Tensor,
        generator: torch.Generator,
    ) -> Masked | None:
        active = labels == 1
        candidates = torch.nonzero(active.sum(0) >= _MIN_FRAMES).flatten()
        if len(candidates) == 0:
            return None
        c = int(candidates[torch.randint(len(candidates), (), generator=generator)])
        frames = active[:, c]
        heard = activations[frames]
        relevance = (heard.mean(0) * self.student.classifier.weight[c]).detach()
        if relevance.max() <= 0:
            return None
        selected = (relevance > self._tau(generator) * relevance.max()).float()
        mode = int(torch.multinomial(_MODES, 1, generator=generator))
        kind = _KINDS[int(torch.randint(len(_KINDS), (), generator=generator))]
        weight, wanted = 1.0, labels.clone()
        if mode == 2:
            random = self._random(heard, selected, generator)
            shared = float((relevance * selected * random).sum() / (relevance * selected).sum())
            if shared > _MOST_SHARED:
                return None
            factor, weight = 1 - self._component_mask(heard, random, kind), 1 - shared
        else:
            mask = self._component_mask(heard, selected, kind)
            factor = mask if mode == 1 else 1 - mask
            wanted[frames] = UNKNOWN  # of the other classes nobody knows what is left
            wanted[frames, c] = mode
        whole = torch.ones_like(spectrogram).index_put((frames,), factor)
        return Masked(
            masked_log_power(spectrogram, whole), wanted, spectrogram.new_full((1, 1), weight)
        )

    def _component_mask(
        self, heard: torch.Tensor, selected: torch.Tensor, kind: MaskKind
    ) -> torch.Tensor:
        return component_mask(heard, self.student.dictionary.detach(), selected, kind)

    def _random(
        self, heard: torch.Tensor, selected: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """Return random components with as much of the reconstruction as the selected ones."""
        energy = heard.detach().sum(0) * self.student.dictionary.detach().sum(0)
        alive = torch.nonzero(energy > 0).flatten()
        order = alive[torch.randperm(len(alive), generator=generator).to(alive.device)]
        enough = int((energy[order].cumsum(0) < (energy * selected).sum()).sum()) + 1
        chosen = torch.zeros_like(selected)
        chosen[order[:enough]] = 1
        return chosen

    @staticmethod
    def _tau(generator: torch.Generator) -> float:
        usual, other = torch.rand(2, generator=generator).tolist()
        return _TAU if usual < _USUAL else other * _LARGEST_TAU


def masking_loss(
    logits: torch.Tensor, masked: Masked, class_weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the weighted mean binary cross-entropy of masked crops, where labels are known.

    Parameters
    ----------
    logits : torch.Tensor, shape (n, T, C)
        What the student makes of ``masked.spectrogram``.
    masked : Masked
        What it should decide.
    class_weights : torch.Tensor, shape (C,), optional
        How much each class counts.
    """
    weights = masked.weights if class_weights is None else masked.weights * class_weights
    return label_loss(logits, masked.labels, weights)
