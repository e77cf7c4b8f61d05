"""What goes into a page: packed arrays, evidence, waveform, pictures, sound."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image
from report_dummies import SEGMENTS, TAU, readout, write_archive

from audioseg_xai.audio import read_audio, write_wav
from audioseg_xai.errors import AudioError
from audioseg_xai.explain import select
from audioseg_xai.explanation_archive import ExplanationArchive
from audioseg_xai.report.evidence import segments_json
from audioseg_xai.report.hearing import Waveform, hear, opus, reconstruct
from audioseg_xai.report.overview import Overview
from audioseg_xai.report.packing import encode_lines, pack
from audioseg_xai.report.page import SCRIPTS, render_page
from audioseg_xai.report.picture import TILE, spectrogram_json


def unpack(packed: dict[str, Any]) -> np.ndarray:
    numbers = np.frombuffer(base64.b64decode(packed["data"]), np.dtype(packed["kind"]))
    return numbers.reshape(-1, packed["columns"]) * np.array(packed["scales"])[:, None]


@given(
    arrays(np.float32, array_shapes(min_dims=2, max_dims=2), elements=st.floats(-9, 9, width=32))
)
def test_packed_numbers_come_back(values: np.ndarray) -> None:
    for kind, steps, given_values in (("int16", 65534, values), ("uint8", 510, np.abs(values))):
        largest = np.abs(given_values).max(axis=1, keepdims=True)
        error = np.abs(unpack(pack(given_values, kind)) - given_values)
        assert (error <= largest / steps * 1.01 + 1e-12).all()


def test_lines_of_base64_decode_one_by_one() -> None:
    content = bytes(range(256)) * 5
    lines = encode_lines(content, 300).split("\n")
    assert len(lines) == 5
    assert b"".join(map(base64.b64decode, lines)) == content


# --- evidence -----------------------------------------------------------------------------------


@pytest.fixture
def archive(tmp_path: Path) -> ExplanationArchive:
    return ExplanationArchive(write_archive(tmp_path / "x.h5"))


def test_the_map_of_a_segment_averages_to_its_spectrum(archive: ExplanationArchive) -> None:
    explanation = archive.explanation("rec")
    found, dictionary = segments_json(archive, explanation), readout().dictionary
    relevance, maps = unpack(found["relevance"]), base64.b64decode(found["maps"])
    position = 0
    for row, columns in enumerate(found["columns"]):
        components = found["selected"][found["first"][row] : found["first"][row + 1]]
        kept = select(explanation.relevance[row : row + 1], TAU)[0]
        assert sorted(components) == np.flatnonzero(kept).tolist()
        size = columns * len(components)
        parts = np.frombuffer(maps[position : position + size], np.uint8)
        shares = parts.reshape(-1, columns) / parts.reshape(-1, columns).mean(axis=1, keepdims=True)
        position += size
        picture = dictionary[:, components] @ (relevance[row, components][:, None] * shares)
        np.testing.assert_allclose(picture.mean(axis=1), explanation.spectra[row], atol=1e-3)
    assert position == len(maps)


def test_a_map_shows_when_a_component_was_active(archive: ExplanationArchive) -> None:
    explanation = archive.explanation("rec")
    found = segments_json(archive, explanation)
    columns, component = found["columns"][0], found["selected"][0]
    first = np.frombuffer(base64.b64decode(found["maps"]), np.uint8)[:columns]
    active = archive.activations("rec", slice(25, 100))[:, component].astype(float)  # 0.5 to 2 s
    assert columns == 64
    expected = [active[75 * n // 64 : 75 * (n + 1) // 64].mean() for n in range(64)]
    np.testing.assert_allclose(first / 255, np.array(expected) / max(expected), atol=3e-3)


# --- sound and pictures -------------------------------------------------------------------------


@given(st.lists(st.integers(0, 700), max_size=6))
def test_peaks_do_not_depend_on_blocks(cuts: list[int]) -> None:
    samples = np.random.default_rng(1).standard_normal(700).astype(np.float32)
    waveform = Waveform(len(samples))
    for block in np.split(samples, sorted(cuts)):
        waveform.push(block)
    expected = [np.abs(samples[start : start + 80]).max() for start in range(0, 700, 80)]
    assert waveform.peaks.tolist() == expected


def test_opus_plays_what_was_put_in(tone: Any) -> None:
    samples = tone(1.0, 440)
    heard = read_audio(io.BytesIO(opus(samples)))
    assert len(heard) == pytest.approx(16_000, abs=400)
    spectrum = np.abs(np.fft.rfft(heard[:16_000]))
    assert np.argmax(spectrum) == pytest.approx(440, abs=1)


def test_pictures_have_low_frequencies_at_the_bottom() -> None:
    overview = Overview(1 << 16)
    frames = np.zeros((TILE + 10, 50), np.float32)
    frames[:, 3] = 10.0
    overview.push(frames, np.zeros((len(frames), 1)))
    made = spectrogram_json(overview, "sound")
    assert (made["columns"], made["bins"], len(made["tiles"])) == (TILE + 10, 50, 2)
    content = base64.b64decode(made["tiles"][1].removeprefix("data:image/webp;base64,"))
    picture = np.asarray(Image.open(io.BytesIO(content)).convert("L"), int)
    assert picture.shape == (50, 10)
    assert (picture[46] > 200).all()
    assert picture[:30].max() < 40


def test_one_pass_gives_all_that_is_heard(
    archive: ExplanationArchive, tmp_path: Path, rng: np.random.Generator
) -> None:
    samples = 0.1 * rng.standard_normal(96_000)
    write_wav(tmp_path / "rec.wav", samples)
    explanation = archive.explanation("rec")
    heard = hear(str(tmp_path / "rec.wav"), archive, explanation, embed=True, sounds=1)
    assert unpack(heard.waveform["peaks"]).max() == pytest.approx(np.abs(samples).max(), abs=1e-3)
    assert heard.overview.spectrogram.shape == (explanation.num_frames, 257)
    assert heard.audio is not None
    assert len(read_audio(io.BytesIO(heard.audio))) == pytest.approx(96_000, abs=400)
    # Of each class the most confident: speech 0.5 to 2.0 s, music 1 to 5 s, noise 4 to 6 s.
    assert [sound["segment"] for sound in heard.sounds] == [0, 1, 3]
    for sound in heard.sounds:
        segment = SEGMENTS[sound["segment"]]
        parts = [read_audio(io.BytesIO(base64.b64decode(sound[n]))) for n in ("relevant", "rest")]
        fades = 0.1 + 0.1 * (segment.offset < 6)
        for part in parts:
            assert len(part) / 16_000 == pytest.approx(segment.duration + fades, abs=0.03)
            assert np.abs(part).max() > 0.01


def test_another_recording_is_refused(archive: ExplanationArchive, tmp_path: Path) -> None:
    for seconds in (5, 7):
        write_wav(tmp_path / "other.wav", np.zeros(seconds * 16_000))
        with pytest.raises(AudioError, match=rf"other\.wav: lasts {seconds}\.000 s, but rec in"):
            path = str(tmp_path / "other.wav")
            hear(path, archive, archive.explanation("rec"), embed=True, sounds=2)


def test_without_sound_the_picture_is_the_reconstruction(archive: ExplanationArchive) -> None:
    overview = reconstruct(archive, archive.explanation("rec"))
    expected = archive.activations("rec").astype(np.float32) @ readout().dictionary.T
    np.testing.assert_allclose(overview.spectrogram, expected, rtol=1e-6)


# --- the page -----------------------------------------------------------------------------------


def test_the_page_allows_its_own_scripts_alone() -> None:
    page = render_page({"uri": "</script><script>alert(1)</script>&"}, media="none")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src &#39;none&#39;; script-src &#39;sha256-")
    assert policy[1].count("sha256-") == len(SCRIPTS)
    assert page.count("<script>") == len(SCRIPTS)
    assert "alert(1)</script>" not in page
    assert "http-equiv" in page
    assert "Copyright (c) 2012-2023, katspaugh" in page
