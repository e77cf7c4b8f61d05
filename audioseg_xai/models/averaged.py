"""Several states of one training made one network: the mean of their weights."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch

from audioseg_xai.errors import ModelError
from audioseg_xai.models.combined import check_alike, combined_config
from audioseg_xai.models.directory import Model
from audioseg_xai.models.networks import Student


def average_models(models: Sequence[Model]) -> Model:
    """Return the network whose weights are the mean of those of several.

    The mean of states along one training (Izmailov et al., "Averaging weights leads to wider
    optima", UAI 2018), or of networks that went on from the same one (Wortsman et al., "Model
    soups", ICML 2022), is often better than any, at the cost of one. The mean of networks that
    were trained apart from the start is good for nothing: `join_students` is for these. Means and
    variances of the norms are averaged like weights, not estimated again.

    Parameters
    ----------
    models : sequence of Model
        Two or more of one architecture; students with the same dictionary, unless it is trained.
        Rules and tau of the first are kept: choose them again.

    Returns
    -------
    Model
        Without figures of merit: those of its parts are not its own.

    Raises
    ------
    ModelError
        If there is but one, or one is of another architecture or dictionary than the first, was
        taught other classes, or is there twice.
    """
    if len(models) < 2:
        raise ModelError("a mean of weights needs two models at least")
    check_alike(models, "averaged")
    _check_dictionaries(models)
    network = copy.deepcopy(models[0].network)
    states = [model.network.state_dict() for model in models]
    network.load_state_dict({name: _mean([state[name] for state in states]) for name in states[0]})
    return Model(network.eval(), combined_config(models, models[0].config.network, "averaged"))


def _mean(values: Sequence[torch.Tensor]) -> torch.Tensor:
    if not values[0].is_floating_point():  # counts, such as of batches: those of the first
        return values[0]
    return torch.stack([value.double() for value in values]).mean(0).to(values[0].dtype)


def _check_dictionaries(models: Sequence[Model]) -> None:
    first = models[0]
    if not isinstance(first.network, Student) or first.network.config.trainable_dictionary:
        return
    for model in models[1:]:
        assert isinstance(model.network, Student)
        if not torch.equal(model.network.dictionary, first.network.dictionary):
            raise ModelError(
                f"{model.folder}: has another dictionary than {first.folder}: activations of "
                "different spectra have no mean"
            )
