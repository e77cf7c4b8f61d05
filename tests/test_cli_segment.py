"""`xai-segment segment`, as a user runs it, on good recordings and on bad ones."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner, Result
from dummies import sound, write_sound
from pyannote.database.util import load_rttm

from audioseg_xai import cli, console
from audioseg_xai.annotation import read_rttm
from audioseg_xai.datadir import DataDir
from audioseg_xai.models.directory import load_model, save_model
from audioseg_xai.pipeline import Pipeline

Run = Callable[..., Result]


@pytest.fixture
def run(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    write_sound(tmp_path / "good.wav")

    def call(*arguments: str, stdin: bytes | None = None) -> Result:
        words = ["segment", "--model", str(model), "--device", "cpu", *arguments]
        return CliRunner().invoke(cli.main, words, input=stdin)

    return call


def uris(rttm: str) -> list[str]:
    return list(dict.fromkeys(line.split()[1] for line in rttm.splitlines()))


# --- the main job -------------------------------------------------------------------------------


def test_rttm_goes_to_stdout_and_nothing_else_does(run: Run) -> None:
    done = run("good.wav")
    assert (done.exit_code, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines
    assert all(len(line) == 10 and line[:3] == ["SPEAKER", "good", "1"] for line in lines)
    assert all(0 < float(line[8]) < 1.001 for line in lines)
    assert max(float(line[3]) + float(line[4]) for line in lines) <= 6.0


def test_the_rttm_loads_with_pyannote(run: Run, tmp_path: Path) -> None:
    assert run("good.wav", "--rttm", "out/good.rttm").stdout == ""
    loaded = load_rttm(tmp_path / "out" / "good.rttm")["good"]
    ours = read_rttm(tmp_path / "out" / "good.rttm")["good"]
    assert sorted(loaded.labels()) == sorted({segment.label for segment in ours})
    assert len(loaded) == len({(segment.onset, segment.offset) for segment in ours})


def test_output_is_in_the_order_of_the_command_line(run: Run, tmp_path: Path) -> None:
    write_sound(tmp_path / "a b.flac", 3)
    assert uris(run("good.wav", "a b.flac").stdout) == ["good", "a_b"]
    assert uris(run("a b.flac", "good.wav").stdout) == ["a_b", "good"]


def test_workers_make_no_difference(run: Run, tmp_path: Path) -> None:
    write_sound(tmp_path / "b.wav", 4, seed=1)
    arguments = ("b.wav", "good.wav", "missing.wav")
    one, two = run(*arguments), run(*arguments, "--num-workers", "2")
    assert (two.exit_code, two.stdout) == (3, one.stdout)


def test_recordings_on_a_gpu_share_a_process(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sound(tmp_path / "b.wav", 4, seed=1)
    arguments = ("b.wav", "good.wav", "missing.wav")
    alone = run(*arguments)
    monkeypatch.setattr(Pipeline, "on_gpu", True)
    monkeypatch.setattr(console, "_in_processes", lambda *_: pytest.fail("started a process"))
    together = run(*arguments, "--num-workers", "2")
    assert (together.exit_code, together.stdout) == (3, alone.stdout)


def test_standard_input_is_a_recording(run: Run, tmp_path: Path) -> None:
    content = (tmp_path / "good.wav").read_bytes()
    done = run("-", stdin=content)
    assert (done.exit_code, uris(done.stdout)) == (0, ["stdin"])
    assert uris(run("-", "--uri", "radio", stdin=content).stdout) == ["radio"]
    assert done.stdout.replace(" stdin ", " good ") == run("good.wav").stdout


def test_recordings_from_a_list(run: Run, tmp_path: Path) -> None:
    write_sound(tmp_path / "b.wav", 3)
    (tmp_path / "all.txt").write_text("b.wav\n\ngood.wav\n")
    assert uris(run("--list", "all.txt").stdout) == ["b", "good"]


def test_recordings_from_a_data_directory(run: Run, tmp_path: Path) -> None:
    DataDir(
        wav={"show-1": tmp_path / "good.wav"}, duration={"show-1": 6.0}, reference={},
        uem={"show-1": [(0.0, 6.0)]}, classes=("speech",),
    ).write(tmp_path / "data")  # fmt: skip
    assert uris(run("--datadir", "data").stdout) == ["show-1"]


def test_only_some_classes(run: Run) -> None:
    done = run("good.wav", "--classes", "mu")
    assert {line.split()[7] for line in done.stdout.splitlines()} == {"music"}


def test_it_runs_as_a_program(run: Run, model: Path, tmp_path: Path) -> None:
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, root / "bin" / "segment.py", "good.wav", "--model", model],
        cwd=tmp_path, env={"PYTHONPATH": str(root)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == run("good.wav").stdout


# --- what users get wrong -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no recording named"),
        (("good.wav", "sub/good.wav"), "good.wav and sub/good.wav would all be called good"),
        (("good.wav", "b.wav", "--uri", "x"), "--uri names one recording, but there are 2"),
        (("good.wav", "--rttm", "./good.wav"), "good.wav: would be overwritten"),
        (("-", "good.wav", "--num-workers", "2"), "standard input"),
        (("good.wav", "--device", "cuda:99"), "cpu or auto"),
    ],
)
def test_usage_errors(run: Run, arguments: tuple[str, ...], message: str) -> None:
    done = run(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr


def test_a_missing_model_is_one_line(run: Run, tmp_path: Path) -> None:
    done = run("good.wav", "good.wav", "--uri", "x", "--model", "nowhere")
    assert done.exit_code == 2
    write_sound(tmp_path / "b.wav")
    done = run("good.wav", "b.wav", "--model", "nowhere")
    assert (done.exit_code, len(done.stderr.splitlines())) == (1, 1)
    assert "nowhere/config.json: no such file" in done.stderr


# --- bad recordings -----------------------------------------------------------------------------


def truncated(path: Path) -> None:
    write_sound(path, 4)
    path.write_bytes(path.read_bytes()[: 44 + 2 * 32_000])


def with_nan(path: Path) -> None:
    samples = sound()
    samples[5000] = np.nan
    soundfile.write(path, samples, 16_000, subtype="FLOAT")


def with_huge_sample(path: Path) -> None:
    samples = sound()
    samples[8000] = 1e20
    soundfile.write(path, samples, 16_000, subtype="FLOAT")


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing.wav": (lambda path: None, "no such file"),
    "empty.wav": (lambda path: path.touch(), "is empty (0 bytes)"),
    "header.wav": (
        lambda path: soundfile.write(path, np.zeros(0), 16_000),
        "holds no samples, only a header",
    ),
    "text.wav": (
        lambda path: path.write_text("hello, world\n" * 99),
        "no audio that can be decoded",
    ),
    "folder.wav": (lambda path: path.mkdir(), "is a folder"),
    "cut.wav": (truncated, "ends after 2.000 s although its header promises 4.000 s"),
    "ten.wav": (lambda path: write_sound(path, 10 / 16_000), "10 samples"),
    "nan.wav": (with_nan, "holds NaN or infinite samples"),
    "huge.wav": (with_huge_sample, "far beyond full scale, the first (1e+20) at 0.500 s"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_recording_is_one_line_and_exit_code_1(run: Run, tmp_path: Path, name: str) -> None:
    make, message = BAD[name]
    make(tmp_path / name)
    done = run(name, "--rttm", "out.rttm")
    assert (done.exit_code, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"xai-segment segment: error: {name}: ")
    assert message in line
    assert not (tmp_path / "out.rttm").exists()


def test_the_others_are_done(run: Run, tmp_path: Path) -> None:
    for name, (make, _) in BAD.items():
        make(tmp_path / name)
    done = run(*BAD, "good.wav", "--rttm", "out.rttm")
    assert done.exit_code == 3
    assert done.stderr.splitlines()[-1].startswith(
        "xai-segment segment: error: 9 of 10 failed, the others are done: missing.wav, "
    )
    assert (tmp_path / "out.rttm").read_text() == run("good.wav").stdout


def test_outputs_that_are_not_finite_are_an_error(run: Run, model: Path, tmp_path: Path) -> None:
    broken = load_model(model)
    with torch.no_grad():
        broken.network.classifier.bias[2] = np.nan
    save_model(broken, tmp_path / "broken")
    done = run("good.wav", "--rttm", "out.rttm", "--model", "broken")
    (line,) = done.stderr.splitlines()
    assert done.exit_code == 1
    assert "good.wav: the model puts out NaN or infinity within the first 6.000 s" in line
    assert not (tmp_path / "out.rttm").exists()


def test_a_cut_pipe_is_an_error_once_what_was_heard_is_decided(model: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.ogg", sound(10), 16_000)
    content = (tmp_path / "a.ogg").read_bytes()
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, root / "bin" / "segment.py", "-", "--model", model], cwd=tmp_path,
        env={"PYTHONPATH": str(root)}, input=content[: len(content) // 2], capture_output=True,
        check=False,
    )  # fmt: skip
    _, line = done.stderr.decode().splitlines()  # the first says how late lines come
    assert (done.returncode, uris(done.stdout.decode())) == (1, ["stdin"])
    assert line.startswith("xai-segment segment: error: ")
    assert "standard input: breaks off after" in line


@pytest.mark.parametrize("command", ["segment", "explain"])
def test_help_says_what_a_pipe_cannot_carry(command: str) -> None:
    text = " ".join(CliRunner().invoke(cli.main, [command, "--help"]).output.split())
    assert "an mp4 or m4a with its index at the end must be given as a file" in text


def test_what_is_left_of_a_damaged_recording_can_be_used(run: Run, tmp_path: Path) -> None:
    truncated(tmp_path / "cut.wav")
    done = run("cut.wav", "--allow-truncated")
    assert done.exit_code == 0
    assert "warning: cut.wav: ends after 2.000 s" in done.stderr
    ends = [float(line.split()[3]) + float(line.split()[4]) for line in done.stdout.splitlines()]
    assert 0 < max(ends) <= 2.0


def test_silence_is_a_recording(run: Run, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros(48_000), 16_000)
    done = run("silent.wav", "--rttm", "out.rttm")
    assert (done.exit_code, done.stderr) == (0, "")
    assert (tmp_path / "out.rttm").exists()


def test_twenty_four_channels_are_averaged(run: Run, tmp_path: Path) -> None:
    samples = np.repeat(soundfile.read(tmp_path / "good.wav")[0][:, None], 24, axis=1)
    soundfile.write(tmp_path / "many.wav", samples, 16_000, subtype="FLOAT")
    done = run("many.wav")
    assert done.exit_code == 0
    assert done.stdout.replace(" many ", " good ") == run("good.wav").stdout


# --- what is wrong is said before any work ------------------------------------------------------


def test_an_unknown_class_is_a_usage_error(run: Run) -> None:
    done = run("good.wav", "--classes", "speech,foo")
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert "--classes speech,foo: unknown class 'foo'" in done.stderr


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("good.wav/out.rttm", "cannot be written"),
        ("good.wav/deeper/out.rttm", "cannot be written: Not a directory"),
        ("folder", "is a folder"),
        (f"{'x' * 250}.rttm", "cannot be written: File name too long"),
    ],
)
def test_an_output_that_cannot_be_written_is_found_before_the_model_is_loaded(
    run: Run, tmp_path: Path, output: str, message: str
) -> None:
    (tmp_path / "folder").mkdir()
    done = run("good.wav", "--model", "nowhere", "--rttm", output)
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert f"error: {output}: {message}" in done.stderr


def test_looking_whether_an_output_can_be_written_leaves_nothing(run: Run, tmp_path: Path) -> None:
    assert run("good.wav", "--model", "nowhere", "--rttm", "new/out.rttm").exit_code == 1
    assert list((tmp_path / "new").iterdir()) == []
