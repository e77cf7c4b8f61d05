"""silero-vad: a recurrent network over 32 ms windows, speech alone."""

from __future__ import annotations

from typing import Any

PACKAGE = "silero-vad"
INSTALL = "pip install silero-vad==6.2.3"
LICENCE = "MIT"
CLASSES = ("speech",)
DECIDES = "defaults of get_speech_timestamps: 0.5, off 0.35, speech 250 ms, pause 100 ms, pad 30 ms"

RATE = 16_000


def load() -> Any:
    """Return the TorchScript model."""
    import torch
    from silero_vad import load_silero_vad

    torch.set_num_threads(1)
    return load_silero_vad()


def detect(detector: Any, path: str) -> dict[str, list[tuple[float, float]]]:
    """Return speech."""
    import soundfile
    import torch
    from silero_vad import get_speech_timestamps

    samples, _ = soundfile.read(path, dtype="float32")
    found = get_speech_timestamps(torch.from_numpy(samples), detector, sampling_rate=RATE)
    return {"speech": [(part["start"] / RATE, part["end"] / RATE) for part in found]}
