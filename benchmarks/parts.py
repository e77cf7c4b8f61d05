"""What each part of segmenting and explaining costs: processor seconds, on one thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from torch.utils.flop_counter import FlopCounterMode

from audioseg_xai.audio import AudioReader, write_audio
from audioseg_xai.decode import StreamingDecoder
from audioseg_xai.explain import Explanation
from audioseg_xai.explanation_archive import write_explanations
from audioseg_xai.frames import SAMPLE_RATE, num_frames
from audioseg_xai.models.directory import load_model
from audioseg_xai.pipeline import Pipeline, Settings, load_pipeline
from audioseg_xai.recordings import Recording

DEMO = Path(__file__).resolve().parent.parent / "audioseg_xai" / "assets" / "demo.flac"
NETWORK = "spectrogram and network"
FORMATS = {
    "wav, 16 kHz mono": (".wav", SAMPLE_RATE, 1),
    "flac, 16 kHz mono": (".flac", SAMPLE_RATE, 1),
    "flac, 44.1 kHz stereo": (".flac", 44_100, 2),
    "mp3, 44.1 kHz stereo": (".mp3", 44_100, 2),
}
"""Suffix, samples a second and channels by the name of a format."""


def write_recordings(folder: Path, seconds: float) -> dict[str, Path]:
    """Write the bundled demo, repeated, in each format; return the files by format."""
    demo, rate = soundfile.read(DEMO, dtype="float32")
    paths: dict[str, Path] = {}
    for name, (suffix, wanted, channels) in FORMATS.items():
        resampled = soxr.resample(demo, rate, wanted) if wanted != rate else demo
        samples = np.repeat(resampled[:, None], channels, axis=1)
        paths[name] = folder / f"{len(paths)}{suffix}"
        _write(paths[name], repeated(samples, round(seconds * wanted)), wanted)
    return paths


def repeated(samples: np.ndarray, length: int) -> Iterator[np.ndarray]:
    """Yield blocks that repeat `samples` until they have `length` in all."""
    while length > 0:
        yield samples[:length]
        length -= len(samples)


def _write(path: Path, blocks: Iterable[np.ndarray], rate: int) -> None:
    if path.suffix != ".mp3":
        write_audio(path, blocks, rate)
        return
    first, *others = blocks
    with soundfile.SoundFile(path, "w", rate, first.shape[1], "MPEG_LAYER_III") as sound:
        for block in (first, *others):
            sound.write(block)


def cpu_seconds(action: Callable[[], object]) -> float:
    """Return processor seconds of a call."""
    started = time.process_time()
    action()
    return time.process_time() - started


def decode_costs(paths: dict[str, Path]) -> dict[str, float]:
    """Return processor seconds of decoding, mixing down and resampling each file."""
    return {name: cpu_seconds(partial(exhaust, path)) for name, path in paths.items()}


def exhaust(path: Path) -> None:
    """Decode a recording to its end."""
    with AudioReader(path) as reader:
        for _ in reader:
            pass


def compute_costs(path: Path, folder: Path) -> dict[str, float]:
    """Return processor seconds of network, decisions and archive, for a recording."""
    pipeline = load_pipeline(Settings(device="cpu", threads=1))
    with AudioReader(path) as reader:
        blocks = list(reader)
    for _ in pipeline.segmenter.process(blocks[:2]):  # warms up
        pass
    started = time.process_time()
    chunks = list(pipeline.segmenter.process(blocks))
    computed = time.process_time() - started
    explanation = pipeline.explain(Recording("recording", str(path)))
    return {
        NETWORK: computed,
        "decisions": cpu_seconds(partial(_decide, pipeline, chunks, _probabilities)),
        "decisions, with sums for explanations": cpu_seconds(
            partial(_decide, pipeline, chunks, _all_values)
        ),
        "archive": cpu_seconds(
            partial(_archive, pipeline, chunks, explanation, folder / "parts.h5")
        ),
    }


def _decide(pipeline: Pipeline, chunks: list[Any], values: Callable[[Any], np.ndarray]) -> None:
    decoder = StreamingDecoder(pipeline.model.classes, pipeline.decoding)
    for chunk in chunks:
        decoder.push(chunk.probabilities, values(chunk))
    decoder.finish()


def _probabilities(chunk: Any) -> np.ndarray:
    return np.asarray(chunk.probabilities)


def _all_values(chunk: Any) -> np.ndarray:
    return np.hstack([chunk.probabilities, chunk.logits, chunk.activations])


def _archive(pipeline: Pipeline, chunks: list[Any], explanation: Explanation, path: Path) -> None:
    with (
        write_explanations(path, pipeline.readout, {}) as archive,
        archive.recording("recording") as writer,
    ):
        for chunk in chunks:
            writer.push(chunk.probabilities, chunk.activations)
        writer.finish(explanation)


def network_operations(seconds: float = 120.0) -> float:
    """Return floating-point operations of the network for an hour of audio, in GFLOP.

    Counted in the network of PyTorch, products and convolutions alone.
    """
    network = load_model().network
    frames = num_frames(round(seconds * SAMPLE_RATE))
    spectrogram = torch.zeros(1, frames, network.config.spectrogram.num_bins)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(spectrogram)
    return float(counter.get_total_flops() * 3600 / seconds / 1e9)
