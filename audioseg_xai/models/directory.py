"""The model directory: ``model.safetensors``, ``config.json`` and a model card."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from audioseg_xai.config import Config, parse_config
from audioseg_xai.decode import ClassDecoding
from audioseg_xai.errors import ConfigError, ModelError
from audioseg_xai.files import atomic_path, sha256_file, write_text_atomic
from audioseg_xai.labels import CLASSES
from audioseg_xai.models.card import render_card
from audioseg_xai.models.networks import AnyNetworkConfig, Student, StudentConfig, Teacher

_WEIGHTS, _CONFIG, _CARD = "model.safetensors", "config.json", "README.md"


class _ClassesError(ConfigError):
    """Classes that contradict each other; whoever knows the file puts it in front."""


class ModelConfig(Config):
    """What ``config.json`` holds.

    Attributes
    ----------
    format_version : int
        Of the directory.
    network : TeacherConfig or StudentConfig
        Architecture, features and classes.
    decoding : dict
        Thresholds, durations and gaps a class.
    relevance_threshold : float
        tau of the explanations, relative to the largest relevance.
    metrics : dict
        Data set to class to figures of merit, as the card shows them.
    data : dict
        What it was trained on: name, hours, licence of each source.
    provenance : dict
        Versions, settings and digests.
    licence : str
        Under which terms the weights may be used, as the card says it.
    weights_sha256 : str
        Digest of the weights that this file belongs to; empty as long as none are saved.
    """

    format_version: Literal[1] = 1
    network: AnyNetworkConfig
    decoding: dict[str, ClassDecoding]
    relevance_threshold: float = Field(default=0.1, ge=0, lt=1)
    metrics: dict[str, dict[str, dict[str, float]]] = Field(default_factory=dict)
    data: list[dict[str, Any]] = Field(default_factory=list)
    provenance: dict[str, Any] = Field(default_factory=dict)
    licence: str = ""
    weights_sha256: str = ""

    @model_validator(mode="after")
    def _classes_agree(self) -> Self:
        # Not a ValueError: pydantic would print the whole file behind the message.
        decided = self.network.classes
        if len(set(decided)) < len(decided):
            raise _ClassesError(f"network.classes: names one twice: {', '.join(decided)}")
        _require("network.classes", decided, CLASSES)
        _require("decoding", self.decoding, decided)
        return self


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


def default_model_folder() -> Path:
    """Return the directory of the model that ships with the package."""
    return Path(str(resources.files("audioseg_xai"))) / "assets" / "model"


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
    with atomic_path(target / _WEIGHTS) as temporary:
        save_file(weights, temporary)
    digest = sha256_file(target / _WEIGHTS)
    write_text_atomic(target / _CARD, render_card(model.config))
    values = model.config.model_dump(mode="json") | {"weights_sha256": digest}
    write_text_atomic(target / _CONFIG, json.dumps(values, indent=1) + "\n")


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
        weights = load_file(source / _WEIGHTS)
        digest = sha256_file(source / _WEIGHTS)
        _check_digest(source, config, digest)
        network.load_state_dict(weights)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{source / _WEIGHTS}: cannot be read: {error}") from None
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{source / _WEIGHTS}: does not fit {_CONFIG}: {reason}") from None
    return Model(network.eval(), config, source, digest)


def read_model_config(folder: str | Path) -> ModelConfig:
    """Read the ``config.json`` of a model directory.

    Raises
    ------
    ModelError
        If it is missing or is not JSON.
    ConfigError
        If it describes no model.
    """
    path = Path(folder) / _CONFIG
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"{path}: no such file: a model directory holds {_CONFIG}, {_WEIGHTS} and {_CARD}"
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from None
    try:
        return parse_config(values, ModelConfig, str(path))
    except _ClassesError as error:
        raise ConfigError(f"{path}: {error}") from None


def build_network(config: ModelConfig) -> Student | Teacher:
    """Return a network of the architecture that `config` describes, with initial weights."""
    if isinstance(config.network, StudentConfig):
        return Student(config.network)
    return Teacher(config.network)


def _require(where: str, names: Iterable[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected some of {', '.join(known)}"
            raise _ClassesError(f"{where}: unknown class {name!r}, {hint}")


def _check_digest(folder: Path, config: ModelConfig, digest: str) -> None:
    if config.weights_sha256 and config.weights_sha256 != digest:
        raise ModelError(
            f"{folder / _WEIGHTS}: the weights and {_CONFIG} do not belong together (another "
            "SHA-256): save or copy the whole directory again"
        )
