"""Build the network of an upstream: from a WavLM checkpoint, or from what s3prl offers."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import pickle
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from audioseg_xai.console import log
from audioseg_xai.errors import AudiosegError, ConfigError, ModelError
from audioseg_xai.upstream import libraries
from audioseg_xai.upstream.config import UpstreamConfig
from audioseg_xai.upstream.wavlm import FastWavLM, conv_shapes

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


class HubNetwork(nn.Module):
    """Hidden states of an upstream that s3prl computes.

    Parameters
    ----------
    expert : nn.Module
        What `s3prl.hub` returns.
    dtype : torch.dtype
        Of matrix products and convolutions.
    """

    def __init__(self, expert: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self.expert, self.dtype = expert, dtype

    def forward(self, samples: torch.Tensor, last: int | None = None) -> list[torch.Tensor]:
        """Return the hidden states (B, T, D) of samples (B, N), up to number `last`."""
        with torch.autocast(samples.device.type, self.dtype, self.dtype != torch.float32):
            states = self.expert(list(samples))["hidden_states"]
        stop = None if last is None else last + 1
        return [state.float() for state in states[:stop]]


def build_network(config: UpstreamConfig) -> tuple[nn.Module, str]:
    """Return the frozen network of an upstream, and the SHA-256 of its weights.

    Parameters
    ----------
    config : UpstreamConfig
        Name, checkpoint and precision.

    Raises
    ------
    ModelError
        If s3prl is missing, the checkpoint cannot be read or does not fit, or is not here and
        cannot be downloaded.
    ConfigError
        If s3prl has no upstream of that name.
    """
    dtype = DTYPES[config.precision]
    # s3prl uses what torch is about to drop, and prints to where data goes.
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        if config.is_wavlm:
            model = _wavlm(config)
            digest = weights_digest(model)
            network: nn.Module = FastWavLM(model, dtype)
        else:
            expert = _expert(libraries.hub(), config)
            digest = weights_digest(expert)
            network = HubNetwork(expert, dtype)
    return network.eval().requires_grad_(False), digest


def weights_digest(network: nn.Module) -> str:
    """Return the SHA-256 of names, shapes and values of all weights, however they are stored."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy() if flat.numel() else b"")
    return digest.hexdigest()


# --- WavLM --------------------------------------------------------------------------------------


def _wavlm(config: UpstreamConfig) -> Any:
    hubconf, module = libraries.wavlm_modules()
    if config.checkpoint is None:
        return _expert(hubconf, config).model
    path = _existing(config.checkpoint, config.name)
    checkpoint = _read_checkpoint(path)
    try:
        settings = module.WavLMConfig(checkpoint["cfg"])
        conv_shapes(settings.conv_feature_layers)  # s3prl executes this text: look at it first
        model = module.WavLM(settings)
        model.load_state_dict(checkpoint["model"], assign=True)
    except (TypeError, ValueError, SyntaxError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{path}: is no WavLM checkpoint that fits together: {reason}") from None
    return model.float()


def _existing(checkpoint: str, name: str) -> Path:
    path = Path(checkpoint)
    if not path.is_file():
        raise ModelError(
            f"{path}: no such checkpoint of {name}: name the file with --upstream-checkpoint, or "
            "as upstream.checkpoint of a configuration"
        )
    return path


def _read_checkpoint(path: Path) -> dict[str, Any]:
    try:
        mapped = zipfile.is_zipfile(path)  # the format of old versions of torch cannot be mapped
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError):
        log.debug(f"{path}", exc_info=True)
        raise ModelError(
            f"{path}: is no checkpoint of torch, is damaged, or holds more than weights and "
            "settings (which is not loaded, because it could run programs): download it again"
        ) from None
    if not (isinstance(checkpoint, dict) and {"cfg", "model"} <= checkpoint.keys()):
        raise ModelError(
            f"{path}: is no WavLM checkpoint: expected a dictionary with 'cfg' and 'model'"
        )
    return checkpoint


# --- what s3prl loads itself --------------------------------------------------------------------


def _expert(hub: Any, config: UpstreamConfig) -> Any:
    known = [name for name in dir(hub) if callable(getattr(hub, name)) and name[0] != "_"]
    if config.name not in known:
        near = difflib.get_close_matches(config.name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "see the documentation of s3prl"
        raise ConfigError(f"s3prl has no upstream {config.name!r}: {hint}")
    source = {}
    if config.checkpoint is not None:
        source["ckpt"] = str(_existing(config.checkpoint, config.name))
    try:
        expert = getattr(hub, config.name)(**source).eval()
        expert(_second_of_silence())
        return expert
    except AudiosegError:
        raise
    except OSError as error:
        log.debug(config.name, exc_info=True)
        raise ModelError(_not_here(config, type(error).__name__)) from None
    except Exception as error:  # whatever one of 196 upstreams raises, it cannot be used
        log.debug(config.name, exc_info=True)
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"s3prl cannot load {config.name}: {type(error).__name__}: {reason}"
        ) from None


def _second_of_silence() -> list[torch.Tensor]:
    return [torch.zeros(16_000)]


def _not_here(config: UpstreamConfig, error: str) -> str:
    if config.checkpoint is not None:
        return f"{config.checkpoint}: cannot be read: {error}"
    family = config.name.partition("_")[0]
    return (
        f"{config.name}: its weights are not here and cannot be downloaded ({error}): connect to "
        f"the internet, or download them elsewhere and say --upstream {family}_local "
        "--upstream-checkpoint FILE"
    )
