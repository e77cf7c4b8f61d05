"""Segmenting in NumPy: what the PyTorch network says of the whole recording, without PyTorch."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from dummies import COMPONENTS, save_student, sound, student, student_config
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from audioseg_xai import devices
from audioseg_xai.errors import AudioError, ModelError
from audioseg_xai.features import log_spectrogram
from audioseg_xai.frames import num_frames
from audioseg_xai.models.configs import (
    FeatureFrontEndConfig,
    NetworkConfig,
    SpectrogramFrontEndConfig,
    StudentConfig,
    TCNConfig,
    TeacherConfig,
)
from audioseg_xai.models.directory import Model
from audioseg_xai.models.networks import Student, Teacher
from audioseg_xai.models.stored import load_stored, read_model_config
from audioseg_xai.models.streaming import weight_shapes
from audioseg_xai.segmenter import Chunk, StreamingSegmenter, sigmoid
from audioseg_xai.spectra import PowerStream, SpectrogramConfig

NETWORK = student()
SOUND = sound(4.0)


def arrays(network: Student | Teacher) -> dict[str, NDArray[Any]]:
    return {name: value.numpy() for name, value in network.state_dict().items()}


def segmenter(network: Student | Teacher, chunk: int = 1000) -> StreamingSegmenter:
    return StreamingSegmenter(network.config, arrays(network), chunk)


def blocks(samples: NDArray[np.float32], sizes: list[int]) -> list[NDArray[np.float32]]:
    return np.split(samples, np.cumsum(sizes)[np.cumsum(sizes) < len(samples)])


def joined(chunks: list[Chunk], name: str) -> NDArray[np.float32]:
    return np.concatenate([getattr(chunk, name) for chunk in chunks])


def shaken(network: Student | Teacher) -> Student | Teacher:
    """Return the network with norms that are not those of the beginning."""
    torch.manual_seed(3)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.running_mean = torch.randn_like(module.running_mean) * 0.3
            module.running_var = torch.rand_like(module.running_var) + 0.5
            with torch.no_grad():
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.2, 0.2)
    return network.eval()


def of_pytorch(network: Student | Teacher, samples: NDArray[np.float32]) -> Chunk:
    spectrogram = log_spectrogram(torch.from_numpy(samples), network.config.spectrogram)
    with torch.inference_mode():
        normalised = network.level_norm(spectrogram[None])
        output = network(normalised)
    teacher = isinstance(network, Teacher)
    logits = output if teacher else output.logits
    activations = torch.zeros(*logits.shape[:2], 0) if teacher else output.activations
    found = (normalised, logits, logits.sigmoid(), activations)
    return Chunk(*(part[0].numpy() for part in found))


CONFIGS: dict[str, StudentConfig] = {
    "as it is": student_config(),
    "stride 2": student_config(
        front_end=SpectrogramFrontEndConfig(bands=16, channels=(4, 4, 4), stride=2)
    ),
    "stride 3, odd bands": student_config(
        front_end=SpectrogramFrontEndConfig(bands=21, channels=(4, 6), stride=3)
    ),
    "deeper": student_config(tcn=TCNConfig(channels=8, blocks=4, repeats=2, kernel=5)),
    "without analysis": student_config(analysis=False),
    "longer window": student_config(spectrogram=SpectrogramConfig(fft_size=1024)),
    "two branches": student_config(
        branches=2, front_end=SpectrogramFrontEndConfig(bands=16, channels=(4, 4, 4), stride=2)
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("seconds", [0.025, 0.5, 3.0])
def test_a_student_says_what_it_says_in_pytorch(name: str, seconds: float) -> None:
    network = shaken(Student(CONFIGS[name]))
    samples = sound(seconds)
    expected = of_pytorch(network, samples)
    chunks = list(segmenter(network, chunk=37).process(blocks(samples, [777] * 100)))
    assert len(expected.logits) == num_frames(len(samples))
    np.testing.assert_allclose(joined(chunks, "spectrogram"), expected.spectrogram, atol=2e-3)
    np.testing.assert_allclose(joined(chunks, "activations"), expected.activations, atol=2e-3)
    np.testing.assert_allclose(joined(chunks, "logits"), expected.logits, atol=2e-3)
    np.testing.assert_allclose(joined(chunks, "probabilities"), expected.probabilities, atol=1e-3)


@pytest.mark.parametrize("branches", [1, 3])
def test_a_teacher_says_what_it_says_in_pytorch(branches: int) -> None:
    settings = NETWORK.config.model_dump(include={"spectrogram", "level", "front_end", "tcn"})
    config = TeacherConfig.model_validate(settings | {"branches": branches})
    teacher = shaken(Teacher(config))
    chunks = list(segmenter(teacher).process([SOUND]))
    np.testing.assert_allclose(
        joined(chunks, "logits"), of_pytorch(teacher, SOUND).logits, atol=1e-4
    )
    assert joined(chunks, "activations").shape == (num_frames(len(SOUND)), 0)


@settings(deadline=None, max_examples=12)
@given(st.integers(1, 300), st.lists(st.integers(1, 20_000), min_size=1, max_size=20))
def test_cuts_make_no_difference(chunk: int, sizes: list[int]) -> None:
    whole = list(segmenter(NETWORK, chunk=10_000).process([SOUND]))
    cut = list(segmenter(NETWORK, chunk=chunk).process(blocks(SOUND, sizes)))
    for name in ("probabilities", "logits", "activations"):
        np.testing.assert_allclose(joined(cut, name), joined(whole, name), atol=1e-4)


@pytest.mark.parametrize("sizes", [[], [5000] * 12])
def test_a_second_thread_makes_no_difference(sizes: list[int]) -> None:
    one = segmenter(NETWORK, chunk=30)
    two = StreamingSegmenter(one.config, one.weights, chunk=30, threads=2)
    expected, found = (list(each.process(blocks(SOUND, sizes))) for each in (one, two))
    assert len(found) == len(expected) > 1
    for name in ("logits", "activations", "spectrogram"):
        np.testing.assert_array_equal(joined(found, name), joined(expected, name))


def test_what_goes_wrong_in_the_second_thread_is_raised_in_its_place() -> None:
    def breaking() -> Iterator[NDArray[np.float32]]:
        yield SOUND[:40_000]
        raise AudioError("torn")

    two = StreamingSegmenter(NETWORK.config, arrays(NETWORK), chunk=30, threads=2)
    chunks = []
    with pytest.raises(AudioError, match="torn"):
        chunks.extend(two.process(breaking()))
    with pytest.raises(AudioError, match="torn"):
        for chunk in two.process(breaking()):
            chunks.append(chunk)
    assert sum(len(chunk.logits) for chunk in chunks) > 50


def test_nothing_is_read_once_it_is_closed() -> None:
    read = 0

    def counted() -> Iterator[NDArray[np.float32]]:
        nonlocal read
        for block in blocks(SOUND, [3200] * 20):
            read += 1
            yield block

    two = StreamingSegmenter(NETWORK.config, arrays(NETWORK), chunk=10, threads=2)
    threads = threading.active_count()
    chunks = two.process(counted())
    next(chunks)
    assert threading.active_count() == threads + 1
    chunks.close()
    assert threading.active_count() == threads
    assert read < 20


@pytest.mark.parametrize("length", [400, 401, 719, 720, 5000])
def test_every_frame_comes_once(length: int) -> None:
    chunks = list(segmenter(NETWORK, chunk=3).process([SOUND[:length]]))
    assert joined(chunks, "probabilities").shape == (num_frames(length), 4)
    assert joined(chunks, "activations").shape == (num_frames(length), COMPONENTS)
    assert joined(chunks, "spectrogram").shape == (num_frames(length), 257)


@pytest.mark.parametrize("length", [0, 10, 399])
def test_less_than_a_frame_gives_nothing(length: int) -> None:
    assert list(segmenter(NETWORK).process([SOUND[:length]])) == []


def test_results_come_as_soon_as_no_later_sound_can_change_them() -> None:
    reach = NETWORK.config.receptive_field
    heard, arrived = 0, 0

    def arriving() -> Any:
        nonlocal heard
        for block in blocks(SOUND, [1600] * 40):
            heard += len(block)
            yield block

    for chunk in segmenter(NETWORK, chunk=5).process(arriving()):
        arrived += len(chunk.logits)
        assert arrived >= num_frames(heard) - reach - 7  # five go at once, two wait for the FFT
    assert arrived == num_frames(len(SOUND))


def test_a_recording_does_not_hear_the_one_before() -> None:
    one = segmenter(NETWORK)
    first, again = list(one.process([SOUND])), list(one.process([SOUND]))
    np.testing.assert_array_equal(joined(first, "logits"), joined(again, "logits"))


def test_results_are_not_overwritten_by_later_ones() -> None:
    chunks = segmenter(NETWORK, chunk=20).process(blocks(SOUND, [3200] * 20))
    kept = [(chunk, chunk.activations.copy(), chunk.spectrogram.copy()) for chunk in chunks]
    assert len(kept) > 3
    for chunk, activations, spectrogram in kept:
        np.testing.assert_array_equal(chunk.activations, activations)
        np.testing.assert_array_equal(chunk.spectrogram, spectrogram)


def test_probabilities_of_large_logits_are_exact() -> None:
    with np.errstate(all="raise", under="ignore"):
        found = sigmoid(np.array([-1000, -20, 0, 20, 1000], np.float32))
    np.testing.assert_allclose(found, [0, 2.0611537e-9, 0.5, 1, 1], rtol=1e-5)


@settings(deadline=None, max_examples=20)
@given(cuts=st.lists(st.integers(0, 5000), max_size=8).map(sorted))
def test_power_is_that_of_the_log_spectrogram(cuts: list[int]) -> None:
    samples = SOUND[:5000]
    stream = PowerStream(SpectrogramConfig())
    parts = [stream.push(part) for part in np.split(samples, cuts)]
    power = np.concatenate([*parts, stream.finish()])
    expected = log_spectrogram(torch.from_numpy(samples), SpectrogramConfig()).expm1()
    np.testing.assert_allclose(power, expected, rtol=1e-3, atol=1)


# --- which networks, and which weights ----------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"tcn": TCNConfig(block="separable")}, False),
        ({"tcn": TCNConfig(norm="global"), "window": 50}, False),
        ({"front_end": FeatureFrontEndConfig(kind="features", dimension=4)}, False),
    ],
)
def test_what_can_be_streamed(changes: dict[str, Any], expected: bool) -> None:
    assert NetworkConfig(**changes).streamable is expected


@pytest.mark.parametrize("name", CONFIGS)
def test_the_shapes_are_those_of_the_pytorch_network(name: str) -> None:
    network = Student(CONFIGS[name])
    found = {key: value.shape for key, value in arrays(network).items()}
    found = {key: shape for key, shape in found.items() if "num_batches" not in key}
    assert weight_shapes(CONFIGS[name]) == found


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    folder = save_student(tmp_path / "model")
    config = read_model_config(folder)
    wider = config.network.model_copy(update={"tcn": TCNConfig(channels=9, blocks=2, repeats=1)})
    with pytest.raises(ModelError, match=r"model\.safetensors: does not fit config\.json: .* not"):
        load_stored(folder, config.model_copy(update={"network": wider}))


def test_damaged_and_missing_weights_are_named(tmp_path: Path) -> None:
    folder = save_student(tmp_path / "model")
    config, path = read_model_config(folder), folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelError, match=r"model\.safetensors: cannot be read"):
        load_stored(folder, config)
    path.unlink()
    with pytest.raises(ModelError, match=r"model\.safetensors: cannot be read"):
        load_stored(folder, config)


def test_a_stored_model_knows_its_pytorch_network(tmp_path: Path) -> None:
    folder = save_student(tmp_path / "model")
    stored = load_stored(folder, read_model_config(folder))
    of_network = Model(stored.network, stored.config).weights
    assert stored.weights.keys() == of_network.keys()
    assert all(np.array_equal(stored.weights[name], of_network[name]) for name in of_network)


@pytest.mark.parametrize("program", ["segment", "explain --hdf5 out.h5"])
def test_on_a_cpu_nothing_waits_for_pytorch(tmp_path: Path, program: str) -> None:
    soundfile.write(tmp_path / "a.wav", SOUND, 16_000)
    model = save_student(tmp_path / "model")
    name, *options = program.split()
    arguments = ["a.wav", "--rttm", "a.rttm", "--model", str(model), "--device", "cpu", *options]
    code = (
        f"import sys, audioseg_xai.bin.{name} as program\n"
        f"program.cli({arguments!r}, standalone_mode=False)\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=120)
    assert (tmp_path / "a.rttm").read_text().startswith("SPEAKER a 1 ")


def test_without_a_driver_nobody_asks_pytorch_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def absent(name: str) -> None:
        asked.append(name)
        raise OSError

    monkeypatch.setattr(devices.ctypes, "CDLL", absent)
    monkeypatch.setattr(devices.Path, "exists", lambda path: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("asked PyTorch"))
    assert [devices.resolve_device(name) for name in ("auto", "cpu")] == ["cpu", "cpu"]
    assert asked == ["libcuda.so.1"]
