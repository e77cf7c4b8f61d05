"""Typed configurations: unknown keys are refused, with a suggestion; files are YAML.

A file may build on another: ``base: other.yaml``, relative to the file that says so. What it sets
itself counts more; see `read_yaml`.
"""

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
    """Read a YAML file, and those that it builds on, as a `model`.

    Raises
    ------
    ConfigError
        As `read_yaml` and `parse_config` do.
    """
    values, files = _read_chain(Path(path), ())
    above = f" (on {', '.join(map(str, files[1:]))})" if len(files) > 1 else ""
    return parse_config(values, model, f"{path}{above}")


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping (or nothing), merged into its ``base``, if any.

    Mappings are merged key by key, at every depth; all else replaces what the base says, and so
    does a mapping of another ``kind``, whose other keys mean something else. A base may have a
    base.

    Raises
    ------
    ConfigError
        If a file is missing, is not YAML, or holds something else than a mapping, or if the bases
        go in a circle.
    """
    return _read_chain(Path(path), ())[0]


def _read_chain(path: Path, children: tuple[Path, ...]) -> tuple[dict[str, Any], list[Path]]:
    """Return the merged values of a file, and the files they come from, the last base last."""
    _check_cycle(path, children)
    values = _read_mapping(path)
    base = values.pop("base", None)
    if base is None:
        return values, [path]
    if not isinstance(base, str):
        raise ConfigError(f"{path}: base: expected the name of a YAML file, found {base!r}")
    parent = path.parent / base
    if not parent.is_file():
        raise ConfigError(f"{path}: base: no such file: {parent}")
    inherited, files = _read_chain(parent, (*children, path))
    return _merged(inherited, values), [path, *files]


def _check_cycle(path: Path, children: tuple[Path, ...]) -> None:
    if path.resolve() in [child.resolve() for child in children]:
        chain = " -> ".join(map(str, (*children, path)))
        raise ConfigError(f"{children[0]}: its bases go in a circle: {chain}: remove one 'base'")


def _merged(base: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in values.items():
        inherited = base.get(key)
        if isinstance(inherited, dict) and isinstance(value, dict) and _alike(inherited, value):
            value = _merged(inherited, value)
        merged[key] = value
    return merged


def _alike(base: dict[str, Any], values: dict[str, Any]) -> bool:
    return "kind" not in values or values["kind"] == base.get("kind")


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
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
