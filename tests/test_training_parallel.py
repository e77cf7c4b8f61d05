"""Trainings on several processes: the step of one with the whole batch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import distributed, nn

from audioseg_xai import cli
from audioseg_xai.archive import Archive
from audioseg_xai.config import dump_yaml, parse_config
from audioseg_xai.errors import UsageError
from audioseg_xai.labels import CLASSES
from audioseg_xai.losses import LossConfig
from audioseg_xai.models.directory import Model, load_model
from audioseg_xai.models.networks import Student, Teacher
from audioseg_xai.training.batch_norm import SharedBatchNorm, share_batch_norm
from audioseg_xai.training.data import Batch, CropDataset, CropSource, DataConfig
from audioseg_xai.training.masking import Masked, Masker
from audioseg_xai.training.parallel import check_batch, known_labels, shared_label_loss
from audioseg_xai.training.processes import Processes, processes, run_processes
from audioseg_xai.training.student import StudentLosses, distill
from audioseg_xai.training.teacher import train_teacher
from tests.training_dummies import (
    CPU,
    corpora,
    labels,
    some_dictionary,
    student_run,
    teacher_run,
    write_archive,
)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Recordings of which much, little and nothing is known."""
    rng = np.random.default_rng(0)
    known = [
        labels(300, speech=slice(0, 90), music=slice(50, 200)),
        labels(300, speech=slice(100, 190), music=None, noise=None, overlap=None),
        labels(300, music=slice(9, 99), noise=slice(100, 110), speech=None, overlap=None),
    ]
    sounds = {
        f"r{number}": {"labels": each, "spectrogram": 9 * rng.random((300, 257))}
        for number, each in enumerate(known)
    }
    return write_archive(tmp_path_factory.mktemp("archive"), sounds)


# --- parts of a batch ---------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, {"balance": {"classes": 0.5}, "augment": {"overlap": 1}}])
@pytest.mark.parametrize("total", [2, 3])
def test_parts_of_a_batch_make_the_batch(
    archive: Archive, changes: dict[str, Any], total: int
) -> None:
    config = parse_config({"crop": 100, "batch_size": 6} | changes, DataConfig, "test")
    source = CropSource(corpora(archive), config, CLASSES)

    def batch(*part: int) -> Batch:
        return CropDataset(source, seed=1, first=0, steps=9, part=part or (0, 1))[4]  # type: ignore[arg-type]

    whole, parts = batch(), [batch(number, total) for number in range(total)]
    assert torch.equal(torch.cat([part.spectrogram for part in parts]), whole.spectrogram)
    assert torch.equal(torch.cat([part.labels for part in parts]), whole.labels)
    assert all(part.seed == whole.seed for part in parts)
    assert [(part.part, part.parts) for part in parts] == [(n, total) for n in range(total)]


def test_nothing_is_read_of_the_crops_of_others(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = CropSource(corpora(archive), DataConfig(crop=100, batch_size=6), CLASSES)
    read, count = Archive.read, []
    monkeypatch.setattr(Archive, "read", lambda *arguments: count.append(0) or read(*arguments))
    source.batch(np.random.default_rng(0), (1, 3))
    assert len(count) == 2


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    check_batch(8, 4)
    with pytest.raises(UsageError, match=r"data.batch_size: 8 crops .* by 3 processes: make it a"):
        check_batch(8, 3)


# --- a step of two processes, as threads that wait for each other -------------------------------


class Together:
    """Lets threads add up their tensors, as processes do."""

    def __init__(self, number: int) -> None:
        self.number, self.barrier = number, threading.Barrier(number, timeout=60)
        self.parts: list[torch.Tensor] = []
        self.lock = threading.Lock()

    def all_reduce(self, tensor: torch.Tensor) -> None:
        with self.lock:
            self.parts.append(tensor.clone())
        self.barrier.wait()
        total = torch.stack(self.parts).sum(0)
        if self.barrier.wait() == 0:
            self.parts.clear()
        self.barrier.wait()
        tensor.copy_(total)

    def run(self, work: Callable[[int], Any]) -> list[Any]:
        results: list[Any] = [None] * self.number

        def one(rank: int) -> None:
            try:
                results[rank] = work(rank)
            except BaseException:
                self.barrier.abort()
                raise

        threads = [threading.Thread(target=one, args=(rank,)) for rank in range(self.number)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> Together:
    found = Together(2)
    monkeypatch.setattr(distributed, "all_reduce", found.all_reduce)
    return found


def gradients(network: nn.Module, terms: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    terms["total"].backward()
    found = {name: weight.grad for name, weight in network.named_parameters()}
    return {**found, **{f"term {name}": value.item() for name, value in terms.items()}}


def check_equal(parts: list[dict[str, Any]], whole: dict[str, Any]) -> None:
    for name, expected in whole.items():
        mean = sum(part[name] for part in parts) / len(parts)
        if isinstance(expected, float):
            assert mean == pytest.approx(expected, rel=1e-5), name
        else:
            scale = float(expected.abs().max()) + 1e-4
            assert float((mean - expected).abs().max()) < 1e-3 * scale, name


def uneven_batch(crops: int = 4) -> Batch:
    """The first half knows all labels, of the others hardly any is known."""
    generator = torch.Generator().manual_seed(0)
    known = torch.randint(0, 2, (crops, 60, 4), generator=generator, dtype=torch.int8)
    known[crops // 2 :, 3:] = -1
    known[0, :, 2] = -1
    spectrogram = 9 * torch.rand(crops, 60, 257, generator=generator)
    return Batch(spectrogram, known, torch.zeros(crops, 0))


def halves(batch: Batch) -> list[Batch]:
    parts = zip(*(part.chunk(2) for part in batch[:3]), strict=True)
    return [Batch(*own, seed=batch.seed, part=n, parts=2) for n, own in enumerate(parts)]


Step = Callable[[Any, Batch], dict[str, Any]]


def both(together: Together, network: nn.Module, step: Step, batch: Batch) -> list[dict[str, Any]]:
    """Return what a step gives on each of two processes."""
    copies = [deepcopy(network) for _ in range(2)]
    for copy in copies:
        share_batch_norm(copy)
    return together.run(lambda rank: step(copies[rank], halves(batch)[rank]))


def some_student() -> Student:
    torch.manual_seed(0)
    run = student_run(1, {"trainable_dictionary": True})
    return Student(run.network, some_dictionary().atoms).train()


def test_two_processes_make_the_gradient_of_a_student_of_one(together: Together) -> None:
    loss = LossConfig(alpha=2.0, delta=3.0, class_weights={"music": 0.5, "noise": 4.0})
    student, teacher = some_student(), Teacher(teacher_run(1).network)

    def step(network: Student, batch: Batch) -> dict[str, Any]:
        return gradients(network, StudentLosses(network, loss, [deepcopy(teacher)])(network, batch))

    whole = step(deepcopy(student), uneven_batch())
    check_equal(both(together, student, step, uneven_batch()), whole)
    alone = [step(deepcopy(student), Batch(*half[:3])) for half in halves(uneven_batch())]
    with pytest.raises(AssertionError):  # that is what a mean of means would have been
        check_equal(alone, whole)


@pytest.mark.parametrize(
    ("masked", "without", "expected"),
    [
        (1.0, [], [True, True]),
        (1.0, [0, 2, 3], [True, False]),
        (0.25, [], [False, True]),  # the last crop of four
        (1.0, [0, 1, 2, 3], [False, False]),
    ],
    ids=["both", "the first", "the second", "none"],
)
def test_two_processes_mask_as_one_whoever_has_something_to_mask(
    together: Together,
    monkeypatch: pytest.MonkeyPatch,
    masked: float,
    without: list[int],
    expected: list[bool],
) -> None:
    weights = {"music": 0.5, "noise": 4.0}
    loss = LossConfig(alpha=0.0, delta=1.0, epsilon=3.0, masked=masked, class_weights=weights)
    student, batch = some_student(), uneven_batch()
    batch.labels[2:] = batch.labels[:2]
    batch.labels[2:, :, 1:] = -1  # of the second half speech is known, and nothing else
    batch.labels[without] = batch.labels[without].clamp_max(0)
    found: dict[int, bool] = {}

    class Watched(Masker):
        def __call__(self, batch: Batch, activations: torch.Tensor) -> Masked:
            made = super().__call__(batch, activations)
            found[batch.part] = len(made.labels) > 0
            return made

    monkeypatch.setattr("audioseg_xai.training.student.Masker", Watched)

    def step(network: Student, batch: Batch) -> dict[str, Any]:
        terms = StudentLosses(network, loss)(network, batch)
        statistics = {name: each.float() for name, each in network.named_buffers()}
        return gradients(network, terms) | statistics

    whole = step(deepcopy(student), batch)
    assert found.pop(0) == (whole["term masking"] > 0) == any(expected)
    check_equal(both(together, student, step, batch), whole)
    assert [found[0], found[1]] == expected


def test_two_processes_make_the_gradient_of_a_teacher_of_one(together: Together) -> None:
    torch.manual_seed(0)
    teacher = Teacher(teacher_run(1).network).train()

    def step(network: Teacher, batch: Batch) -> dict[str, Any]:
        logits = network(network.level_norm(batch.spectrogram))
        loss = shared_label_loss(logits, batch.labels, parts=batch.parts)
        return gradients(network, {"total": loss})

    check_equal(
        both(together, teacher, step, uneven_batch()), step(deepcopy(teacher), uneven_batch())
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 100), st.floats(-1000, 1000))
def test_shared_statistics_are_those_of_the_whole_batch(
    seed: int, scale: float, offset: float
) -> None:
    together = Together(2)
    x = offset + scale * torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(seed))
    plain = nn.BatchNorm1d(3)
    shared = [SharedBatchNorm(deepcopy(plain)) for _ in range(2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributed, "all_reduce", together.all_reduce)
        found = torch.cat(together.run(lambda rank: shared[rank](x.chunk(2)[rank]).detach()))
    torch.testing.assert_close(found, plain(x), atol=5e-3, rtol=1e-3)
    for each in shared:
        torch.testing.assert_close(each.state_dict(), plain.state_dict(), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(shared[0].eval()(x), plain.eval()(x), atol=1e-2, rtol=1e-3)


def test_known_labels_are_counted_by_hand() -> None:
    known = torch.tensor([[[1, 0, -1, -1], [0, -1, -1, 1]]])
    assert float(known_labels(known)) == 4
    weights = torch.tensor([2.0, 10.0, 7.0, 0.5])
    assert float(known_labels(known, weights)) == 2 * 2 + 10 + 0.5
    assert float(known_labels(known[:0], weights)) == 0


# --- real processes -----------------------------------------------------------------------------


def command(archive: Archive, folder: Path, name: str, run: Any, *more: str) -> list[str]:
    folder.mkdir(exist_ok=True)
    dump_yaml(run, folder / "run.yaml")
    return [
        sys.executable, "-m", f"audioseg_xai.bin.{name}", "--train", str(archive.folder),
        "--valid", str(archive.folder), "--config", str(folder / "run.yaml"), "--device", "cpu",
        "--output", str(folder / "model"), "--num-workers", "0", "--devices", "2", *more,
    ]  # fmt: skip


def check_alike(found: Model, expected: Model, archive: Archive) -> None:
    spectra = torch.stack([torch.from_numpy(archive.read(e)[0]).float() for e in archive.entries])

    def logits(network: Any) -> torch.Tensor:
        output = network(network.level_norm(spectra.clone()))
        return torch.as_tensor(getattr(output, "logits", output)).detach()

    difference = (logits(found.network) - logits(expected.network)).abs().max()
    moved = logits(expected.network).abs().max()
    assert difference < 1e-3 * moved


def test_two_processes_are_stopped_together_and_end_as_one(
    archive: Archive, tmp_path: Path
) -> None:
    run = teacher_run(8, validate_every=4, checkpoint_every=1)
    words = command(archive, tmp_path, "train_teacher", run)
    checkpoint = tmp_path / "model" / "train" / "checkpoint.ckpt"
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not checkpoint.exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGUSR1)
        assert process.stderr is not None
        told = process.stderr.read()
    assert process.returncode == 75, told
    assert told.count("stopped by") == 1
    again = subprocess.run(words, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("step 8/8") == 1
    found = load_model(tmp_path / "model")
    check_alike(found, train_teacher(corpora(archive), run, tmp_path / "one", **CPU), archive)


# A quarter of four crops is one: the first process never has anything to mask.
@pytest.mark.parametrize("masking", [{}, {"epsilon": 2.0, "masked": 0.25}], ids=["", "masked"])
def test_a_student_of_two_processes_is_that_of_one(
    archive: Archive, tmp_path: Path, masking: dict[str, float]
) -> None:
    from audioseg_xai.training.dictionary import save_dictionary

    run = student_run(6, {"trainable_dictionary": True}, alpha=0.0, delta=2.0, **masking)
    save_dictionary(some_dictionary(), tmp_path / "w", {})
    words = command(archive, tmp_path, "distill", run, "--dictionary", str(tmp_path / "w"))
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    one = distill(corpora(archive), run, some_dictionary(), tmp_path / "one", **CPU)
    check_alike(load_model(tmp_path / "model"), one, archive)


# --- who starts them ----------------------------------------------------------------------------


def test_one_process_unless_the_environment_tells_of_more() -> None:
    assert processes({}) == Processes(0, 0, 1, 1)
    # A batch script under SLURM is one process, however many tasks the job may start.
    assert processes({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}).total == 1
    torchrun = {"RANK": "5", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", "WORLD_SIZE": "8"}
    assert processes(torchrun) == Processes(5, 1, 4, 2)
    srun = {
        "SLURM_STEP_NUM_TASKS": "6", "SLURM_STEP_NUM_NODES": "3", "SLURM_PROCID": "4",
        "SLURM_LOCALID": "0",
    }  # fmt: skip
    assert processes(srun) == Processes(4, 0, 2, 3)
    with pytest.raises(UsageError, match="start as many on each node"):
        processes(torchrun | {"RANK": "6"})


def test_options_must_agree_with_who_started_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    started = {"RANK": "1", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "2"}
    for name, value in started.items():
        monkeypatch.setenv(name, value)
    assert run_processes(None, None) is None
    assert run_processes(2, 1) is None
    with pytest.raises(UsageError, match="--devices 3: 2 were started"):
        run_processes(3, None)


def test_several_nodes_need_a_place_to_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER_ADDR", "here")
    with pytest.raises(UsageError, match="--num-nodes 2: set MASTER_PORT, NODE_RANK, or start"):
        run_processes(1, 2)


def test_sixteen_bits_where_they_suffice(archive: Archive, tmp_path: Path) -> None:
    words = command(archive, tmp_path, "train_teacher", teacher_run(2))[3:]
    words[words.index("--devices") + 1] = "1"
    done = CliRunner().invoke(cli.main, ["train-teacher", *words, "--precision", "bf16-mixed"])
    assert done.exit_code == 0, done.stderr
    model = load_model(tmp_path / "model")
    assert model.config.provenance["config"]["training"]["precision"] == "bf16-mixed"
    assert {str(value.dtype) for value in model.network.parameters()} == {"torch.float32"}
    assert os.environ.get("RANK") is None
