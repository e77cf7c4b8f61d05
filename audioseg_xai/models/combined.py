"""What the model directory says of a network that was made of several."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from audioseg_xai.errors import ModelError
from audioseg_xai.models.configs import NetworkConfig
from audioseg_xai.models.directory import Model
from audioseg_xai.models.stored import ModelConfig
from audioseg_xai.provenance import provenance


def check_alike(models: Sequence[Model], what: str) -> None:
    """Check that networks can be made one.

    Parameters
    ----------
    models : sequence of Model
        The networks.
    what : str
        How the error calls those that can: ``"joined to one"``.

    Raises
    ------
    ModelError
        If one is of another architecture or other classes than the first, or is there twice.
    """
    first = models[0]
    for number, model in enumerate(models):
        if model.config.network != first.config.network:
            raise ModelError(
                f"{model.folder}: is of another network than {first.folder} "
                f"({_differing(model, first)}): only models with the same 'network' settings are "
                f"{what}"
            )
        if model.config.decoding.keys() != first.config.decoding.keys():
            raise ModelError(
                f"{model.folder}: was taught {', '.join(model.config.decoding)}, {first.folder} "
                f"{', '.join(first.config.decoding)}: they must be the same"
            )
        for other in models[:number]:
            if model.digest and model.digest == other.digest:
                raise ModelError(
                    f"{model.folder}: has the weights of {other.folder}: name each once"
                )


def combined_config(models: Sequence[Model], network: NetworkConfig, role: str) -> ModelConfig:
    """Return the configuration of a network that was made of several.

    Without figures of merit: those of its parts are not its own. Rules and tau are those of the
    first: choose them again.

    Parameters
    ----------
    models : sequence of Model
        What it was made of.
    network : TeacherConfig or StudentConfig
        Its own architecture.
    role : {'parts', 'averaged'}
        Under what name its provenance has that of each.

    Returns
    -------
    ModelConfig
        Of a model that cannot be saved before it has figures of its own.
    """
    kind = models[0].config.network.kind
    digests = {f"{kind}_{number}": model.digest for number, model in enumerate(models, start=1)}
    terms = [model.config.licence for model in models if model.config.licence]
    changes: dict[str, Any] = {
        "network": network,
        "metrics": {},
        "mistakes": {},
        "licence": "\n\n".join(dict.fromkeys(terms)),
        "data": _united(model.config.data for model in models),
        "provenance": provenance()
        | {"inputs": digests, role: [model.config.provenance for model in models]},
        "weights_sha256": "",
    }
    return models[0].config.model_copy(update=changes)


def _differing(model: Model, first: Model) -> str:
    """Return which settings of two networks differ, with both values."""
    ours, theirs = (each.config.network.model_dump() for each in (model, first))
    return ", ".join(
        f"{name}: {ours.get(name)} and {theirs.get(name)}"
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name) != theirs.get(name)
    )


def _united(tables: Iterable[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the sources that several models were trained on, each once."""
    united: list[dict[str, Any]] = []
    for table in tables:
        united += [row for row in table if row not in united]
    return united
