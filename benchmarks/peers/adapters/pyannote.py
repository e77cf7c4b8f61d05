"""pyannote/segmentation: who speaks when in windows of 5 s every 0.5 s; speech and overlap.

The weights are those that the wheel of whisperx brings along. The network runs once: speech is the
most active of its speakers, overlap the second. Both are put together, thresholded and cleaned by
pyannote.audio's own code, as its pipelines for either do.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

PACKAGE = "pyannote.audio"
INSTALL = "see pyannote.txt: needs an environment of its own"
LICENCE = "MIT; weights: MIT"
CLASSES = ("speech", "overlap")
DECIDES = "default_parameters of pyannote.audio 3 (tuned on DIHARD 3): speech on .767, off .377; "
DECIDES += "overlap on .430, off .320"

# default_parameters() of VoiceActivityDetection and OverlappedSpeechDetection
SPEECH = {"onset": 0.767, "offset": 0.377, "min_duration_on": 0.136, "min_duration_off": 0.067}
OVERLAP = {"onset": 0.430, "offset": 0.320, "min_duration_on": 0.091, "min_duration_off": 0.144}


def load() -> Any:
    """Return inference with the weights inside whisperx."""
    from torchaudio_parts import complete_torchaudio

    complete_torchaudio()
    import numpy as np
    import torch
    from pyannote.audio import Inference, Model

    torch.set_num_threads(1)
    torch.load = _unrestricted(torch.load)
    model = Model.from_pretrained(str(_checkpoint()))
    return Inference(model, pre_aggregation_hook=lambda s: -np.sort(-s, axis=-1)[:, :, :2])


def detect(detector: Any, path: str) -> dict[str, list[tuple[float, float]]]:
    """Return speech and overlap."""
    import soundfile
    import torch
    from pyannote.audio.utils.signal import Binarize
    from pyannote.core import SlidingWindowFeature

    samples, rate = soundfile.read(path, dtype="float32")
    scores = detector({"waveform": torch.from_numpy(samples)[None], "sample_rate": rate})
    found = {}
    for column, (name, settings) in enumerate((("speech", SPEECH), ("overlap", OVERLAP))):
        part = SlidingWindowFeature(scores.data[:, [column]], scores.sliding_window)
        timeline = Binarize(**settings)(part).get_timeline()
        found[name] = [(segment.start, segment.end) for segment in timeline]
    return found


def _unrestricted(load: Callable[..., Any]) -> Callable[..., Any]:
    # The weights are a checkpoint of Lightning, a pickle: as trustworthy as their package.
    return lambda *arguments, **named: load(*arguments, **named | {"weights_only": False})


def _checkpoint() -> Path:
    # Found without importing whisperx, whose own requirements are not needed here.
    spec = importlib.util.find_spec("whisperx")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("No module named 'whisperx', which holds the weights")
    return Path(spec.submodule_search_locations[0]) / "assets" / "pytorch_model.bin"
