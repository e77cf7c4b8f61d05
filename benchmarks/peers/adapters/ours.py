"""What `xai-segment segment` does."""

from __future__ import annotations

from typing import Any

PACKAGE = "audioseg-xai"
INSTALL = "pip install -c constraints.txt -e ."
LICENCE = "MIT; weights as the model card says"
CLASSES = ("speech", "music", "noise", "overlap")
DECIDES = "thresholds and durations that the model directory stores"


def load(model: str | None = None) -> Any:
    """Return the pipeline of a model directory, or of the bundled one."""
    from audioseg_xai.pipeline import Settings, load_pipeline

    return load_pipeline(Settings(model=model, device="cpu", threads=1))


def detect(detector: Any, path: str) -> dict[str, list[tuple[float, float]]]:
    """Return segments of each class that the model decides."""
    from audioseg_xai.recordings import Recording

    found: dict[str, list[tuple[float, float]]] = {name: [] for name in detector.decoding}
    for segment in detector.segment(Recording("recording", path)).segments:
        found[segment.label].append((segment.onset, segment.offset))
    return found
