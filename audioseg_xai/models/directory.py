"""The model directory: ``model.safetensors``, ``config.json`` and a model card."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from audioseg_xai.errors import ModelError
from audioseg_xai.files import atomic_path, sha256_file, write_text_atomic
from audioseg_xai.models.card import render_card
from audioseg_xai.models.configs import StudentConfig
from audioseg_xai.models.networks import Student, Teacher
from audioseg_xai.models.stored import (
    CARD,
    CONFIG,
    WEIGHTS,
    ModelConfig,
    check_digest,
    default_model_folder,
    read_model_config,
)


@dataclass
class Model:
    """A network with all that is needed to use it.

    Attributes
    ----------
    network : Student or Teacher
        In evaluation mode.
    config : ModelConfig
        The rest.
    folder : Path or None
        Where it was loaded from.
    digest : str
        SHA-256 of its weights, empty for a model that was never saved.
    """

    network: Student | Teacher
    config: ModelConfig
    folder: Path | None = field(default=None)
    digest: str = ""

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that the network decides, axis C."""
        return self.config.network.classes

    @property
    def weights(self) -> dict[str, NDArray[Any]]:
        """Name of each parameter and buffer of the network to its values."""
        return {name: value.cpu().numpy() for name, value in self.network.state_dict().items()}


def save_model(model: Model, folder: str | Path) -> None:
    """Write a model directory: weights first, the config that makes it loadable last.

    Raises
    ------
    ModelError
        If it has no figures of merit: a card that says nothing of quality helps nobody.
    """
    if not model.config.metrics:
        raise ModelError(f"{folder}: a model is not saved without figures of merit")
    target = Path(folder)
    weights = {name: value.contiguous() for name, value in model.network.state_dict().items()}
    with atomic_path(target / WEIGHTS) as temporary:
        save_file(weights, temporary)
    digest = sha256_file(target / WEIGHTS)
    write_text_atomic(target / CARD, render_card(model.config))
    values = model.config.model_dump(mode="json") | {"weights_sha256": digest}
    write_text_atomic(target / CONFIG, json.dumps(values, indent=1) + "\n")


def load_model(folder: str | Path | None = None) -> Model:
    """Load a model directory, by default the one that ships with the package.

    Raises
    ------
    ModelError
        If a file is missing or damaged, or the weights do not belong to the config.
    """
    source = Path(folder) if folder is not None else default_model_folder()
    config = read_model_config(source)
    network = build_network(config)
    try:
        weights = load_file(source / WEIGHTS)
        digest = sha256_file(source / WEIGHTS)
        check_digest(source, config, digest)
        network.load_state_dict(weights)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{source / WEIGHTS}: cannot be read: {error}") from None
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{source / WEIGHTS}: does not fit {CONFIG}: {reason}") from None
    return Model(network.eval(), config, source, digest)


def build_network(config: ModelConfig) -> Student | Teacher:
    """Return a network of the architecture that `config` describes, with initial weights."""
    if isinstance(config.network, StudentConfig):
        return Student(config.network)
    return Teacher(config.network)
