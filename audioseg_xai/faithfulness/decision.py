"""One decided segment, which can be asked again after a part of its spectrogram was taken away."""

from __future__ import annotations

import torch

from audioseg_xai.masking import masked_log_power
from audioseg_xai.models.networks import Student


class Decision:
    """A segment of a recording with the context that its decision depends on.

    Parameters
    ----------
    network : Student
        In evaluation mode, with the spectrogram front end.
    log_power : torch.Tensor, shape (N, F)
        log(1 + power) of the recording.
    start, stop : int
        First frame of the segment, and the frame after its last.
    class_index : int
        The class that was decided.

    Attributes
    ----------
    normalised : torch.Tensor, shape (T, F)
        X, the level-normalised spectrogram of the segment.
    activations : torch.Tensor, shape (T, K)
        H of the segment.
    probability : float
        Mean probability of the class over the segment.
    mean_logit : float
        Mean logit of the class.
    """

    def __init__(
        self, network: Student, log_power: torch.Tensor, start: int, stop: int, class_index: int
    ) -> None:
        config = network.config
        context = config.context
        first = max(start - context, 0)
        first -= first % config.front_end.stride  # where outputs of the recording lie
        self.network, self.class_index = network, class_index
        self.log_power = log_power[first : stop + context]
        self.frames = slice(start - first, stop - first)
        # The level looks further than the network does, but at the power of whole frames only.
        outermost = max(first - config.level.context, 0)
        reach = log_power[outermost : stop + context + config.level.context]
        self._frame_power = torch.expm1(reach).mean(-1)
        self._offset = first - outermost
        self._whole = self._normalise(self.log_power)
        with torch.inference_mode():
            output = network(self._whole.unsqueeze(0))
        self.normalised = self._whole[self.frames]
        self.activations = output.activations[0, self.frames].clone()
        logits = output.logits[0, self.frames, class_index]
        self.mean_logit = logits.mean().item()
        self.probability = logits.sigmoid().mean().item()

    @property
    def power(self) -> torch.Tensor:
        """Power of each bin of the segment, shape (T, F)."""
        return torch.expm1(self.log_power[self.frames])

    @property
    def relevance(self) -> torch.Tensor:
        """r_k = z_k Theta_ck, shape (K,): what each component adds to the mean logit."""
        return self.activations.mean(0) * self.weights

    @property
    def weights(self) -> torch.Tensor:
        """Theta of the class, shape (K,)."""
        return self.network.classifier.weight[self.class_index].detach()

    @property
    def dictionary(self) -> torch.Tensor:
        """W, shape (F, K)."""
        return self.network.dictionary.detach()

    def ask(self, mask: torch.Tensor) -> float:
        """Return the mean probability when the segment's spectrum is multiplied by a mask (T, F).

        The context stays as it is. The level is normalised anew: the network hears what a listener
        would hear.
        """
        return self._probability(self._changed(masked_log_power(self._segment, mask)))

    def removed_energy(self, mask: torch.Tensor) -> float:
        """Return the share of the segment's energy that a mask (T, F) takes away."""
        power = self.power
        return 1 - ((power * mask.square()).sum() / power.sum().clamp_min(1e-9)).item()

    @torch.inference_mode()
    def relevance_after(self, change: torch.Tensor) -> torch.Tensor:
        """Return the relevance, shape (K,), for another log power of the whole excerpt."""
        output = self.network(self._normalise(change).unsqueeze(0))
        relevance: torch.Tensor = output.activations[0, self.frames].mean(0) * self.weights
        return relevance

    def logit_of(self, normalised: torch.Tensor) -> torch.Tensor:
        """Return the mean logit of the class for spectrograms (B, T', F) of the whole excerpt."""
        output = self.network(normalised)
        mean: torch.Tensor = output.logits[:, self.frames, self.class_index].mean(1)
        return mean

    def whole(self) -> torch.Tensor:
        """Return X of the whole excerpt, shape (1, T', F), ready for gradients."""
        return self._whole.unsqueeze(0).requires_grad_()

    @property
    def _segment(self) -> torch.Tensor:
        return self.log_power[self.frames]

    def _changed(self, segment: torch.Tensor) -> torch.Tensor:
        changed = self.log_power.clone()
        changed[self.frames] = segment
        return changed

    @torch.inference_mode()
    def _probability(self, log_power: torch.Tensor) -> float:
        output = self.network(self._normalise(log_power).unsqueeze(0))
        return float(output.logits[0, self.frames, self.class_index].sigmoid().mean().item())

    def _normalise(self, log_power: torch.Tensor) -> torch.Tensor:
        """Return X (T', F) of the excerpt with another log power; around it all stays."""
        frame_power = self._frame_power.clone()
        power = torch.expm1(log_power)
        inside = slice(self._offset, self._offset + len(power))
        frame_power[inside] = power.mean(-1)
        level_norm = self.network.level_norm
        level = level_norm.level(frame_power.unsqueeze(0))[0, inside]
        return level_norm.compress(power, level)
