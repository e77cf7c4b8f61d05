"""What cannot be read is refused in one clear line; of the rest a part is to be had if asked."""

from __future__ import annotations

import re

import av
import numpy as np
import pytest
import soundfile
from audio_dummies import (
    FakePipe,
    add_black_film,
    cut,
    decoded_part,
    encode,
    strength,
    with_later_end,
)

from audioseg_xai.audio import (
    AudioReader,
    TruncatedAudioError,
    read_audio,
)
from audioseg_xai.errors import AudioError

# --- bad input -----------------------------------------------------------------------------------


def one_line(source) -> str:
    with pytest.raises(AudioError) as caught:
        read_audio(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_missing_folder_and_empty(tmp_path):
    assert one_line(tmp_path / "no.wav") == f"{tmp_path}/no.wav: no such file: check the path"
    assert "is a folder" in one_line(tmp_path)
    (tmp_path / "empty.wav").touch()
    assert "empty.wav: is empty (0 bytes)" in one_line(tmp_path / "empty.wav")
    assert "stream: is empty (0 bytes)" in one_line(FakePipe(b""))


def test_forbidden_file(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("audioseg_xai.audio.source.open", refuse, raising=False)
    assert "cannot be opened (Permission denied): check" in one_line(tmp_path / "a.wav")


@pytest.mark.parametrize(
    "content",
    [b"this is a text\n" * 500, b"#EXTM3U\n#EXTINF:10,\na.wav\n", bytes(9000), b"x", b"\xff\xfb"],
)
def test_what_is_not_audio(tmp_path, content):
    (tmp_path / "x.wav").write_bytes(content)
    expected = (
        "x.wav: holds no audio that can be decoded (first bytes are not of a known format): "
        "convert it with ffmpeg, or check that it is a recording"
    )
    assert one_line(tmp_path / "x.wav") == f"{tmp_path}/{expected}"
    assert "stream: holds no audio" in one_line(FakePipe(content))


def test_film_without_sound(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        add_black_film(container)
    assert "a.mp4: holds no audio track" in one_line(tmp_path / "a.mp4")


def test_header_without_samples(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0), 16_000)
    expected = "a.wav: holds no samples, only a header: copy or export it again"
    assert expected in one_line(tmp_path / "a.wav")
    assert "stream: holds no samples" in one_line(FakePipe((tmp_path / "a.wav").read_bytes()))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers(tmp_path, bad):
    samples = np.zeros((8000, 2), np.float32)
    samples[6000:, 1] = bad
    soundfile.write(tmp_path / "a.wav", samples, 8000, subtype="FLOAT")
    expected = "a.wav: holds NaN or infinite samples, the first at 0.750 s: export it again"
    assert expected in one_line(tmp_path / "a.wav")


@pytest.mark.parametrize("bad", [1e20, -3e5])
def test_samples_that_no_recording_can_hold(tmp_path, tone, bad):
    samples = tone(1, rate=8000)
    samples[6000] = bad
    soundfile.write(tmp_path / "a.wav", samples, 8000, subtype="FLOAT")
    expected = (
        f"holds samples far beyond full scale, the first ({bad:.3g}) at 0.750 s: export it again, "
        "scaled to [-1, 1]"
    )
    assert expected in one_line(tmp_path / "a.wav")
    assert expected in one_line(FakePipe((tmp_path / "a.wav").read_bytes()))


def test_floats_beyond_full_scale_are_read_as_they_are(tmp_path):
    samples = np.array([32_767, -32_768, 2.5], np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav"), samples)


def test_reading_twice(tmp_path, tone):
    soundfile.write(tmp_path / "a.wav", tone(0.1), 16_000)
    with AudioReader(tmp_path / "a.wav") as reader:
        list(reader)
        with pytest.raises(AudioError, match="was read already"):
            list(reader)


# --- recordings of which a part can be decoded ---------------------------------------------------


@pytest.mark.parametrize("suffix", ["wav", "aiff", "au", "flac"])
def test_truncated_lossless_file_yields_its_part(tmp_path, rng, suffix):
    path = tmp_path / f"a.{suffix}"
    samples = rng.integers(-9000, 9000, 64_000, dtype=np.int16)
    soundfile.write(path, samples, 16_000)
    cut(path, 0.5)
    for source in (path, FakePipe(path.read_bytes())):
        part, error = decoded_part(source)
        assert isinstance(error, TruncatedAudioError)
        assert 27_000 < len(part) <= 32_000
        np.testing.assert_array_equal(part * 32_768, samples[: len(part)])
        assert f"ends after {len(part) / 16_000:.3f} s" in str(error)
        assert "promises 4.000 s" in str(error) or suffix == "aiff"


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp3", "libmp3lame", {}),
        ("a.m4a", "aac", {"movflags": "faststart"}),
        ("a.mkv", "aac", {"video": True}),
        ("a.opus", "libopus", {}),
    ],
)
def test_truncated_compressed_file_yields_its_part(tmp_path, rng, name, codec, options):
    noise = rng.uniform(-0.3, 0.3, 5 * 48_000).astype(np.float32)
    path = encode(tmp_path / name, noise, 48_000, codec, **options)
    part, error = decoded_part(cut(path, 0.6))
    assert isinstance(error, TruncatedAudioError)
    assert 1.5 * 16_000 < len(part) < 4 * 16_000
    assert f"after {len(part) / 16_000:.3f} s" in str(error)


@pytest.mark.parametrize("most", [1000, 1 << 20])
@pytest.mark.parametrize("subtype", ["OPUS", "VORBIS"])
def test_ogg_cut_within_a_page_is_noticed_in_a_pipe(tmp_path, rng, subtype, most):
    path = tmp_path / "a.ogg"
    soundfile.write(path, rng.uniform(-0.3, 0.3, 160_000), 16_000, subtype=subtype, format="OGG")
    assert len(read_audio(FakePipe(path.read_bytes(), most))) >= 10 * 16_000 - 200
    part, error = decoded_part(FakePipe(cut(path, 0.6).read_bytes(), most))
    assert isinstance(error, TruncatedAudioError)
    assert 4 * 16_000 < len(part) < 7 * 16_000
    assert f"breaks off after {len(part) / 16_000:.3f} s in the middle of a page" in str(error)


@pytest.mark.parametrize("subtype", ["OPUS", "VORBIS"])
def test_an_ogg_may_promise_a_little_more_than_it_holds(tmp_path, rng, subtype):
    path = tmp_path / "a.ogg"
    soundfile.write(path, rng.uniform(-0.3, 0.3, 160_000), 16_000, subtype=subtype, format="OGG")
    whole, clock = path.read_bytes(), 48_000 if subtype == "OPUS" else 16_000
    path.write_bytes(with_later_end(whole, clock // 10))
    with AudioReader(path) as reader:
        assert sum(map(len, reader)) == pytest.approx(160_000, abs=100)  # of the last packet
        assert reader.duration == pytest.approx(10.1, abs=0.001)
    path.write_bytes(with_later_end(whole, clock // 2))
    part, error = decoded_part(path)
    assert len(part) == pytest.approx(160_000, abs=100)
    assert "although its header promises 10.500 s" in str(error)


@pytest.mark.parametrize("rate", [44_100, 22_050, 8000])
@pytest.mark.parametrize("tag_bytes", [0, 20_000])
def test_mp3_that_ends_early_is_noticed_in_a_pipe(tmp_path, rng, rate, tag_bytes):
    noise = rng.uniform(-0.3, 0.3, 5 * rate).astype(np.float32)
    content = encode(tmp_path / "a.mp3", noise, rate, "libmp3lame", id3v2_version="0").read_bytes()
    if tag_bytes:  # seven bits a byte: 20000 = 1 << 14 | 28 << 7 | 32
        content = b"ID3\x04\0\0\0\x01\x1c\x20" + bytes(tag_bytes) + content
    assert len(read_audio(FakePipe(content))) == pytest.approx(5 * 16_000, abs=1600)
    kept = tag_bytes + (len(content) - tag_bytes) * 6 // 10
    part, error = decoded_part(FakePipe(content[:kept]))
    assert isinstance(error, TruncatedAudioError)
    assert len(part) == pytest.approx(3 * 16_000, abs=3200)
    promised = float(re.search(r"header promises (\d+\.\d+) s", str(error))[1])
    assert 5 <= promised < 5.2


def test_truncation_as_a_warning(tmp_path, tone, caplog):
    soundfile.write(tmp_path / "a.wav", tone(2), 16_000)
    cut(tmp_path / "a.wav", 0.5)
    samples = read_audio(tmp_path / "a.wav", on_truncated="warn")
    assert len(samples) == 15_989  # half of 44 + 64000 bytes, less the header
    assert "a.wav: ends after 0.999 s although its header promises 2.000 s" in caplog.text


def test_mp4_without_its_index(tmp_path, tone):
    path = encode(tmp_path / "a.m4a", tone(2, rate=48_000), 48_000, "aac")
    message = one_line(FakePipe(path.read_bytes()))
    assert "a pipe cannot reach" in message and "faststart" in message
    assert "without its index (moov)" in one_line(cut(path, 0.5))


def test_mp3_with_a_damaged_middle_goes_on_behind_it(tmp_path, rng, tone):
    path = encode(tmp_path / "a.mp3", tone(8, 1000, 44_100), 44_100, "libmp3lame")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = rng.bytes(3000)
    path.write_bytes(content)
    part, error = decoded_part(path)
    assert isinstance(error, TruncatedAudioError)
    damaged_at = float(re.search(r"is damaged at (\d+\.\d+) s", str(error))[1])
    assert damaged_at == pytest.approx(4, abs=0.1)
    assert len(part) > 7 * 16_000
    assert strength(part[-16_000:], 1000) == pytest.approx(0.3, rel=0.1)


def test_flac_with_a_damaged_middle_yields_what_is_before(tmp_path, rng):
    samples = rng.integers(-9000, 9000, 64_000, dtype=np.int16)
    soundfile.write(tmp_path / "a.flac", samples, 16_000)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 9000] = bytes(9000)
    (tmp_path / "a.flac").write_bytes(content)
    part, error = decoded_part(tmp_path / "a.flac")
    assert isinstance(error, TruncatedAudioError)
    np.testing.assert_array_equal(part[:24_000] * 32_768, samples[:24_000])
