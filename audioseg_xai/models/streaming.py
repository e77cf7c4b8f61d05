"""Teacher and student on frames that arrive in blocks: in NumPy, with nothing computed twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audioseg_xai.models.configs import (
    STRIDED_CONVOLUTION,
    NetworkConfig,
    SpectrogramFrontEndConfig,
    StudentConfig,
)
from audioseg_xai.models.layers import (
    Affine,
    BandConvolution,
    Chain,
    DilatedBlock,
    Interpolation,
    Layer,
    Scratch,
    dilations,
)
from audioseg_xai.models.mel import mel_matrix

Floats = NDArray[np.float32]
Weights = Mapping[str, NDArray[Any]]
"""Name of a parameter or buffer of the PyTorch network to its values."""

_PIECE = 256
"""Frames at once in the front end, whose maps are the largest: they stay in the cache of a core."""

_EPSILON = 1e-5  # what torch.nn.BatchNorm adds to the variance


def streamable(config: NetworkConfig) -> bool:
    """Tell whether `StreamingNetwork` computes networks of this architecture."""
    return (
        isinstance(config.front_end, SpectrogramFrontEndConfig)
        and config.window is None
        and config.tcn.block == "dense"
    )


class StreamingNetwork:
    """A teacher or student that carries the state of its convolutions from block to block.

    Computes what `networks.Teacher` and `networks.Student` do, for a whole recording, whatever its
    blocks. One instance is for one recording.

    Parameters
    ----------
    config : TeacherConfig or StudentConfig
        Of an architecture that is `streamable`.
    weights : mapping of str to numpy.ndarray
        As the model directory has them.
    """

    def __init__(self, config: NetworkConfig, weights: Weights) -> None:
        assert isinstance(config.front_end, SpectrogramFrontEndConfig)
        self.config, self._weights = config, weights
        self._front_end = Chain(self._front_end_layers(config.front_end), piece=_PIECE)
        self._embedding = Chain([*self._tcn(), *self._interpolation()])
        self._classifier = self._linear("classifier")
        self._student = isinstance(config, StudentConfig)
        if self._student:
            self._to_activations = self._linear("to_activations")
            self._zeros = np.zeros_like(self._to_activations.bias)
        self._analysis = None
        if "analysis.weight" in weights:
            self._analysis = np.ascontiguousarray(self._array("analysis.weight").T)
        # Inputs whose results are not known yet.
        self._waiting: list[Floats] = [np.zeros((0, config.spectrogram.num_bins), np.float32)]

    def push(self, normalised: Floats) -> tuple[Floats, Floats, Floats]:
        """Take the next frames; return those that are decided now.

        Parameters
        ----------
        normalised : numpy.ndarray, shape (n, F)
            Level-normalised log spectrogram.

        Returns
        -------
        normalised : numpy.ndarray, shape (m, F)
            The frames that are decided.
        logits : numpy.ndarray, shape (m, C)
        activations : numpy.ndarray, shape (m, K)
            H; K = 0 for a teacher.
        """
        return self.decide(normalised, self.hear(normalised))

    def finish(self) -> tuple[Floats, Floats, Floats]:
        """Return the frames that remain at the end, as `push` does."""
        return self.decide_last(self.hear_last())

    # Both halves take about as long, and each has a state of its own: one thread can hear what
    # comes next while another one decides.

    def hear(self, normalised: Floats) -> Floats:
        """Return what the front end makes of the next frames, shape (n, F), for `decide`."""
        return self._front_end.push(normalised)

    def hear_last(self) -> Floats:
        """Return what the front end still has to say at the end, for `decide_last`."""
        return self._front_end.finish()

    def decide(self, normalised: Floats, heard: Floats) -> tuple[Floats, Floats, Floats]:
        """Take the next frames and what `hear` made of them; return what `push` returns."""
        self._waiting.append(normalised)
        return self._decide(self._embedding.push(heard))

    def decide_last(self, heard: Floats) -> tuple[Floats, Floats, Floats]:
        """Take what `hear_last` says; return the frames that remain, as `push` does."""
        embedding = np.concatenate([self._embedding.push(heard), self._embedding.finish()])
        remaining = sum(map(len, self._waiting))
        return self._decide(embedding[:remaining])

    def _decide(self, embedding: Floats) -> tuple[Floats, Floats, Floats]:
        normalised = self._take(len(embedding))
        if not self._student:
            logits = self._classifier.push(np.maximum(embedding, 0, out=embedding))
            return normalised, logits, np.zeros((len(logits), 0), np.float32)
        activations = self._to_activations.push(embedding)
        if self._analysis is not None:
            activations += normalised @ self._analysis
        np.maximum(activations, self._zeros, out=activations)
        return normalised, self._classifier.push(activations), activations

    def _take(self, count: int) -> Floats:
        joined = self._waiting[0] if len(self._waiting) == 1 else np.concatenate(self._waiting)
        self._waiting = [joined[count:]]
        return joined[:count]

    def _front_end_layers(self, config: SpectrogramFrontEndConfig) -> list[Layer]:
        scale, shift = self._norm("front_end.convolutions.0")
        mel = mel_matrix(config.bands, self.config.spectrogram.num_bins)
        layers: list[Layer] = [Affine((mel * scale).astype(np.float32), shift.astype(np.float32))]
        bands = config.bands
        for number in range(len(config.channels)):
            # Of a convolution, a norm and a relu each, behind the first norm.
            name, norm = (f"front_end.convolutions.{3 * number + part}" for part in (1, 2))
            stride = config.stride if number == STRIDED_CONVOLUTION else 1
            layers.append(BandConvolution(*self._folded(name, norm), bands, stride))
            bands = (bands + 1) // 2
        # PyTorch has the bands of a channel side by side, we the channels of a band.
        projection = self._array("front_end.projection.weight")
        apart = projection.reshape(len(projection), config.channels[-1], bands)
        weights = apart.transpose(2, 1, 0).reshape(-1, len(projection))
        return [*layers, Affine(weights, self._array("front_end.projection.bias"))]

    def _tcn(self) -> list[Layer]:
        config, scratch = self.config.tcn, Scratch()
        return [
            DilatedBlock(
                *self._folded(f"tcn.{number}.layers.0", f"tcn.{number}.layers.1"),
                self._array(f"tcn.{number}.layers.3.weight")[:, :, 0],
                self._array(f"tcn.{number}.layers.3.bias"),
                dilation,
                scratch,
            )
            for number, dilation in enumerate(dilations(config.blocks, config.repeats))
        ]

    def _interpolation(self) -> list[Layer]:
        stride = self.config.front_end.stride
        return [Interpolation(stride, self.config.tcn.channels)] if stride > 1 else []

    def _linear(self, name: str) -> Affine:
        return Affine(self._array(f"{name}.weight").T, self._array(f"{name}.bias"))

    def _array(self, name: str) -> Floats:
        return self._weights[name].astype(np.float32, copy=False)

    def _norm(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what a batch normalisation at inference multiplies with, and what it adds."""
        mean, variance, weight, bias = (
            self._weights[f"{name}.{part}"].astype(np.float64)
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        scale = weight / np.sqrt(variance + _EPSILON)
        return scale, bias - mean * scale

    def _folded(self, convolution: str, norm: str) -> tuple[Floats, Floats]:
        """Return weights and bias of a convolution with the norm behind it folded in."""
        weights = self._weights[f"{convolution}.weight"]
        scale, shift = self._norm(norm)
        scaled = weights * scale.reshape(-1, *[1] * (weights.ndim - 1))
        return scaled.astype(np.float32), shift.astype(np.float32)


def weight_shapes(config: NetworkConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of each array that `StreamingNetwork` looks at, by its name.

    Parameters
    ----------
    config : TeacherConfig or StudentConfig
        Of an architecture that is `streamable`.
    """
    assert isinstance(config.front_end, SpectrogramFrontEndConfig)
    tcn, shapes = config.tcn, _norm_shapes("front_end.convolutions.0", 1)
    inputs, bands = 1, config.front_end.bands
    for number, outputs in enumerate(config.front_end.channels):
        name = f"front_end.convolutions.{3 * number + 1}.weight"
        shapes |= {name: (outputs, inputs, 3, 3)}
        shapes |= _norm_shapes(f"front_end.convolutions.{3 * number + 2}", outputs)
        inputs, bands = outputs, (bands + 1) // 2
    shapes |= _linear_shapes("front_end.projection", tcn.channels, inputs * bands, 1)
    for number in range(tcn.blocks * tcn.repeats):
        name = f"tcn.{number}.layers"
        shapes |= {f"{name}.0.weight": (tcn.channels, tcn.channels, tcn.kernel)}
        shapes |= _norm_shapes(f"{name}.1", tcn.channels)
        shapes |= _linear_shapes(f"{name}.3", tcn.channels, tcn.channels, 1)
    if not isinstance(config, StudentConfig):
        return shapes | _linear_shapes("classifier", len(config.classes), tcn.channels)
    bins, components = config.spectrogram.num_bins, config.components
    shapes |= {"dictionary": (bins, components)}
    shapes |= _linear_shapes("to_activations", components, tcn.channels)
    shapes |= {"analysis.weight": (components, bins)} if config.analysis else {}
    return shapes | _linear_shapes("classifier", len(config.classes), components)


def _norm_shapes(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    parts = ("running_mean", "running_var", "weight", "bias")
    return {f"{name}.{part}": (channels,) for part in parts}


def _linear_shapes(name: str, outputs: int, *inputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, *inputs), f"{name}.bias": (outputs,)}
