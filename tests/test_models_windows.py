"""Windows: the mean over all that see a frame, however the frames arrive."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audioseg_xai.config import parse_config
from audioseg_xai.errors import ConfigError
from audioseg_xai.models.networks import Teacher, TeacherConfig
from audioseg_xai.models.windows import WindowStream, windowed

SMALL = {"tcn": {"channels": 4, "blocks": 1, "repeats": 1, "norm": "global"}, "window": 20}


def first_and_length(frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What every frame of a window gets: the first number in it, and how many there are."""
    return frames[:1].expand_as(frames), torch.full_like(frames, len(frames))


def test_hand_counted_windows() -> None:
    # Windows [0, 4), [2, 6), [4, 7): the last one is the first to reach the end.
    frames = torch.arange(7.0)
    first, length = windowed(first_and_length, frames, window=4, step=2)
    assert first.tolist() == [0, 0, 1, 1, 3, 3, 4]
    assert length.tolist() == [4, 4, 4, 4, 3.5, 3.5, 3]


def test_a_recording_that_ends_with_a_window_has_no_shorter_one() -> None:
    assert windowed(first_and_length, torch.arange(6.0), 4, 2)[1].tolist() == [4] * 6


def test_less_than_a_window_is_one_window() -> None:
    first, length = windowed(first_and_length, torch.arange(3.0), window=10, step=1)
    assert first.tolist() == [0, 0, 0] and length.tolist() == [3, 3, 3]


def test_nothing_gives_nothing() -> None:
    stream = WindowStream(first_and_length, 4, 2)
    assert list(stream.push(torch.zeros(0))) == [] and list(stream.finish()) == []


@given(st.data())
def test_each_frame_is_the_mean_over_the_windows_of_an_absolute_grid(data: st.DataObject) -> None:
    window = data.draw(st.integers(1, 12))
    step = data.draw(st.integers(1, window))
    total = data.draw(st.integers(1, 60))
    cuts = sorted(data.draw(st.lists(st.integers(0, total), max_size=6)))
    frames = torch.randn(total, 2, generator=torch.Generator().manual_seed(window))

    def function(seen: torch.Tensor) -> tuple[torch.Tensor]:
        return (seen - seen.mean(0) + len(seen),)

    sums, counts = torch.zeros(total, 2), torch.zeros(total, 1)
    for start in range(0, total, step):
        stop = min(start + window, total)
        sums[start:stop] += function(frames[start:stop])[0]
        counts[start:stop] += 1
        if stop == total:
            break
    stream = WindowStream(function, window, step)
    blocks = torch.tensor_split(frames, cuts)
    parts = [part for block in blocks for (part,) in stream.push(block)]
    parts += [part for (part,) in stream.finish()]
    assert torch.allclose(torch.cat(parts), sums / counts, atol=1e-4)


def test_frames_are_given_as_soon_as_no_window_can_change_them() -> None:
    stream = WindowStream(first_and_length, window=4, step=2)
    assert [len(first) for first, _ in stream.push(torch.arange(5.0))] == [2]
    assert [len(first) for first, _ in stream.push(torch.arange(1.0))] == [2]
    assert [len(first) for first, _ in stream.finish()] == [2]


def test_normalisation_over_the_window_needs_its_length() -> None:
    for settings in (
        {"tcn": {"norm": "global"}},
        {"front_end": {"kind": "features", "dimension": 3, "norm": "window"}},
    ):
        with pytest.raises(ConfigError, match="needs 'window', its length in frames"):
            parse_config(settings, TeacherConfig, "test")
        config = parse_config(settings | {"window": 55}, TeacherConfig, "test")
        assert config.needs_window and config.window_step == 5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 50}, "for a normalisation over the window only"),
        ({"step": 5}, "for a normalisation over the window only"),
        (SMALL | {"step": 21}, "'step' is longer than 'window'"),
    ],
)
def test_windows_that_make_no_sense_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(settings, TeacherConfig, "test")


def test_a_network_with_windows_sees_no_further_than_they_reach() -> None:
    config = parse_config(SMALL | {"step": 3}, TeacherConfig, "test")
    torch.manual_seed(0)
    network = Teacher(config).eval()
    inputs = torch.rand(120, 257) * 10
    changed = inputs.clone()
    changed[60] += 5
    before, after = (
        windowed(lambda seen: (network(seen[None])[0],), x, config.window, config.window_step)[0]
        for x in (inputs, changed)
    )
    moved = (before != after).any(1).nonzero().squeeze(1)
    reach = config.receptive_field - config.level.context
    assert reach == 19
    assert 60 - reach <= moved.min() < 60 < moved.max() <= 60 + reach
    assert len(moved) > 20  # all that shares a window with it
