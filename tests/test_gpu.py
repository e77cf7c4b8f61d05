"""What runs on a GPU gives what a CPU gives. All of it is skipped where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from dummies import save_student, sound, student, write_sound

from audioseg_xai import cli
from audioseg_xai.annotation import read_rttm
from audioseg_xai.archive import Archive
from audioseg_xai.inference import Segmenter
from audioseg_xai.segmenter import StreamingSegmenter
from audioseg_xai.training.running import with_precision
from audioseg_xai.training.student import distill
from audioseg_xai.training.teacher import train_teacher
from tests.training_dummies import (
    corpora,
    make_archive,
    some_dictionary,
    student_run,
    teacher_run,
)

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

GPU: dict[str, Any] = {"device": "cuda", "num_workers": 0}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return make_archive(tmp_path_factory.mktemp("corpus"))


def test_probabilities_and_activations_are_those_of_a_cpu() -> None:
    network = student()
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    cpu = list(StreamingSegmenter(network.config, weights).process([sound(90.0)]))
    gpu = list(Segmenter(network, "cuda").process([sound(90.0)]))
    for name in ("spectrogram", "logits", "activations"):
        one, other = (np.concatenate([getattr(c, name) for c in chunks]) for chunks in (cpu, gpu))
        np.testing.assert_allclose(other, one, atol=2e-3)


@pytest.mark.parametrize("command", ["segment", "explain"])
@pytest.mark.parametrize("num_workers", [1, 4])
def test_several_recordings_at_once_get_the_segments_of_a_cpu(
    tmp_path: Path, num_workers: int, command: str
) -> None:
    model = save_student(tmp_path / "model")
    files = [str(write_sound(tmp_path / f"{n}.wav", 30.0 + n, seed=n)) for n in range(6)]
    options = ["--model", str(model), "--num-workers", str(num_workers)]
    for device in ("cpu", "cuda"):
        rttm = str(tmp_path / f"{device}.rttm")
        words = [command, *files, *options, "--device", device, "--rttm", rttm]
        done = CliRunner().invoke(cli.main, words)
        assert done.exit_code == 0, done.output
    one, other = (read_rttm(tmp_path / f"{device}.rttm") for device in ("cpu", "cuda"))
    assert list(other) == list(one)
    for uri, expected in one.items():
        found = other[uri]
        assert [each.label for each in found] == [each.label for each in expected]
        for a, b in zip(found, expected, strict=True):
            assert (a.onset, a.offset) == pytest.approx((b.onset, b.offset), abs=0.021)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_teacher_and_student_are_trained(archive: Archive, tmp_path: Path, precision: str) -> None:
    taught = with_precision(teacher_run(10), precision)
    teacher = train_teacher(corpora(archive), taught, tmp_path / "teacher", **GPU)
    distilled = with_precision(student_run(10, alpha=1.0, epsilon=1.0, masked=0.5), precision)
    folder, dictionary = tmp_path / "student", some_dictionary()
    student = distill(corpora(archive), distilled, dictionary, folder, teachers=[teacher], **GPU)
    for model in (teacher, student):
        assert all(torch.isfinite(value).all() for value in model.network.state_dict().values())
