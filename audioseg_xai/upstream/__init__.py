"""Upstream models (WavLM and others of s3prl): frozen features on the frame clock."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from audioseg_xai.upstream.config import UpstreamConfig, parse_layers

if TYPE_CHECKING:
    from audioseg_xai.upstream.model import Upstream, load_upstream
    from audioseg_xai.upstream.stream import FeatureStream

__all__ = ["FeatureStream", "Upstream", "UpstreamConfig", "load_upstream", "parse_layers"]

_NEEDS_TORCH = {"FeatureStream": "stream", "Upstream": "model", "load_upstream": "model"}


def __getattr__(name: str) -> Any:
    # A configuration names an upstream without waiting for PyTorch.
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_NEEDS_TORCH[name]}")
    return getattr(module, name)
