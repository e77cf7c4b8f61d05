"""A model as an ONNX graph: the same numbers, and all that is needed to decide with them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner
from dummies import COMPONENTS, save_student, sound, student_config, write_sound
from numpy.typing import NDArray

from audioseg_xai import cli, exports
from audioseg_xai.annotation import rttm_lines
from audioseg_xai.decode import ClassDecoding
from audioseg_xai.errors import ModelError, UsageError
from audioseg_xai.exports import context_frames, export_onnx, fourier_kernels, largest_difference
from audioseg_xai.features import log_spectrogram
from audioseg_xai.labels import CLASSES
from audioseg_xai.models.configs import (
    FeatureFrontEndConfig,
    SpectrogramFrontEndConfig,
    TCNConfig,
    TeacherConfig,
)
from audioseg_xai.models.directory import Model, ModelConfig, load_model
from audioseg_xai.models.networks import Student, Teacher
from audioseg_xai.pipeline import Pipeline
from audioseg_xai.recordings import Recording
from audioseg_xai.spectra import SpectrogramConfig

EXAMPLE = Path(__file__).parents[1] / "examples" / "onnx_segment.py"
RULE = ClassDecoding(onset=0.6, offset=0.4)


def wrapped(network: Student | Teacher) -> Model:
    config = ModelConfig(network=network.config, decoding={"speech": RULE})
    return Model(network.eval(), config)


def network_of(**changes: Any) -> Student:
    torch.manual_seed(5)
    return Student(student_config(**changes)).eval()


def session_of(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_student(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def graph(folder: Path) -> Path:
    path = folder / "model.onnx"
    assert (
        CliRunner()
        .invoke(cli.main, ["export-onnx", "--model", str(folder), "--output", str(path)])
        .stderr.startswith(f"{path}: differs from PyTorch by ")
    )
    return path


# --- the numbers --------------------------------------------------------------------------------


def test_kernels_are_the_fourier_transform_of_the_window() -> None:
    config = SpectrogramConfig(fft_size=512)
    kernels = fourier_kernels(config).astype(np.float64)
    samples = np.random.default_rng(0).standard_normal(512)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    expected = np.fft.rfft(samples * window * 32_768)
    np.testing.assert_allclose(kernels[:257] @ samples, expected.real, atol=0.5, rtol=1e-6)
    np.testing.assert_allclose(kernels[257:] @ samples, expected.imag, atol=0.5, rtol=1e-6)


@pytest.mark.parametrize("length", [400, 719, 720, 1040, 5000, 5320, 64_001])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_a_graph_computes_what_the_network_does(
    tmp_path_factory: pytest.TempPathFactory, stride: int, length: int
) -> None:
    front_end = SpectrogramFrontEndConfig(bands=16, channels=(4, 4), stride=stride)
    network = network_of(front_end=front_end)
    path = tmp_path_factory.getbasetemp() / f"stride{stride}.onnx"
    if not path.exists():
        export_onnx(wrapped(network), path)
    samples = sound(length / 16_000)
    spectrogram = log_spectrogram(torch.from_numpy(samples), network.config.spectrogram)
    with torch.inference_mode():
        expected = network(network.level_norm(spectrogram[None]))
    found = session_of(path).run(None, {"waveform": samples[None]})
    frames = 1 + (length - 400) // 320
    assert [part.shape for part in found] == [(1, frames, 4), (1, frames, COMPONENTS)]
    np.testing.assert_allclose(found[0], expected.logits.sigmoid(), atol=1e-5)
    np.testing.assert_allclose(found[1], expected.activations, atol=1e-3)


@pytest.mark.parametrize("tcn", [{}, {"block": "separable", "hidden": 8}])
@pytest.mark.parametrize("fft_size", [400, 1024])
def test_other_networks(tmp_path: Path, fft_size: int, tcn: dict[str, Any]) -> None:
    config = {"spectrogram": SpectrogramConfig(fft_size=fft_size)}
    network = network_of(tcn=TCNConfig(channels=8, blocks=2, repeats=1, **tcn), **config)
    assert export_onnx(wrapped(network), tmp_path / "m.onnx") <= exports.TOLERANCE


def test_a_graph_of_spectrograms(folder: Path, tmp_path: Path) -> None:
    model = load_model(folder)
    export_onnx(model, tmp_path / "m.onnx", "spectrogram")
    spectrogram = log_spectrogram(torch.from_numpy(sound(2.0)), model.config.network.spectrogram)
    with torch.inference_mode():
        expected = model.network(model.network.level_norm(spectrogram[None]))
    given = {"spectrogram": spectrogram[None].numpy()}
    found = session_of(tmp_path / "m.onnx").run(["probabilities"], given)[0]
    np.testing.assert_allclose(found, expected.logits.sigmoid(), atol=1e-5)


def test_a_teacher_has_no_activations(tmp_path: Path) -> None:
    common = student_config().model_dump(include={"spectrogram", "level", "front_end", "tcn"})
    teacher = Teacher(TeacherConfig.model_validate(common))
    export_onnx(wrapped(teacher), tmp_path / "m.onnx")
    session = session_of(tmp_path / "m.onnx")
    assert [output.name for output in session.get_outputs()] == ["probabilities"]


def test_a_chunk_with_its_context_gives_what_the_whole_gives(tmp_path: Path) -> None:
    front_end = SpectrogramFrontEndConfig(bands=16, channels=(4, 4), stride=2)
    spectrogram = SpectrogramConfig(fft_size=2048)  # sees three frames beyond its own
    network = network_of(front_end=front_end, spectrogram=spectrogram)
    export_onnx(wrapped(network), tmp_path / "m.onnx")
    session, samples = session_of(tmp_path / "m.onnx"), sound(6.0)
    whole = session.run(None, {"waveform": samples[None]})[0][0]
    context = context_frames(network.config)
    assert context % 2 == 0
    first, last = 100 - context, 150 + context
    part = samples[None, first * 320 : last * 320 + 399]
    found = session.run(None, {"waveform": part})[0][0]
    np.testing.assert_allclose(found[context : context + 50], whole[100:150], atol=1e-6)
    alone = session.run(None, {"waveform": samples[None, 100 * 320 : 150 * 320 + 399]})[0][0]
    assert np.abs(alone[:50] - whole[100:150]).max() > 1e-3


# --- the metadata -------------------------------------------------------------------------------


def test_metadata_say_how_to_decide(graph: Path, folder: Path) -> None:
    stored = session_of(graph).get_modelmeta().custom_metadata_map
    metadata = {key: json.loads(value) for key, value in stored.items()}
    assert metadata == json.loads(graph.with_suffix(".json").read_text())
    assert metadata["classes"] == list(CLASSES)
    assert metadata["decoding"]["music"] == {
        "onset": 0.6, "offset": 0.4, "min_duration": 0.1, "min_gap": 0.1
    }  # fmt: skip
    assert (metadata["sample_rate"], metadata["hop"], metadata["window"]) == (16_000, 320, 400)
    assert metadata["frame_shift"] == 0.02
    assert metadata["digest"] == load_model(folder).digest
    assert metadata["provenance"]["inputs"] == {"model.safetensors": metadata["digest"]}
    assert "licence" in metadata
    onnx.checker.check_model(onnx.load(graph), full_check=True)


def test_operators_are_standard_and_of_the_version_that_is_stated(graph: Path) -> None:
    loaded = onnx.load(graph)
    assert [(found.domain, found.version) for found in loaded.opset_import] == [("", exports.OPSET)]
    assert {node.op_type for node in loaded.graph.node}.isdisjoint({"DFT", "STFT", "Loop", "If"})


# --- what is refused ----------------------------------------------------------------------------


def test_a_graph_that_differs_is_not_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports.Graph, "_power", real_part_alone)
    with pytest.raises(ModelError, match=r"m.onnx: not written: .* differs from PyTorch by"):
        export_onnx(load_model(folder), tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def real_part_alone(self: exports.Graph, samples: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.conv1d(
        samples.unsqueeze(1), self.kernels[:257], stride=320, padding=56
    ).square().transpose(1, 2)  # fmt: skip


def test_the_difference_is_that_from_the_network_that_is_named(graph: Path, folder: Path) -> None:
    assert largest_difference(graph, load_model(folder).network, "waveform") < exports.TOLERANCE
    assert largest_difference(graph, network_of(), "waveform") > 0.01


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"front_end": FeatureFrontEndConfig(kind="features", dimension=12), "analysis": False},
            "listens to features of an upstream",
        ),
        (
            {"tcn": TCNConfig(channels=8, blocks=2, repeats=1, norm="global"), "window": 50},
            "hears windows of 50 frames",
        ),
    ],
)
def test_a_model_that_is_no_graph_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        export_onnx(wrapped(network_of(**changes)), tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_graph_that_would_be_its_own_metadata_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name the graph"):
        export_onnx(load_model(folder), tmp_path / "m.json")


def test_a_missing_model_is_one_line(tmp_path: Path) -> None:
    words = ["export-onnx", "--model", "nowhere", "--output", str(tmp_path / "m.onnx")]
    done = CliRunner().invoke(cli.main, words)
    (line,) = done.stderr.splitlines()
    assert (done.exit_code, "nowhere/config.json: no such file" in line) == (1, True)


# --- the example --------------------------------------------------------------------------------

WITHOUT_TORCH = """
import runpy, sys
for name in ("torch", "audioseg_xai", "onnx"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_example(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", WITHOUT_TORCH, str(EXAMPLE), *map(str, arguments)]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(words, capture_output=True, text=True, env=environment, check=False)


def test_the_example_gives_what_segment_gives_without_torch(
    graph: Path, folder: Path, tmp_path: Path
) -> None:
    recording = write_sound(tmp_path / "a show.wav", 75.3)  # more than a chunk
    done = run_example(graph, recording)
    assert (done.returncode, done.stderr) == (0, "")
    segments = Pipeline(load_model(folder)).segment(Recording("a_show", str(recording))).segments
    expected = list(rttm_lines("a_show", segments))
    found = done.stdout.splitlines()
    assert len(found) == len(expected) > 20
    for ours, theirs in zip(map(str.split, found), map(str.split, expected), strict=True):
        assert ours[:8] == theirs[:8]
        assert float(ours[8]) == pytest.approx(float(theirs[8]), abs=0.0015)


def test_the_example_refuses_another_rate(graph: Path, tmp_path: Path) -> None:
    import soundfile

    soundfile.write(tmp_path / "a.wav", sound(1.0), 8_000)
    done = run_example(graph, tmp_path / "a.wav")
    assert (done.returncode, done.stdout) == (1, "")
    assert "at 16 kHz: resample it" in done.stderr


def test_hysteresis_gaps_and_durations_of_the_example_are_ours(rng: np.random.Generator) -> None:
    import runpy

    from audioseg_xai.decode import StreamingDecoder

    runs = runpy.run_path(str(EXAMPLE))["runs"]
    for _ in range(50):
        p = random_walk(rng)
        low, high = sorted(rng.uniform(0.2, 0.8, 2))
        rule = ClassDecoding(
            onset=high, offset=low, min_duration=rng.integers(4) / 20, min_gap=rng.integers(4) / 20
        )
        decoder = StreamingDecoder(("speech",), {"speech": rule})
        closed = decoder.push(p[:, None], p[:, None]) + decoder.finish()
        found = runs(p, **rule.model_dump(), shift=0.02)
        assert [(s.onset, s.offset) for s in sorted(closed, key=lambda s: s.onset)] == [
            tuple(run) for run in found
        ]


def random_walk(rng: np.random.Generator) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-np.cumsum(rng.standard_normal(200))))
