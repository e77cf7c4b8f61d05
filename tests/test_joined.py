"""Several students made one: the mean of what they say, with the components of all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from dummies import COMPONENTS, load_student, save_student, student_config, write_sound
from test_tuning import run_tune, write_archive
from training_dummies import (
    CPU,
    LABELS_ONLY,
    corpora,
    make_archive,
    some_dictionary,
    student_run,
)

from audioseg_xai import cli
from audioseg_xai.archive import Archive
from audioseg_xai.config import parse_config
from audioseg_xai.decode import ClassDecoding
from audioseg_xai.errors import ConfigError, ModelError
from audioseg_xai.explanation_archive import ExplanationArchive
from audioseg_xai.exports import export_onnx
from audioseg_xai.models.branches import branch_weights
from audioseg_xai.models.card import render_card
from audioseg_xai.models.configs import FeatureFrontEndConfig, TCNConfig, TeacherConfig
from audioseg_xai.models.directory import Model, load_model, save_model
from audioseg_xai.models.joined import join_students
from audioseg_xai.models.networks import Student, Teacher
from audioseg_xai.training.student import StudentRun, distill

SOUND = torch.rand(2, 40, 257, generator=torch.Generator().manual_seed(1)) * 4


def loaded(folder: Path, *seeds: int) -> list[Model]:
    return [load_model(save_student(folder / str(seed), seed)) for seed in seeds]


def test_the_logits_are_the_mean_of_all_and_so_is_the_reconstruction(tmp_path: Path) -> None:
    models = loaded(tmp_path, 2, 3, 4)
    whole = join_students(models).network
    assert isinstance(whole, Student)
    with torch.inference_mode():
        outputs = [model.network(SOUND) for model in models]
        found = whole(SOUND)
        logits = torch.stack([output.logits for output in outputs]).mean(0)
        rebuilt = [
            model.network.reconstruct(output.activations)
            for model, output in zip(models, outputs, strict=True)
        ]
        torch.testing.assert_close(found.logits, logits)
        torch.testing.assert_close(
            whole.reconstruct(found.activations), torch.stack(rebuilt).mean(0)
        )
    assert found.activations.shape == (2, 40, 3 * COMPONENTS)
    # The components of the second are those behind the ones of the first, a third as strong.
    second = found.activations[..., COMPONENTS : 2 * COMPONENTS]
    torch.testing.assert_close(second, outputs[1].activations / 3)


def test_a_part_is_what_it_was(tmp_path: Path) -> None:
    models = loaded(tmp_path, 2, 3)
    part = branch_weights(join_students(models).weights, 1, 2)
    for name, value in part.items():
        share = 2 if name.startswith(("to_activations", "analysis")) else 1
        np.testing.assert_allclose(share * value, models[1].weights[name], rtol=1e-6)


def test_the_sources_of_all_are_named_once(tmp_path: Path) -> None:
    models = loaded(tmp_path, 2, 3)
    rows = [{"source": name} for name in "abc"]
    for model, known in zip(models, (rows[:2], rows[1:]), strict=True):
        model.config = model.config.model_copy(update={"data": known})
    whole = join_students(models)
    assert whole.config.data == rows
    assert list(whole.config.provenance["inputs"].values()) == [each.digest for each in models]


def test_the_card_tells_how_each_part_was_trained(tmp_path: Path) -> None:
    models = loaded(tmp_path, 2, 3)
    for model, alpha in zip(models, (0.0, 2.0), strict=True):
        origin = {"config": {"loss": {"alpha": alpha, "beta": 1.0}}, "inputs": {}}
        model.config = model.config.model_copy(update={"provenance": origin})
    card = render_card(join_students(models).config)
    assert "2 students side by side, trained apart:\n\n1. By design, from labels alone." in card
    assert "\n2. Distilled from a teacher. Weights of the loss: alpha 2, beta 1.\n" in card


def test_figures_of_the_parts_are_not_those_of_the_whole(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="figures of merit"):
        save_model(join_students(loaded(tmp_path, 2, 3)), tmp_path / "whole")


def test_only_students_of_a_kind_are_joined(tmp_path: Path) -> None:
    first = load_student(tmp_path / "first")
    settings = first.config.network.model_dump(include={"spectrogram", "level", "front_end", "tcn"})
    teacher = Teacher(TeacherConfig.model_validate(settings))
    other = Student(student_config(tcn=TCNConfig(channels=8, blocks=3, repeats=1)))
    separable = Student(student_config(tcn=TCNConfig(channels=8, block="separable")))
    for network, message in (
        (teacher, "is no student"),
        (other, "is of another network than .*first"),
        (separable, "only students with the spectrogram front end"),
        (join_students([first, *loaded(tmp_path, 3)]).network, "has branches already"),
    ):
        config = first.config.model_copy(update={"network": network.config})
        with pytest.raises(ModelError, match=message):
            join_students([first, Model(network, config, tmp_path / "second")])


def test_a_student_is_joined_once(tmp_path: Path) -> None:
    (model,) = loaded(tmp_path, 2)
    with pytest.raises(ModelError, match=r"has the weights of .*: name each once"):
        join_students([model, model])


def test_the_terms_of_all_are_kept(tmp_path: Path) -> None:
    models = loaded(tmp_path, 2, 3, 4)
    for model, terms in zip(models, ("MIT", "CC0", "MIT"), strict=True):
        model.config = model.config.model_copy(update={"licence": terms})
    assert join_students(models).config.licence == "MIT\n\nCC0"


def test_students_of_other_classes_are_not_joined(tmp_path: Path) -> None:
    first = load_student(tmp_path / "first")
    second = load_model(
        save_student(tmp_path / "second", decoding={"speech": ClassDecoding(onset=0.5, offset=0.5)})
    )
    with pytest.raises(ModelError, match=r"second: was taught speech, .*first speech, music"):
        join_students([first, second])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"components": 9, "branches": 2}, "multiple of the 2 branches"),
        ({"branches": 2, "tcn": TCNConfig(block="separable")}, "need the spectrogram front end"),
        (
            {"branches": 2, "front_end": FeatureFrontEndConfig(kind="features", dimension=4)},
            "need the spectrogram front end",
        ),
    ],
)
def test_what_cannot_have_branches_says_so(changes: dict[str, object], message: str) -> None:
    with pytest.raises((ConfigError, ValueError), match=message):
        student_config(**changes)


def test_branches_hear_nothing_of_each_other() -> None:
    network = Student(student_config(branches=2)).eval()
    before = network(SOUND).activations.detach().clone()
    with torch.no_grad():
        for name, weights in network.named_parameters():
            if name.startswith(("front_end.", "tcn.", "to_activations.", "analysis.")):
                weights.chunk(2)[1].mul_(1.5)
    after = network(SOUND).activations
    half = COMPONENTS // 2
    torch.testing.assert_close(after[..., :half], before[..., :half])
    assert not torch.allclose(after[..., half:], before[..., half:])


def test_a_graph_of_it_computes_the_same(tmp_path: Path) -> None:
    whole = join_students(loaded(tmp_path, 2, 3))
    assert export_onnx(whole, tmp_path / "whole.onnx") < 1e-3


# --- training on ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return make_archive(tmp_path_factory.mktemp("corpus"))


def test_students_that_were_trained_apart_go_on_together(archive: Archive, tmp_path: Path) -> None:
    values = student_run(1, **LABELS_ONLY).model_dump(mode="json")
    folders = [tmp_path / name for name in "ab"]
    for seed, folder in enumerate(folders):
        values["training"]["seed"] = seed
        run = parse_config(values, StudentRun, "test")
        apart = distill(corpora(archive), run, some_dictionary(), folder / "train", **CPU)
        save_model(apart, folder)
    values["network"] |= {"branches": 2, "components": 16}
    both = parse_config(values, StudentRun, "test")
    start = join_students([load_model(folder) for folder in folders])
    model = distill(corpora(archive), both, None, tmp_path / "c", start=start, **CPU)
    assert isinstance(model.network, Student) and isinstance(start.network, Student)
    assert torch.equal(model.network.dictionary, start.network.dictionary)
    digests = [load_model(folder).digest for folder in folders]
    assert model.config.provenance["inputs"]["start"].split() == digests
    assert "It went on from 2 students side by side" in render_card(model.config)


def test_a_start_of_other_branches_says_what_to_set(archive: Archive, tmp_path: Path) -> None:
    folders = [save_student(tmp_path / str(seed), seed) for seed in (2, 3)]
    start = join_students([load_model(folder) for folder in folders])
    with pytest.raises(ModelError, match=r"set network\.branches: 2 and network\.components: 16"):
        distill(corpora(archive), student_run(1, **LABELS_ONLY), None, tmp_path, start=start, **CPU)


# --- xai-segment tune, segment, explain ---------------------------------------------------------


def test_tuned_students_decide_and_explain_as_one(tmp_path: Path) -> None:
    folders = [save_student(tmp_path / str(seed), seed) for seed in (2, 3)]
    done = run_tune("--model", folders[0], "--model", folders[1], "--device", "cpu",
                    "--archive", write_archive(tmp_path / "archive", 2000),
                    "--output", tmp_path / "whole")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    whole = load_model(tmp_path / "whole")
    assert (whole.config.network.branches, whole.config.network.components) == (2, 2 * COMPONENTS)
    assert f"2 branches with {COMPONENTS} components" in (tmp_path / "whole/README.md").read_text()
    audio = write_sound(tmp_path / "a.wav")
    explained = CliRunner().invoke(
        cli.main,
        ["explain", str(audio), "--model", str(tmp_path / "whole"), "--rttm",
         str(tmp_path / "a.rttm"), "--hdf5", str(tmp_path / "a.h5"), "--device", "cpu"],
    )  # fmt: skip
    assert explained.exit_code == 0, explained.stderr
    with ExplanationArchive(tmp_path / "a.h5") as archive:
        explanation = archive.explanation("a")
    assert explanation.relevance.shape[1] == 2 * COMPONENTS
    assert len(explanation.relevance) > 0
