"""What comes through a pipe: as soon as it is there, without an end, without a header."""

from __future__ import annotations

import io
import os
import signal
import struct
import threading
from collections.abc import Iterator
from typing import BinaryIO, cast

import numpy as np
import pytest
import soundfile
from dummies import sound
from numpy.typing import NDArray

from audioseg_xai.audio import AudioReader, TruncatedAudioError, read_audio
from audioseg_xai.audio.headers import wav_is_endless
from audioseg_xai.audio.raw import PcmFormat
from audioseg_xai.errors import AudioError, UsageError
from audioseg_xai.live import InterruptibleInput

SAMPLES = (sound(3.0) * 32_767).astype("<i2")
MONO = SAMPLES.astype(np.float32) / 32_768


def wav(data_bytes: int, content: bytes, behind: bytes = b"") -> bytes:
    layout = struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)
    head = b"RIFF" + struct.pack("<I", min(data_bytes + 36, 0xFFFF_FFFF)) + b"WAVEfmt " + layout
    return head + b"data" + struct.pack("<I", data_bytes) + content + behind


class Pipe:
    """The two ends of a pipe; what is written comes out of `source`."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        self.source = InterruptibleInput(self.read_end)

    @property
    def file(self) -> BinaryIO:
        return cast(BinaryIO, self.source)

    def close(self) -> None:
        os.close(self.write_end)

    def send(self, content: bytes) -> threading.Thread:
        def write() -> None:
            with open(self.write_end, "wb") as target:
                target.write(content)

        thread = threading.Thread(target=write)
        thread.start()
        return thread


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    ends = Pipe()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may ignore it
    with ends.source:
        yield ends
    signal.signal(signal.SIGINT, before)
    os.close(ends.read_end)


def read_live(pipe: Pipe, content: bytes, raw: PcmFormat | None = None) -> NDArray[np.float32]:
    thread = pipe.send(content)
    with AudioReader(pipe.file, block=1600, live=True, raw=raw) as reader:
        blocks = list(reader)
    thread.join()
    return np.concatenate(blocks)


# --- the input ----------------------------------------------------------------------------------


def test_it_hands_out_what_is_there_and_nothing_at_the_end(pipe: Pipe) -> None:
    os.write(pipe.write_end, b"abc")
    assert pipe.source.waiting()
    assert pipe.source.read(1000) == b"abc"
    assert not pipe.source.waiting()
    pipe.close()
    assert pipe.source.read(1000) == b""
    assert not pipe.source.stopped


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_while_it_waits(pipe: Pipe, number: signal.Signals) -> None:
    timer = threading.Timer(0.1, os.kill, (os.getpid(), number))
    timer.start()
    assert pipe.source.read(1000) == b""
    timer.join()
    assert pipe.source.stopped_by == number
    os.write(pipe.write_end, b"more")
    assert pipe.source.read(1000) == b""
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    pipe.close()


def test_the_second_signal_does_what_it_did_before(pipe: Pipe) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    assert pipe.source.read(1000) == b""
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    pipe.close()


def test_it_ends_when_nobody_reads_what_is_written() -> None:
    silent, sender = os.pipe()
    reader, watched = os.pipe()
    with InterruptibleInput(silent, watched) as source:
        os.close(reader)
        assert source.read(1000) == b""
        assert (source.unread, source.stopped, source.stopped_by) == (True, True, None)
    for descriptor in (silent, sender, watched):
        os.close(descriptor)


# --- formats ------------------------------------------------------------------------------------


@pytest.mark.parametrize("data_bytes", [0, 0x7FFF_FFFF, 0xFFFF_FFFF])
def test_a_wav_header_may_leave_the_length_open(pipe: Pipe, data_bytes: int) -> None:
    content = wav(data_bytes, SAMPLES.tobytes())
    assert wav_is_endless(content)
    np.testing.assert_array_equal(read_live(pipe, content), MONO)


def test_a_length_that_is_known_ends_the_sound(pipe: Pipe) -> None:
    content = wav(2 * len(SAMPLES), SAMPLES.tobytes(), b"LIST" + struct.pack("<I", 64) + b"x" * 64)
    assert not wav_is_endless(content)
    np.testing.assert_array_equal(read_live(pipe, content), MONO)


@pytest.mark.parametrize("head", [b"", b"RIFF", b"OggS" * 20, wav(0, b"")[:40]])
def test_what_has_no_data_chunk_is_not_endless(head: bytes) -> None:
    assert not wav_is_endless(head)


@pytest.mark.parametrize(
    ("container", "rate"), [("FLAC", 16_000), ("OGG", 16_000), ("MP3", 44_100)]
)
def test_what_is_read_live_is_what_is_read_from_a_pipe_at_once(
    pipe: Pipe, container: str, rate: int
) -> None:
    encoded = io.BytesIO()
    soundfile.write(encoded, sound(3.0), rate, format=container)
    content = encoded.getvalue()

    class Unseekable(io.BytesIO):
        def seekable(self) -> bool:
            return False

    whole = read_audio(Unseekable(content))
    np.testing.assert_allclose(read_live(pipe, content), whole, atol=1e-6)


def test_samples_come_out_while_the_stream_goes_on(pipe: Pipe) -> None:
    os.write(pipe.write_end, SAMPLES[:4000].tobytes())
    with AudioReader(pipe.file, block=1600, live=True, raw=PcmFormat()) as reader:
        blocks = iter(reader)
        np.testing.assert_array_equal(next(blocks), MONO[:1600])
        np.testing.assert_array_equal(next(blocks), MONO[1600:3200])
        os.write(pipe.write_end, SAMPLES[4000:4800].tobytes())
        np.testing.assert_array_equal(next(blocks), MONO[3200:4800])
        pipe.close()
        assert list(blocks) == []


def test_a_wav_stream_starts_after_a_few_seconds(pipe: Pipe) -> None:
    heard = threading.Event()
    content = wav(0xFFFF_FFFF, bytes(3 * 32_000))

    def send() -> None:
        with open(pipe.write_end, "wb") as target:
            target.write(content)
            target.flush()
            in_time.append(heard.wait(20))  # it must not wait for more, or for the end

    in_time: list[bool] = []
    thread = threading.Thread(target=send)
    thread.start()
    with AudioReader(pipe.file, block=1600, live=True) as reader:
        assert len(next(iter(reader))) == 1600
        heard.set()
        thread.join()
    assert in_time == [True]


# --- no header ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "stored"),
    [
        ("s16le", SAMPLES),
        ("s16be", SAMPLES.astype(">i2")),
        ("s32le", SAMPLES.astype("<i4") * 65_536),
        ("f32le", MONO.astype("<f4")),
    ],
)
def test_raw_samples(pipe: Pipe, encoding: str, stored: NDArray[np.generic]) -> None:
    found = read_live(pipe, stored.tobytes(), PcmFormat.parse(encoding))
    np.testing.assert_array_equal(found, MONO)


def test_raw_bytes_of_eight_bits_are_centred_on_128(pipe: Pipe) -> None:
    found = read_live(pipe, bytes([0, 128, 192] * 400), PcmFormat.parse("u8"))
    np.testing.assert_array_equal(found[:3], [-1, 0, 0.5])


def test_raw_channels_are_averaged(pipe: Pipe) -> None:
    stereo = np.stack([SAMPLES, np.zeros_like(SAMPLES)], axis=1)
    found = read_live(pipe, stereo.tobytes(), PcmFormat.parse("s16le:16000:2"))
    np.testing.assert_array_equal(found, MONO / 2)


def test_raw_samples_are_resampled(pipe: Pipe) -> None:
    assert len(read_live(pipe, SAMPLES.tobytes(), PcmFormat.parse("s16le:48000"))) == 16_000


def test_raw_samples_that_end_within_one_are_truncated() -> None:
    file = io.BytesIO(SAMPLES.tobytes()[:-1])
    with (
        AudioReader(file, raw=PcmFormat()) as reader,
        pytest.raises(TruncatedAudioError, match="in the middle of a sample"),
    ):
        list(reader)
    assert reader.num_samples == len(SAMPLES) - 1


def test_without_raw_such_a_stream_is_refused() -> None:
    with pytest.raises(AudioError, match="not of a known format"):
        AudioReader(io.BytesIO(SAMPLES[16_000:].tobytes()))


@pytest.mark.parametrize(
    "text", ["", "mp3", "s16le:", "s16le:0", "s16le:-1", "s16le:16000:2:3", "s16le:1e4", "s16le:²"]
)
def test_what_raw_does_not_mean_is_said_in_a_line(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--raw .*expected ENCODING\[:RATE\[:CHANNELS\]\]"):
        PcmFormat.parse(text)
