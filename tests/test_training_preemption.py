"""Trainings that are told to stop, or killed, end as if nothing had been."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from audioseg_xai import cli
from audioseg_xai.archive import Archive
from audioseg_xai.config import dump_yaml
from audioseg_xai.models.directory import Model, load_model
from audioseg_xai.training import preemption
from audioseg_xai.training.preemption import PreemptedError
from audioseg_xai.training.student import distill
from audioseg_xai.training.teacher import TeacherRun, train_teacher
from audioseg_xai.training.trainer import Trainer
from audioseg_xai.training.validation import ArchiveValidation
from tests.training_dummies import (
    CPU,
    corpora,
    make_archive,
    some_dictionary,
    student_run,
    teacher_run,
)

STEPS = 12


def short_run(**changes: Any) -> TeacherRun:
    data = {"crop": 100, "batch_size": 2}
    return teacher_run(STEPS, validate_every=5, data=data, **changes)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return make_archive(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def uninterrupted(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return train_teacher(corpora(archive), short_run(), tmp_path_factory.mktemp("run"), **CPU)


def check_same(one: Model, other: Model) -> None:
    found, expected = (model.network.state_dict() for model in (one, other))
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert one.config.metrics == other.config.metrics


def saved_step(folder: Path) -> int:
    state: dict[str, Any] = torch.load(folder / "checkpoint.ckpt", weights_only=True)
    return int(state["step"])


def signal_in_step(patch: pytest.MonkeyPatch, step: int, number: signal.Signals) -> None:
    """Send this process a signal while a step is computed."""
    update = Trainer._update_average

    def told(self: Trainer) -> None:
        update(self)
        if self.step == step:
            os.kill(os.getpid(), number)

    patch.setattr(Trainer, "_update_average", told)


# Step 5 is one after which a validation is due, 12 is the last one.
@pytest.mark.parametrize(
    ("step", "number"), [(3, signal.SIGUSR1), (5, signal.SIGTERM), (12, signal.SIGUSR1)]
)
def test_a_signal_stops_after_any_step_and_nothing_is_lost(
    archive: Archive,
    uninterrupted: Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    number: signal.Signals,
) -> None:
    signal_in_step(monkeypatch, step, number)
    with pytest.raises(PreemptedError, match=rf"{number.name} after step {step} of 12: the same"):
        train_teacher(corpora(archive), short_run(), tmp_path, **CPU)
    assert saved_step(tmp_path) == step
    monkeypatch.undo()
    check_same(train_teacher(corpora(archive), short_run(), tmp_path, **CPU), uninterrupted)


def test_a_training_with_masked_crops_goes_on_bit_for_bit(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = student_run(8, alpha=0.0, delta=2.0, epsilon=2.0, masked=0.5)

    def train(folder: str) -> Model:
        return distill(corpora(archive), run, some_dictionary(), tmp_path / folder, **CPU)

    signal_in_step(monkeypatch, 3, signal.SIGUSR1)
    with pytest.raises(PreemptedError, match="after step 3 of 8"):
        train("stopped")
    monkeypatch.undo()
    check_same(train("stopped"), train("whole"))


def test_a_signal_breaks_off_a_validation_which_comes_again(
    archive: Archive, uninterrupted: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict, seen = ArchiveValidation.predict, []

    def told(self: ArchiveValidation, network: Any) -> Any:
        for number, found in enumerate(predict(self, network)):
            seen.append(number)
            if len(seen) == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            yield found

    monkeypatch.setattr(ArchiveValidation, "predict", told)
    with pytest.raises(PreemptedError, match="SIGTERM after step 5 of 12"):
        train_teacher(corpora(archive), short_run(), tmp_path, **CPU)
    assert seen == [0, 1]  # of four recordings
    monkeypatch.undo()
    check_same(train_teacher(corpora(archive), short_run(), tmp_path, **CPU), uninterrupted)


def test_signals_mean_what_they_did_before_and_after() -> None:
    before = [signal.getsignal(number) for number in preemption.SIGNALS]
    with preemption.noticed(), preemption.noticed():
        assert preemption.received() is None
        os.kill(os.getpid(), signal.SIGUSR1)
        assert preemption.received() is signal.SIGUSR1
        assert preemption.unless_told(lambda: 1) is None
    assert preemption.received() is None
    assert preemption.unless_told(lambda: 1) == 1
    assert [signal.getsignal(number) for number in preemption.SIGNALS] == before


# --- the command --------------------------------------------------------------------------------


@pytest.fixture
def words(archive: Archive, tmp_path: Path) -> Callable[..., list[str]]:
    def make(run: TeacherRun, *more: str) -> list[str]:
        dump_yaml(run, tmp_path / "teacher.yaml")
        folder, output = str(archive.folder), str(tmp_path / "model")
        return [
            "--train", folder, "--valid", folder, "--config", str(tmp_path / "teacher.yaml"),
            "--output", output, "--device", "cpu", "--num-workers", "1", *more,
        ]  # fmt: skip

    return make


def test_the_command_exits_with_75_and_says_how_to_go_on(
    words: Callable[..., list[str]],
    uninterrupted: Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def train() -> Result:
        return CliRunner().invoke(cli.main, ["train-teacher", *words(short_run())])

    signal_in_step(monkeypatch, 7, signal.SIGUSR1)
    stopped = train()
    assert (stopped.exit_code, stopped.stdout) == (75, "")
    (line,) = [line for line in stopped.stderr.splitlines() if "warning" in line]
    assert line == (
        "xai-segment train-teacher: warning: stopped by SIGUSR1 after step 7 of 12: the same "
        f"command goes on from {tmp_path / 'model' / 'train' / 'checkpoint.ckpt'}"
    )
    assert not (tmp_path / "model" / "config.json").exists()
    monkeypatch.undo()
    assert train().exit_code == 0
    check_same(load_model(tmp_path / "model"), uninterrupted)


def test_a_killed_run_goes_on_from_its_last_checkpoint(
    words: Callable[..., list[str]], archive: Archive, uninterrupted: Model, tmp_path: Path
) -> None:
    folder = tmp_path / "model" / "train"
    often = short_run(checkpoint_every=1)
    command = [sys.executable, "-m", "audioseg_xai.bin.train_teacher", *words(often)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not (folder / "checkpoint.ckpt").exists():
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert 1 <= saved_step(folder) < STEPS
    # How often it is saved is no part of what a run is.
    check_same(train_teacher(corpora(archive), short_run(), folder, **CPU), uninterrupted)


@pytest.mark.parametrize("settings", [{"checkpoint_every": 4}, {"checkpoint_minutes": 1e-9}])
def test_checkpoints_besides_validations(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, float]
) -> None:
    save, saved = Trainer._save, []

    def note(self: Trainer) -> None:
        save(self)
        saved.append((self.step, saved_step(tmp_path)))

    monkeypatch.setattr(Trainer, "_save", note)
    train_teacher(corpora(archive), short_run(**settings), tmp_path, **CPU)
    steps = [4, 5, 8, 10, 12] if "checkpoint_every" in settings else list(range(1, 13))
    assert saved == [(step, step) for step in steps]
