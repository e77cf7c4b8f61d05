"""The training of teachers: it learns, resumes, and leaves alone what no corpus annotates."""

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from audioseg_xai import cli
from audioseg_xai.archive import Archive
from audioseg_xai.config import dump_yaml
from audioseg_xai.errors import ArchiveError, TrainingError
from audioseg_xai.labels import CLASSES
from audioseg_xai.models.directory import Model, load_model, save_model
from audioseg_xai.models.networks import Teacher
from audioseg_xai.training.corpora import Corpora
from audioseg_xai.training.evaluation import FrameCounts
from audioseg_xai.training.listening import Listener
from audioseg_xai.training.teacher import TeacherRun, train_teacher
from audioseg_xai.training.validation import ArchiveValidation
from tests.training_dummies import (
    CPU,
    METRICS,
    corpora,
    labels,
    make_archive,
    teacher_run,
    write_archive,
)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return make_archive(tmp_path_factory.mktemp("corpus"))


def test_frame_counts_find_the_best_threshold() -> None:
    counts = FrameCounts(("a",))
    probabilities = np.array([[0.9], [0.8], [0.6], [0.3], [0.2]])
    counts.add(probabilities, np.array([[1], [1], [0], [1], [-1]], dtype=np.int8))
    # At 0.8: 2 hits, no alarm, 1 miss: F1 = 4/5. At 0.3: 3 hits, 1 alarm: 6/7.
    assert counts.best()["a"] == pytest.approx((6 / 7, 0.3), abs=2e-3)
    assert counts.average_precision()["a"] == pytest.approx((1 + 1 + 3 / 4) / 3)


def test_a_teacher_learns_and_resumes_to_the_same_weights(archive: Archive, tmp_path: Path) -> None:
    run = teacher_run(60, learning_rate=1e-2)
    model = train_teacher(corpora(archive), run, tmp_path / "a", **CPU)
    figures = model.config.metrics[METRICS]
    assert figures["music"]["F1"] > 0.9 and figures["noise"]["F1"] > 0.9
    checkpoint = tmp_path / "b" / "checkpoint.ckpt"
    checkpoint.parent.mkdir()
    stopped = _stop_after(archive, run, tmp_path / "b", steps=40)
    assert stopped == 40
    again = train_teacher(corpora(archive), run, tmp_path / "b", **CPU)
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
            train_teacher(corpora(archive), run, folder, **CPU)
    return steps


def test_a_checkpoint_of_another_run_is_refused(archive: Archive, tmp_path: Path) -> None:
    train_teacher(corpora(archive), teacher_run(2), tmp_path, **CPU)
    with pytest.raises(TrainingError, match="another configuration"):
        train_teacher(corpora(archive), teacher_run(3), tmp_path, **CPU)


def test_an_archive_of_another_fft_size_is_refused(archive: Archive, tmp_path: Path) -> None:
    run = teacher_run(1, {"spectrogram": {"fft_size": 1024}})
    with pytest.raises(ArchiveError, match=r"257 bins.*513.*--fft-size 1024"):
        train_teacher(corpora(archive), run, tmp_path, **CPU)


# --- several corpora, and classes that none of them annotates --------------------------------


def learn_from(sources: Corpora, folder: Path, steps: int = 2) -> Model:
    return train_teacher(sources, teacher_run(steps), folder, **CPU)


def test_classes_that_nobody_annotated_are_not_decided_nor_validated(
    archive: Archive, tmp_path: Path
) -> None:
    speakers = {
        "labels": labels(300, speech=slice(0, 200), overlap=slice(0, 90), music=None, noise=None)
    }
    meeting = write_archive(tmp_path / "meeting", {"a": speakers})
    everything = {"b": {"labels": labels(300, speech=slice(0, 90), music=slice(0, 90))}}
    other = write_archive(tmp_path / "other", everything)
    model = learn_from(Corpora([meeting], [meeting, other]), tmp_path / "t")
    assert list(model.config.decoding) == ["speech", "overlap"]
    # `other` could tell how good music is, but nothing was learned about it.
    assert list(model.config.metrics[METRICS]) == ["speech", "overlap"]
    save_model(model, tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text()
    assert "Decides speech, overlap, several at once" in card
    assert "does not decide music, noise: never annotated in what it was taught with" in card
    with pytest.raises(TrainingError, match=r"no class is active .* taught \(music, noise\)"):
        learn_from(Corpora([archive_of_music(tmp_path / "m")], [meeting]), tmp_path / "u")


def archive_of_music(folder: Path) -> Archive:
    made = labels(300, music=slice(0, 90), noise=slice(0, 9), speech=None, overlap=None)
    return write_archive(folder, {"a": {"labels": made}})


def test_nothing_annotated_is_an_error(tmp_path: Path) -> None:
    unknown = np.full((300, 4), -1, dtype=np.int8)
    archive = write_archive(tmp_path, {"a": {"labels": unknown}})
    with pytest.raises(TrainingError, match="no training recording has labels"):
        learn_from(corpora(archive), tmp_path / "t")


def test_corpora_together_annotate_what_each_lacks(tmp_path: Path) -> None:
    one = make_archive(tmp_path / "one", classes=("music",))
    two = make_archive(tmp_path / "two", classes=("noise",))
    run = teacher_run(60, learning_rate=1e-2)
    model = train_teacher(corpora(one, two), run, tmp_path / "t", **CPU)
    assert list(model.config.decoding) == ["music", "noise"]
    figures = model.config.metrics[METRICS]
    assert figures["music"]["F1"] > 0.9 and figures["noise"]["F1"] > 0.9
    inputs = model.config.provenance["inputs"]
    assert sorted(inputs) == ["train_1", "train_2", "valid_1", "valid_2"]


def test_validation_pools_the_frames_of_all_archives(tmp_path: Path) -> None:
    """Of a constant network the best F1 is that of always: 2 a / (a + T), pooled."""
    one = write_archive(tmp_path / "a", {"a": {"labels": labels(100, music=slice(0, 60))}})
    made = labels(50, music=slice(0, 10), noise=slice(0, 25))
    two = write_archive(tmp_path / "b", {"b": {"labels": made}})
    lacking = labels(80, noise=slice(0, 80), music=None)
    three = write_archive(tmp_path / "c", {"c": {"labels": lacking}})
    network = Teacher(teacher_run(1).network).eval()
    torch.nn.init.zeros_(network.classifier.weight)
    validation = ArchiveValidation([one, two, three], CLASSES, Listener("cpu"))
    figures = validation(network)
    assert figures["f1/music"] == pytest.approx(2 * 70 / (70 + 150))
    assert figures["f1/noise"] == pytest.approx(2 * 105 / (105 + 230))
    precisions = 70 / 150, 105 / 230
    f1 = figures["f1/music"], figures["f1/noise"]
    assert figures["score"] == pytest.approx(sum(precisions + f1) / 4)
    assert "f1/speech" not in figures


def test_the_command_takes_several_archives(tmp_path: Path) -> None:
    folders = [make_archive(tmp_path / name, ("music", "noise")).folder for name in "ab"]
    config = tmp_path / "teacher.yaml"
    dump_yaml(teacher_run(2, data={"crop": 100, "balance": {"corpora": {"a": 1, "b": 3}}}), config)
    options = [word for folder in folders for word in ("--train", str(folder))]
    options += ["--valid", str(folders[0]), "--valid", str(folders[1]), "--config", str(config)]
    output = tmp_path / "model"
    done = CliRunner().invoke(
        cli.main, ["train-teacher", *options, "--output", str(output), "--device", "cpu"]
    )
    assert done.exit_code == 0, done.stderr
    assert list(load_model(output).config.decoding) == ["music", "noise"]
    tuned = CliRunner().invoke(
        cli.main,
        ["tune", "--model", str(output), "--archive", str(folders[0]), "--archive",
         str(folders[1]), "--output", str(tmp_path / "tuned"), "--device", "cpu"],
    )  # fmt: skip
    assert tuned.exit_code == 0, tuned.stderr
