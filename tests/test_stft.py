"""The complex spectrum on the frame clock, and back to the sound it came from."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audioseg_xai.features import SpectrogramConfig, inverse_stft, log_spectrogram, stft
from audioseg_xai.frames import num_frames

SIZES = st.sampled_from([400, 512, 1024])


def noise(num_samples: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(num_samples, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=60, deadline=None)
@given(num_samples=st.integers(1, 3000), fft_size=SIZES, seed=st.integers(0, 99))
def test_back_and_forth_changes_no_sample_up_to_the_edges(
    num_samples: int, fft_size: int, seed: int
) -> None:
    config, samples = SpectrogramConfig(fft_size=fft_size), noise(num_samples, seed)
    spectrum = stft(samples, config)
    assert spectrum.shape == (num_frames(num_samples) + 3, config.num_bins)
    torch.testing.assert_close(
        inverse_stft(spectrum, num_samples, config), samples, atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("fft_size", [400, 512, 1024])
def test_its_rows_are_the_frames_of_the_spectrogram(fft_size: int) -> None:
    config, samples = SpectrogramConfig(fft_size=fft_size), 0.1 * noise(5000)
    power = (stft(samples, config)[1:-2] * 32_768).abs().square()
    torch.testing.assert_close(
        power.log1p(), log_spectrogram(samples, config), atol=2e-3, rtol=1e-4
    )


def test_half_of_the_spectrum_is_half_of_the_sound() -> None:
    config, samples = SpectrogramConfig(), noise(4000)
    found = inverse_stft(0.5 * stft(samples, config), 4000, config)
    torch.testing.assert_close(found, 0.5 * samples, atol=1e-5, rtol=0)


def test_a_high_and_a_low_tone_come_apart_at_a_bin_between_them() -> None:
    config = SpectrogramConfig()
    time = torch.arange(16_000) / 16_000
    low, high = torch.sin(2 * math.pi * 500 * time), torch.sin(2 * math.pi * 4000 * time)
    mask = torch.from_numpy(config.frequencies() < 2000).float()
    found = inverse_stft(stft(low + high, config) * mask, 16_000, config)
    inside = slice(1000, -1000)  # tones that begin and end at once are not of one frequency there
    torch.testing.assert_close(found[inside], low[inside], atol=2e-3, rtol=0)


@pytest.mark.parametrize("fft_size", [400, 512, 1024])
def test_no_sample_lies_under_the_foot_of_a_window(fft_size: int) -> None:
    # An error of size 1 in every frame must not grow at the ends of the recording.
    config = SpectrogramConfig(fft_size=fft_size)
    spectrum = torch.fft.rfft(torch.ones(num_frames(2031) + 3, fft_size))
    found = inverse_stft(spectrum, 2031, config)
    middle = found[600:1400].max()
    assert found[:400].max() <= middle * 1.001 and found[-400:].max() <= middle * 1.001
