"""Training for faithful explanations: decisions must fall with what they are said to rest on.

A network that reads the whole spectrogram can put anything into H, so that components may be
relevant without the sound that they describe being so. Here the student hears some crops again
with a part of the spectrum masked, in one of three ways: without the components that its decision
for a class rests on (the class must go), with these alone (the class must stay), or without random
components of the same energy (the class must stay, and what was not there must not come); what is
left of other classes, nobody knows. The first two are the masking-out and masking-in of Paissan et
al., "Listenable Maps for Audio Classifiers" (L-MAC), ICML 2024, here of the network itself and not
of a decoder beside it; the third is the control that explanations are measured against.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from audioseg_xai.labels import UNKNOWN
from audioseg_xai.masking import MaskKind, component_mask, masked_log_power
from audioseg_xai.models.networks import Student
from audioseg_xai.training.data import Batch
from audioseg_xai.training.parallel import shared_label_loss

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

    What is done to a crop is a function of the seed of its batch and of its place in it, so that
    the parts of a batch on several processes are masked as the batch on one. The crops that are
    masked lie evenly in the batch, so that all processes have as much to do.

    Parameters
    ----------
    student : Student
        Gives W and Theta.
    share : float
        Share of the crops of a batch that are heard again.
    removal_weights : mapping of str to float
        How much crops count without what a class rests on, 1 where it is not named.
    """

    student: Student
    share: float
    removal_weights: Mapping[str, float] = field(default_factory=dict)

    def __call__(self, batch: Batch, activations: torch.Tensor) -> Masked:
        """Mask some crops of a batch, or of a part of it; none of those without an active class.

        Parameters
        ----------
        batch : Batch
            Crops.
        activations : torch.Tensor, shape (B, T, K)
            H of the crops; gradients go through it into the masks.

        Returns
        -------
        Masked
            Of no crop (n = 0) where there was nothing to mask.
        """
        found = [
            self._mask(batch.spectrogram[crop], batch.labels[crop], activations[crop], generator)
            for crop, generator in self._drawn(batch)
        ]
        kept = [masked for masked in found if masked is not None]
        if not kept:
            return self._nothing(batch, activations)
        return Masked(*(torch.stack(parts) for parts in zip(*kept, strict=True)))

    def _drawn(self, batch: Batch) -> Iterator[tuple[int, torch.Generator]]:
        """Yield which crops of a part are masked, and a source of chance for each."""
        own = len(batch.spectrogram)
        whole = own * batch.parts
        count = max(1, round(self.share * whole))
        chance = torch.Generator().manual_seed(batch.seed)
        seeds = torch.randint(2**62, (whole,), generator=chance).tolist()
        for crop in range(own):
            place = batch.part * own + crop
            if (place + 1) * count // whole > place * count // whole:
                yield crop, torch.Generator().manual_seed(seeds[place])

    def _nothing(self, batch: Batch, activations: torch.Tensor) -> Masked:
        # Gradients flow through it as through masked crops: where other processes have some, all
        # take the same steps backwards, and wait for each other in the same places.
        mask = activations[:0] @ self.student.dictionary.detach().T
        return Masked(
            masked_log_power(batch.spectrogram[:0], mask),
            batch.labels[:0],
            batch.spectrogram.new_ones(0, 1, 1),
        )

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
            others = active & (torch.arange(active.shape[1], device=active.device) != c)
            wanted[others & frames.unsqueeze(1)] = UNKNOWN
        else:
            mask = self._component_mask(heard, selected, kind)
            factor = mask if mode == 1 else 1 - mask
            wanted[frames] = UNKNOWN  # of the other classes nobody knows what is left
            wanted[frames, c] = mode
            if mode == 0:
                weight = self.removal_weights.get(self.student.config.classes[c], 1.0)
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
    logits: torch.Tensor,
    masked: Masked,
    class_weights: torch.Tensor | None = None,
    *,
    parts: int = 1,
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
    parts : int, optional
        Processes that mask a part of the batch each, see `parallel.shared_label_loss`.
    """
    weights = masked.weights if class_weights is None else masked.weights * class_weights
    return shared_label_loss(logits, masked.labels, weights, parts=parts)
