"""Windows of a fixed grid: what features depend on, and what they do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from upstream_dummies import LARGE, LOCAL, load, noise, write

from audioseg_xai.frames import HOP, WINDOW, num_frames
from audioseg_xai.upstream import FeatureStream, Upstream
from audioseg_xai.upstream.stream import Window, window

SOUND = torch.from_numpy(noise(3.015))  # 48240 samples: 150 frames and 160 samples
CHUNK, MARGIN = 30, 16


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Upstream:
    return load(write(tmp_path_factory.mktemp("upstream") / "large.pt", LARGE))


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("upstream") / "local.pt", LOCAL)


def streamed(
    upstream: Upstream, samples: torch.Tensor, cuts: list[int] | None = None, batch: int = 1
) -> torch.Tensor:
    stream = FeatureStream(upstream, batch)
    blocks = torch.tensor_split(samples, sorted(cuts or []))
    parts = [part for block in blocks for part in stream.push(block)]
    return torch.cat([*parts, *stream.finish()])


def test_less_than_a_frame_gives_nothing(upstream: Upstream) -> None:
    stream = FeatureStream(upstream)
    assert [*stream.push(SOUND[:399]), *stream.finish()] == []


def test_the_grid_by_hand() -> None:
    # 250 frames, of which each window gives 100 and sees 10 more on each side.
    assert [window(number, 100, 10, 250) for number in range(3)] == [
        Window(first=0, last=100, start=0, stop=110),
        Window(first=100, last=200, start=90, stop=210),
        Window(first=200, last=250, start=190, stop=250),
    ]


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 400), st.integers(1, 60), st.integers(0, 60))
def test_windows_give_every_frame_once_and_see_it(frames: int, chunk: int, margin: int) -> None:
    found = [window(number, chunk, margin, frames) for number in range(-(-frames // chunk))]
    assert [t for w in found for t in range(w.first, w.last)] == list(range(frames))
    for w in found:
        assert w.start == max(0, w.first - margin)
        assert w.stop == min(frames, w.first + chunk + margin)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, len(SOUND)), max_size=12), st.integers(WINDOW, len(SOUND)))
def test_blocks_make_no_difference(upstream: Upstream, cuts: list[int], length: int) -> None:
    samples = SOUND[:length]
    whole = streamed(upstream, samples)
    assert whole.shape == (num_frames(length), 4, 32)
    assert torch.equal(whole, streamed(upstream, samples, [min(cut, length) for cut in cuts]))


def test_each_window_is_computed_on_its_own_samples(upstream: Upstream) -> None:
    found = streamed(upstream, SOUND)
    for number in range(5):
        w = window(number, CHUNK, MARGIN, 150)
        end = None if w.stop == 150 else (w.stop - 1) * HOP + WINDOW
        alone = upstream.hidden_states(SOUND[None, w.start * HOP : end])[0]
        assert torch.equal(found[w.first : w.last], alone[w.first - w.start : w.last - w.start])


def test_a_recording_of_one_window_is_computed_as_a_whole(upstream: Upstream) -> None:
    # 30 frames and the 160 samples behind them: a window reaches further than that.
    short = SOUND[: 29 * HOP + WINDOW + 160]
    assert torch.equal(streamed(upstream, short), upstream.hidden_states(short[None])[0])


def test_what_lies_outside_a_window_changes_nothing_in_it(upstream: Upstream) -> None:
    # Window 2 gives frames 60 to 89 and sees 44 to 105: samples 14080 to 33999.
    other = SOUND.clone()
    other[:14_080] = 0.0
    other[34_000:] = 0.3
    before, after = streamed(upstream, SOUND), streamed(upstream, other)
    assert torch.equal(before[60:90], after[60:90])
    assert not torch.equal(before[:60], after[:60])
    assert not torch.equal(before[90:], after[90:])


def test_inside_the_margin_a_local_model_is_that_of_the_whole_recording(local: Path) -> None:
    # What enters the first layer sees 16 frames on each side: the positional convolution.
    whole = load(local, layers=0).hidden_states(SOUND[None])[0]
    enough = streamed(load(local, layers=0, margin=16 * 0.02), SOUND)
    short = streamed(load(local, layers=0, margin=14 * 0.02), SOUND)
    torch.testing.assert_close(enough, whole, atol=1e-5, rtol=0)
    wrong = (short - whole).abs().amax(dim=(1, 2)) > 1e-3
    assert set(torch.nonzero(wrong)[:, 0].tolist()) <= {
        frame for edge in (30, 60, 90, 120) for frame in range(edge - 2, edge + 2)
    }
    assert wrong.any()


def test_windows_of_a_batch_give_what_they_give_alone(upstream: Upstream) -> None:
    alone, batched = streamed(upstream, SOUND), streamed(upstream, SOUND, batch=3)
    torch.testing.assert_close(batched, alone, atol=1e-5, rtol=0)


def test_the_upstream_sees_no_more_than_a_window_at_once(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    compute = upstream.hidden_states
    monkeypatch.setattr(
        upstream, "hidden_states", lambda s: (seen.append(s.shape[1]), compute(s))[1]
    )
    long = torch.from_numpy(np.tile(SOUND.numpy(), 4))
    assert len(streamed(upstream, long, list(range(0, len(long), 1000)))) == num_frames(len(long))
    assert max(seen) <= (CHUNK + 2 * MARGIN - 1) * HOP + WINDOW + HOP - 1
