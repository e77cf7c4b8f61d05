"""Any recording comes out as 16 kHz mono, and what cannot is refused in one clear line."""

from __future__ import annotations

import io
import os
import struct
import threading
import tracemalloc

import numpy as np
import pytest
import soundfile
from audio_dummies import FakePipe, encode, strength
from hypothesis import given, settings
from hypothesis import strategies as st

from audioseg_xai.audio import (
    AudioReader,
    read_audio,
    write_audio,
    write_wav,
)
from audioseg_xai.errors import AudioError

# --- right input ---------------------------------------------------------------------------------


def test_16_khz_mono_passes_bit_for_bit(tmp_path, rng):
    values = rng.integers(-32_768, 32_768, 50_000, dtype=np.int16)
    soundfile.write(tmp_path / "a.wav", values, 16_000)
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav") * 32_768, values)


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff", "au", "w64"])
def test_lossless_formats_agree_from_file_and_pipe(tmp_path, tone, suffix):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, tone(1.3, rate=16_000), 16_000, subtype="PCM_16")
    from_pipe = read_audio(FakePipe(path.read_bytes()))
    np.testing.assert_array_equal(read_audio(path), from_pipe)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"])
def test_every_sample_format_is_scaled_alike(tmp_path, tone, subtype):
    samples = tone(0.5)
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype=subtype)
    steps = {"PCM_U8": 1 / 127, "ULAW": 0.02}.get(subtype, 1e-6)
    for source in (tmp_path / "a.wav", FakePipe((tmp_path / "a.wav").read_bytes())):
        np.testing.assert_allclose(read_audio(source), samples, atol=steps)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000])
def test_every_rate_keeps_length_pitch_and_level(tmp_path, tone, rate):
    soundfile.write(tmp_path / "a.wav", tone(1.01, 1000, rate), rate)
    samples = read_audio(tmp_path / "a.wav")
    assert len(samples) == 16_160
    assert samples.dtype == np.float32
    assert strength(samples, 1000) == pytest.approx(0.3, rel=1e-3)


def test_what_16_khz_cannot_hold_is_filtered_out(tmp_path, tone):
    soundfile.write(tmp_path / "a.wav", tone(1, 15_000, 44_100), 44_100)
    # 15 kHz would alias to 1 kHz.
    assert strength(read_audio(tmp_path / "a.wav"), 1000) < 1e-4


@given(num=st.integers(1, 30_000), rate=st.sampled_from([8000, 11_025, 44_100, 48_000, 7999]))
@settings(max_examples=40, deadline=None)
def test_number_of_samples_is_rounded_half_up(num, rate):
    file = io.BytesIO()
    soundfile.write(file, np.zeros(num), rate, format="WAV")
    file.seek(0)
    expected = (2 * num * 16_000 + rate) // (2 * rate)
    with AudioReader(file, block=4096) as reader:
        assert sum(len(block) for block in reader) == expected == reader.num_samples


@given(block=st.integers(1, 40_000), rate=st.sampled_from([16_000, 44_100, 8000]))
@settings(max_examples=25, deadline=None)
def test_samples_do_not_depend_on_the_block(block, rate):
    samples = np.random.default_rng(3).uniform(-0.5, 0.5, 2 * rate + 77)
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV")
    file.seek(0)
    with AudioReader(file, block=max(block, 50)) as reader:
        blocks = list(reader)
    assert {len(b) for b in blocks[:-1]} <= {max(block, 50)}
    file.seek(0)
    np.testing.assert_array_equal(np.concatenate(blocks), read_audio(file))


@pytest.mark.parametrize("channels", [2, 6, 24])
def test_channels_are_averaged(tmp_path, rng, channels):
    samples = rng.uniform(-1, 1, (4000, channels))
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    for source in (tmp_path / "a.wav", FakePipe((tmp_path / "a.wav").read_bytes())):
        with AudioReader(source) as reader:
            assert reader.channels == channels
            np.testing.assert_allclose(next(iter(reader)), samples.mean(axis=1), atol=1e-6)


def test_ten_samples_and_silence_are_recordings(tmp_path):
    soundfile.write(tmp_path / "short.wav", np.full(10, 0.5), 16_000)
    np.testing.assert_array_equal(read_audio(tmp_path / "short.wav"), np.full(10, 0.5))
    soundfile.write(tmp_path / "silent.flac", np.zeros(1600), 16_000)
    np.testing.assert_array_equal(read_audio(tmp_path / "silent.flac"), np.zeros(1600))


LOSSY = [
    ("a.m4a", "aac", {}),
    ("a.mp4", "aac", {"video": True}),
    ("a.mkv", "aac", {"video": True}),
    ("a.webm", "libopus", {}),
    ("a.opus", "libopus", {}),
    ("a.mp3", "libmp3lame", {}),
]


@pytest.mark.parametrize(("name", "codec", "options"), LOSSY)
def test_compressed_recordings_and_films(tmp_path, tone, name, codec, options):
    path = encode(tmp_path / name, tone(3, 1000, 48_000), 48_000, codec, **options)
    samples = read_audio(path)
    # Codecs may add a frame in front and fill up the last one.
    assert 48_000 <= len(samples) + 1024 <= 51_000
    assert strength(samples, 1000) == pytest.approx(0.3, rel=0.06)  # LAME writes 95 %


def test_ogg_vorbis_from_file_and_pipe(tmp_path, tone):
    soundfile.write(tmp_path / "a.ogg", tone(2, 1000, 22_050), 22_050)
    from_file = read_audio(tmp_path / "a.ogg")
    from_pipe = read_audio(FakePipe((tmp_path / "a.ogg").read_bytes()))
    assert len(from_file) == 32_000
    assert strength(from_file, 1000) == pytest.approx(0.3, rel=0.05)
    # FFmpeg learns from the end of a file what the encoder filled in; a pipe does not tell.
    assert 0 <= len(from_pipe) - 32_000 < 1500
    np.testing.assert_allclose(from_pipe[:31_000], from_file[:31_000], atol=1e-3)


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "aac"), ("a.mp3", "libmp3lame")])
def test_compressed_pipe_yields_what_the_file_yields(tmp_path, tone, name, codec):
    path = encode(tmp_path / name, tone(2, 500, 44_100), 44_100, codec)
    from_file, from_pipe = read_audio(path), read_audio(FakePipe(path.read_bytes()))
    np.testing.assert_array_equal(from_file[:31_000], from_pipe[:31_000])


def test_attributes_tell_about_the_recording(tmp_path, tone):
    soundfile.write(tmp_path / "evening news.flac", tone(2, rate=8000), 8000)
    with AudioReader(tmp_path / "evening news.flac") as reader:
        assert (reader.uri_name, reader.native_rate, reader.channels) == ("evening_news", 8000, 1)
        assert (reader.duration, reader.format) == (2.0, "FLAC PCM_16")


# --- pipes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 0x7FFF_FFFF, 0xFFFF_FFFF])
def test_wav_of_open_length(tmp_path, tone, length):
    soundfile.write(tmp_path / "a.wav", tone(1), 16_000)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    expected = read_audio(io.BytesIO(bytes(content)))
    content[4:8] = content[40:44] = struct.pack("<I", length)
    (tmp_path / "a.wav").write_bytes(content)
    for source in (tmp_path / "a.wav", FakePipe(bytes(content))):
        np.testing.assert_array_equal(read_audio(source), expected)


def test_standard_input_and_named_pipes(tmp_path, tone, monkeypatch):
    soundfile.write(tmp_path / "a.flac", tone(1), 16_000)
    content = (tmp_path / "a.flac").read_bytes()
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "wb") as out:
        threading.Thread(target=lambda: (out.write(content), out.close())).start()
        with os.fdopen(read_end, "rb") as stdin:
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(stdin))
            with AudioReader("-") as reader:
                samples = np.concatenate(list(reader))
            assert reader.uri_name == "stdin"
            assert not stdin.closed
    np.testing.assert_array_equal(samples, read_audio(tmp_path / "a.flac"))


def test_memory_stays_constant_for_a_long_pipe():
    second = np.zeros(16_000, "<i2").tobytes()
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 0xFFFFFFFF, b"WAVE", b"fmt ", 16, 1, 1, 16_000, 32_000, 2,
        16, b"data", 0xFFFFFFFF,
    )  # fmt: skip

    class Endless(io.RawIOBase):
        parts = iter([header, *[second] * 1200])

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            return next(self.parts, b"") if size >= 32_000 else next(self.parts)

    tracemalloc.start()
    with AudioReader(io.BufferedReader(Raw(Endless()))) as reader:
        assert sum(len(block) for block in reader) == 1200 * 16_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # 20 minutes are 77 MB as float32.
    assert peak < 12e6


class Raw(io.RawIOBase):
    """Bytes from an iterator-like reader, for io.BufferedReader."""

    def __init__(self, source) -> None:
        self._source = source
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        self._rest = self._rest or self._source.read(1 << 20)
        part, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)


# --- writing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_what_is_written_is_read_again(tmp_path, rng, suffix):
    samples = rng.integers(-32_768, 32_768, 5000).astype(np.float32) / 32_768
    write_audio(tmp_path / "new" / f"a.{suffix}", samples)
    np.testing.assert_array_equal(read_audio(tmp_path / "new" / f"a.{suffix}"), samples)


def test_blocks_channels_and_clipping(tmp_path):
    write_wav(tmp_path / "a.wav", iter([np.full((5, 2), 1.5), np.full((3, 2), -1.5)]), 8000)
    values, rate = soundfile.read(tmp_path / "a.wav", dtype="int16")
    assert rate == 8000
    np.testing.assert_array_equal(values[:, 1], [32_767] * 5 + [-32_768] * 3)


def test_a_failed_writing_leaves_the_old_file(tmp_path):
    write_wav(tmp_path / "a.wav", np.zeros(7))
    with pytest.raises(AudioError, match="NaN"):
        write_wav(tmp_path / "a.wav", iter([np.zeros(9), np.full(9, np.nan)]))
    assert len(read_audio(tmp_path / "a.wav")) == 7
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(AudioError, match=r"suffixes \.wav \.flac"):
        write_audio(tmp_path / "a.mp3", np.zeros(9))
    with pytest.raises(AudioError, match="not one block"):
        write_audio(tmp_path / "a.wav", iter([]))
    with pytest.raises(AudioError, match="not named"):
        write_wav(tmp_path / "a.flac", np.zeros(9))
    with pytest.raises(AudioError, match="cannot be written"):
        write_audio(tmp_path / "a.flac", np.zeros((9, 24)))
