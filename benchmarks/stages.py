"""Where the time goes: CPU seconds of each stage of `xai-segment explain`, on one thread.

    python benchmarks/stages.py AUDIO ARCHIVE.h5 [MODEL]

Prints JSON: seconds of audio, CPU seconds of imports and of each stage, floating-point operations
of the network, the rate of a large matrix product with the same library, and its kernels.
For `speed.py`.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Clock:
    """CPU seconds in methods, less those in methods that they call and that are watched too."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._inner = [0.0]

    def watch(self, owner: Any, method: str, stage: str) -> None:
        """Count the time in a method of a class as that of a stage."""
        setattr(owner, method, self._watched(getattr(owner, method), stage))

    def _watched(self, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            started = time.process_time()
            self._inner.append(0.0)
            try:
                return function(*arguments, **options)
            finally:
                taken = time.process_time() - started
                self.seconds[stage] += taken - self._inner.pop()
                self._inner[-1] += taken

        return call


def watch_stages(clock: Clock) -> None:
    """Watch what `Pipeline.explain` is made of."""
    from audioseg_xai import spectra
    from audioseg_xai.audio.sndfile import SndfileDecoder
    from audioseg_xai.decode import StreamingDecoder
    from audioseg_xai.explanation_archive import RecordingWriter
    from audioseg_xai.models import layers, streaming
    from audioseg_xai.segmenter import LevelStream

    clock.watch(SndfileDecoder, "_read", "decode")
    for name in ("push", "finish"):
        clock.watch(spectra.PowerStream, name, "spectrum")
        clock.watch(LevelStream, name, "level")
        clock.watch(layers.Interpolation, name, "TCN")
        clock.watch(layers.DilatedBlock, name, "TCN")
    for name in ("", "_last"):
        clock.watch(streaming.StreamingNetwork, f"hear{name}", "front end")
        clock.watch(streaming.StreamingNetwork, f"decide{name}", "activations, logits")
    clock.watch(StreamingDecoder, "push", "decisions and means")
    for name in ("push", "add", "finish_added"):
        clock.watch(RecordingWriter, name, "archive")


def operations(config: Any) -> float:
    """Return floating-point operations that the network needs for a frame."""
    front_end, tcn, bins = config.front_end, config.tcn, config.spectrogram.num_bins
    steps = 1 / front_end.stride
    total, inputs, bands, rate = 2.0 * bins * front_end.bands, 1, front_end.bands, 1.0
    for number, outputs in enumerate(front_end.channels):
        bands, rate = (bands + 1) // 2, steps if number else 1.0
        total += 2 * 9 * inputs * outputs * bands * rate
        inputs = outputs
    block = 2 * tcn.channels**2 * (tcn.kernel + 1)
    total += steps * (2 * inputs * bands * tcn.channels + tcn.blocks * tcn.repeats * block)
    seen = tcn.channels + (bins if config.analysis else 0)
    last = 2 * config.components * (seen + len(config.classes))
    return config.branches * total + last


def product_rate(size: int = 512, repeats: int = 200) -> float:
    """Return the best rate of a product of two matrices, in GFLOP/s."""
    import numpy as np

    matrix = np.ones((size, size), np.float32)
    target, best = np.empty_like(matrix), float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        np.matmul(matrix, matrix, out=target)
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best / 1e9


def kernels() -> str:
    """Return the kernels that OpenBLAS chose, or was told to choose, for the processor."""
    from threadpoolctl import threadpool_info

    found = {info.get("architecture", info["prefix"]) for info in threadpool_info()}
    return ", ".join(sorted(found))


def main(audio: str, archive: str, model: str | None = None) -> None:
    """Explain a recording, and print what each stage took."""
    from audioseg_xai.explaining import Outputs, explain_recordings
    from audioseg_xai.pipeline import Settings, load_pipeline
    from audioseg_xai.recordings import Recording

    settings = Settings(model=model, device="cpu", threads=1)
    config = load_pipeline(settings).model.config.network
    clock = Clock()
    clock.seconds["start: imports, model"] = time.process_time()
    watch_stages(clock)
    outputs = Outputs(rttm=Path(archive).with_suffix(".rttm"), hdf5=Path(archive))
    explain_recordings([Recording("recording", audio)], settings, outputs)
    clock.seconds["rest"] = time.process_time() - sum(clock.seconds.values())
    answer = {
        "stages": clock.seconds,
        "operations": operations(config),
        "product_rate": product_rate(),
        "kernels": kernels(),
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
