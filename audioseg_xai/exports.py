"""A model as one ONNX graph, from samples to probabilities, for programs without PyTorch.

Framing, window and Fourier transform are a convolution, so that the graph holds no operator that a
small runtime may lack. What a program needs to make segments of the probabilities is in the
metadata of the graph, and in a JSON file beside it: `examples/onnx_segment.py` uses nothing else.
"""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from audioseg_xai.errors import ModelError, UsageError
from audioseg_xai.features import log_spectrogram
from audioseg_xai.files import atomic_path, write_text_atomic
from audioseg_xai.frames import FRAME_SHIFT, HOP, SAMPLE_RATE, WINDOW
from audioseg_xai.models.configs import FeatureFrontEndConfig, NetworkConfig
from audioseg_xai.models.directory import Model
from audioseg_xai.models.fold import folded
from audioseg_xai.models.networks import Student, StudentOutput, Teacher
from audioseg_xai.provenance import provenance
from audioseg_xai.spectra import SAMPLE_SCALE, SpectrogramConfig, hann_window

Input = Literal["waveform", "spectrogram"]

OPSET = 17
"""Version of the operators: ONNX Runtime reads it since 1.12, other runtimes for about as long."""

TOLERANCE = 1e-4
"""Largest difference from PyTorch: of probabilities, and of activations relative to the largest."""

_TRACED_SAMPLES = 16_123
_LONGEST_CHECK = 30 * SAMPLE_RATE


def export_onnx(model: Model, output: str | Path, source: Input = "waveform") -> float:
    """Write a model as an ONNX graph, and its metadata as JSON beside it, once both are checked.

    The graph maps ``waveform`` (1, N), 16 kHz samples in [-1, 1], N >= 400, or ``spectrogram``
    (1, T, F), log(1 + power) as `features.log_spectrogram` gives it, to ``probabilities`` (1, T, C)
    and, for a student, ``activations`` (1, T, K); N and T may be any, T = 1 + floor((N-400)/320).
    It is run on recordings of several lengths and compared with PyTorch before it gets its name.

    Parameters
    ----------
    model : Model
        Student or teacher that listens to spectrograms.
    output : str or Path
        Where the graph goes; the JSON file has the suffix ``.json`` instead.
    source : {'waveform', 'spectrogram'}
        What the graph takes.

    Returns
    -------
    float
        Largest difference from PyTorch, in the sense of `TOLERANCE`.

    Raises
    ------
    ModelError
        If the model listens to something else, or the graph differs from it.
    UsageError
        If `output` would be the JSON file as well.
    """
    beside = Path(output).with_suffix(".json")
    if beside == Path(output):
        raise UsageError(f"{output}: the metadata go there: name the graph .onnx")
    _check_exportable(model.config.network)
    metadata = describe(model, source)
    with atomic_path(output) as temporary:
        _trace(model.network, source, temporary)
        _attach(metadata, temporary)
        difference = largest_difference(temporary, model.network, source)
        if not difference <= TOLERANCE:
            raise ModelError(
                f"{output}: not written: ONNX Runtime differs from PyTorch by {difference:.2g}, "
                f"more than {TOLERANCE:g}: install the versions that constraints.txt pins"
            )
    write_text_atomic(beside, json.dumps(metadata, indent=1) + "\n")
    return difference


def describe(model: Model, source: Input) -> dict[str, Any]:
    """Return the metadata of a graph; in the graph, each value is JSON.

    ``decoding`` has what `decode.ClassDecoding` has, seconds where it has seconds. ``context`` are
    the frames on each side, a multiple of ``stride``, with which a chunk of a recording gives what
    the whole gives; a chunk, with its context, begins at a multiple of ``stride``.
    """
    config = model.config
    weights = [] if model.folder is None else [model.folder / "model.safetensors"]
    return {
        "format_version": 1,
        "kind": config.network.kind,
        "input": source,
        "classes": list(model.classes),
        "decoding": {name: rule.model_dump(mode="json") for name, rule in config.decoding.items()},
        "sample_rate": SAMPLE_RATE,
        "hop": HOP,
        "window": WINDOW,
        "frame_shift": FRAME_SHIFT,
        "fft_size": config.network.spectrogram.fft_size,
        "stride": config.network.front_end.stride,
        "context": context_frames(config.network),
        "digest": model.digest,
        "licence": config.licence,
        "provenance": provenance({"input": source, "opset": OPSET}, weights),
    }


def context_frames(config: NetworkConfig) -> int:
    """Return the frames on each side of a chunk that its results depend on.

    Besides the receptive field these are the frames whose FFT window sees beyond the end of the
    chunk; a multiple of the stride.
    """
    cut = math.ceil(config.spectrogram.margin / HOP)
    stride = config.front_end.stride
    return stride * math.ceil((config.receptive_field + cut) / stride)


class Graph(nn.Module):
    """From samples or log spectrogram to probabilities and activations: what is exported.

    Parameters
    ----------
    network : Student or Teacher
        In evaluation mode.
    source : {'waveform', 'spectrogram'}
        What it takes.
    """

    kernels: torch.Tensor

    def __init__(self, network: Student | Teacher, source: Input) -> None:
        super().__init__()
        self.network, self.source = folded(network), source
        self.spectrogram = network.config.spectrogram
        kernels = fourier_kernels(self.spectrogram)
        self.register_buffer("kernels", torch.from_numpy(kernels).unsqueeze(1))

    def forward(self, sound: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Map (1, N), or (1, T, F), to probabilities (1, T, C) and activations (1, T, K)."""
        norm = self.network.level_norm
        power = self._power(sound) if self.source == "waveform" else sound.exp() - 1
        output = self.network(norm.compress(power, norm.level(power.mean(-1))))
        if isinstance(output, StudentOutput):
            return output.logits.sigmoid(), output.activations
        return (output.sigmoid(),)

    def _power(self, samples: torch.Tensor) -> torch.Tensor:
        margin = self.spectrogram.margin
        parts = functional.conv1d(samples.unsqueeze(1), self.kernels, stride=HOP, padding=margin)
        real, imaginary = parts.split(self.spectrogram.num_bins, dim=1)
        return (real * real + imaginary * imaginary).transpose(1, 2)


def fourier_kernels(config: SpectrogramConfig) -> NDArray[np.float32]:
    """Return windowed cosines and sines, shape (2 F, fft_size).

    Of X_f = sum_n w_n x_n e^(-2 pi i f n / N), real parts of all bins first, then imaginary ones.

    Parameters
    ----------
    config : SpectrogramConfig
        N, the FFT size; the Hann window w brings samples to 16-bit scale.
    """
    places = np.arange(config.fft_size)
    turns = np.outer(np.arange(config.num_bins), places) % config.fft_size / config.fft_size
    angles = 2 * np.pi * turns  # of a number below one, so that large products lose nothing
    waves = np.concatenate([np.cos(angles), -np.sin(angles)])
    return (waves * hann_window(config.fft_size) * SAMPLE_SCALE).astype(np.float32)


def largest_difference(path: str | Path, network: Student | Teacher, source: Input) -> float:
    """Return how far a graph is from its network, on recordings of several lengths.

    Lengths are of one, two and three frames, and random ones with an odd and an even number of
    frames; the sound is noise whose level changes, with silence in it.

    Parameters
    ----------
    path : str or Path
        An ONNX file.
    network : Student or Teacher
        What it was made of.
    source : {'waveform', 'spectrogram'}
        What the graph takes.

    Returns
    -------
    float
        Largest difference of a probability, or of an activation relative to the largest.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # what it thinks of this machine is no news
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return max(_difference(session, network, source, samples) for samples in _sounds())


def _check_exportable(config: NetworkConfig) -> None:
    if isinstance(config.front_end, FeatureFrontEndConfig):
        raise ModelError(
            "this model listens to features of an upstream, which is no part of the graph: export "
            "one that listens to spectrograms"
        )
    if config.window is not None:
        raise ModelError(
            f"this model hears windows of {config.window} frames, as a whole, and averages them, "
            "which a graph of any length cannot: export one with batch normalisation"
        )


def _trace(network: Student | Teacher, source: Input, path: Path) -> None:
    config = network.config.spectrogram
    example = torch.zeros(1, _TRACED_SAMPLES)
    if source == "spectrogram":
        example = log_spectrogram(example[0], config).unsqueeze(0)
    outputs = ["probabilities", "activations"][: 2 if isinstance(network, Student) else 1]
    lengths = {source: {1: "samples" if source == "waveform" else "frames"}}
    # The exporter by tracing: that by torch.export takes 40 times as long, for a slower graph.
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # what depends on the traced length, the check would find
        torch.onnx.export(
            Graph(network, source).eval(),
            (example,),
            str(path),
            input_names=[source],
            output_names=outputs,
            dynamic_axes=lengths | {name: {1: "frames"} for name in outputs},
            opset_version=OPSET,
            dynamo=False,
        )


def _attach(metadata: dict[str, Any], path: Path) -> None:
    import onnx

    graph = onnx.load(path)
    onnx.helper.set_model_props(graph, {key: json.dumps(v) for key, v in metadata.items()})
    onnx.checker.check_model(graph, full_check=True)
    onnx.save(graph, path)


def _sounds() -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(20)
    frames = [1, 2, 3, 2 * int(rng.integers(20, 60)) + 1, 2 * int(rng.integers(300, 500))]
    lengths = [WINDOW + (count - 1) * HOP + int(rng.integers(HOP)) for count in frames]
    return [
        _sound(rng, length) for length in (*lengths, int(rng.integers(_LONGEST_CHECK)) + WINDOW)
    ]


def _sound(rng: np.random.Generator, length: int) -> NDArray[np.float32]:
    steps = rng.choice([0.0, 1e-3, 0.03, 0.3], 1 + length // SAMPLE_RATE)
    level = np.repeat(steps, SAMPLE_RATE)[:length]
    return np.clip(level * rng.standard_normal(length), -1, 1).astype(np.float32)


def _difference(
    session: Any, network: Student | Teacher, source: Input, samples: NDArray[np.float32]
) -> float:
    spectrogram = log_spectrogram(torch.from_numpy(samples), network.config.spectrogram)[None]
    given = samples[None] if source == "waveform" else spectrogram.numpy()
    found = session.run(None, {source: given})
    with torch.inference_mode():
        output = network(network.level_norm(spectrogram))
    if not isinstance(output, StudentOutput):
        return _largest(found[0] - output.sigmoid().numpy())
    activations = output.activations.numpy()
    relative = _largest(found[1] - activations) / max(_largest(activations), 1.0)
    return max(_largest(found[0] - output.logits.sigmoid().numpy()), relative)


def _largest(values: NDArray[np.floating]) -> float:
    return float(np.abs(values).max())
