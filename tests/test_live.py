"""Live streams: what is decided when, with how much of the future, and that it stays bounded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

import numpy as np
import pytest
import torch
from dummies import load_student, sound, student, student_config
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from audioseg_xai.audio import AudioReader
from audioseg_xai.decode import ClassDecoding
from audioseg_xai.errors import UsageError
from audioseg_xai.features import log_spectrogram
from audioseg_xai.inference import Segmenter
from audioseg_xai.live import Plan, plan
from audioseg_xai.live.lookahead import (
    Decide,
    LookaheadStream,
    gathered,
    numpy_network,
    process_live,
    torch_network,
)
from audioseg_xai.live.plan import CARRIED_HOP
from audioseg_xai.models.configs import SpectrogramFrontEndConfig, TCNConfig
from audioseg_xai.models.networks import Student, StudentConfig, Teacher, TeacherConfig
from audioseg_xai.pipeline import Pipeline
from audioseg_xai.segmenter import Chunk, StreamingSegmenter

NETWORK = student()
RULES = {"speech": ClassDecoding(min_gap=0.1)}
SOUND = sound(8.0)
REACH = NETWORK.config.receptive_field


class Fake:
    """A reader that hands out `SOUND` in blocks, and counts."""

    name = "fake"

    def __init__(self, sizes: list[int]) -> None:
        self.num_samples, self._sizes = 0, sizes

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        for block in np.split(SOUND, np.cumsum(self._sizes)[np.cumsum(self._sizes) < len(SOUND)]):
            self.num_samples += len(block)
            yield block


def strided() -> Student:
    torch.manual_seed(3)
    front_end = SpectrogramFrontEndConfig(bands=16, channels=(4, 4), stride=2)
    return Student(student_config(front_end=front_end)).eval()


def windowed(step: int | None = None) -> StudentConfig:
    tcn = TCNConfig(channels=8, blocks=2, repeats=1, norm="global")
    return student_config(tcn=tcn, window=50, step=step)


def in_numpy(network: Student | Teacher) -> Decide:
    return numpy_network(network.config, weights_of(network))


def weights_of(network: Student | Teacher) -> dict[str, NDArray[np.generic]]:
    return {name: value.numpy() for name, value in network.state_dict().items()}


def live(
    network: Student | Teacher,
    blocks: Iterable[NDArray[np.float32]],
    planned: Plan,
    waits: bool = False,
) -> list[Chunk]:
    return list(process_live(network.config, in_numpy(network), blocks, planned, lambda: waits))


def joined(chunks: list[Chunk], name: str) -> NDArray[np.float32]:
    return np.concatenate([getattr(chunk, name) for chunk in chunks])


# --- plans --------------------------------------------------------------------------------------


def test_a_plan_without_latency_is_exact_and_says_how_late_it_is() -> None:
    # 5 frames of gap, 50 of hop, the receptive field; 456 samples of FFT window, 1600 of a block.
    late = (5 + 50 + REACH - 2) * 0.02 + (456 + 1600) / 16_000
    assert plan(NETWORK.config, RULES) == Plan(50, REACH, True, pytest.approx(late))


@given(st.floats(0.55, 60))
def test_a_plan_keeps_to_its_latency(latency: float) -> None:
    found = plan(NETWORK.config, RULES, latency)
    assert found.latency <= latency + 1e-6
    assert 10 <= found.hop <= 50
    assert 0 <= found.ahead <= REACH
    assert found.exact == (found.ahead == REACH)


def test_more_latency_never_means_less_of_the_future() -> None:
    seen = [plan(NETWORK.config, RULES, latency / 10).ahead for latency in range(6, 40)]
    assert seen == sorted(seen) and seen[0] < seen[-1] == REACH


def test_hops_lie_where_the_front_end_has_an_output() -> None:
    assert {plan(strided().config, RULES, late / 50).hop % 2 for late in range(30, 90)} == {0}


def test_a_latency_that_gaps_make_impossible_is_refused_with_the_least() -> None:
    with pytest.raises(UsageError, match=r"--latency 0.2: .* sooner than 0.39 s after") as error:
        plan(NETWORK.config, RULES, 0.2)
    assert "\n" not in str(error.value)
    assert plan(NETWORK.config, RULES, 0.39).hop == 10


def test_a_network_that_hears_windows_waits_for_them_and_says_how_long() -> None:
    config = windowed()
    # 5 frames of gap, 50 of a hop, 10 of the level, and all of a window of 50 but the first.
    late = (5 + 50 + 10 + 49 - 2) * 0.02 + (456 + 1600) / 16_000
    found = plan(config, RULES)
    assert (found.exact, found.latency) == (True, pytest.approx(late))
    assert plan(config, RULES, 2.4) == found
    with pytest.raises(UsageError, match=r"2: .* windows of a fixed grid, .* 2.37 s after: leave"):
        plan(config, RULES, 2.0)


@pytest.mark.parametrize("step", [None, 50])
def test_windows_keep_their_promise(pipeline: Pipeline, step: int | None) -> None:
    network = Student(windowed(step)).eval()
    network.load_state_dict(NETWORK.state_dict(), strict=False)  # all but running statistics
    planned = plan(network.config, pipeline.decoding)
    reader = Fake([1600] * 79)
    late = lateness(pipeline, reader, Segmenter(network, chunk=planned.hop).process(reader))
    assert planned.latency / 2 < max(late) <= planned.latency


# --- what is computed ---------------------------------------------------------------------------


@pytest.mark.parametrize("network", [NETWORK, strided()], ids=["student", "strided"])
@pytest.mark.parametrize(("ahead", "in_place"), [(0, "numpy"), (7, "numpy"), (7, "torch")])
def test_a_group_is_decided_as_in_a_recording_that_ends_behind_it(
    network: Student, ahead: int, in_place: str
) -> None:
    spectrogram = log_spectrogram(torch.from_numpy(SOUND), network.config.spectrogram)
    decide = in_numpy(network) if in_place == "numpy" else torch_network(network, "cpu")
    stream = LookaheadStream(network.config, decide, ahead)
    stream.push(spectrogram.expm1().numpy())
    for start in range(0, 200, 20):
        with torch.inference_mode():
            ending = spectrogram[: start + 20 + ahead].unsqueeze(0)
            expected = network(network.level_norm(ending))
        found = stream.take(20)
        group = slice(start, start + 20)
        np.testing.assert_allclose(found.logits, expected.logits[0, group], atol=1e-4)
        np.testing.assert_allclose(found.activations, expected.activations[0, group], atol=1e-4)


@settings(deadline=None, max_examples=10)
@given(st.lists(st.integers(1, 20_000), min_size=1, max_size=30), st.booleans(), st.booleans())
def test_with_all_of_the_future_it_is_the_result_of_the_file(
    sizes: list[int], waits: bool, steps: bool
) -> None:
    network = strided() if steps else NETWORK
    whole = list(StreamingSegmenter(network.config, weights_of(network)).process([SOUND]))
    exact = plan(network.config, RULES)
    found = live(network, Fake(sizes), exact, waits)
    for name in ("spectrogram", "probabilities", "activations"):
        np.testing.assert_allclose(joined(found, name), joined(whole, name), atol=1e-4)


@settings(deadline=None, max_examples=10)
@given(st.lists(st.integers(1, 20_000), min_size=1, max_size=30), st.booleans())
def test_with_some_of_it_decisions_depend_on_the_sound_alone(sizes: list[int], waits: bool) -> None:
    short = plan(NETWORK.config, RULES, 0.6)
    assert not short.exact
    one, other = live(NETWORK, [SOUND], short), live(NETWORK, Fake(sizes), short, waits)
    assert [len(chunk.logits) for chunk in one] == [len(chunk.logits) for chunk in other]
    np.testing.assert_allclose(joined(other, "logits"), joined(one, "logits"), atol=1e-5)


def test_less_of_the_future_changes_what_is_decided() -> None:
    whole = live(NETWORK, [SOUND], plan(NETWORK.config, RULES))
    short = live(NETWORK, [SOUND], Plan(10, 0, False, 1.0))
    assert np.abs(joined(short, "logits") - joined(whole, "logits")).max() > 0.01


@pytest.mark.parametrize("length", [0, 399, 400, 720, 5000])
def test_every_frame_comes_once_however_short_the_stream(length: int) -> None:
    found = live(NETWORK, [SOUND[:length]], plan(NETWORK.config, RULES))
    assert sum(len(chunk.logits) for chunk in found) == max(0, 1 + (length - 400) // 320)


def test_a_teacher_has_no_activations() -> None:
    common = NETWORK.config.model_dump(include={"spectrogram", "level", "front_end", "tcn"})
    teacher = Teacher(TeacherConfig.model_validate(common)).eval()
    whole = list(Segmenter(teacher).process([SOUND]))
    for decide in (in_numpy(teacher), torch_network(teacher, "cpu")):
        planned = plan(teacher.config, RULES)
        found = list(process_live(teacher.config, decide, [SOUND], planned, lambda: False))
        assert joined(found, "activations").shape == (len(joined(whole, "logits")), 0)
        np.testing.assert_allclose(joined(found, "logits"), joined(whole, "logits"), atol=1e-4)


def test_sound_that_waits_is_decided_in_large_pieces_and_other_sound_at_once() -> None:
    exact = plan(NETWORK.config, RULES)
    eager = live(NETWORK, Fake([1600] * 79), exact)
    lazy = live(NETWORK, Fake([1600] * 79), exact, waits=True)
    assert [len(chunk.logits) for chunk in eager[:2]] == [50, 50]
    assert len(lazy) < len(eager)


def test_blocks_are_joined_while_more_are_waiting() -> None:
    blocks = [SOUND[:100], SOUND[100:150], SOUND[150:400]]
    for answers, sizes in (
        ([0, 0, 0], [100, 50, 250]),
        ([1, 0, 1], [150, 250]),
        ([1] * 3, [150, 250]),
    ):
        parts = list(gathered(blocks, map(bool, answers).__next__, 120))
        assert [len(part) for part in parts] == sizes
        np.testing.assert_array_equal(np.concatenate(parts), SOUND[:400])


def test_no_more_than_the_receptive_field_is_kept() -> None:
    def decide(seen: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return seen[:, :4], seen[:, :8]

    stream = LookaheadStream(NETWORK.config, decide, REACH)
    hop, kept = 50, []
    frames = np.ones((hop, NETWORK.config.spectrogram.num_bins), np.float32)
    for _ in range(400):
        stream.push(frames)
        while stream.ready >= hop:
            stream.take(hop)
            kept.append(len(stream._power))
    assert max(kept) == kept[-1] <= 2 * REACH + 2 * hop


# --- segments -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    return Pipeline(load_student(tmp_path_factory.mktemp("model")))


@pytest.mark.parametrize("latency", [0.4, 0.8, 1.2, None])
def test_no_line_comes_later_than_promised(pipeline: Pipeline, latency: float | None) -> None:
    network = pipeline.model.network
    planned = plan(network.config, pipeline.decoding, latency)
    reader = Fake([1600] * 79)
    chunks = process_live(network.config, in_numpy(network), reader, planned, lambda: False)
    late = lateness(pipeline, reader, chunks)
    assert planned.latency / 3 < max(late) <= planned.latency <= (latency or 2.0)


def test_a_network_that_carries_its_state_keeps_its_promise_in_small_hops(
    pipeline: Pipeline,
) -> None:
    config, reader = pipeline.model.config.network, Fake([1600] * 79)
    assert isinstance(pipeline.segmenter, StreamingSegmenter)
    pipeline.segmenter.threads = (
        1  # another thread would read on, and the clock here is what is read
    )
    late = lateness(pipeline, reader, pipeline.segmenter.process(reader))
    promised = plan(config, pipeline.decoding, exact_hop=CARRIED_HOP).latency
    assert promised / 3 < max(late) <= promised


def lateness(pipeline: Pipeline, reader: Fake, chunks: Iterable[Chunk]) -> list[float]:
    """Return the seconds from the end of each segment that closes within the sound to its line."""
    found = pipeline.follow(cast(AudioReader, reader), chunks)
    late = [reader.num_samples / 16_000 - segment.offset for segment in found]
    assert len(late) > 3
    return late


def test_the_segments_of_a_stream_are_those_of_the_file(pipeline: Pipeline) -> None:
    network, reader, other = pipeline.model.network, Fake([1234] * 103), Fake([])
    exact = plan(network.config, pipeline.decoding)
    chunks = process_live(network.config, in_numpy(network), reader, exact, lambda: False)
    live_segments = list(pipeline.follow(cast(AudioReader, reader), chunks))
    whole = pipeline.follow(cast(AudioReader, other), Segmenter(network).process(other))
    assert [(s.onset, s.offset, s.label) for s in sorted(live_segments)] == [
        (s.onset, s.offset, s.label) for s in sorted(whole)
    ]
