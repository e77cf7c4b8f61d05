"""Archives, batches and trainings, on a corpus small enough to learn in seconds."""

from pathlib import Path

import numpy as np
import pytest
import torch

from audioseg_xai.annotation import Segment
from audioseg_xai.archive import Archive, write_index
from audioseg_xai.audio import write_wav
from audioseg_xai.config import parse_config
from audioseg_xai.datadir import DataDir
from audioseg_xai.decode import ClassDecoding
from audioseg_xai.errors import ArchiveError, ModelError, TrainingError
from audioseg_xai.extract import extractions
from audioseg_xai.features import SpectrogramConfig
from audioseg_xai.labels import CLASSES
from audioseg_xai.losses import LossConfig
from audioseg_xai.models.level import LevelConfig
from audioseg_xai.nmf import NMFConfig, learn_dictionary
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
    with pytest.raises(TrainingError, match="music is active in no"):
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
