"""Archives, batches and trainings, on a corpus small enough to learn in seconds."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from audioseg_xai.annotation import Segment
from audioseg_xai.archive import Archive, write_index, write_recording
from audioseg_xai.audio import write_wav
from audioseg_xai.config import parse_config
from audioseg_xai.datadir import DataDir
from audioseg_xai.decode import ClassDecoding
from audioseg_xai.errors import ArchiveError, ModelError, TrainingError
from audioseg_xai.extract import extractions
from audioseg_xai.features import SpectrogramConfig
from audioseg_xai.labels import CLASSES
from audioseg_xai.losses import LossConfig
from audioseg_xai.models.directory import Model
from audioseg_xai.models.level import LevelConfig
from audioseg_xai.nmf import Dictionary, NMFConfig, learn_dictionary
from audioseg_xai.training.data import CropDataset, DataConfig, augment
from audioseg_xai.training.dictionary import balanced_frames, load_dictionary, save_dictionary
from audioseg_xai.training.evaluation import FrameCounts
from audioseg_xai.training.student import StudentLosses, StudentRun, distill
from audioseg_xai.training.teacher import TeacherRun, train_teacher
from audioseg_xai.training.trainer import TrainingConfig
from audioseg_xai.training.tuning import decide_frames, tune
from tests.dummies import student, student_config

SECONDS = 6


def write_corpus(folder: Path, recordings: int = 4, classes: tuple[str, ...] = CLASSES) -> Path:
    """Music is a chord, noise is noise, from 2 s to 4 s of every other recording."""
    rng = np.random.default_rng(3)
    time = np.arange(SECONDS * 16000) / 16000
    wav, reference = {}, {}
    for number in range(recordings):
        uri = f"r{number}"
        wav[uri] = folder / f"{uri}.wav"
        middle = (time >= 2) & (time < 4)
        chord = sum(np.sin(2 * np.pi * f * time) for f in (220, 277, 330)) / 6
        sounding = chord if number % 2 else rng.standard_normal(len(time)) / 6
        samples = np.where(middle, sounding, 1e-3 * rng.standard_normal(len(time)))
        write_wav(wav[uri], samples.astype(np.float32), 16000)
        reference[uri] = [Segment(2.0, 4.0, "music" if number % 2 else "noise")]
    data = DataDir(
        wav=wav,
        duration={uri: float(SECONDS) for uri in wav},
        reference={u: [s for s in r if s.label in classes] for u, r in reference.items()},
        uem={uri: [(0.0, float(SECONDS))] for uri in wav},
        classes=classes,
    )
    data.write(folder)
    return folder


def make_archive(folder: Path, classes: tuple[str, ...] = CLASSES) -> Archive:
    data = DataDir.read(write_corpus(folder / "data", classes=classes))
    work = extractions(data, folder / "archive", SpectrogramConfig())
    write_index(folder / "archive", [item.run() for item in work])
    return Archive(folder / "archive")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return make_archive(tmp_path_factory.mktemp("corpus"))


def schedule(steps: int, **changes: object) -> TrainingConfig:
    settings = {
        "steps": steps,
        "warmup": 5,
        "validate_every": 20,
        "average": 0.9,
        "data": {"crop": 200, "batch_size": 4, "gain": (-5.0, 5.0), "equaliser": 1.0},
    }
    return parse_config(settings | changes, TrainingConfig, "test")


def small(kind: str) -> dict[str, object]:
    # The level of a 6 s recording must not follow the sound that is to be found.
    values = student_config(level=LevelConfig(context=200)).model_dump()
    del values["kind"]
    if kind == "teacher":
        for name in ("components", "trainable_dictionary", "analysis"):
            del values[name]
    return values


def teacher_run(steps: int, **changes: object) -> TeacherRun:
    values = {"network": small("teacher"), "training": schedule(steps, **changes).model_dump()}
    return parse_config(values, TeacherRun, "test")


def student_run(steps: int, **loss: float) -> StudentRun:
    values = {
        "network": small("student"),
        "training": schedule(steps).model_dump(),
        "loss": LossConfig(**loss).model_dump(),
    }
    return parse_config(values, StudentRun, "test")


def test_archive_holds_what_the_data_directory_says(archive: Archive) -> None:
    spectrogram, labels, _ = archive.read(archive.entries[1])
    assert spectrogram.shape == (archive.entries[1].num_frames, 257)
    # Centres 320 t + 200 between 32000 and 64000 samples: frames 100 to 199.
    assert np.flatnonzero(labels[:, 1]).tolist() == list(range(100, 200))
    assert (labels[:, [0, 2, 3]] == 0).all()


def test_a_whole_file_is_kept_and_a_damaged_one_made_again(tmp_path: Path) -> None:
    archive = make_archive(tmp_path)
    path = archive.folder / archive.entries[0].file
    made = path.stat().st_mtime_ns
    work = extractions(DataDir.read(tmp_path / "data"), archive.folder, SpectrogramConfig())
    assert work[0].run() == archive.entries[0]
    assert path.stat().st_mtime_ns == made
    path.write_bytes(path.read_bytes()[:2000])
    assert work[0].run() == archive.entries[0]
    assert path.stat().st_size > 2000


def test_new_labels_make_the_file_again(tmp_path: Path) -> None:
    archive = make_archive(tmp_path)
    data = DataDir.read(tmp_path / "data")
    data.reference["r1"] = [Segment(0.0, 1.0, "speech")]
    work = extractions(data, archive.folder, SpectrogramConfig())
    for item in work:
        item.run()
    labels = Archive(archive.folder).read(archive.entries[1])[1]
    assert labels[:49, 0].all() and not labels[:, 1].any()


def test_a_missing_index_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="cache-features"):
        Archive(tmp_path)


def test_a_batch_depends_on_its_step_alone(archive: Archive) -> None:
    config = DataConfig(crop=100, batch_size=3)

    def dataset(first: int) -> CropDataset:
        return CropDataset(archive, config, CLASSES, seed=1, first=first, steps=9)

    whole, resumed = dataset(0), dataset(4)
    assert torch.equal(whole[6].spectrogram, resumed[2].spectrogram)
    assert not torch.equal(whole[6].spectrogram, whole[7].spectrogram)
    assert len(resumed) == 5


def test_crops_longer_than_every_recording_are_refused(archive: Archive) -> None:
    with pytest.raises(TrainingError, match="lower 'crop'"):
        CropDataset(archive, DataConfig(crop=9999), CLASSES, seed=0, first=0, steps=1)


def test_augmentation_is_a_gain_in_power(rng: np.random.Generator) -> None:
    config = DataConfig(gain=(-6.0, -6.0), equaliser=0.0)
    power = torch.rand(2, 5, 257) * 1e6
    changed = torch.expm1(augment(power.log1p(), config, rng))
    assert torch.allclose(changed, power * 10**-0.6, rtol=1e-3, atol=1e-2)


def test_frame_counts_find_the_best_threshold() -> None:
    counts = FrameCounts(("a",))
    probabilities = np.array([[0.9], [0.8], [0.6], [0.3], [0.2]])
    counts.add(probabilities, np.array([[1], [1], [0], [1], [-1]], dtype=np.int8))
    # At 0.8: 2 hits, no alarm, 1 miss: F1 = 4/5. At 0.3: 3 hits, 1 alarm: 6/7.
    assert counts.best()["a"] == pytest.approx((6 / 7, 0.3), abs=2e-3)
    assert counts.average_precision()["a"] == pytest.approx((1 + 1 + 3 / 4) / 3)


def test_a_teacher_learns_and_resumes_to_the_same_weights(archive: Archive, tmp_path: Path) -> None:
    run = teacher_run(60, learning_rate=1e-2)
    model = train_teacher(archive, archive, run, tmp_path / "a", device="cpu", num_workers=0)
    figures = model.config.metrics["validation frames, best threshold"]
    assert figures["music"]["F1"] > 0.9 and figures["noise"]["F1"] > 0.9
    checkpoint = tmp_path / "b" / "checkpoint.ckpt"
    checkpoint.parent.mkdir()
    stopped = _stop_after(archive, run, tmp_path / "b", steps=40)
    assert stopped == 40
    again = train_teacher(archive, archive, run, tmp_path / "b", device="cpu", num_workers=0)
    pairs = zip(model.network.parameters(), again.network.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def _stop_after(archive: Archive, run: TeacherRun, folder: Path, steps: int) -> int:
    """Train like `train_teacher`, but break off after the checkpoint at `steps`."""
    from audioseg_xai.training import trainer

    class StoppedError(Exception):
        pass

    save = trainer.Trainer._save

    def save_and_stop(self: trainer.Trainer) -> None:
        save(self)
        if self.step == steps:
            raise StoppedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer.Trainer, "_save", save_and_stop)
        with pytest.raises(StoppedError):
            train_teacher(archive, archive, run, folder, device="cpu", num_workers=0)
    return steps


def test_a_checkpoint_of_another_run_is_refused(archive: Archive, tmp_path: Path) -> None:
    train_teacher(archive, archive, teacher_run(2), tmp_path, device="cpu", num_workers=0)
    with pytest.raises(TrainingError, match="another configuration"):
        train_teacher(archive, archive, teacher_run(3), tmp_path, device="cpu", num_workers=0)


def test_unlabelled_classes_are_not_decided(tmp_path: Path) -> None:
    archive = make_archive(tmp_path, classes=("music", "noise"))
    model = train_teacher(
        archive, archive, teacher_run(2), tmp_path / "t", device="cpu", num_workers=0
    )
    assert list(model.config.decoding) == ["music", "noise"]


def test_a_student_learns_from_its_teacher_and_rebuilds_the_sound(
    archive: Archive, tmp_path: Path
) -> None:
    frames = balanced_frames(archive, student_config(), 600, seed=0)
    dictionary = learn_dictionary(frames, NMFConfig(components=8, iterations=20))
    save_dictionary(dictionary, tmp_path / "w.safetensors")
    loaded = load_dictionary(tmp_path / "w.safetensors")
    teacher = train_teacher(
        archive,
        archive,
        teacher_run(40, learning_rate=1e-2),
        tmp_path / "t",
        device="cpu",
        num_workers=0,
    )
    run = student_run(60, alpha=10.0, beta=1.0, gamma=0.01)
    model = distill(
        archive, archive, run, loaded, tmp_path / "s", teacher=teacher, device="cpu", num_workers=0
    )
    figures = model.config.metrics["validation frames, best threshold"]
    assert figures["music"]["F1"] > 0.85
    network = model.network
    inputs = network.level_norm(torch.from_numpy(archive.read(archive.entries[1])[0]).float()[None])
    rebuilt = network.reconstruct(network(inputs).activations)
    assert (rebuilt - inputs).norm() / inputs.norm() < 0.4
    assert torch.equal(network.dictionary, loaded.atoms)


def test_distillation_without_a_teacher_is_refused(archive: Archive, tmp_path: Path) -> None:
    dictionary = learn_dictionary(torch.rand(50, 257), NMFConfig(components=8, iterations=1))
    with pytest.raises(ModelError, match="needs a teacher"):
        distill(archive, archive, student_run(1, alpha=1.0), dictionary, tmp_path)


def test_a_dictionary_of_another_size_is_refused(archive: Archive, tmp_path: Path) -> None:
    dictionary = learn_dictionary(torch.rand(50, 257), NMFConfig(components=5, iterations=1))
    with pytest.raises(ModelError, match="5 components"):
        distill(archive, archive, student_run(1, alpha=0.0), dictionary, tmp_path)


def test_labels_that_a_corpus_lacks_have_no_influence_but_the_teacher_has(
    archive: Archive,
) -> None:
    network = student()
    batch = CropDataset(
        archive, DataConfig(crop=50, batch_size=2), CLASSES, seed=0, first=0, steps=1
    )[0]
    hidden = batch._replace(labels=batch.labels.clone().index_fill_(2, torch.tensor([1]), -1))

    def music_gradient(alpha: float) -> torch.Tensor:
        network.zero_grad()
        config = LossConfig(alpha=alpha, beta=0, gamma=0, delta=1.0)
        losses = StudentLosses(network, config, student(seed=5) if alpha else None)
        losses(network, hidden)["total"].backward()
        gradient = network.classifier.weight.grad
        assert gradient is not None
        return gradient[1]

    assert music_gradient(alpha=0.0).count_nonzero() == 0
    assert music_gradient(alpha=1.0).count_nonzero() > 0


def test_tuning_finds_the_threshold_that_separates() -> None:
    labels = np.zeros((200, 1), dtype=np.int8)
    labels[50:120] = 1
    probabilities = np.where(labels == 1, 0.42, 0.31)
    probabilities[80:85] = 0.1  # a gap of 100 ms inside
    decoding, figures = tune([(probabilities, labels)], ("music",), ["music"])
    assert 0.31 < decoding["music"].onset <= 0.42
    assert figures["music"]["F1"] == 1.0
    assert decide_frames(probabilities[:, 0], decoding["music"]).sum() == 70


def test_of_equal_thresholds_the_one_nearest_to_a_half_is_taken() -> None:
    labels = np.repeat([[0], [1]], 50, axis=0).astype(np.int8)
    probabilities = np.where(labels == 1, 0.9, 0.1)
    assert tune([(probabilities, labels)], ("a",), ["a"])[0]["a"].onset == 0.5


def test_tuning_needs_an_active_frame() -> None:
    silent = (np.zeros((10, 1)), np.zeros((10, 1), dtype=np.int8))
    with pytest.raises(TrainingError, match=r"music is active in no.*add validation recordings"):
        tune([silent], ("music",), ["music"])


def test_short_segments_are_dropped_after_gaps_are_filled() -> None:
    probabilities = np.zeros(100)
    probabilities[[10, 12, 14]] = 1.0
    probabilities[50] = 1.0
    rule = ClassDecoding(min_gap=0.04, min_duration=0.1)
    assert np.flatnonzero(decide_frames(probabilities, rule)).tolist() == [10, 11, 12, 13, 14]


def test_a_student_goes_on_from_another(archive: Archive, tmp_path: Path) -> None:
    dictionary = learn_dictionary(torch.rand(50, 257), NMFConfig(components=8, iterations=1))
    labels_only = {"alpha": 0.0, "delta": 1.0}
    start = distill(archive, archive, student_run(2, **labels_only), dictionary, tmp_path / "a")
    still = student_run(1, **labels_only)
    values = still.model_dump(mode="json")
    values["training"]["learning_rate"] = 1e-12
    run = parse_config(values, StudentRun, "test")
    again = distill(archive, archive, run, dictionary, tmp_path / "b", start=start)
    weights = zip(start.network.parameters(), again.network.parameters(), strict=True)
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in weights)
    values["network"]["tcn"]["channels"] = 6
    other = parse_config(values, StudentRun, "test")
    with pytest.raises(ModelError, match="another network"):
        distill(archive, archive, other, dictionary, tmp_path / "c", start=start)


LABELS_ONLY = {"alpha": 0.0, "delta": 1.0}


def some_dictionary(seed: int = 0) -> Dictionary:
    spectra = torch.rand(50, 257, generator=torch.Generator().manual_seed(seed))
    return learn_dictionary(spectra, NMFConfig(components=8, iterations=1))


def changed(run: StudentRun, **network: object) -> StudentRun:
    values = run.model_dump(mode="json")
    values["network"] |= network
    return parse_config(values, StudentRun, "test")


@pytest.fixture(scope="module")
def begun(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Model]:
    """Return the folder and the model of a student trained for one step."""
    folder = tmp_path_factory.mktemp("begun")
    run = student_run(1, **LABELS_ONLY)
    model = distill(archive, archive, run, some_dictionary(), folder, device="cpu", num_workers=0)
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
        run = changed(run, tcn={"channels": 6, "blocks": 2, "repeats": 1})
    elif what == "inputs.dictionary":
        dictionary = some_dictionary(seed=9)
    else:
        start = model
    with pytest.raises(TrainingError, match=rf"\({what}\).*delete it"):
        distill(archive, archive, run, dictionary, folder, start=start, device="cpu")


def test_a_checkpoint_of_another_archive_is_refused(
    archive: Archive, begun: tuple[Path, Model]
) -> None:
    fewer = Archive(archive.folder)
    fewer.entries = fewer.entries[:3]
    with pytest.raises(TrainingError, match=r"\(inputs\.train\)"):
        distill(fewer, archive, student_run(1, **LABELS_ONLY), some_dictionary(), begun[0])


def test_a_model_tells_what_went_in(begun: tuple[Path, Model]) -> None:
    inputs = begun[1].config.provenance["inputs"]
    assert sorted(inputs) == ["dictionary", "train", "valid"]
    assert inputs["train"] == inputs["valid"] != inputs["dictionary"]


def test_a_start_with_another_dictionary_is_refused(
    archive: Archive, begun: tuple[Path, Model], tmp_path: Path
) -> None:
    run, other = student_run(1, **LABELS_ONLY), some_dictionary(seed=9)
    with pytest.raises(ModelError, match="another dictionary"):
        distill(archive, archive, run, other, tmp_path, start=begun[1])


def with_features(archive: Archive, folder: Path) -> Archive:
    rng = np.random.default_rng(1)
    for entry in archive.entries:
        spectrogram, labels, _ = archive.read(entry)
        arrays = {"spectrogram": spectrogram, "labels": labels}
        arrays["features"] = rng.standard_normal((entry.num_frames, 6))
        write_recording(folder / entry.file, arrays, {"uri": entry.uri})
    write_index(folder, archive.entries)
    return Archive(folder)


@pytest.mark.parametrize("listener", ["teacher", "student"])
def test_teacher_and_student_may_listen_to_different_things(
    archive: Archive, tmp_path: Path, listener: str
) -> None:
    source = with_features(archive, tmp_path / "archive")
    front_end = {"front_end": {"kind": "features", "dimension": 6}}
    values = teacher_run(2).model_dump(mode="json")
    values["network"] |= front_end if listener == "teacher" else {}
    taught_by = parse_config(values, TeacherRun, "test")
    run = changed(student_run(2), **(front_end if listener == "student" else {}))
    where = {"device": "cpu", "num_workers": 0}
    teacher = train_teacher(source, source, taught_by, tmp_path / "t", **where)
    model = distill(
        source, source, run, some_dictionary(), tmp_path / "s", teacher=teacher, **where
    )
    assert "music" in model.config.metrics["validation frames, best threshold"]


def test_a_trained_dictionary_keeps_unit_atoms(archive: Archive, tmp_path: Path) -> None:
    run = changed(student_run(12, alpha=0.0), trainable_dictionary=True)
    values = run.model_dump(mode="json")
    values["training"] |= {"learning_rate": 0.1, "warmup": 0}
    run = parse_config(values, StudentRun, "test")
    first = some_dictionary()
    model = distill(archive, archive, run, first, tmp_path, device="cpu", num_workers=0)
    trained = model.network.dictionary
    assert not torch.allclose(trained, first.atoms, atol=1e-3)
    assert trained.min() >= 0
    assert (trained.norm(dim=0) - 1).abs().max() < 1e-6


def test_files_are_opened_anew_in_another_process(archive: Archive) -> None:
    source = Archive(archive.folder)
    source.read(source.entries[0])
    assert source._handles
    assert not pickle.loads(pickle.dumps(source))._handles
    inherited = source._open(source.entries[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        assert source._open(source.entries[0]) is not inherited


def test_an_archive_of_another_fft_size_is_refused(archive: Archive, tmp_path: Path) -> None:
    network = student_config(spectrogram=SpectrogramConfig(fft_size=1024))
    with pytest.raises(ArchiveError, match=r"257 bins.*513.*--fft-size 1024"):
        balanced_frames(archive, network, 100, seed=0)
    values = teacher_run(1).model_dump(mode="json")
    values["network"]["spectrogram"]["fft_size"] = 1024
    run = parse_config(values, TeacherRun, "test")
    with pytest.raises(ArchiveError, match="--fft-size 1024"):
        train_teacher(archive, archive, run, tmp_path, device="cpu", num_workers=0)


def test_a_dictionary_file_tells_how_it_was_made(tmp_path: Path) -> None:
    config = NMFConfig(components=8, iterations=1, sparsity=0.25)
    learned = learn_dictionary(torch.rand(50, 257), config)
    path = tmp_path / "w.safetensors"
    save_dictionary(learned, path, {"frames": 50}, {"archive": "abc"})
    loaded = load_dictionary(path)
    assert loaded.sparsity == 0.25 and loaded.relative_error == learned.relative_error
    with safe_open(path, framework="pt") as handle:
        origin = json.loads(handle.metadata()["provenance"])
    assert origin["config"] == {"frames": 50} and origin["inputs"] == {"archive": "abc"}


def test_a_dictionary_file_that_tells_no_sparsity_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"atoms": torch.eye(3), "mean": torch.ones(3)}, path)
    with pytest.raises(ModelError, match="learn-dictionary"):
        load_dictionary(path)


def test_a_dictionary_of_no_components_is_refused_in_one_line(
    archive: Archive, tmp_path: Path
) -> None:
    from click.testing import CliRunner

    from audioseg_xai.bin.learn_dictionary import cli

    options = ["--archive", str(archive.folder), "--output", str(tmp_path / "w.safetensors")]
    done = CliRunner().invoke(cli, [*options, "--components", "0"])
    assert done.exit_code == 1
    assert "components: Input should be greater than or equal to 1" in done.output
    assert "pydantic" not in done.output
