"""From a recording to its segments and their explanation, in one pass and constant memory."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audioseg_xai.annotation import Segment
from audioseg_xai.audio import AudioReader
from audioseg_xai.audio.raw import PcmFormat
from audioseg_xai.audio.reader import OnTruncated
from audioseg_xai.blas import use_one_thread
from audioseg_xai.decode import DecodedSegment, StreamingDecoder
from audioseg_xai.devices import resolve_device
from audioseg_xai.errors import AudioError, LabelError, ModelError, UsageError
from audioseg_xai.explain import Explanation, Readout, explain
from audioseg_xai.frames import HOP, SAMPLE_RATE, WINDOW
from audioseg_xai.labels import canonical
from audioseg_xai.memory import keep_freed, release_freed
from audioseg_xai.models.configs import NetworkConfig, StudentConfig
from audioseg_xai.models.stored import (
    StoredModel,
    default_model_folder,
    load_stored,
    read_model_config,
)
from audioseg_xai.models.streaming import streamable
from audioseg_xai.recordings import Recording
from audioseg_xai.segmenter import CHUNK, Chunk, StreamingSegmenter

if TYPE_CHECKING:
    from audioseg_xai.inference import Segmenter
    from audioseg_xai.models.directory import Model
    from audioseg_xai.models.networks import Student, Teacher

_FRAMES_BETWEEN_TRIMS = 15_000

Sink = Callable[[Chunk], None]
"""Something that wants to see every chunk of a recording, in order."""


@dataclass(frozen=True)
class Settings:
    """How recordings are processed; can be sent to another process.

    Attributes
    ----------
    model : str or None
        Model directory; None is the one that ships with the package.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    classes : str or None
        Classes to decide, comma-separated; None are all that the model decides.
    threads : int
        Threads of a process; 0 shares the cores among `num_workers`.
    num_workers : int
        Processes that work at once.
    allow_truncated : bool
        Whether of a damaged recording the part that can be decoded is used.
    upstream_checkpoint : str or None
        Weights of the upstream that the model listens to; None where they lay in training.
    raw : str or None
        What samples are that have no header, as `PcmFormat.parse` takes it.
    """

    model: str | None = None
    device: str = "auto"
    classes: str | None = None
    threads: int = 0
    num_workers: int = 1
    allow_truncated: bool = False
    upstream_checkpoint: str | None = None
    raw: str | None = None

    @property
    def audio(self) -> dict[str, Any]:
        """How `AudioReader` opens a recording.

        Raises
        ------
        UsageError
            If `raw` stands for nothing.
        """
        on_truncated: OnTruncated = "warn" if self.allow_truncated else "error"
        raw = None if self.raw is None else PcmFormat.parse(self.raw)
        return {"on_truncated": on_truncated, "raw": raw}


@dataclass(frozen=True)
class Pass:
    """What one pass over a recording found.

    Attributes
    ----------
    num_frames : int
        T.
    duration : float
        Seconds that were decoded.
    segments : tuple of DecodedSegment
        As they closed.
    """

    num_frames: int
    duration: float
    segments: tuple[DecodedSegment, ...]


@dataclass(frozen=True)
class Segmentation:
    """The segments of a recording, sorted by onset and label.

    Attributes
    ----------
    uri : str
        The recording.
    duration : float
        Its length in seconds.
    segments : tuple of Segment
        With the mean probability of their class as confidence.
    """

    uri: str
    duration: float
    segments: tuple[Segment, ...]


class Pipeline:
    """A model at work on recordings.

    Parameters
    ----------
    model : Model or StoredModel
        Student or teacher.
    settings : Settings, optional
        Its `model` is not looked at.

    Raises
    ------
    UsageError
        If a class is asked for that the model does not decide, a device is not there, or a
        checkpoint is given that the model has no use for.
    ModelError
        If the upstream that the model listens to cannot be loaded.
    """

    def __init__(self, model: Model | StoredModel, settings: Settings | None = None) -> None:
        self.model, self.settings = model, settings or Settings()
        self._audio = self.settings.audio
        decided = [name for name in model.classes if name in model.config.decoding]
        wanted = _wanted(self.settings.classes, decided)
        self.decoding = {name: model.config.decoding[name] for name in wanted}
        self.segmenter = _segmenter(model, self.settings)

    def segment(self, recording: Recording) -> Segmentation:
        """Return the segments of a recording.

        Raises
        ------
        AudioError
            If it cannot be read, not to its end, or is shorter than one frame.
        """
        found = self._run(recording, lambda chunk: chunk.probabilities, ())
        closed = sorted(found.segments, key=lambda s: (s.onset, s.label))
        segments = tuple(self._in_seconds(closed, found.num_frames, found.duration))
        return Segmentation(recording.uri, found.duration, segments)

    def follow(self, reader: AudioReader, chunks: Iterable[Chunk]) -> Iterator[Segment]:
        """Yield each segment of a recording as soon as no later sound can change it.

        Parameters
        ----------
        reader : AudioReader
            What is listened to.
        chunks : iterable of Chunk
            Results for what `reader` yields, in order.

        Yields
        ------
        Segment
            In the order in which they close; those of `segment`, for the same results.

        Raises
        ------
        AudioError
            If the model puts out NaN or infinity.
        """
        decoder = StreamingDecoder(self.model.classes, self.decoding)
        for chunk in _checked(reader, chunks):
            closed = decoder.push(chunk.probabilities, chunk.probabilities)
            yield from self._in_seconds(closed, decoder.num_frames, math.nan)
        duration = reader.num_samples / SAMPLE_RATE
        yield from self._in_seconds(decoder.finish(), decoder.num_frames, duration)

    def explain(
        self, recording: Recording, sinks: Sequence[Sink] = (), threshold: float | None = None
    ) -> Explanation:
        """Return the segments of a recording and what each rests on.

        Parameters
        ----------
        recording : Recording
            What to explain.
        sinks : sequence of callable
            Each gets every chunk.
        threshold : float, optional
            tau of the selection; by default that of the model.

        Raises
        ------
        AudioError
            As `segment` does.
        ModelError
            If the model is a teacher, which explains nothing.
        """
        readout = self.readout  # refuses a teacher before any work is done
        found = self._run(recording, _side_by_side, sinks)
        return explain(
            readout,
            found.segments,
            uri=recording.uri,
            duration=found.duration,
            num_frames=found.num_frames,
            threshold=self.model.config.relevance_threshold if threshold is None else threshold,
        )

    def describe(self) -> dict[str, Any]:
        """Return what decides: digest of the model, and the rule of each class; fits JSON."""
        decoding = {name: rule.model_dump(mode="json") for name, rule in self.decoding.items()}
        return {"model": self.model.digest, "decoding": decoding}

    @functools.cached_property
    def network(self) -> Student | Teacher:
        """The network in PyTorch, on as many threads as the settings grant."""
        import torch

        torch.set_num_threads(_threads(self.settings))
        return self.model.network

    @functools.cached_property
    def readout(self) -> Readout:
        """The linear end of the student.

        Raises
        ------
        ModelError
            If the model is a teacher.
        """
        config, weights = self.model.config.network, self.model.weights
        if not isinstance(config, StudentConfig):
            raise ModelError("this model is a teacher, a black box: explain with a student")
        return Readout(
            self.model.classes,
            weights["dictionary"],
            weights["classifier.weight"],
            weights["classifier.bias"],
            config.spectrogram.frequencies(),
        )

    def _run(
        self,
        recording: Recording,
        values: Callable[[Chunk], NDArray[np.float32]],
        sinks: Sequence[Sink],
    ) -> Pass:
        decoder = StreamingDecoder(self.model.classes, self.decoding)
        segments: list[DecodedSegment] = []
        with AudioReader(recording.path, block=CHUNK * HOP, **self._audio) as reader:
            # Closed before the reader, from which another thread may read.
            with closing(self.segmenter.process(reader)) as chunks:
                for chunk in _checked(reader, chunks):
                    segments += decoder.push(chunk.probabilities, values(chunk))
                    for sink in sinks:
                        sink(chunk)
            segments += decoder.finish()
            check_length(reader)
            return Pass(decoder.num_frames, reader.num_samples / SAMPLE_RATE, tuple(segments))

    def _in_seconds(
        self, closed: Iterable[DecodedSegment], num_frames: int, duration: float
    ) -> Iterator[Segment]:
        for found in closed:
            confidence = float(found.means[self.model.classes.index(found.label)])
            yield found.to_segment(confidence, num_frames, duration)


def check_length(reader: AudioReader) -> None:
    """Check that a recording, read to its end, was long enough to decide anything.

    Raises
    ------
    AudioError
        If it is shorter than a frame.
    """
    if reader.num_samples < WINDOW:
        raise AudioError(
            f"{reader.name}: {reader.num_samples} samples at 16 kHz are too short to decide "
            f"anything: a frame needs {WINDOW} (25 ms); leave the file out"
        )


def _checked(reader: AudioReader, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    frames = 0
    for chunk in chunks:
        if not np.isfinite(chunk.logits).all():
            raise AudioError(
                f"{reader.name}: the model puts out NaN or infinity within the first "
                f"{reader.num_samples / SAMPLE_RATE:.3f} s: check the model with "
                "xai-segment doctor, or export the recording again"
            )
        yield chunk
        frames += len(chunk.logits)
        if frames >= _FRAMES_BETWEEN_TRIMS:
            release_freed()
            frames = 0


def _cores() -> int:
    """Return the cores that are ours: those of the process, or what OMP_NUM_THREADS grants."""
    granted = os.environ.get("OMP_NUM_THREADS", "")
    cores = len(os.sched_getaffinity(0))
    return min(cores, int(granted)) if granted.isdecimal() and int(granted) else cores


def _threads(settings: Settings) -> int:
    return settings.threads or max(1, _cores() // max(1, settings.num_workers))


@functools.lru_cache(maxsize=1)
def load_pipeline(settings: Settings) -> Pipeline:
    """Load the model that `settings` name, once a process, and set how many threads compute."""
    folder = Path(settings.model) if settings.model is not None else default_model_folder()
    config = read_model_config(folder)
    if _streams(config.network, settings):
        keep_freed()
        use_one_thread()
        return Pipeline(load_stored(folder, config), settings)
    import torch

    from audioseg_xai.models.directory import load_model

    torch.set_num_threads(_threads(settings))
    return Pipeline(load_model(folder), settings)


def _streams(config: NetworkConfig, settings: Settings) -> bool:
    """Tell whether NumPy computes a network: on a CPU, and if it hears nothing but spectrograms."""
    wanted = streamable(config) and settings.upstream_checkpoint is None
    return wanted and resolve_device(settings.device) == "cpu"


def _segmenter(model: Model | StoredModel, settings: Settings) -> StreamingSegmenter | Segmenter:
    if _streams(model.config.network, settings):
        threads = _threads(settings)
        return StreamingSegmenter(model.config.network, model.weights, threads=threads)
    from audioseg_xai.inference import Segmenter

    device = resolve_device(settings.device)
    return Segmenter(model.network, device, upstream_checkpoint=settings.upstream_checkpoint)


def segment(recording: Recording, settings: Settings) -> Segmentation:
    """Return the segments of a recording; can be called in another process."""
    return load_pipeline(settings).segment(recording)


def _wanted(classes: str | None, decided: Sequence[str]) -> list[str]:
    if classes is None:
        return list(decided)
    try:
        names = [canonical(name.strip()) for name in classes.split(",") if name.strip()]
    except LabelError as error:
        raise UsageError(f"--classes {classes}: {error}") from None
    unknown = [name for name in names if name not in decided]
    if unknown or not names:
        raise UsageError(
            f"--classes {classes}: this model decides {', '.join(decided)}"
            + (f", and not {', '.join(unknown)}" if unknown else "")
        )
    return [name for name in decided if name in names]


def _side_by_side(chunk: Chunk) -> NDArray[np.float32]:
    return np.hstack([chunk.probabilities, chunk.logits, chunk.activations])
