"""Streaming inference: however a recording is cut, the result is that of the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dummies import COMPONENTS, sound, student, student_config
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from audioseg_xai.decode import ClassDecoding, StreamingDecoder
from audioseg_xai.errors import ModelError
from audioseg_xai.features import log_spectrogram
from audioseg_xai.frames import num_frames
from audioseg_xai.inference import Chunk, Segmenter
from audioseg_xai.models.front_end import FeatureFrontEndConfig, SpectrogramFrontEndConfig
from audioseg_xai.models.networks import Student, StudentConfig, Teacher, TeacherConfig
from audioseg_xai.models.tcn import TCNConfig
from audioseg_xai.models.windows import windowed

NETWORK = student()
SOUND = sound(4.0)


def blocks(samples: NDArray[np.float32], sizes: list[int]) -> list[NDArray[np.float32]]:
    return np.split(samples, np.cumsum(sizes)[np.cumsum(sizes) < len(samples)])


def joined(chunks: list[Chunk], name: str) -> NDArray[np.float32]:
    return np.concatenate([getattr(chunk, name) for chunk in chunks])


def segments(chunks: list[Chunk]) -> list[tuple[str, int, int]]:
    classes = NETWORK.config.classes
    decoder = StreamingDecoder(classes, {name: ClassDecoding(min_gap=0.1) for name in classes})
    found = []
    for chunk in chunks:
        found += decoder.push(chunk.probabilities, chunk.probabilities)
    return sorted((s.label, s.onset, s.offset) for s in found + decoder.finish())


def test_the_streamed_result_is_that_of_the_network_on_the_whole_recording() -> None:
    spectrogram = log_spectrogram(torch.from_numpy(SOUND), NETWORK.config.spectrogram)
    with torch.inference_mode():
        normalised = NETWORK.level_norm(spectrogram[None])
        expected = NETWORK(normalised)
    chunks = list(Segmenter(NETWORK, chunk=37).process(blocks(SOUND, [1000] * 64)))
    assert len(chunks) > 1
    np.testing.assert_allclose(joined(chunks, "spectrogram"), normalised[0], atol=1e-4)
    np.testing.assert_allclose(joined(chunks, "activations"), expected.activations[0], atol=1e-4)
    np.testing.assert_allclose(
        joined(chunks, "probabilities"), expected.logits[0].sigmoid(), atol=1e-5
    )


@settings(deadline=None, max_examples=12)
@given(st.integers(8, 300), st.lists(st.integers(1, 20_000), min_size=1, max_size=20))
def test_cuts_make_no_difference(chunk: int, sizes: list[int]) -> None:
    whole = list(Segmenter(NETWORK, chunk=10_000).process([SOUND]))
    cut = list(Segmenter(NETWORK, chunk=chunk).process(blocks(SOUND, sizes)))
    assert len(whole) == 1
    np.testing.assert_allclose(
        joined(cut, "probabilities"), joined(whole, "probabilities"), atol=1e-5
    )
    assert segments(cut) == segments(whole) != []


@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize("chunk", [16, 77, 101])
def test_a_front_end_that_steps_over_frames_steps_alike_however_it_is_cut(
    stride: int, chunk: int
) -> None:
    front_end = SpectrogramFrontEndConfig(bands=16, channels=(4, 4, 4), stride=stride)
    network = Student(student_config(front_end=front_end)).eval()
    whole = list(Segmenter(network).process([SOUND]))
    cut = list(Segmenter(network, chunk=chunk).process(blocks(SOUND, [5000, 2777])))
    assert len(whole) == 1 < len(cut)
    assert len(joined(cut, "probabilities")) == num_frames(len(SOUND))
    np.testing.assert_allclose(
        joined(cut, "probabilities"), joined(whole, "probabilities"), atol=1e-6
    )


@pytest.mark.parametrize("length", [400, 401, 719, 720, 5000])
def test_every_frame_comes_once(length: int) -> None:
    chunks = list(Segmenter(NETWORK, chunk=3).process([SOUND[:length]]))
    assert joined(chunks, "probabilities").shape == (num_frames(length), 4)
    assert joined(chunks, "activations").shape == (num_frames(length), COMPONENTS)


@pytest.mark.parametrize("length", [0, 10, 399])
def test_less_than_a_frame_gives_nothing(length: int) -> None:
    assert list(Segmenter(NETWORK).process([SOUND[:length]])) == []


def test_a_teacher_has_no_activations() -> None:
    settings = NETWORK.config.model_dump(include={"spectrogram", "level", "front_end", "tcn"})
    teacher = Teacher(TeacherConfig.model_validate(settings)).eval()
    (chunk,) = Segmenter(teacher).process([SOUND])
    assert chunk.activations.shape == (len(chunk.probabilities), 0)


@pytest.mark.parametrize("cuts", [[], [1000] * 64, [30_000, 5]])
def test_a_norm_over_the_window_sees_windows_of_a_fixed_grid(cuts: list[int]) -> None:
    tcn = TCNConfig(channels=8, blocks=2, repeats=1, norm="global")
    network = Student(student_config(tcn=tcn, window=50, step=20)).eval()
    spectrogram = log_spectrogram(torch.from_numpy(SOUND), network.config.spectrogram)

    def logits(frames: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (network(frames[None]).logits[0],)

    with torch.inference_mode():
        normalised = network.level_norm(spectrogram[None])[0]
        (expected,) = windowed(logits, normalised, 50, 20)
    chunks = list(Segmenter(network).process(blocks(SOUND, cuts)))
    np.testing.assert_allclose(joined(chunks, "logits"), expected, atol=1e-4)
    np.testing.assert_allclose(joined(chunks, "probabilities"), expected.sigmoid(), atol=1e-5)
    np.testing.assert_allclose(joined(chunks, "spectrogram"), normalised, atol=1e-4)


def test_a_network_that_listens_to_features_of_nothing_is_refused() -> None:
    config = StudentConfig(front_end=FeatureFrontEndConfig(kind="features", dimension=12))
    with pytest.raises(ModelError, match="cache-features --upstream"):
        Segmenter(Student(config))
