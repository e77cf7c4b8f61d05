"""Networks side by side in one, and each of them again.

Each array of a network with branches is those of its branches one after another, along the axis of
outputs: what grouped convolutions make of them is what each makes alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]

_TO_ACTIVATIONS = ("to_activations.", "analysis.")
_OWN = ("front_end.", "tcn.", *_TO_ACTIVATIONS)
"""How the names begin of what each branch has for itself; the rest is about all components."""

_BESIDE = ("dictionary", "classifier.weight")
"""What has the components on its second axis: (F, K) and (C, K)."""


def branch_weights(weights: Mapping[str, NDArray[Any]], number: int, branches: int) -> Arrays:
    """Return what a branch of a network has for itself.

    Parameters
    ----------
    weights : mapping of str to numpy.ndarray
        Name of each parameter and buffer of the network to its values.
    number : int
        Which branch, from 0.
    branches : int
        How many the network has.
    """
    own = {name: value for name, value in weights.items() if name.startswith(_OWN)}
    return {
        name: value if value.ndim == 0 else np.split(value, branches)[number]
        for name, value in own.items()
    }


def joined_weights(students: Sequence[Mapping[str, NDArray[Any]]]) -> Arrays:
    """Return the weights of a student whose logits are the mean of those of several.

    With N students the activations of each are divided by N, as ReLU allows by dividing what it is
    given. So W H, over the components of all, is the mean of their reconstructions, and Theta H + b
    the mean of their logits, while each keeps its Theta.

    Parameters
    ----------
    students : sequence of mapping of str to numpy.ndarray
        The weights of each, with the same names and shapes.
    """
    return {name: _joined(name, [each[name] for each in students]) for name in students[0]}


def _joined(name: str, values: list[NDArray[Any]]) -> NDArray[Any]:
    if values[0].ndim == 0:  # batches that a norm has seen
        return values[0]
    if name == "classifier.bias":
        return np.mean(values, axis=0)
    if name in _BESIDE:
        return np.concatenate(values, axis=1)
    joined = np.concatenate(values)
    return joined / len(values) if name.startswith(_TO_ACTIVATIONS) else joined
