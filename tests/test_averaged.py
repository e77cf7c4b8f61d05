"""States of one training made one: the mean of their weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from dummies import save_student, student_config
from test_tuning import run_tune, write_archive

from audioseg_xai.errors import ModelError
from audioseg_xai.models.averaged import average_models
from audioseg_xai.models.card import render_card
from audioseg_xai.models.configs import TCNConfig
from audioseg_xai.models.directory import Model, load_model, save_model
from audioseg_xai.models.networks import Student


def states(folder: Path, number: int) -> list[Model]:
    """Return students that differ in all but their dictionary, as a training leaves them."""
    models = [load_model(save_student(folder / str(seed), seed)) for seed in range(2, 2 + number)]
    for model in models[1:]:
        with torch.no_grad():
            model.network.dictionary.copy_(models[0].network.dictionary)
    return models


def test_each_weight_is_the_mean(tmp_path: Path) -> None:
    models = states(tmp_path, 3)
    found = average_models(models).network.state_dict()
    for name, value in found.items():
        each = torch.stack([model.network.state_dict()[name] for model in models])
        expected = each.double().mean(0).float() if value.is_floating_point() else each[0]
        assert torch.equal(value, expected), name


def test_the_first_is_left_as_it_was(tmp_path: Path) -> None:
    models = states(tmp_path, 2)
    before = {name: value.clone() for name, value in models[0].network.state_dict().items()}
    average_models(models)
    assert all(torch.equal(value, before[name]) for name, value in
               models[0].network.state_dict().items())  # fmt: skip


def test_the_card_tells_of_each_state(tmp_path: Path) -> None:
    models = states(tmp_path, 2)
    for model, alpha in zip(models, (0.0, 2.0), strict=True):
        origin = {"config": {"loss": {"alpha": alpha, "beta": 1.0}}, "inputs": {}}
        model.config = model.config.model_copy(update={"provenance": origin})
    card = render_card(average_models(models).config)
    assert (
        "The mean of the weights of 2 networks: (1) By design, from labels alone. Weights of the "
        "loss: beta 1. (2) Distilled from a teacher. Weights of the loss: alpha 2, beta 1.\n"
    ) in card


def test_the_card_of_states_of_which_nothing_is_known_says_nothing(tmp_path: Path) -> None:
    models = states(tmp_path, 2)
    for model in models:
        model.config = model.config.model_copy(update={"provenance": {}})
    assert "mean of the weights" not in render_card(average_models(models).config)


def test_figures_of_the_states_are_not_those_of_the_mean(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="figures of merit"):
        save_model(average_models(states(tmp_path, 2)), tmp_path / "mean")


def test_only_networks_of_a_kind_are_averaged(tmp_path: Path) -> None:
    first, same = states(tmp_path, 2)
    other = Student(student_config(tcn=TCNConfig(channels=8, blocks=3, repeats=1)))
    config = first.config.model_copy(update={"network": other.config})
    with pytest.raises(ModelError, match=r"other: is of another network than .*tcn: .*'blocks': 3"):
        average_models([first, Model(other, config, tmp_path / "other")])
    with pytest.raises(ModelError, match=r"has the weights of .*: name each once"):
        average_models([first, same, first])


def test_students_of_other_dictionaries_have_no_mean(tmp_path: Path) -> None:
    models = [load_model(save_student(tmp_path / str(seed), seed)) for seed in (2, 3)]
    with pytest.raises(ModelError, match=r"3: has another dictionary than .*2: activations"):
        average_models(models)


def test_one_model_has_no_mean(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="two models at least"):
        average_models(states(tmp_path, 1))


# --- xai-segment tune ---------------------------------------------------------------------------


def test_tune_averages_and_chooses_thresholds(tmp_path: Path) -> None:
    folders = [save_student(tmp_path / "first", 2), tmp_path / "later"]
    later = load_model(folders[0])
    with torch.no_grad():
        later.network.classifier.bias += 1.0
    save_model(later, folders[1])
    done = run_tune("--average", "--model", folders[0], "--model", folders[1], "--device", "cpu",
                    "--archive", write_archive(tmp_path / "archive", 2000),
                    "--output", tmp_path / "mean")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    first, mean = load_model(folders[0]), load_model(tmp_path / "mean")
    torch.testing.assert_close(mean.network.classifier.bias, first.network.classifier.bias + 0.5)
    assert mean.config.network == first.config.network
    assert len(mean.config.provenance["averaged"]) == 2


def test_one_model_is_a_mistake_in_the_call(tmp_path: Path) -> None:
    done = run_tune("--average", "--model", save_student(tmp_path / "first", 2),
                    "--archive", tmp_path, "--output", tmp_path / "mean")  # fmt: skip
    assert done.exit_code == 2
    assert "--average needs two --model at least" in done.stderr
