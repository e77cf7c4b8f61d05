"""Upstream models (WavLM and others of s3prl): frozen features on the frame clock."""

from audioseg_xai.upstream.config import UpstreamConfig, parse_layers
from audioseg_xai.upstream.model import Upstream, load_upstream
from audioseg_xai.upstream.stream import FeatureStream

__all__ = ["FeatureStream", "Upstream", "UpstreamConfig", "load_upstream", "parse_layers"]
