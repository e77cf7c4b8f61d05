"""Relevance, selection, projection and prototypes, worked out by hand; completeness."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from dummies import save_student, write_sound
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from audioseg_xai.annotation import Segment
from audioseg_xai.closed_segments import Outline, explain_closed, gather
from audioseg_xai.decode import DecodedSegment
from audioseg_xai.errors import AudioError, ModelError, UsageError
from audioseg_xai.explain import (
    Explanation,
    Readout,
    class_spectra,
    project,
    prototypes,
    relevance,
    select,
    strongest_band,
)
from audioseg_xai.models.directory import Model, ModelConfig, load_model
from audioseg_xai.models.networks import Teacher, TeacherConfig
from audioseg_xai.pipeline import Pipeline, Settings
from audioseg_xai.recordings import Recording

READOUT = Readout(
    classes=("speech", "music"),
    dictionary=np.array([[1.0, 0.0, 0.6], [0.0, 1.0, 0.8]]),
    weights=np.array([[2.0, -1.0, 0.5], [0.0, 3.0, 1.0]]),
    bias=np.array([-1.0, 0.5]),
    frequencies=np.array([0.0, 8000.0]),
)
OUTLINE = Outline("a", duration=0.205, num_frames=10, threshold=0.3)
# Probabilities, logits and activations side by side.
DECODED = [
    DecodedSegment("music", 5, 10, np.array([0.3, 0.8, 0.0, 8.5, 9.0, 2.0, 2.0])),
    DecodedSegment("speech", 0, 5, np.array([0.9, 0.1, 4.0, 0.0, 2.0, 0.0, 2.0])),
]


def explained(
    decoded: Sequence[DecodedSegment] = tuple(DECODED), outline: Outline = OUTLINE
) -> Explanation:
    closed = explain_closed(READOUT, decoded, outline.num_frames, outline.duration)
    return gather([closed], READOUT, outline)


def test_an_explanation_worked_out_by_hand() -> None:
    found = explained()
    assert found.segments == (
        Segment(0.0, 0.1, "speech", 0.9),
        Segment(0.1, 0.205, "music", 0.8),
    )
    np.testing.assert_allclose(found.relevance, [[4, 0, 1], [0, 6, 2]])
    np.testing.assert_allclose(found.mean_logit, [4.0, 8.5])
    # speech: 1 is not above .3 of 4;  music: 2 is above .3 of 6
    np.testing.assert_allclose(found.spectra, [[4, 0], [1.2, 7.6]], rtol=1e-6)


def test_relevances_and_bias_sum_to_the_mean_logit_in_this_example() -> None:
    found = explained()
    np.testing.assert_allclose(found.relevance.sum(axis=1) + READOUT.bias, found.mean_logit)


def test_nothing_found_is_an_explanation_too() -> None:
    found = explained([], Outline("a", 1.0, 49, 0.1))
    assert found.segments == ()
    assert (found.relevance.shape, found.spectra.shape) == ((0, 3), (0, 2))


def test_relevance_keeps_negative_evidence() -> None:
    found = relevance(np.array([[1.0, 2.0, 0.0]]), np.array([0]), READOUT.weights)
    assert found.tolist() == [[2.0, -2.0, 0.0]]


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [(0.0, [5.0, 1.0, 0.0, 0.0]), (0.2, [5.0, 0.0, 0.0, 0.0]), (0.19, [5.0, 1.0, 0.0, 0.0])],
)
def test_selection_is_relative_to_the_largest(threshold: float, expected: list[float]) -> None:
    assert select(np.array([[5.0, 1.0, 0.0, -7.0]]), threshold).tolist() == [expected]


def test_a_segment_without_positive_relevance_selects_nothing() -> None:
    assert not select(np.array([[-1.0, -2.0]]), 0.0).any()


@settings(deadline=None)
@given(
    hnp.arrays(np.float64, (3, 5), elements=st.floats(-10, 10)),
    st.floats(0, 0.9),
    st.floats(0, 0.9),
)
def test_a_higher_threshold_selects_a_part(r: np.ndarray, a: float, b: float) -> None:
    low, high = (select(r, threshold) for threshold in sorted((a, b)))
    assert (low >= 0).all()
    assert ((high == low) | (high == 0)).all()
    assert np.array_equal(high.max(axis=1), np.maximum(r.max(axis=1), 0))


def test_projection_weighs_atoms() -> None:
    assert project(np.array([[1.0, 0.0, 10.0]]), READOUT.dictionary).tolist() == [[7.0, 8.0]]


def test_class_spectra_are_weighted_by_duration() -> None:
    found = Explanation(
        "a", 4.0, 200, 0.1,
        (Segment(0, 1, "speech"), Segment(1, 4, "speech"), Segment(2, 3, "music")),
        np.zeros((3, 3)), np.array([[4.0, 0.0], [0.0, 8.0], [1.0, 1.0]]), np.zeros(3),
    )  # fmt: skip
    spectra = class_spectra(found)
    assert {name: s.tolist() for name, s in spectra.items()} == {
        "speech": [1.0, 6.0],
        "music": [1.0, 1.0],
    }


@pytest.mark.parametrize(
    ("spectrum", "band"),
    [
        ([0, 0, 9, 0, 1], (150, 250)),
        ([3, 3, 1, 1, 0], (0, 150)),
        ([1, 1, 1, 1, 0], (0, 150)),
        ([0, 0, 0, 0, 0], None),
        ([0, 0, 0, 0, 2], (350, 400)),
    ],
)
def test_the_strongest_band(spectrum: list[float], band: tuple[float, float] | None) -> None:
    assert strongest_band(np.array(spectrum, float), np.arange(5) * 100.0) == band


@settings(deadline=None)
@given(hnp.arrays(np.float64, 12, elements=st.floats(0, 5)).filter(lambda x: x.sum() > 1e-3))
def test_no_narrower_band_holds_half(spectrum: np.ndarray) -> None:
    low, high = strongest_band(spectrum, np.arange(12.0)) or (0.0, 0.0)
    first, last = int(np.ceil(low)), int(np.floor(high))
    total = spectrum.sum()
    assert spectrum[first : last + 1].sum() >= 0.5 * total * (1 - 1e-6)
    width = last - first  # one bin fewer
    sums = [spectrum[i : i + width].sum() for i in range(12 - width + 1)]
    assert max(sums) < 0.5 * total * (1 + 1e-6)


def test_prototypes_average_over_segments_of_all_recordings() -> None:
    first, second = (
        explained(),
        explained(DECODED[1:] * 2, Outline("b", 1.0, 49, 0.1)),
    )
    second = Explanation(**(vars(second) | {"relevance": np.array([[1, 0, 1], [1, 3, 1]])}))
    found = prototypes(iter([first, second]), READOUT)
    assert found.counts.tolist() == [3, 1]
    np.testing.assert_allclose(found.relevance, [[2, 1, 1], [0, 6, 2]])
    np.testing.assert_allclose(found.spectra, [[2.6, 1.8], [1.2, 7.6]])


def test_a_class_that_never_occurs_has_an_empty_prototype() -> None:
    found = prototypes([], READOUT)
    assert found.counts.tolist() == [0, 0]
    assert not found.relevance.any()


# --- a network at work --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_student(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> Pipeline:
    return Pipeline(load_model(folder), Settings(device="cpu"))


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return Recording("a", str(write_sound(tmp_path_factory.mktemp("audio") / "a.wav", 7.0)))


def test_explanations_are_complete(pipeline: Pipeline, recording: Recording) -> None:
    found = pipeline.explain(recording)
    bias = {name: b for name, b in zip(pipeline.model.classes, pipeline.readout.bias, strict=True)}
    baseline = [bias[segment.label] for segment in found.segments]
    assert len(found.segments) > 4
    np.testing.assert_allclose(found.relevance.sum(axis=1) + baseline, found.mean_logit, rtol=1e-4)


def test_segmenting_and_explaining_decide_the_same(
    pipeline: Pipeline, recording: Recording
) -> None:
    assert pipeline.segment(recording).segments == pipeline.explain(recording).segments


def test_confidence_is_the_mean_probability_in_the_segment(
    pipeline: Pipeline, recording: Recording
) -> None:
    chunks: list[np.ndarray] = []
    found = pipeline.explain(recording, [lambda chunk: chunks.append(chunk.probabilities)])
    probabilities = np.concatenate(chunks)
    for segment in found.segments:
        rows = slice(round(segment.onset * 50), round(segment.offset * 50))
        expected = probabilities[rows, pipeline.model.classes.index(segment.label)].mean()
        assert segment.confidence == pytest.approx(expected, abs=1e-6)


def test_only_the_classes_asked_for_are_decided(folder: Path, recording: Recording) -> None:
    some = Pipeline(load_model(folder), Settings(device="cpu", classes="no,music"))
    assert {segment.label for segment in some.segment(recording).segments} == {"music", "noise"}


def test_classes_that_the_model_does_not_decide_are_refused(folder: Path) -> None:
    model = load_model(folder)
    decoding = {"speech": model.config.decoding["speech"]}
    model.config = model.config.model_copy(update={"decoding": decoding})
    with pytest.raises(UsageError, match="decides speech, and not music"):
        Pipeline(model, Settings(device="cpu", classes="music,speech"))


def test_a_teacher_explains_nothing(pipeline: Pipeline, recording: Recording) -> None:
    network = pipeline.model.network.config
    common = network.model_dump(include={"spectrogram", "level", "front_end", "tcn"})
    config = TeacherConfig.model_validate(common)
    model = Model(Teacher(config).eval(), ModelConfig(network=config, decoding={}))
    teacher = Pipeline(model, Settings(device="cpu"))
    assert teacher.segment(recording).segments == ()
    with pytest.raises(ModelError, match="a black box"):
        teacher.explain(recording)


def test_less_than_a_frame_is_an_error(pipeline: Pipeline, tmp_path: Path) -> None:
    path = write_sound(tmp_path / "short.wav", 399 / 16_000)
    with pytest.raises(AudioError, match=r"short\.wav: 399 samples at 16 kHz are too short"):
        pipeline.segment(Recording("short", str(path)))
