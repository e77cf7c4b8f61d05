"""Figures and tables of explanations: what is drawn is what was found."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audioseg_xai.annotation import Segment
from audioseg_xai.closed_segments import Outline
from audioseg_xai.errors import UsageError
from audioseg_xai.explain import Explanation, Prototypes, Readout, class_spectra
from audioseg_xai.labels import CLASSES
from audioseg_xai.report.figure import draw_prototypes, draw_recording, save_figure
from audioseg_xai.report.overview import Overview
from audioseg_xai.report.summary import format_band, summarise

FREQUENCIES = np.linspace(0, 8000, 65)
RNG = np.random.default_rng(0)
READOUT = Readout(CLASSES, RNG.random((65, 3)), RNG.random((4, 3)), np.zeros(4), FREQUENCIES)
SEGMENTS = (
    Segment(0.0, 1.0, "speech", 0.9),
    Segment(1.0, 4.0, "speech", 0.7),
    Segment(2.0, 3.0, "music", 0.6),
)
SPECTRA = np.zeros((3, 65))
SPECTRA[:2, 8] = 2.0  # 1 kHz
SPECTRA[2, 16:18] = 1.0
EXPLANATION = Explanation("news", 4.0, 200, 0.1, SEGMENTS, np.zeros((3, 3)), SPECTRA, np.zeros(3))


def filled(frames: int = 200, columns: int = 2000) -> Overview:
    overview = Overview(columns)
    overview.push(RNG.random((frames, 65)) * 10, RNG.random((frames, 4)))
    return overview


@pytest.mark.parametrize(
    ("suffix", "start"),
    [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")],
)
def test_a_figure_is_written_by_suffix(tmp_path: Path, suffix: str, start: bytes) -> None:
    figure = draw_recording(EXPLANATION, READOUT, filled())
    save_figure(figure, tmp_path / f"x{suffix}")
    assert (tmp_path / f"x{suffix}").read_bytes().startswith(start)
    assert len(list(tmp_path.iterdir())) == 1


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    figure = draw_recording(EXPLANATION, READOUT, filled())
    with pytest.raises(UsageError, match=r"must end in \.png, \.pdf, \.svg"):
        save_figure(figure, tmp_path / "x.txt")


def test_a_figure_shows_segments_and_spectra_in_hertz() -> None:
    figure = draw_recording(EXPLANATION, READOUT, filled())
    top, lanes, *panels, _ = sorted(figure.axes, key=lambda axes: axes.get_label() == "<colorbar>")
    assert top.get_ylabel() == "frequency (kHz)"
    assert lanes.get_xlim() == (0, 4)
    speech = lanes.collections[0].get_paths()
    spans = [tuple(path.get_extents().intervalx) for path in speech]
    assert spans == [(0, 1), (1, 4)]
    assert [panel.get_title(loc="left") for panel in panels] == [
        "speech, 2 segments, 4.0 s",
        "music, 1 segment, 1.0 s",
        "noise: not found",
        "overlap: not found",
    ]
    assert {panel.get_xlabel() for panel in panels} == {"frequency (Hz)"}
    frequencies, spectrum = panels[0].lines[0].get_data()
    assert frequencies[np.argmax(spectrum)] == 1000


def test_only_decided_classes_have_lanes() -> None:
    figure = draw_recording(EXPLANATION, READOUT, filled(), ["music", "speech"])
    (lanes,) = (axes for axes in figure.axes if axes.get_xlabel().startswith("time"))
    assert [label.get_text() for label in lanes.get_yticklabels()] == ["speech", "music"]


def test_drawing_leaves_the_global_state_of_matplotlib_alone() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    draw_recording(EXPLANATION, READOUT, filled())
    assert dict(matplotlib.rcParams) == before
    assert "pyplot" not in vars(sys.modules["audioseg_xai.report.figure"])


@pytest.mark.parametrize("frames", [1, 7, 5000])
def test_silence_and_recordings_of_any_length_can_be_drawn(tmp_path: Path, frames: int) -> None:
    overview = Overview()
    overview.push(np.zeros((frames, 65)), np.zeros((frames, 4)))
    nothing = np.zeros((0, 65))
    empty = Explanation("a", frames / 50 + 0.005, frames, 0.1, (), nothing, nothing, np.zeros(0))
    save_figure(draw_recording(empty, READOUT, overview), tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 1000


def test_prototypes_can_be_drawn() -> None:
    made = Prototypes(RNG.random((4, 3)), RNG.random((4, 65)), np.array([5, 1, 0, 2]))
    titles = [axes.get_title(loc="left") for axes in draw_prototypes(made, READOUT).axes]
    counts = ("5 segments", "1 segment", "0 segments", "2 segments")
    assert titles == [f"{name}, {count}" for name, count in zip(CLASSES, counts, strict=True)]


# --- overview -----------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(1, 400), st.lists(st.integers(1, 90), max_size=12))
def test_an_overview_is_bounded_and_its_columns_are_means(total: int, sizes: list[int]) -> None:
    frames = np.random.default_rng(total).random((total, 3)).astype(np.float32)
    overview = Overview(8)
    for part in np.split(frames, np.cumsum(sizes)[np.cumsum(sizes) < total]):
        overview.push(part[:, :2], part[:, 2:])
    pool = overview.frames_per_column
    assert len(overview.spectrogram) <= 9
    assert pool == 1 or total // (pool // 2) > 8  # no coarser than needed
    means = np.array([frames[i : i + pool].mean(axis=0) for i in range(0, total, pool)])
    np.testing.assert_allclose(overview.spectrogram, means[:, :2], rtol=1e-4)
    np.testing.assert_allclose(overview.probabilities, means[:, 2:], rtol=1e-4)


# --- table --------------------------------------------------------------------------------------


def test_a_summary_counted_by_hand() -> None:
    speech, music, noise = summarise(
        Outline("news", 4.0, 200, 0.1),
        EXPLANATION.segments,
        class_spectra(EXPLANATION),
        READOUT.frequencies,
        ("speech", "music", "noise"),
    )
    assert (speech.seconds, speech.share, speech.segments) == (4.0, 1.0, 2)
    assert speech.confidence == pytest.approx((0.9 + 3 * 0.7) / 4)
    assert speech.band == (937.5, 1062.5)
    assert (music.seconds, music.share, music.band) == (1.0, 0.25, (1937.5, 2062.5))
    assert (noise.seconds, noise.segments, noise.confidence, noise.band) == (0.0, 0, None, None)


def test_bands_are_said_in_hertz() -> None:
    assert format_band((118.0, 482.0)) == "120-480 Hz"
    assert format_band((0.0, 15.6)) == "0-16 Hz"
    assert format_band((906.0, 2500.0)) == "0.91-2.50 kHz"
    assert format_band(None) == "-"


def test_on_the_mel_scale_an_octave_is_wider_in_the_treble(tmp_path: Path) -> None:
    # mel(f) = 2595 log10(1 + f / 700): 1 kHz lies at 1000 of 2840 up to 8 kHz.
    figure = draw_recording(EXPLANATION, READOUT, filled(), scale="mel")
    spectrogram, spectra = figure.axes[0], figure.axes[-1]
    top = READOUT.frequencies[-1]
    share = np.log10(1 + 1000 / 700) / np.log10(1 + top / 700)
    for axes, point in ((spectrogram, (0, 1)), (spectra, (1000, 0))):
        place = axes.transLimits.transform(axes.transScale.transform(point))
        assert max(place) == pytest.approx(share)
    save_figure(figure, tmp_path / "x.png")
