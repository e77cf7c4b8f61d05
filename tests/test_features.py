"""Spectrograms: the frame clock, where a tone lands, and blocks that change nothing."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audioseg_xai.config import parse_config
from audioseg_xai.errors import ConfigError
from audioseg_xai.features import SpectrogramConfig, SpectrogramStream, log_spectrogram
from audioseg_xai.frames import num_frames

DEFAULT = SpectrogramConfig()


def sine(frequency: float, seconds: float, amplitude: float = 0.5) -> torch.Tensor:
    time = torch.arange(int(16000 * seconds)) / 16000
    return amplitude * torch.sin(2 * math.pi * frequency * time)


@pytest.mark.parametrize("fft_size", [400, 512, 1024])
@pytest.mark.parametrize("samples", [0, 399, 400, 719, 720, 16000])
def test_a_longer_window_leaves_the_number_of_frames(fft_size: int, samples: int) -> None:
    config = SpectrogramConfig(fft_size=fft_size)
    spectrogram = log_spectrogram(torch.zeros(samples), config)
    assert spectrogram.shape == (num_frames(samples), fft_size // 2 + 1)


def test_a_tone_has_the_height_that_the_formula_gives() -> None:
    # A sine of amplitude a on bin k has |STFT| = a * 32768 * sum(window) / 2 there.
    spectrogram = log_spectrogram(sine(1000.0, 1.0, amplitude=0.25), DEFAULT)
    window_sum = torch.hann_window(512).sum().item()
    expected = math.log1p((0.25 * 32768 * window_sum / 2) ** 2)
    assert DEFAULT.frequencies()[32] == 1000.0
    assert spectrogram[25].argmax() == 32
    assert spectrogram[25, 32].item() == pytest.approx(expected, abs=1e-3)


def test_silence_is_zero() -> None:
    assert log_spectrogram(torch.zeros(4000), DEFAULT).count_nonzero() == 0


def test_a_click_is_seen_by_the_frames_around_it_only() -> None:
    samples = torch.zeros(16000)
    samples[8000] = 1.0
    seen = log_spectrogram(samples, DEFAULT).sum(dim=1).nonzero().squeeze(1)
    # Frame t sees samples 320 t - 56 ... 320 t + 456: 8000 lies in frames 24 and 25.
    assert seen.tolist() == [24, 25]


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 5000), max_size=8), fft_size=st.sampled_from([400, 512, 1024]))
def test_blocks_of_any_size_give_the_same_frames(cuts: list[int], fft_size: int) -> None:
    config = SpectrogramConfig(fft_size=fft_size)
    samples = torch.from_numpy(np.random.default_rng(0).standard_normal(5000).astype(np.float32))
    edges = [0, *sorted(cuts), 5000]
    stream = SpectrogramStream(config)
    parts = [stream.push(samples[a:b]) for a, b in itertools.pairwise(edges)]
    joined = torch.cat([*parts, stream.finish()])
    assert torch.equal(joined, log_spectrogram(samples, config))


def test_a_window_shorter_than_a_frame_is_refused() -> None:
    with pytest.raises(ConfigError, match="fft_size"):
        parse_config({"fft_size": 256}, SpectrogramConfig, "test")
