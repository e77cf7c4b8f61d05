"""Teacher and student on frames that arrive in blocks: in NumPy, with nothing computed twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audioseg_xai.models.branches import branch_weights
from audioseg_xai.models.configs import (
    STRIDED_CONVOLUTION,
    NetworkConfig,
    SpectrogramFrontEndConfig,
    StudentConfig,
    TCNConfig,
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
        self.config = config
        scratch = Scratch()  # of all branches, for they compute one after another
        self._branches = [
            _Branch(config, _Parameters(branch_weights(weights, number, config.branches)), scratch)
            for number in range(config.branches)
        ]
        parameters = _Parameters(weights)
        self._classifier = parameters.linear("classifier")
        self._zeros = np.zeros(len(self._classifier.weights), np.float32)
        self._student = isinstance(config, StudentConfig)
        self._analysis = None
        if "analysis.weight" in weights:
            self._analysis = np.ascontiguousarray(parameters.array("analysis.weight").T)
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

    def hear(self, normalised: Floats) -> list[Floats]:
        """Return what the front end of each branch makes of the next frames, for `decide`."""
        return [branch.front_end.push(normalised) for branch in self._branches]

    def hear_last(self) -> list[Floats]:
        """Return what the front ends still have to say at the end, for `decide_last`."""
        return [branch.front_end.finish() for branch in self._branches]

    def decide(self, normalised: Floats, heard: list[Floats]) -> tuple[Floats, Floats, Floats]:
        """Take the next frames and what `hear` made of them; return what `push` returns."""
        self._waiting.append(normalised)
        return self._decide([branch.push(each) for branch, each in self._each(heard)])

    def decide_last(self, heard: list[Floats]) -> tuple[Floats, Floats, Floats]:
        """Take what `hear_last` says; return the frames that remain, as `push` does."""
        remaining = sum(map(len, self._waiting))
        return self._decide(
            [branch.push_last(each, remaining) for branch, each in self._each(heard)]
        )

    def _each(self, heard: list[Floats]) -> Iterable[tuple[_Branch, Floats]]:
        return zip(self._branches, heard, strict=True)

    def _decide(self, outputs: list[Floats]) -> tuple[Floats, Floats, Floats]:
        joined = outputs[0] if len(outputs) == 1 else np.concatenate(outputs, axis=1)
        normalised = self._take(len(joined))
        if self._analysis is not None:
            joined += normalised @ self._analysis
        np.maximum(joined, self._zeros, out=joined)
        activations = joined if self._student else joined[:, :0]
        return normalised, self._classifier.push(joined), activations

    def _take(self, count: int) -> Floats:
        joined = self._waiting[0] if len(self._waiting) == 1 else np.concatenate(self._waiting)
        self._waiting = [joined[count:]]
        return joined[:count]


class _Branch:
    """One of the networks that hear the same: what it makes of the frames before the last layers.

    Parameters
    ----------
    config : TeacherConfig or StudentConfig
        Of the network that it is a part of.
    parameters : _Parameters
        Its own.
    scratch : Scratch
        Memory that its convolutions use in turn.
    """

    def __init__(self, config: NetworkConfig, parameters: _Parameters, scratch: Scratch) -> None:
        assert isinstance(config.front_end, SpectrogramFrontEndConfig)
        self._parameters, self._scratch = parameters, scratch
        bins, stride = config.spectrogram.num_bins, config.front_end.stride
        self.front_end = Chain(self._front_end_layers(config.front_end, bins), piece=_PIECE)
        interpolation = [Interpolation(stride, config.tcn.channels)] if stride > 1 else []
        self._embedding = Chain([*self._tcn(config.tcn), *interpolation])
        is_student = isinstance(config, StudentConfig)
        self._excitation = parameters.linear("to_activations") if is_student else None

    def push(self, heard: Floats) -> Floats:
        """Return the embedding of a teacher, the excitation of a student."""
        return self._excited(self._embedding.push(heard))

    def push_last(self, heard: Floats, remaining: int) -> Floats:
        """Return those of the last frames, `remaining` of them."""
        rows = np.concatenate([self._embedding.push(heard), self._embedding.finish()])
        return self._excited(rows[:remaining])

    def _excited(self, embedding: Floats) -> Floats:
        return embedding if self._excitation is None else self._excitation.push(embedding)

    def _front_end_layers(self, config: SpectrogramFrontEndConfig, bins: int) -> list[Layer]:
        array, folded = self._parameters.array, self._parameters.folded
        scale, shift = self._parameters.norm("front_end.convolutions.0")
        mel = mel_matrix(config.bands, bins)
        layers: list[Layer] = [Affine((mel * scale).astype(np.float32), shift.astype(np.float32))]
        bands = config.bands
        for number in range(len(config.channels)):
            # Of a convolution, a norm and a relu each, behind the first norm.
            name, norm = (f"front_end.convolutions.{3 * number + part}" for part in (1, 2))
            stride = config.stride if number == STRIDED_CONVOLUTION else 1
            layers.append(BandConvolution(*folded(name, norm), bands, stride))
            bands = (bands + 1) // 2
        # PyTorch has the bands of a channel side by side, we the channels of a band.
        projection = array("front_end.projection.weight")
        apart = projection.reshape(len(projection), config.channels[-1], bands)
        weights = apart.transpose(2, 1, 0).reshape(-1, len(projection))
        return [*layers, Affine(weights, array("front_end.projection.bias"))]

    def _tcn(self, config: TCNConfig) -> list[Layer]:
        array, folded = self._parameters.array, self._parameters.folded
        return [
            DilatedBlock(
                *folded(f"tcn.{number}.layers.0", f"tcn.{number}.layers.1"),
                array(f"tcn.{number}.layers.3.weight")[:, :, 0],
                array(f"tcn.{number}.layers.3.bias"),
                dilation,
                self._scratch,
            )
            for number, dilation in enumerate(dilations(config.blocks, config.repeats))
        ]


class _Parameters:
    """What layers are made of, from the weights of a PyTorch network.

    Parameters
    ----------
    weights : mapping of str to numpy.ndarray
        Name of each parameter or buffer to its values.
    """

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def array(self, name: str) -> Floats:
        """Return one of them."""
        return self._weights[name].astype(np.float32, copy=False)

    def linear(self, name: str) -> Affine:
        """Return a linear layer."""
        return Affine(self.array(f"{name}.weight").T, self.array(f"{name}.bias"))

    def norm(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what a batch normalisation at inference multiplies with, and what it adds."""
        mean, variance, weight, bias = (
            self._weights[f"{name}.{part}"].astype(np.float64)
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        scale = weight / np.sqrt(variance + _EPSILON)
        return scale, bias - mean * scale

    def folded(self, convolution: str, norm: str) -> tuple[Floats, Floats]:
        """Return weights and bias of a convolution with the norm behind it folded in."""
        weights = self._weights[f"{convolution}.weight"]
        scale, shift = self.norm(norm)
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
    tcn, branches = config.tcn, config.branches
    shapes = _norm_shapes("front_end.convolutions.0", branches)
    inputs, bands = 1, config.front_end.bands
    for number, outputs in enumerate(config.front_end.channels):
        name = f"front_end.convolutions.{3 * number + 1}.weight"
        shapes |= {name: (branches * outputs, inputs, 3, 3)}
        shapes |= _norm_shapes(f"front_end.convolutions.{3 * number + 2}", branches * outputs)
        inputs, bands = outputs, (bands + 1) // 2
    shapes |= _linear_shapes("front_end.projection", config.width, inputs * bands, 1)
    for number in range(tcn.blocks * tcn.repeats):
        name = f"tcn.{number}.layers"
        shapes |= {f"{name}.0.weight": (config.width, tcn.channels, tcn.kernel)}
        shapes |= _norm_shapes(f"{name}.1", config.width)
        shapes |= _linear_shapes(f"{name}.3", config.width, tcn.channels, 1)
    if not isinstance(config, StudentConfig):
        return shapes | _linear_shapes("classifier", len(config.classes), config.width)
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
