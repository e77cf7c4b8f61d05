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
from audioseg_xai.closed_segments import Closed, Outline, explain_closed, gather, in_order
from audioseg_xai.decode import DecodedSegment, StreamingDecoder, chosen
from audioseg_xai.devices import resolve_device
from audioseg_xai.errors import AudioError, ModelError
from audioseg_xai.explain import Explanation, Readout
from audioseg_xai.frames import HOP, SAMPLE_RATE, WINDOW
from audioseg_xai.memory import keep_freed, release_freed
from audioseg_xai.models.configs import NetworkConfig, StudentConfig
from audioseg_xai.models.stored import (
    StoredModel,
    default_model_folder,
    load_stored,
    read_model_config,
)
from audioseg_xai.recordings import Recording
from audioseg_xai.segmenter import CHUNK, Chunk, StreamingSegmenter

if TYPE_CHECKING:
    from audioseg_xai.inference import Segmenter
    from audioseg_xai.models.directory import Model
    from audioseg_xai.models.networks import Student, Teacher

_FRAMES_BETWEEN_TRIMS = 15_000

Sink = Callable[[Chunk], None]
"""Something that wants to see every chunk of a recording, in order."""

Taker = Callable[[Closed], None]
"""Something that wants what closed segments rest on, each once."""

_Closing = Callable[[list[DecodedSegment], int, float], None]
"""Takes segments that closed, the frames that were heard, and the duration once it is known."""


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
        Recordings that are worked on at once: by a process each, or on a GPU by a thread each.
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
        rules = model.config.decoding
        decided = {name: rules[name] for name in model.classes if name in rules}
        self.decoding = chosen(self.settings.classes, decided)
        self.segmenter = _segmenter(model, self.settings)

    def segment(self, recording: Recording) -> Segmentation:
        """Return the segments of a recording.

        Raises
        ------
        AudioError
            If it cannot be read, not to its end, or is shorter than one frame.
        """
        segments: list[Segment] = []

        def take(closed: list[DecodedSegment], num_frames: int, duration: float) -> None:
            segments.extend(self._in_seconds(closed, num_frames, duration))

        _, duration = self._run(recording, lambda chunk: chunk.probabilities, (), take)
        return Segmentation(recording.uri, duration, tuple(in_order(segments)))

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
        """Return the segments of a recording and what each rests on, all of it in memory.

        Parameters, and what is raised, are those of `explain_closed`.
        """
        parts: list[Closed] = []
        outline = self.explain_closed(recording, [parts.append], sinks, threshold)
        return gather(parts, self.readout, outline)

    def explain_closed(
        self,
        recording: Recording,
        takers: Sequence[Taker],
        sinks: Sequence[Sink] = (),
        threshold: float | None = None,
    ) -> Outline:
        """Hand on what each segment of a recording rests on, as soon as it closes.

        Parameters
        ----------
        recording : Recording
            What to explain.
        takers : sequence of callable
            Each gets all segments, in the order in which they close.
        sinks : sequence of callable
            Each gets every chunk.
        threshold : float, optional
            tau of the selection; by default that of the model.

        Returns
        -------
        Outline
            What is known at the end.

        Raises
        ------
        AudioError
            As `segment` does.
        ModelError
            If the model is a teacher, which explains nothing.
        """
        readout = self.readout  # refuses a teacher before any work is done
        tau = self.model.config.relevance_threshold if threshold is None else threshold

        def take(decoded: list[DecodedSegment], num_frames: int, duration: float) -> None:
            closed = explain_closed(readout, decoded, num_frames, duration)
            for taker in takers:
                taker(closed)

        num_frames, duration = self._run(recording, _side_by_side, sinks, take)
        return Outline(recording.uri, duration, num_frames, tau)

    def describe(self) -> dict[str, Any]:
        """Return what decides: digest of the model, and the rule of each class; fits JSON."""
        decoding = {name: rule.model_dump(mode="json") for name, rule in self.decoding.items()}
        return {"model": self.model.digest, "decoding": decoding}

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU computes: threads that ask for several recordings are served together."""
        return resolve_device(self.settings.device) != "cpu"

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
        take: _Closing,
    ) -> tuple[int, float]:
        """Hand on segments as they close; return T and the seconds that were decoded."""
        decoder = StreamingDecoder(self.model.classes, self.decoding)
        with AudioReader(recording.path, block=CHUNK * HOP, **self._audio) as reader:
            # Closed before the reader, from which another thread may read.
            with closing(self.segmenter.process(reader)) as chunks:
                for chunk in _checked(reader, chunks):
                    closed = decoder.push(chunk.probabilities, values(chunk))
                    if closed:  # before the last frame that was heard: no duration is needed
                        take(closed, decoder.num_frames, math.nan)
                    for sink in sinks:
                        sink(chunk)
            check_length(reader)
            duration = reader.num_samples / SAMPLE_RATE
            if closed := decoder.finish():
                take(closed, decoder.num_frames, duration)
            return decoder.num_frames, duration

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
    # TF32 keeps ten bits of a number: without it a GPU decides as a CPU does.
    torch.backends.cudnn.allow_tf32 = False
    return Pipeline(load_model(folder), settings)


def _streams(config: NetworkConfig, settings: Settings) -> bool:
    """Tell whether NumPy computes a network: on a CPU, and if it hears nothing but spectrograms."""
    wanted = config.streamable and settings.upstream_checkpoint is None
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


def _side_by_side(chunk: Chunk) -> NDArray[np.float32]:
    return np.hstack([chunk.probabilities, chunk.logits, chunk.activations])
