"""Gradient and occlusion attributions of a decision to bins of its spectrogram, by Captum."""

from __future__ import annotations

from collections.abc import Callable

import torch
from captum.attr import InputXGradient, IntegratedGradients, Occlusion, Saliency

from audioseg_xai.faithfulness.decision import Decision

_STEPS = 32
_WINDOW = (25, 16)  # frames and bins that are silenced together

Attribution = Callable[[Decision], torch.Tensor]
"""Maps a decision to scores (T, F) of the bins of its segment."""


def saliency(decision: Decision) -> torch.Tensor:
    """Absolute gradient of the mean logit (Simonyan et al., 2014)."""
    return _segment(decision, Saliency(decision.logit_of).attribute(decision.whole()))


def input_x_gradient(decision: Decision) -> torch.Tensor:
    """Gradient times input (Shrikumar et al., 2016)."""
    return _segment(decision, InputXGradient(decision.logit_of).attribute(decision.whole()))


def integrated_gradients(decision: Decision) -> torch.Tensor:
    """Gradients along the straight path from silence (Sundararajan et al., 2017), 32 steps."""
    method = IntegratedGradients(decision.logit_of)
    return _segment(
        decision, method.attribute(decision.whole(), n_steps=_STEPS, internal_batch_size=4)
    )


def occlusion(decision: Decision) -> torch.Tensor:
    """Fall of the mean logit when 0.5 s by 16 bins are silenced (Zeiler and Fergus, 2014)."""
    whole, frames = decision.whole().detach(), decision.frames

    def logit(segments: torch.Tensor) -> torch.Tensor:
        changed = whole.repeat(len(segments), 1, 1)
        changed[:, frames] = segments
        return decision.logit_of(changed)

    segment = whole[:, frames]
    window = (min(_WINDOW[0], segment.shape[1]), _WINDOW[1])
    with torch.no_grad():
        scores = Occlusion(logit).attribute(segment, window, strides=window)
    return scores[0]


BASELINES: dict[str, Attribution] = {
    "saliency": saliency,
    "input x gradient": input_x_gradient,
    "integrated gradients": integrated_gradients,
    "occlusion": occlusion,
}
"""Name to method."""


def _segment(decision: Decision, attributions: torch.Tensor) -> torch.Tensor:
    return attributions[0, decision.frames].detach()
