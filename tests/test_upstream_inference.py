"""Networks that listen to an upstream, on recordings that arrive in blocks."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from dummies import save_student, student
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from upstream_dummies import load, noise, student_of, upstream_config, write

from audioseg_xai import cli
from audioseg_xai.audio import write_wav
from audioseg_xai.decode import ClassDecoding
from audioseg_xai.errors import ModelError, UsageError
from audioseg_xai.extract import recording_features
from audioseg_xai.features import log_spectrogram
from audioseg_xai.frames import num_frames
from audioseg_xai.inference import Chunk, Segmenter, aligned
from audioseg_xai.labels import CLASSES
from audioseg_xai.models.directory import Model, ModelConfig, save_model
from audioseg_xai.models.networks import Student, StudentConfig
from audioseg_xai.upstream import Upstream

SOUND = noise(3.015)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("upstream") / "tiny.pt")


@pytest.fixture(scope="module", params=["all", 2], ids=["all layers", "one layer"])
def upstream(checkpoint: Path, request: pytest.FixtureRequest) -> Upstream:
    return load(checkpoint, layers=request.param)


@pytest.fixture(scope="module")
def network(upstream: Upstream) -> Student:
    return student_of(upstream)


def joined(chunks: list[Chunk], name: str) -> NDArray[np.float32]:
    return np.concatenate([getattr(chunk, name) for chunk in chunks])


def test_the_streamed_result_is_that_of_the_archive_s_features(
    upstream: Upstream, network: Student
) -> None:
    features = np.concatenate(list(recording_features(upstream, SOUND)))
    spectrogram = log_spectrogram(torch.from_numpy(SOUND), network.config.spectrogram)
    with torch.inference_mode():
        expected = network(torch.from_numpy(features)[None])
        normalised = network.level_norm(spectrogram[None])
    chunks = list(Segmenter(network, chunk=37).process(np.split(SOUND, [1000, 9000, 20_000])))
    assert len(chunks) > 1
    assert expected.logits.std() > 0.01
    np.testing.assert_allclose(joined(chunks, "logits"), expected.logits[0], atol=1e-4)
    np.testing.assert_allclose(joined(chunks, "activations"), expected.activations[0], atol=1e-4)
    np.testing.assert_allclose(
        joined(chunks, "probabilities"), expected.logits[0].sigmoid(), atol=1e-4
    )
    np.testing.assert_allclose(joined(chunks, "spectrogram"), normalised[0], atol=1e-4)
    for chunk in chunks:
        assert len(chunk.spectrogram) == len(chunk.logits) == len(chunk.activations)


@pytest.fixture(scope="module")
def segmenters(network: Student) -> list[Segmenter]:
    return [Segmenter(network, chunk=chunk) for chunk in (10_000, 41)]


@settings(deadline=None, max_examples=6)
@given(st.lists(st.integers(1, len(SOUND)), max_size=10))
def test_cuts_make_no_difference(segmenters: list[Segmenter], cuts: list[int]) -> None:
    (whole,) = segmenters[0].process([SOUND])
    cut = list(segmenters[1].process(np.split(SOUND, sorted(cuts))))
    for name in ("logits", "spectrogram"):
        np.testing.assert_allclose(joined(cut, name), getattr(whole, name), atol=1e-4)


@pytest.mark.parametrize("length", [400, 719, 720, 9999, 10_000])
def test_every_frame_comes_once(network: Student, length: int) -> None:
    chunks = list(Segmenter(network, chunk=3).process([SOUND[:length]]))
    assert joined(chunks, "logits").shape == (num_frames(length), 4)
    assert joined(chunks, "spectrogram").shape == (num_frames(length), 257)


def test_less_than_a_frame_gives_nothing(network: Student) -> None:
    assert list(Segmenter(network).process([SOUND[:399]])) == []


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 40), st.lists(st.integers(0, 40)), st.lists(st.integers(0, 40)))
def test_frames_stay_with_their_results(total: int, first: list[int], second: list[int]) -> None:
    numbers = torch.arange(total)
    frames, results = (
        torch.tensor_split(numbers, sorted(min(c, total) for c in cuts)) for cuts in (first, second)
    )
    parts = list(aligned(iter(frames), ((part,) for part in results if len(part))))
    assert all(torch.equal(frame, result) for frame, result in parts)
    assert torch.cat([frame for frame, _ in parts]).tolist() == list(range(total))


# --- where the upstream comes from --------------------------------------------------------------


def test_a_network_that_names_no_upstream_is_refused(network: Student) -> None:
    front_end = network.config.front_end.model_copy(update={"upstream": None})
    config = network.config.model_copy(update={"front_end": front_end})
    with pytest.raises(ModelError, match="does not say of which upstream"):
        Segmenter(Student(config))


def test_an_upstream_of_another_size_is_refused(network: Student) -> None:
    front_end = network.config.front_end.model_copy(update={"dimension": 7})
    values = network.config.model_dump() | {"front_end": front_end.model_dump()}
    with pytest.raises(ModelError, match=r"listens to . layers of 7 values"):
        Segmenter(Student(StudentConfig.model_validate(values)))


def test_a_checkpoint_that_was_moved_is_named(upstream: Upstream, tmp_path: Path) -> None:
    gone = upstream_config(tmp_path / "gone.pt", **_kept(upstream))
    moved = student_of(_with(upstream, gone))
    with pytest.raises(ModelError, match=r"gone\.pt: no such checkpoint .*--upstream-checkpoint"):
        Segmenter(moved)
    path = shutil.copy(upstream.config.checkpoint or "", tmp_path / "here.pt")
    (here, *_) = Segmenter(moved, upstream_checkpoint=str(path)).process([SOUND])
    (there, *_) = Segmenter(student_of(upstream)).process([SOUND])
    np.testing.assert_array_equal(here.logits, there.logits)


def test_another_checkpoint_than_in_training_is_refused(network: Student, tmp_path: Path) -> None:
    other = write(tmp_path / "other.pt", seed=1)
    with pytest.raises(ModelError, match=r"other\.pt: holds other weights"):
        Segmenter(network, upstream_checkpoint=str(other))


def test_a_network_of_spectrograms_has_no_use_for_a_checkpoint(checkpoint: Path) -> None:
    with pytest.raises(UsageError, match="listens to spectrograms"):
        Segmenter(student(), upstream_checkpoint=str(checkpoint))


def _kept(upstream: Upstream) -> dict[str, object]:
    return {"layers": upstream.config.layers, "digest": upstream.config.digest}


def _with(upstream: Upstream, config: object) -> Upstream:
    other = Upstream(upstream.config, upstream.network)
    other.config = config  # type: ignore[assignment]
    return other


# --- commands -----------------------------------------------------------------------------------


def test_commands_take_the_checkpoint(network: Student, checkpoint: Path, tmp_path: Path) -> None:
    rules = {name: ClassDecoding(onset=0.5, offset=0.5) for name in CLASSES}
    config = ModelConfig(
        network=network.config, decoding=rules, metrics={"dummy": {"speech": {"f1": 0.5}}}
    )
    save_model(Model(network, config), tmp_path / "model")
    write_wav(tmp_path / "a.wav", SOUND, 16_000)
    words = [str(tmp_path / "a.wav"), "--model", str(tmp_path / "model")]
    words += ["--device", "cpu", "--threads", "1"]
    plain = CliRunner().invoke(cli.main, ["segment", *words])
    assert plain.exit_code == 0 and plain.stdout
    named = ["--upstream-checkpoint", str(checkpoint)]
    assert CliRunner().invoke(cli.main, ["segment", *words, *named]).stdout == plain.stdout
    archive = ["--hdf5", str(tmp_path / "a.h5")]
    explained = CliRunner().invoke(cli.main, ["explain", *words, *named, *archive])
    assert explained.exit_code == 0 and (tmp_path / "a.h5").exists()
    missing = CliRunner().invoke(
        cli.main, ["segment", *words, "--upstream-checkpoint", str(tmp_path / "no.pt")]
    )
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert missing.stderr.count("\n") == 1 and "no.pt" in missing.stderr


def test_a_checkpoint_for_a_model_of_spectrograms_is_a_wrong_use(
    checkpoint: Path, tmp_path: Path
) -> None:
    write_wav(tmp_path / "a.wav", SOUND, 16_000)
    model = save_student(tmp_path / "model")
    words = ["segment", str(tmp_path / "a.wav"), "--model", str(model), "--threads", "1"]
    done = CliRunner().invoke(cli.main, [*words, "--upstream-checkpoint", str(checkpoint)])
    assert (done.exit_code, done.stdout) == (2, "")
