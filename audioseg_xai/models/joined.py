"""Several students made one, whose decisions and explanations are about the components of all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from audioseg_xai.errors import ModelError
from audioseg_xai.models.branches import joined_weights
from audioseg_xai.models.configs import StudentConfig
from audioseg_xai.models.directory import Model
from audioseg_xai.models.networks import Student
from audioseg_xai.provenance import provenance


def join_students(models: Sequence[Model]) -> Model:
    """Return one student with the components of several, whose logits are the mean of theirs.

    A mean of networks that were trained apart is mistaken less often than each (Hansen and
    Salamon, "Neural network ensembles", IEEE TPAMI 12(10), 1990). Because a student is linear in
    its components, that mean is again a student: Theta and W lie side by side, and so is all that
    a relevance, a mask or a prototype is made of.

    Parameters
    ----------
    models : sequence of Model
        Students of one architecture, each with its own dictionary or all with the same. Rules and
        tau of the first are kept: choose them again.

    Returns
    -------
    Model
        With ``branches`` as many as there were students, and K components each. Without figures
        of merit: those of its parts are not its own.

    Raises
    ------
    ModelError
        If one is no student, has branches already, cannot be a branch, is of another architecture
        than the first, or is there twice.
    """
    first = models[0]
    for number, model in enumerate(models):
        _check(model, first)
        if model.digest and model.digest in [other.digest for other in models[:number]]:
            raise ModelError(f"{model.folder}: has the weights of another one: name each once")
    network = first.config.network
    assert isinstance(network, StudentConfig)
    sizes = {"branches": len(models), "components": len(models) * network.components}
    config = StudentConfig.model_validate(network.model_dump() | sizes)
    student = Student(config)
    weights = joined_weights([model.weights for model in models])
    student.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    changes: dict[str, Any] = {
        "network": config,
        "metrics": {},
        "mistakes": {},
        "licence": "\n\n".join(
            dict.fromkeys(model.config.licence for model in models if model.config.licence)
        ),
        "data": _united(model.config.data for model in models),
        "provenance": _origin(models),
        "weights_sha256": "",
    }
    return Model(student.eval(), first.config.model_copy(update=changes))


def one_student(models: Sequence[Model]) -> Model:
    """Return the only one of the models as it is, or what `join_students` makes of several."""
    return models[0] if len(models) == 1 else join_students(models)


def _check(model: Model, first: Model) -> None:
    if not isinstance(model.config.network, StudentConfig):
        raise ModelError(f"{model.folder}: is no student: only students are joined to one")
    if model.config.network.branches > 1:
        raise ModelError(f"{model.folder}: has branches already: it cannot be joined again")
    if not model.config.network.streamable:
        raise ModelError(
            f"{model.folder}: only students with the spectrogram front end, dense blocks and batch "
            "normalisation are joined to one"
        )
    if model.config.network != first.config.network:
        raise ModelError(
            f"{model.folder}: is of another network than {first.folder}: only students with the "
            "same 'network' settings are joined to one"
        )
    if model.config.decoding.keys() != first.config.decoding.keys():
        raise ModelError(
            f"{model.folder}: was taught {', '.join(model.config.decoding)}, {first.folder} "
            f"{', '.join(first.config.decoding)}: they must be the same"
        )


def _united(tables: Iterable[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the sources that several models were trained on, each once."""
    united: list[dict[str, Any]] = []
    for table in tables:
        united += [row for row in table if row not in united]
    return united


def _origin(models: Sequence[Model]) -> dict[str, Any]:
    """Return the provenance of the whole, with that of each part."""
    digests = {f"student_{number}": model.digest for number, model in enumerate(models, start=1)}
    parts = [model.config.provenance for model in models]
    return provenance() | {"inputs": digests, "parts": parts}
