"""The training of students: from a teacher, from labels, and from what they reconstruct."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from audioseg_xai import cli
from audioseg_xai.annotation import Segment
from audioseg_xai.archive import Archive, write_index
from audioseg_xai.config import parse_config
from audioseg_xai.datadir import DataDir
from audioseg_xai.errors import ModelError, TrainingError
from audioseg_xai.extract import extractions
from audioseg_xai.features import SpectrogramConfig
from audioseg_xai.labels import CLASSES
from audioseg_xai.losses import LossConfig
from audioseg_xai.models.card import render_card
from audioseg_xai.models.directory import Model, load_model, save_model
from audioseg_xai.models.networks import Student, StudentOutput
from audioseg_xai.nmf import NMFConfig, learn_dictionary
from audioseg_xai.training.corpora import Corpora
from audioseg_xai.training.data import Batch, CropDataset, CropSource, DataConfig
from audioseg_xai.training.dictionary import balanced_frames, load_dictionary, save_dictionary
from audioseg_xai.training.identity import model_digest
from audioseg_xai.training.student import StudentLosses, StudentRun, distill, warm_start
from audioseg_xai.training.teacher import train_teacher
from audioseg_xai.training.teaching import check_teachers, pooled_logits
from tests.dummies import student, student_config
from tests.training_dummies import (
    CPU,
    LABELS_ONLY,
    METRICS,
    corpora,
    make_archive,
    some_dictionary,
    student_run,
    teacher_run,
    write_archive,
    write_corpus,
)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return make_archive(tmp_path_factory.mktemp("corpus"))


def test_a_student_learns_from_its_teacher_and_rebuilds_the_sound(
    archive: Archive, tmp_path: Path
) -> None:
    frames = balanced_frames(archive, student_config(), 600, seed=0)
    dictionary = learn_dictionary(frames, NMFConfig(components=8, iterations=20))
    save_dictionary(dictionary, tmp_path / "w.safetensors")
    loaded = load_dictionary(tmp_path / "w.safetensors")
    teacher = train_teacher(
        corpora(archive),
        teacher_run(40, learning_rate=1e-2),
        tmp_path / "t",
        **CPU,
    )
    run = student_run(60, alpha=10.0, beta=1.0, gamma=0.01)
    model = distill(corpora(archive), run, loaded, tmp_path / "s", teachers=[teacher], **CPU)
    figures = model.config.metrics[METRICS]
    assert figures["music"]["F1"] > 0.85
    network = model.network
    inputs = network.level_norm(torch.from_numpy(archive.read(archive.entries[1])[0]).float()[None])
    rebuilt = network.reconstruct(network(inputs).activations)
    assert (rebuilt - inputs).norm() / inputs.norm() < 0.4
    assert torch.equal(network.dictionary, loaded.atoms)


def test_distillation_without_a_teacher_is_refused(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="needs a teacher"):
        distill(corpora(archive), student_run(1, alpha=1.0), some_dictionary(), tmp_path)


def test_a_dictionary_of_another_size_is_refused(archive: Archive, tmp_path: Path) -> None:
    dictionary = learn_dictionary(torch.rand(50, 257), NMFConfig(components=5, iterations=1))
    with pytest.raises(ModelError, match="5 components"):
        distill(corpora(archive), student_run(1, alpha=0.0), dictionary, tmp_path)


def test_nothing_that_teaches_the_classes_is_an_error(archive: Archive, tmp_path: Path) -> None:
    run = student_run(1, alpha=0.0, delta=0.0)
    with pytest.raises(TrainingError, match=r"nothing teaches the classes: .*alpha.*delta"):
        distill(corpora(archive), run, some_dictionary(), tmp_path)


def test_a_student_goes_on_from_another(archive: Archive, tmp_path: Path) -> None:
    dictionary = learn_dictionary(torch.rand(50, 257), NMFConfig(components=8, iterations=1))
    begin, still = (student_run(steps, **LABELS_ONLY) for steps in (2, 1))
    start = distill(corpora(archive), begin, dictionary, tmp_path / "a")
    values = still.model_dump(mode="json")
    values["training"]["learning_rate"] = 1e-12
    run = parse_config(values, StudentRun, "test")
    again = distill(corpora(archive), run, dictionary, tmp_path / "b", start=start)
    weights = zip(start.network.parameters(), again.network.parameters(), strict=True)
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in weights)
    values["network"]["tcn"]["channels"] = 6
    other = parse_config(values, StudentRun, "test")
    with pytest.raises(ModelError, match="another network"):
        distill(corpora(archive), other, dictionary, tmp_path / "c", start=start)


def test_the_command_needs_a_dictionary_or_a_start(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        cli.main,
        ["distill", "--train", str(tmp_path), "--valid", str(tmp_path), "--output",
         str(tmp_path / "x")],
    )  # fmt: skip
    assert done.exit_code == 2
    assert "give --dictionary, or --start" in done.stderr


def test_a_student_without_a_dictionary_needs_one_to_go_on_from(
    archive: Archive, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="needs a dictionary: give one, or a student"):
        distill(corpora(archive), student_run(1, **LABELS_ONLY), None, tmp_path, **CPU)


@pytest.fixture(scope="module")
def begun(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Model]:
    """Return the folder and the model of a student trained for one step."""
    folder = tmp_path_factory.mktemp("begun")
    run = student_run(1, **LABELS_ONLY)
    model = distill(corpora(archive), run, some_dictionary(), folder, **CPU)
    return folder, model


@pytest.mark.parametrize(
    "what",
    ["settings.loss.gamma", "settings.network.tcn.channels", "inputs.dictionary", "inputs.start"],
)
def test_a_checkpoint_made_of_other_things_is_refused(
    archive: Archive, begun: tuple[Path, Model], what: str
) -> None:
    folder, model = begun
    run, start, dictionary = student_run(1, **LABELS_ONLY), None, some_dictionary()
    if what == "settings.loss.gamma":
        run = student_run(1, gamma=0.5, **LABELS_ONLY)
    elif what == "settings.network.tcn.channels":
        tcn = {"channels": 6, "blocks": 2, "repeats": 1}
        run = student_run(1, {"tcn": tcn}, **LABELS_ONLY)
    elif what == "inputs.dictionary":
        dictionary = some_dictionary(seed=9)
    else:
        start = model
    with pytest.raises(TrainingError, match=rf"\({what}\).*delete it"):
        distill(corpora(archive), run, dictionary, folder, start=start, device="cpu")


def test_a_checkpoint_of_another_archive_is_refused(
    archive: Archive, begun: tuple[Path, Model]
) -> None:
    fewer = Archive(archive.folder)
    fewer.entries = fewer.entries[:3]
    with pytest.raises(TrainingError, match=r"\(inputs\.train\)"):
        distill(
            Corpora([fewer], [archive]), student_run(1, **LABELS_ONLY), some_dictionary(), begun[0]
        )


def test_a_model_tells_what_went_in(begun: tuple[Path, Model]) -> None:
    inputs = begun[1].config.provenance["inputs"]
    assert sorted(inputs) == ["dictionary", "train", "valid"]
    assert inputs["train"] == inputs["valid"] != inputs["dictionary"]


def test_a_start_with_another_dictionary_is_refused(
    archive: Archive, begun: tuple[Path, Model], tmp_path: Path
) -> None:
    run, other = student_run(1, **LABELS_ONLY), some_dictionary(seed=9)
    with pytest.raises(ModelError, match="another dictionary"):
        distill(corpora(archive), run, other, tmp_path, start=begun[1])


def test_masked_crops_in_sixteen_bits(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = student_run(4, epsilon=2.0, masked=1.0, **LABELS_ONLY).model_dump(mode="json")
    values["training"]["precision"] = "bf16-mixed"
    run = parse_config(values, StudentRun, "test")
    compute, seen = StudentLosses.__call__, []

    def watched(*arguments: Any) -> dict[str, torch.Tensor]:
        terms = compute(*arguments)
        seen.append(float(terms["masking"].detach()))
        return terms

    monkeypatch.setattr(StudentLosses, "__call__", watched)
    model = distill(corpora(archive), run, some_dictionary(), tmp_path, **CPU)
    assert len(seen) == 4 and max(seen) > 0
    assert np.isfinite(seen).all()
    assert all(weight.isfinite().all() for weight in model.network.parameters())
    assert {weight.dtype for weight in model.network.parameters()} == {torch.float32}


def test_a_trained_dictionary_keeps_unit_atoms(archive: Archive, tmp_path: Path) -> None:
    run = student_run(12, {"trainable_dictionary": True}, **LABELS_ONLY)
    values = run.model_dump(mode="json")
    values["training"] |= {"learning_rate": 0.1, "warmup": 0}
    run = parse_config(values, StudentRun, "test")
    first = some_dictionary()
    model = distill(corpora(archive), run, first, tmp_path, **CPU)
    trained = model.network.dictionary
    assert not torch.allclose(trained, first.atoms, atol=1e-3)
    assert trained.min() >= 0
    assert (trained.norm(dim=0) - 1).abs().max() < 1e-6


# --- labels that a corpus lacks -----------------------------------------------------------------


def annotated_to_4_s(folder: Path, beyond: list[Segment]) -> Archive:
    """Music from 2 s to 4 s, annotated up to there; `beyond` is what nobody annotated."""
    data = DataDir.read(write_corpus(folder / "data", recordings=1))
    data.reference["r0"] = [Segment(2.0, 4.0, "music"), *beyond]
    data.uem["r0"] = [(0.0, 4.0)]
    work = extractions(data, folder / "archive", SpectrogramConfig())
    write_index(folder / "archive", [item.run() for item in work])
    return Archive(folder / "archive")


def gradients(archive: Archive, alpha: float) -> tuple[Batch, torch.Tensor, list[torch.Tensor]]:
    """Return a batch, and the gradients by the logits and by all weights of a student."""
    network = student()
    source = CropSource(corpora(archive), DataConfig(crop=290, batch_size=2), CLASSES)
    batch = CropDataset(source, seed=0, first=0, steps=1)[0]
    config = LossConfig(alpha=alpha, beta=1.0, gamma=0.1, delta=1.0)
    losses = StudentLosses(network, config, [student(seed=5)] if alpha else [])
    logits = []

    def forward(inputs: torch.Tensor) -> StudentOutput:
        output = network(inputs)
        output.logits.retain_grad()
        logits.append(output.logits)
        return output

    losses(forward, batch)["total"].backward()
    weights = [weight.grad for weight in network.parameters() if weight.grad is not None]
    return batch, logits[0].grad, weights


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_what_nobody_annotated_has_no_influence(tmp_path: Path, alpha: float) -> None:
    one = annotated_to_4_s(tmp_path / "a", [])
    other = annotated_to_4_s(tmp_path / "b", [Segment(4.0, 6.0, "speech"), Segment(5, 6, "noise")])
    (_, by_logits, weights), (_, others, other_weights) = (
        gradients(archive, alpha) for archive in (one, other)
    )
    assert torch.equal(by_logits, others)
    assert len(weights) > 10
    assert all(torch.equal(a, b) for a, b in zip(weights, other_weights, strict=True))


def test_the_teacher_fills_what_labels_lack(tmp_path: Path) -> None:
    archive = annotated_to_4_s(tmp_path, [])
    batch, by_logits, _ = gradients(archive, alpha=0.0)
    unknown = batch.labels == -1
    assert 0 < unknown.sum() < unknown.numel()
    assert by_logits[unknown].count_nonzero() == 0
    assert by_logits[~unknown].count_nonzero() == (~unknown).sum()
    _, taught, _ = gradients(archive, alpha=1.0)
    assert taught[unknown].count_nonzero() == unknown.sum()


def test_what_the_teacher_was_never_taught_is_not_imitated(archive: Archive) -> None:
    network = student()
    source = CropSource(corpora(archive), DataConfig(crop=50, batch_size=2), CLASSES)
    batch = CropDataset(source, seed=0, first=0, steps=1)[0]
    config = LossConfig(alpha=1.0, beta=0.0, gamma=0.0)
    losses = StudentLosses(network, config, [student(seed=5)], taught=("speech", "overlap"))
    losses(network, batch)["total"].backward()
    gradient = network.classifier.bias.grad
    assert gradient is not None
    assert gradient.ne(0).tolist() == [True, False, False, True]


def test_several_teachers_teach_the_mean_of_their_posteriors(archive: Archive) -> None:
    network = student()
    teachers = [student(seed=5), student(seed=6)]
    source = CropSource(corpora(archive), DataConfig(crop=50, batch_size=2), CLASSES)
    batch = CropDataset(source, seed=0, first=0, steps=1)[0]
    heard = network.level_norm(batch.spectrogram)
    losses = StudentLosses(network, LossConfig(alpha=1.0), teachers)
    assert losses.teachers is not None
    logits = losses.teachers.logits(batch, heard, network.config)
    with torch.no_grad():
        mean = torch.stack([each.eval()(heard).logits.sigmoid() for each in teachers]).mean(0)
    assert torch.allclose(logits.sigmoid(), mean, atol=1e-6)


def test_the_card_tells_how_many_taught(archive: Archive, tmp_path: Path) -> None:
    begin = student_run(1, **LABELS_ONLY)
    teachers = [
        distill(corpora(archive), begin, some_dictionary(), tmp_path / name, **CPU)
        for name in ("a", "b")
    ]
    run, folder = student_run(1, alpha=1.0), tmp_path / "s"
    model = distill(corpora(archive), run, some_dictionary(), folder, teachers=teachers, **CPU)
    digests = ", ".join(model_digest(each)[:12] for each in teachers)
    told = f"Distilled from the mean of 2 teachers (weights {digests})."
    assert told in render_card(model.config)


def test_the_mean_of_certain_posteriors_keeps_its_logits() -> None:
    certain = torch.tensor([[-40.0, 40.0, 60.0], [-40.0, 40.0, 60.0]])
    assert torch.allclose(pooled_logits(certain), certain[0])


def test_teachers_of_different_classes_are_refused(tmp_path: Path) -> None:
    sources = [make_archive(tmp_path / name, (name,)) for name in ("music", "noise")]
    teachers = [
        train_teacher(corpora(each), teacher_run(1), tmp_path / f"t{number}", **CPU)
        for number, each in enumerate(sources)
    ]
    with pytest.raises(ModelError, match="taught noise, the teacher music: only"):
        check_teachers(teachers, student_run(1).network)


def test_the_teacher_computes_in_the_precision_of_the_training(archive: Archive) -> None:
    network, teacher, dtypes = student(), student(seed=5), []
    teacher.register_forward_hook(lambda _, __, output: dtypes.append(output.logits.dtype))
    source = CropSource(corpora(archive), DataConfig(crop=50, batch_size=2), CLASSES)
    batch = CropDataset(source, seed=0, first=0, steps=1)[0]
    whole, mixed = (
        StudentLosses(network, LossConfig(), [teacher], precision=precision)(network, batch)
        for precision in ("32-true", "bf16-mixed")
    )
    assert dtypes == [torch.float32, torch.bfloat16]
    assert mixed["distillation"].dtype == torch.float32
    assert mixed["distillation"].item() == pytest.approx(whole["distillation"].item(), rel=0.02)
    assert mixed["distillation"] != whole["distillation"]


def test_a_student_decides_what_its_teacher_and_its_labels_are_about(tmp_path: Path) -> None:
    music, noise = (make_archive(tmp_path / name, (name,)) for name in ("music", "noise"))
    teacher = train_teacher(corpora(music), teacher_run(1), tmp_path / "t", **CPU)
    sources = Corpora([noise], [music, noise])
    for delta, expected in ((0.0, ["music"]), (1.0, ["music", "noise"])):
        run, folder = student_run(1, alpha=1.0, delta=delta), tmp_path / str(delta)
        model = distill(sources, run, some_dictionary(), folder, teachers=[teacher], **CPU)
        assert list(model.config.decoding) == expected
        assert list(model.config.metrics[METRICS]) == expected


# --- upstream features --------------------------------------------------------------------------


def with_features(archive: Archive, folder: Path, *shape: int) -> Archive:
    rng = np.random.default_rng(1)
    recordings = {}
    for entry in archive.entries:
        spectrogram, labels, _ = archive.read(entry)
        features = rng.standard_normal((entry.num_frames, *shape))
        arrays = {"spectrogram": spectrogram, "labels": labels, "features": features}
        recordings[entry.uri] = arrays
    return write_archive(folder, recordings)


@pytest.mark.parametrize("listener", ["teacher", "student"])
def test_teacher_and_student_may_listen_to_different_things(
    archive: Archive, tmp_path: Path, listener: str
) -> None:
    source = with_features(archive, tmp_path / "archive", 6)
    front_end = {"front_end": {"kind": "features", "dimension": 6}}
    taught_by = teacher_run(2, front_end if listener == "teacher" else {})
    run = student_run(2, front_end if listener == "student" else {})
    teacher = train_teacher(corpora(source), taught_by, tmp_path / "t", **CPU)
    model = distill(
        corpora(source), run, some_dictionary(), tmp_path / "s", teachers=[teacher], **CPU
    )
    assert "music" in model.config.metrics[METRICS]


PAPER = {
    "front_end": {"kind": "features", "dimension": 6, "layers": 3, "norm": "window"},
    "tcn": {"channels": 8, "hidden": 12, "blocks": 2, "repeats": 1, "block": "separable",
            "norm": "global"},
    "window": 100,
}  # fmt: skip


@pytest.mark.parametrize("trainable", [False, True])
@pytest.mark.parametrize(
    "loss",
    [
        {"alpha": 10.0},
        {"alpha": 10.0, "temperature": 3.0},
        {"alpha": 0.0, "delta": 10.0},
        {"alpha": 5.0, "delta": 5.0, "temperature": 2.0},
    ],
)
def test_every_way_to_teach_works_on_features(
    archive: Archive, tmp_path: Path, loss: dict[str, float], trainable: bool
) -> None:
    source = with_features(archive, tmp_path / "archive", 3, 6)
    teachers = (
        [train_teacher(corpora(source), teacher_run(1, PAPER), tmp_path / "t", **CPU)]
        if loss["alpha"]
        else []
    )
    run = student_run(2, PAPER | {"trainable_dictionary": trainable}, **loss)
    first = some_dictionary()
    model = distill(corpora(source), run, first, tmp_path / "s", teachers=teachers, **CPU)
    assert torch.equal(model.network.dictionary, first.atoms) is not trainable
    assert sorted(model.config.metrics[METRICS]) == ["music", "noise"]
    save_model(model, tmp_path / "model")
    assert load_model(tmp_path / "model").config.network == model.config.network


def test_activations_begin_at_the_mean_of_the_nmf_where_nothing_else_is_seen() -> None:
    front_end = {"kind": "features", "dimension": 6}
    network = Student(student_run(1, {"front_end": front_end}).network, some_dictionary().atoms)
    dictionary = some_dictionary()
    nothing = torch.zeros(0)
    warm_start(network, Batch(nothing, nothing, nothing), dictionary)
    torch.nn.init.zeros_(network.to_activations.weight)
    found = network(torch.randn(1, 4, 6)).activations
    assert torch.equal(found, dictionary.mean_activations.expand(1, 4, 8))


def test_what_goes_with_features_is_not_changed(archive: Archive, tmp_path: Path) -> None:
    source = with_features(archive, tmp_path, 6)
    config = DataConfig(crop=100, batch_size=2)
    made = [
        CropSource(corpora(source), config, CLASSES, signal="features", fixed=fixed)
        for fixed in (True, False)
    ]
    fixed, free = (CropDataset(each, seed=0, first=0, steps=1)[0] for each in made)
    assert torch.equal(fixed.features, free.features)
    assert torch.equal(fixed.spectrogram, fixed.spectrogram.half().float())
    assert not torch.allclose(fixed.spectrogram, free.spectrogram, atol=0.1)
