"""The model directory, read without PyTorch: its configuration, and its weights as arrays."""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from numpy.typing import NDArray
from pydantic import Field, model_validator
from safetensors import SafetensorError
from safetensors.numpy import load_file

from audioseg_xai.config import Config, parse_config
from audioseg_xai.decode import ClassDecoding
from audioseg_xai.errors import ConfigError, ModelError
from audioseg_xai.files import sha256_file
from audioseg_xai.labels import CLASSES
from audioseg_xai.models.configs import AnyNetworkConfig
from audioseg_xai.models.streaming import weight_shapes

if TYPE_CHECKING:
    from audioseg_xai.models.networks import Student, Teacher

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
"""Files of a model directory."""


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
    mistakes : dict
        What was heard to situation or source to how long it was and, by class, the share of the
        time in which it was decided, as the card shows them.
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
    mistakes: dict[str, dict[str, dict[str, float]]] = Field(default_factory=dict)
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
class StoredModel:
    """A model as its directory has it, for who needs its weights and not its PyTorch network.

    Attributes
    ----------
    weights : dict of str to numpy.ndarray
        Name of each parameter and buffer of the network to its values.
    config : ModelConfig
        The rest.
    folder : Path
        Where it lies.
    digest : str
        SHA-256 of its weights.
    """

    weights: dict[str, NDArray[Any]] = field(repr=False)
    config: ModelConfig
    folder: Path
    digest: str

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that the network decides, axis C."""
        return self.config.network.classes

    @functools.cached_property
    def network(self) -> Student | Teacher:
        """The network in PyTorch, in evaluation mode; loaded when it is asked for."""
        from audioseg_xai.models.directory import load_model

        return load_model(self.folder).network


def load_stored(folder: str | Path, config: ModelConfig) -> StoredModel:
    """Read the weights of a model directory whose network is `streamable`.

    Parameters
    ----------
    folder : str or Path
        The directory.
    config : ModelConfig
        What `read_model_config` says of it.

    Raises
    ------
    ModelError
        If they are missing or damaged, or do not belong to the config.
    """
    path = Path(folder) / WEIGHTS
    try:
        weights = load_file(path)
        digest = sha256_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from None
    check_digest(Path(folder), config, digest)
    for name, shape in weight_shapes(config.network).items():
        if name not in weights or weights[name].shape != shape:
            found = weights[name].shape if name in weights else "missing"
            raise ModelError(f"{path}: does not fit {CONFIG}: {name} is {found}, not {shape}")
    return StoredModel(weights, config, Path(folder), digest)


def default_model_folder() -> Path:
    """Return the directory of the model that ships with the package."""
    return Path(str(resources.files("audioseg_xai"))) / "assets" / "model"


def read_model_config(folder: str | Path) -> ModelConfig:
    """Read the ``config.json`` of a model directory.

    Raises
    ------
    ModelError
        If it is missing or is not JSON.
    ConfigError
        If it describes no model.
    """
    path = Path(folder) / CONFIG
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"{path}: no such file: a model directory holds {CONFIG}, {WEIGHTS} and {CARD}"
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from None
    try:
        return parse_config(values, ModelConfig, str(path))
    except _ClassesError as error:
        raise ConfigError(f"{path}: {error}") from None


def _require(where: str, names: Iterable[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected some of {', '.join(known)}"
            raise _ClassesError(f"{where}: unknown class {name!r}, {hint}")


def check_digest(folder: Path, config: ModelConfig, digest: str) -> None:
    """Check that weights are those that a config was saved with.

    Raises
    ------
    ModelError
        If they are not.
    """
    if config.weights_sha256 and config.weights_sha256 != digest:
        raise ModelError(
            f"{folder / WEIGHTS}: the weights and {CONFIG} do not belong together (another "
            "SHA-256): save or copy the whole directory again"
        )
