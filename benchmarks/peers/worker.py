"""Run one detector over recordings, in the interpreter that has its libraries.

    PYTHON worker.py ADAPTER.py REQUEST.json ANSWER.json

Needs nothing but the standard library and what the adapter needs. An adapter is a module with

- PACKAGE, INSTALL: the distribution whose version is told, and how to get it
- LICENCE: of code and weights
- CLASSES: which of speech, music, noise, overlap it decides
- DECIDES: thresholds and post-processing, and where they are published
- load(**options): returns the detector
- detect(detector, path): returns {class: [(onset, offset), ...]} in seconds, of a mono WAV file of
  16 bits at 16 kHz; segments may touch or overlap

The request holds `options` and `recordings` (path by name); the answer `version`, `segments` (by
name and class) and CPU seconds: `load` (imports and weights) and `detect` (reading and deciding).
When a library is absent the answer is `missing`, which says so.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any


def load_adapter(path: str | Path) -> ModuleType:
    """Return the module that lies at `path`, under a name of its own."""
    name = f"adapter_{Path(path).stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path}: not a Python module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def answer(adapter: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Return what an adapter finds in the recordings of a request, and what that took."""
    started = time.process_time()
    try:
        version = metadata.version(adapter.PACKAGE)
        detector = adapter.load(**request["options"])
    except ImportError as error:
        return {"missing": str(error)}
    loaded = time.process_time()
    segments = {
        name: adapter.detect(detector, path) for name, path in request["recordings"].items()
    }
    seconds = {"load": loaded - started, "detect": time.process_time() - loaded}
    return {"version": version, "segments": segments, "seconds": seconds}


def main(adapter: str, request: str, target: str) -> None:
    """Read the request, do it, write the answer."""
    found = answer(load_adapter(adapter), json.loads(Path(request).read_text(encoding="utf-8")))
    Path(target).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
