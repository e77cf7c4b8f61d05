"""Explainable multilabel audio segmentation: speech, music, noise and overlapped speech."""

from audioseg_xai.version import __version__

__all__ = ["__version__"]
