"""Where an artefact comes from: versions, configuration, digests of what it was made of."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from audioseg_xai.files import sha256_file
from audioseg_xai.version import __version__

_LIBRARIES = ("numpy", "torch", "h5py", "soundfile", "av", "soxr")


def provenance(
    config: Mapping[str, Any] | None = None, inputs: Iterable[str | Path] = ()
) -> dict[str, Any]:
    """Return what a reader needs to make the same artefact again.

    Parameters
    ----------
    config : mapping, optional
        The settings that the artefact was made with; must serialise to JSON.
    inputs : iterable of path, optional
        Files that went in; recorded by name and digest, never by the folder they lie in.

    Returns
    -------
    dict
        ``tool``, ``python``, ``libraries``, ``created`` (UTC, ISO 8601), ``config``, ``inputs``.
    """
    return {
        "tool": f"audioseg_xai {__version__}",
        "python": platform.python_version(),
        "libraries": _installed(_LIBRARIES),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": dict(config or {}),
        "inputs": {Path(path).name: sha256_file(path) for path in inputs},
    }


def _installed(names: Iterable[str]) -> dict[str, str]:
    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # an optional library that is absent cannot have shaped the artefact
    return versions
