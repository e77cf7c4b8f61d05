"""`xai-segment segment -` at the end of a pipe that goes on: lines as segments close."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from dummies import sound, write_sound

from audioseg_xai import cli

ROOT = Path(__file__).parents[1]
SAMPLES = np.clip(sound(20.0) * 32_768, -32_768, 32_767).astype("<i2").tobytes()
SECOND = 32_000

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(model: Path, tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def call(*arguments: str) -> subprocess.Popen[bytes]:
        words = [sys.executable, ROOT / "bin" / "segment.py", "-", "--model", model, *arguments]
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        started.append(subprocess.Popen(words, cwd=tmp_path, env=environment, **streams))
        return started[-1]

    yield call
    for process in started:
        process.kill()
        process.communicate()


def of_file(model: Path, tmp_path: Path, samples: bytes, *arguments: str) -> list[str]:
    """Return the sorted lines that the same sound gives as a file."""
    soundfile.write(tmp_path / "stdin.wav", np.frombuffer(samples, "<i2"), 16_000)
    words = ["segment", str(tmp_path / "stdin.wav"), "--model", str(model), *arguments]
    done = CliRunner().invoke(cli.main, words)
    assert done.exit_code == 0
    return sorted(done.stdout.splitlines())


def pipe(process: subprocess.Popen[bytes], name: str) -> IO[bytes]:
    found: IO[bytes] | None = getattr(process, name)
    assert found is not None
    return found


def send(process: subprocess.Popen[bytes], content: bytes) -> None:
    pipe(process, "stdin").write(content)
    pipe(process, "stdin").flush()


def wait_until_read(process: subprocess.Popen[bytes]) -> None:
    """Wait until nothing is left in the pipe to standard input."""
    import fcntl
    import termios

    for _ in range(3000):
        unread = fcntl.ioctl(pipe(process, "stdin"), termios.FIONREAD, b"\0\0\0\0")
        if struct.unpack("i", unread)[0] == 0:
            return
        time.sleep(0.02)
    raise AssertionError("it does not read its input")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_lines_come_while_the_stream_goes_on_and_a_signal_ends_it(
    start: Start, model: Path, tmp_path: Path, number: signal.Signals
) -> None:
    process = start("--raw", "s16le")
    send(process, SAMPLES[: 12 * SECOND])
    first = [pipe(process, "stdout").readline() for _ in range(3)]  # the stream is still open
    send(process, SAMPLES[12 * SECOND : 14 * SECOND])
    wait_until_read(process)
    process.send_signal(number)
    process.wait(60)
    lines = b"".join([*first, *pipe(process, "stdout")]).decode().splitlines()
    assert process.returncode == 128 + number
    assert sorted(lines) == of_file(model, tmp_path, SAMPLES[: 14 * SECOND])
    said = pipe(process, "stderr").read().decode().splitlines()
    assert said[0].startswith("standard input: a segment is printed at most ")
    assert said[1:] == [
        f"xai-segment segment: warning: standard input: stopped by {number.name} after 14.000 s"
    ]


def test_a_wav_that_never_ends_is_read_and_one_that_ends_gives_the_segments_of_the_file(
    start: Start, model: Path, tmp_path: Path
) -> None:
    layout = struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)
    head = b"RIFF\xff\xff\xff\xffWAVEfmt " + layout + b"data\xff\xff\xff\xff"
    process = start("--rttm", "out/live.rttm")
    out, _ = process.communicate(head + SAMPLES, timeout=120)
    assert (process.returncode, out) == (0, b"")
    lines = (tmp_path / "out" / "live.rttm").read_text().splitlines()
    assert sorted(lines) == of_file(model, tmp_path, SAMPLES)
    assert [float(line.split()[3]) for line in lines] == sorted(
        float(line.split()[3]) for line in lines
    )


def test_with_less_latency_lines_come_sooner_and_may_differ(
    start: Start, model: Path, tmp_path: Path
) -> None:
    process = start("--raw", "s16le:16000:1", "--latency", "0.5", "--uri", "radio")
    out, err = process.communicate(SAMPLES, timeout=120)
    assert process.returncode == 0
    lines = [line.split() for line in out.decode().splitlines()]
    assert {line[1] for line in lines} == {"radio"}
    assert "at most 0.49 s after its end, decided with 0.1" in err.decode()
    exact = of_file(model, tmp_path, SAMPLES)
    assert len(exact) / 2 < len(lines) < 2 * len(exact)


def test_when_nobody_reads_any_more_it_ends(start: Start) -> None:
    process = start("--raw", "s16le")
    send(process, SAMPLES[: 12 * SECOND])
    pipe(process, "stdout").readline()
    pipe(process, "stdout").close()
    assert process.wait(60) == 1  # though standard input is open and silent
    assert len(pipe(process, "stderr").read().splitlines()) == 1


def test_what_was_heard_before_a_stream_breaks_off_is_printed(
    start: Start, model: Path, tmp_path: Path
) -> None:
    process = start("--raw", "s16le")
    out, err = process.communicate(SAMPLES[: 9 * SECOND + 1], timeout=120)
    assert process.returncode == 1
    assert sorted(out.decode().splitlines()) == of_file(model, tmp_path, SAMPLES[: 9 * SECOND])
    assert err.decode().splitlines()[1:] == [
        "xai-segment segment: error: standard input: breaks off after 9.000 s in the middle of a "
        "sample: it is truncated, or its samples are not s16le in as many channels as --raw says"
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.wav", "--latency", "2"), "--latency is for a live stream: give - alone"),
        (("a.wav", "--raw", "mp3"), "--raw mp3: expected ENCODING[:RATE[:CHANNELS]]"),
        (("a.wav", "--latency", "0"), "0.0 is not in the range x>0"),
    ],
)
def test_usage_errors(
    model: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    write_sound(tmp_path / "a.wav", 1.0)
    words = [str(tmp_path / word) if word == "a.wav" else word for word in arguments]
    done = CliRunner().invoke(cli.main, ["segment", "--model", str(model), *words])
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr


def test_a_file_without_a_header(model: Path, tmp_path: Path) -> None:
    (tmp_path / "stdin.raw").write_bytes(SAMPLES)
    words = ["segment", str(tmp_path / "stdin.raw"), "--model", str(model), "--raw", "s16le"]
    done = CliRunner().invoke(cli.main, words)
    assert sorted(done.stdout.splitlines()) == of_file(model, tmp_path, SAMPLES)
