"""Several students made one, whose decisions and explanations are about the components of all."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from audioseg_xai.errors import ModelError
from audioseg_xai.models.branches import joined_weights
from audioseg_xai.models.combined import check_alike, combined_config
from audioseg_xai.models.configs import StudentConfig
from audioseg_xai.models.directory import Model
from audioseg_xai.models.networks import Student


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
        than the first, was taught other classes, or is there twice.
    """
    for model in models:
        _check(model)
    check_alike(models, "joined to one")
    network = models[0].config.network
    assert isinstance(network, StudentConfig)
    sizes = {"branches": len(models), "components": len(models) * network.components}
    config = StudentConfig.model_validate(network.model_dump() | sizes)
    student = Student(config)
    weights = joined_weights([model.weights for model in models])
    student.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    return Model(student.eval(), combined_config(models, config, "parts"))


def one_student(models: Sequence[Model]) -> Model:
    """Return the only one of the models as it is, or what `join_students` makes of several."""
    return models[0] if len(models) == 1 else join_students(models)


def _check(model: Model) -> None:
    if not isinstance(model.config.network, StudentConfig):
        raise ModelError(f"{model.folder}: is no student: only students are joined to one")
    if model.config.network.branches > 1:
        raise ModelError(f"{model.folder}: has branches already: it cannot be joined again")
    if not model.config.network.streamable:
        raise ModelError(
            f"{model.folder}: only students with the spectrogram front end, dense blocks and batch "
            "normalisation are joined to one"
        )
