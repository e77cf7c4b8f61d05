"""Configurations: what is wrong is named, with the nearest known key; YAML round trips."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from audioseg_xai.config import Config, dump_yaml, load_yaml, parse_config, read_yaml
from audioseg_xai.errors import ConfigError


class Optimiser(Config):
    learning_rate: float = Field(default=1e-3, gt=0)
    warm_up: int = 10


class Training(Config):
    epochs: int = 5
    name: str = "toy"
    optimiser: Optimiser = Optimiser()
    classes: tuple[str, ...] = ("speech", "music")


def write(folder: Path, text: str) -> Path:
    path = folder / "train.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_values_of_a_file_and_defaults_for_the_rest(tmp_path: Path) -> None:
    path = write(tmp_path, "epochs: 7\noptimiser:\n  learning_rate: 0.5\n")
    config = load_yaml(path, Training)
    assert config == Training(epochs=7, optimiser=Optimiser(learning_rate=0.5))
    assert config.optimiser.warm_up == 10


def test_an_empty_file_means_all_defaults(tmp_path: Path) -> None:
    assert load_yaml(write(tmp_path, "# nothing set\n"), Training) == Training()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("epoch: 7", "unknown key 'epoch', did you mean 'epochs'?"),
        ("zzz: 7", "unknown key 'zzz'"),
        (
            "optimiser: {lerning_rate: 1}",
            "unknown key 'optimiser.lerning_rate', did you mean 'learning_rate'?",
        ),
        ("optimiser: {epochs: 1}", "unknown key 'optimiser.epochs'"),
    ],
)
def test_unknown_keys_are_refused_with_the_nearest_of_their_level(
    tmp_path: Path, text: str, problem: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_yaml(path, Training)
    assert str(caught.value) == f"{path}: {problem}"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("epochs: many", ["epochs: ", "'many'"]),
        ("optimiser: {learning_rate: -1}", ["optimiser.learning_rate: ", "-1"]),
        ("optimiser: {learning_rate: .nan}", ["optimiser.learning_rate: ", "nan"]),
        ("epochs: many\nname: [1]", ["epochs: ", "; name: "]),
    ],
)
def test_wrong_values_are_all_named_in_one_line(
    tmp_path: Path, text: str, parts: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_yaml(write(tmp_path, text), Training)
    message = str(caught.value)
    assert "\n" not in message
    assert all(part in message for part in parts), message


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- a\n- b\n", "expected 'key: value' lines, found a list"),
        ("just words", "expected 'key: value' lines, found a str"),
        ("a: [1,\nb: 2", "not valid YAML: "),
        ("a: !!python/object/apply:os.getcwd []", "not valid YAML: "),
    ],
)
def test_files_that_are_no_mapping(tmp_path: Path, text: str, problem: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_yaml(path)
    assert str(caught.value).startswith(f"{path}: {problem}")
    assert "\n" not in str(caught.value)


def test_missing_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: .*No such file"):
        read_yaml(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"binary\.yaml: cannot be read: "):
        read_yaml(tmp_path / "binary.yaml")


def test_the_source_is_named_in_errors_of_values_that_come_from_elsewhere() -> None:
    with pytest.raises(ConfigError, match=r"^model card: unknown key 'x'$"):
        parse_config({"x": 1}, Training, "model card")


def test_configurations_are_frozen() -> None:
    config = Training()
    with pytest.raises(ValidationError):
        config.epochs = 1  # type: ignore[misc]


# --- files that build on others -----------------------------------------------------------------


def test_a_file_builds_on_another(tmp_path: Path) -> None:
    (tmp_path / "common").mkdir()
    write(tmp_path / "common", "epochs: 7\nname: common\noptimiser: {warm_up: 3}\n")
    (tmp_path / "middle.yaml").write_text(
        "base: common/train.yaml\noptimiser: {learning_rate: 0.5}\nclasses: [noise, music]\n"
    )
    path = write(tmp_path, "base: middle.yaml\nname: own\nclasses: [speech]\n")
    # Mappings are merged, all else is replaced; the nearest file counts.
    assert load_yaml(path, Training) == Training(
        epochs=7,
        name="own",
        optimiser=Optimiser(learning_rate=0.5, warm_up=3),
        classes=("speech",),
    )


def test_a_mapping_of_another_kind_inherits_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("x: {kind: one, size: 3, deep: {y: 1}}\nz: {a: 1}\n")
    assert read_yaml(write(tmp_path, "base: a.yaml\nx: {kind: two, other: 4}")) == {
        "x": {"kind": "two", "other": 4},
        "z": {"a": 1},
    }
    assert read_yaml(write(tmp_path, "base: a.yaml\nx: {deep: {v: 2}}"))["x"] == {
        "kind": "one",
        "size": 3,
        "deep": {"y": 1, "v": 2},
    }


def test_errors_name_the_file_and_what_it_builds_on(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("epoch: 7\n")
    path = write(tmp_path, "base: base.yaml\n")
    with pytest.raises(ConfigError) as caught:
        load_yaml(path, Training)
    assert str(caught.value).startswith(
        f"{path} (on {tmp_path / 'base.yaml'}): unknown key 'epoch'"
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("base: none.yaml", r"train\.yaml: base: no such file: .*none\.yaml"),
        (
            "base: [a, b]",
            r"train\.yaml: base: expected the name of a YAML file, found \['a', 'b'\]",
        ),
        ("base: train.yaml", r"train\.yaml: its bases go in a circle: .* -> .*train\.yaml"),
        ("base: other.yaml", r"circle: .*train\.yaml -> .*other\.yaml -> .*train\.yaml"),
        ("base: broken.yaml", r"broken\.yaml: not valid YAML"),
    ],
)
def test_bases_that_lead_nowhere(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "other.yaml").write_text("base: train.yaml\n")
    (tmp_path / "broken.yaml").write_text("a: [1,\n")
    with pytest.raises(ConfigError, match=problem) as caught:
        load_yaml(write(tmp_path, text), Training)
    assert "\n" not in str(caught.value)


# YAML 1.2 text cannot hold these, and PyYAML refuses them.
printable = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), max_size=20)


@given(
    epochs=st.integers(),
    name=printable,
    rate=st.floats(min_value=1e-300, allow_infinity=False),
    classes=st.lists(printable, max_size=4),
)
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    epochs: int,
    name: str,
    rate: float,
    classes: list[str],
) -> None:
    config = Training(
        epochs=epochs,
        name=name,
        optimiser=Optimiser(learning_rate=rate),
        classes=tuple(classes),
    )
    path = tmp_path_factory.getbasetemp() / "written.yaml"
    dump_yaml(config, path)
    assert load_yaml(path, Training) == config
