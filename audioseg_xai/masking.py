"""Masks over the spectrogram: the part of a sound that some components of the dictionary describe.

The student reconstructs a compressed spectrogram X = log(1 + g P) as W H. A set S of components
accounts for A = W_S H_S of it, the others for B = W H - A. Both kinds of mask divide a bin between
the two, so that a mask and that of the complement sum to one and what they let through sums to
the input:

- ``ratio``: A / (A + B), as in Parekh et al., "Listen to Interpret", NeurIPS 2022. A and B are
  logarithms here, so that a component with nine tenths of X lowers the rest by only 20 dB.
- ``power``: (e^A - 1) / ((e^A - 1) + (e^B - 1)), the ratio of the powers that A and B stand for,
  a Wiener mask. It separates more sharply, and is what the toolkit uses.
"""

from __future__ import annotations

from typing import Literal

import torch

MaskKind = Literal["power", "ratio"]

_LINEAR = 15.0
"""Above this, log(e^x - 1) is x to float32 precision."""

_SMALLEST = 1e-4
"""Compressed magnitudes below this (a factor e^-9 under the dynamic range) count as silence."""


def component_mask(
    activations: torch.Tensor,
    dictionary: torch.Tensor,
    selected: torch.Tensor,
    kind: MaskKind = "power",
) -> torch.Tensor:
    """Return the share of each bin that the selected components describe.

    Parameters
    ----------
    activations : torch.Tensor, shape (T, K)
        H, non-negative.
    dictionary : torch.Tensor, shape (F, K)
        W, non-negative.
    selected : torch.Tensor, shape (K,) or (T, K)
        1 for the components of S, 0 for the others.
    kind : str, optional
        ``power`` or ``ratio``, see the module.

    Returns
    -------
    torch.Tensor, shape (T, F)
        In [0, 1]: a factor for the complex spectrum. 1 minus it is the mask of the complement;
        bins that neither part describes belong to the complement.
    """
    chosen = (activations * selected) @ dictionary.T
    rest = (activations * (1 - selected)) @ dictionary.T
    if kind == "ratio":
        return chosen / (chosen + rest).clamp_min(_SMALLEST)
    share = torch.sigmoid(_log_expm1(chosen) - _log_expm1(rest))
    # Silence counts as none: a bin that one part alone describes is wholly its own.
    return torch.where(rest > _SMALLEST, share, 1.0) * (chosen > _SMALLEST)


def masked_log_power(log_power: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return log(1 + mask^2 P) for a log spectrogram log(1 + P); both of shape (..., T, F)."""
    return torch.log1p(torch.expm1(log_power) * mask.square())


def _log_expm1(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x > _LINEAR, x, torch.expm1(x.clamp(_SMALLEST, _LINEAR)).log())
