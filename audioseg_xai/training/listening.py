"""What networks listen to: a normalised spectrogram, stored features, or an upstream model's."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TypeVar

import torch

from audioseg_xai.archive import Archive, ArchiveEntry
from audioseg_xai.config import parse_config
from audioseg_xai.devices import resolve_device
from audioseg_xai.errors import ArchiveError, ConfigError, ModelError
from audioseg_xai.features import SAMPLE_SCALE
from audioseg_xai.frames import HOP, num_frames
from audioseg_xai.models.front_end import FeatureFrontEndConfig
from audioseg_xai.models.networks import NetworkConfig, Student, Teacher
from audioseg_xai.training.data import Batch
from audioseg_xai.training.identity import differences
from audioseg_xai.upstream import FeatureStream, Upstream, UpstreamConfig, load_upstream

NetworkConfigT = TypeVar("NetworkConfigT", bound=NetworkConfig)

_BLOCK = 1000
"""Frames of features that are held at once."""


class Listener:
    """Gives networks what they listen to, with each upstream model loaded once.

    Parameters
    ----------
    device : str, optional
        Where upstream models run, as `--device` names it.
    checkpoint : str, optional
        Where the weights of upstream models lie now, if not where they lay before.
    """

    def __init__(self, device: str = "auto", checkpoint: str | None = None) -> None:
        self.device, self.checkpoint = resolve_device(device), checkpoint
        self._upstreams: dict[str, Upstream] = {}
        self._heard: tuple[torch.Tensor, UpstreamConfig, torch.Tensor] | None = None

    def settle(self, config: NetworkConfigT, archives: Iterable[Archive]) -> NetworkConfigT:
        """Return the configuration of a network with the upstream that it listens to.

        Parameters
        ----------
        config : NetworkConfig
            Where it names no upstream, that of the archives is taken.
        archives : iterable of Archive
            All that the network will hear.

        Raises
        ------
        ArchiveError
            If features are not those that the network listens to, or made with another upstream.
        ConfigError
            If an archive holds samples and nothing says which upstream is meant, or the network
            expects other hidden states than it gives.
        """
        front_end = config.front_end
        if not isinstance(front_end, FeatureFrontEndConfig):
            return config
        for archive in archives:
            _check_shape(archive, front_end)
            upstream = _agreed(archive, front_end.upstream)
            front_end = front_end.model_copy(update={"upstream": upstream})
            if archive.feature_shape is None:
                front_end = self._loaded(archive, front_end)
        return config.model_copy(update={"front_end": front_end})

    def inputs(self, network: Teacher | Student, batch: Batch) -> torch.Tensor:
        """Return what `network` hears of a batch, shape (B, T, F or D) or (B, T, L, D)."""
        front_end = network.config.front_end
        if not isinstance(front_end, FeatureFrontEndConfig):
            normalised: torch.Tensor = network.level_norm(batch.spectrogram)
            return normalised
        if batch.features.numel():
            return batch.features
        return self._hidden_states(_named(front_end), batch.samples)

    def recording(
        self, network: Teacher | Student, archive: Archive, entry: ArchiveEntry
    ) -> Iterator[torch.Tensor]:
        """Yield what `network` hears of a recording, in blocks (t, F or D) or (t, L, D).

        A spectrogram comes whole; features in blocks, because all hidden states of an hour would
        not fit into memory. Features are computed in the windows that they are extracted in.
        """
        front_end = network.config.front_end
        device = next(network.parameters()).device
        if not isinstance(front_end, FeatureFrontEndConfig):
            spectrogram = torch.from_numpy(archive.read(entry)[0]).float().unsqueeze(0)
            yield network.level_norm(spectrogram.to(device))[0]
        elif archive.feature_shape is not None:
            for start in range(0, entry.num_frames, _BLOCK):
                features = archive.read(entry, start, start + _BLOCK, features=True)[2]
                yield torch.from_numpy(features).float().to(device)
        else:
            stream = FeatureStream(self.upstream(_named(front_end)))
            for block in _sample_blocks(archive, entry):
                yield from (part.to(device) for part in stream.push(block))
            yield from (part.to(device) for part in stream.finish())

    def upstream(self, config: UpstreamConfig) -> Upstream:
        """Return an upstream model; it is loaded when it is asked for first."""
        key = config.identity()
        if key not in self._upstreams:
            moved = config if self.checkpoint is None else _at(config, self.checkpoint)
            loaded = load_upstream(moved, self.device)
            self._upstreams |= {key: loaded, loaded.config.identity(): loaded}
        return self._upstreams[key]

    def _hidden_states(self, config: UpstreamConfig, samples: torch.Tensor) -> torch.Tensor:
        # Teacher and student often listen to the same upstream: it is the expensive part.
        if self._heard is None or self._heard[0] is not samples or self._heard[1] != config:
            self._heard = None  # there may be no room for two
            states = self.upstream(config).hidden_states(samples).to(samples.device)
            self._heard = samples, config, states
        return self._heard[2]

    def _loaded(self, archive: Archive, front_end: FeatureFrontEndConfig) -> FeatureFrontEndConfig:
        if front_end.upstream is None:
            raise ConfigError(
                f"{archive.folder}: holds samples, and nothing says which upstream model the "
                "network listens to: set network.front_end.upstream"
            )
        upstream = self.upstream(front_end.upstream)
        found, expected = (upstream.num_layers, upstream.dimension), _layers(front_end)
        if found != expected:
            raise ConfigError(
                f"network.front_end: expects {_described(*expected)}, {upstream.config.name} gives "
                f"{_described(*found)}: set layers to {found[0]} and dimension to {found[1]}"
            )
        return front_end.model_copy(update={"upstream": upstream.config})


def _sample_blocks(archive: Archive, entry: ArchiveEntry) -> Iterator[torch.Tensor]:
    whole = archive.read_samples(entry)
    assert num_frames(len(whole)) == entry.num_frames
    for start in range(0, len(whole), _BLOCK * HOP):
        yield torch.from_numpy(whole[start : start + _BLOCK * HOP]).float() / SAMPLE_SCALE


def _at(config: UpstreamConfig, checkpoint: str) -> UpstreamConfig:
    values = config.model_dump() | {"checkpoint": checkpoint}
    return parse_config(values, UpstreamConfig, "--upstream-checkpoint")


def _check_shape(archive: Archive, front_end: FeatureFrontEndConfig) -> None:
    shape = archive.feature_shape
    if shape is None:
        if archive.has_samples:
            return
        raise ArchiveError(
            f"{archive.folder}: holds neither upstream features nor samples: "
            "run 'xai-segment cache-features' with --upstream or --store audio"
        )
    found = shape if len(shape) == 2 else (1, *shape)
    if found != _layers(front_end):
        raise ArchiveError(
            f"{archive.folder}: its features are {_described(*found)}, the network listens to "
            f"{_described(*_layers(front_end))}: set network.front_end.layers to {found[0]} and "
            f"dimension to {found[1]}, or extract others"
        )


def _agreed(archive: Archive, wanted: UpstreamConfig | None) -> UpstreamConfig | None:
    """Return the upstream of an archive and of a configuration, which must be the same."""
    recorded = archive.upstream
    if recorded is None:
        return wanted
    found = parse_config(json.loads(recorded), UpstreamConfig, str(archive.folder))
    if wanted is None:
        return found
    if archive.feature_shape is None:
        return wanted  # nothing was computed yet
    differing = differences(_what(wanted, found), _what(found, wanted))
    if differing:
        raise ArchiveError(
            f"{archive.folder}: its features were made with another upstream than the network "
            f"listens to ({', '.join(differing)}): extract them with the same"
        )
    return wanted.model_copy(update={"digest": found.digest or wanted.digest})


def _what(config: UpstreamConfig, other: UpstreamConfig) -> dict[str, object]:
    # A configuration that was written by hand says nothing of digests.
    left_out = {"checkpoint"} if config.digest and other.digest else {"checkpoint", "digest"}
    return config.model_dump(mode="json", exclude=left_out)


def _named(front_end: FeatureFrontEndConfig) -> UpstreamConfig:
    if front_end.upstream is None:
        raise ModelError(
            "this network does not say which upstream model it listens to: give it an archive of "
            "features instead of samples"
        )
    return front_end.upstream


def _layers(front_end: FeatureFrontEndConfig) -> tuple[int, int]:
    return front_end.layers, front_end.dimension


def _described(layers: int, dimension: int) -> str:
    return f"{layers} x {dimension} (layers x dimension)"
