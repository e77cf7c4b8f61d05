"""An upstream model, loaded and frozen: samples in, hidden states on the frame clock out."""

from __future__ import annotations

import torch
from torch import nn

from audioseg_xai.devices import resolve_device
from audioseg_xai.errors import ConfigError, ModelError
from audioseg_xai.frames import HOP, WINDOW, num_frames
from audioseg_xai.upstream.config import UpstreamConfig
from audioseg_xai.upstream.networks import build_network

_PROBE = 16_000  # samples, a second


class Upstream:
    """A frozen upstream model; `load_upstream` makes one.

    Parameters
    ----------
    config : UpstreamConfig
        With the digest of the weights that are loaded.
    network : nn.Module
        Maps samples (B, N) and the number of the last state wanted to a list of (B, T', D).
    device : str
        Where it runs.

    Raises
    ------
    ConfigError
        If it has no frame every 20 ms, its hidden states differ in size, or it lacks the layers.

    Attributes
    ----------
    num_layers : int
        L, hidden states a frame: one if `config.layers` names one or weighs them.
    dimension : int
        D, size of a hidden state.
    """

    def __init__(self, config: UpstreamConfig, network: nn.Module, device: str = "cpu") -> None:
        self.config, self.device = config, torch.device(device)
        self.network = network.to(self.device)
        with torch.no_grad():
            states = self.network(torch.zeros(1, _PROBE, device=self.device))
        sizes = {state.shape[2] for state in states}
        if len(sizes) > 1:
            raise ConfigError(f"{config.name}: its hidden states have different sizes: {sizes}")
        self.dimension: int = sizes.pop()
        self._available = len(states)
        for state in states:
            self._on_clock(state, num_frames(_PROBE))
        self._check_layers()

    @property
    def num_layers(self) -> int:
        """L, the hidden states that are given for each frame."""
        return self._available if self.config.layers == "all" else 1

    @torch.no_grad()
    def hidden_states(self, samples: torch.Tensor) -> torch.Tensor:
        """Return the hidden states of recordings, or crops, of equal length.

        Each is computed as a whole: nothing is padded, cut into windows or mixed with the others.
        Frame t is that of the frame clock; an upstream that gives one frame fewer at the end gets
        its last one twice.

        Parameters
        ----------
        samples : torch.Tensor, shape (B, N), float32
            16 kHz mono audio in [-1, 1], on any device.

        Returns
        -------
        torch.Tensor, shape (B, T, L, D), float32
            On the device of the upstream; T = `frames.num_frames(N)`, L is 1 where the
            configuration names one layer or weighs them.
        """
        frames = num_frames(samples.shape[1])
        if frames == 0 or not len(samples):
            shape = (len(samples), frames, self.num_layers, self.dimension)
            return torch.zeros(shape, device=self.device)
        states = self.network(samples.to(self.device, torch.float32), self._last)
        return self._select([self._on_clock(state, frames) for state in states])

    @property
    def _last(self) -> int:
        layers = self.config.layers
        if layers == "all":
            return self._available - 1
        if isinstance(layers, int):
            return layers
        return max((n for n, weight in enumerate(layers) if weight), default=0)

    def _select(self, states: list[torch.Tensor]) -> torch.Tensor:
        layers = self.config.layers
        if layers == "all":
            return torch.stack(states, dim=2)
        if isinstance(layers, int):
            return states[layers].unsqueeze(2)
        total = torch.zeros_like(states[0])
        for weight, state in zip(layers, states, strict=False):  # those above `_last` weigh nothing
            total.add_(state, alpha=weight)
        return total.unsqueeze(2)

    def _on_clock(self, state: torch.Tensor, frames: int) -> torch.Tensor:
        found = state.shape[1]
        if abs(found - frames) > 1:
            raise ConfigError(
                f"{self.config.name}: gives {found} frames where one every {HOP} samples of "
                f"{WINDOW} makes {frames}: take an upstream with a frame every 20 ms"
            )
        if found < frames:
            state = torch.cat([state, state[:, -1:]], dim=1)
        return state[:, :frames]

    def _check_layers(self) -> None:
        layers, there = self.config.layers, self._available
        if isinstance(layers, int) and layers >= there:
            raise ConfigError(
                f"layer {layers}: {self.config.name} has hidden states 0 to {there - 1}"
            )
        if isinstance(layers, tuple) and len(layers) != there:
            raise ConfigError(
                f"{len(layers)} weights of layers: {self.config.name} has {there} hidden states"
            )


def load_upstream(config: UpstreamConfig, device: str = "auto") -> Upstream:
    """Load an upstream model.

    Parameters
    ----------
    config : UpstreamConfig
        What to load; a `digest` in it must be that of the weights found.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Returns
    -------
    Upstream
        Its `config` holds the digest of the weights.

    Raises
    ------
    ModelError
        If a package or the checkpoint is missing, damaged, or not the one that is expected.
    ConfigError
        If the upstream or its layers do not exist, or do not fit the frame clock.
    """
    where = resolve_device(device)
    network, digest = build_network(config)
    if config.digest and config.digest != digest:
        raise ModelError(
            f"{config.checkpoint or config.name}: holds other weights (SHA-256 {digest[:12]}) than "
            f"those that were used before ({config.digest[:12]}): give the same checkpoint"
        )
    return Upstream(config.model_copy(update={"digest": digest}), network, where)
