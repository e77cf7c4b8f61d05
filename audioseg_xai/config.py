"""Typed configurations: unknown keys are refused, with a suggestion; files are YAML."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from audioseg_xai.errors import ConfigError
from audioseg_xai.files import write_text_atomic


class Config(BaseModel):
    """Base of every configuration: frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


ConfigT = TypeVar("ConfigT", bound=Config)


def parse_config(values: dict[str, Any], model: type[ConfigT], source: str) -> ConfigT:
    """Check `values` against `model`.

    Parameters
    ----------
    values : dict
        Parsed settings.
    model : type of Config
        What they must be.
    source : str
        Where they come from, for the error message.

    Returns
    -------
    Config
        An instance of `model`.

    Raises
    ------
    ConfigError
        One line with every key that is wrong and, for an unknown one, the nearest known name.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(_describe(item, model) for item in error.errors())
        raise ConfigError(f"{source}: {problems}") from None


def load_yaml(path: str | Path, model: type[ConfigT]) -> ConfigT:
    """Read a YAML file as a `model`; see `parse_config` for errors."""
    return parse_config(read_yaml(path), model, str(path))


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping (or nothing).

    Raises
    ------
    ConfigError
        If the file is missing, is not YAML, or holds something else than a mapping.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected 'key: value' lines, found a {type(values).__name__}")
    return values


def dump_yaml(config: Config, path: str | Path) -> None:
    """Write `config` to a YAML file that `load_yaml` reads back to an equal one."""
    write_text_atomic(path, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))


def _describe(item: Any, model: type[BaseModel]) -> str:
    location = [str(part) for part in item["loc"]]
    name = ".".join(location)
    if item["type"] != "extra_forbidden":
        return f"{name}: {item['msg']} (found {item['input']!r})"
    near = difflib.get_close_matches(location[-1], _fields_at(model, location[:-1]), n=1)
    return f"unknown key {name!r}" + (f", did you mean {near[0]!r}?" if near else "")


def _fields_at(model: type[BaseModel], path: list[str]) -> list[str]:
    for part in path:
        field = model.model_fields.get(part)
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)
