"""From a recording to its segments and their explanation, in one pass and constant memory."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from audioseg_xai.annotation import Segment
from audioseg_xai.audio import AudioReader
from audioseg_xai.audio.reader import OnTruncated
from audioseg_xai.decode import DecodedSegment, StreamingDecoder
from audioseg_xai.devices import resolve_device
from audioseg_xai.errors import AudioError, LabelError, ModelError, UsageError
from audioseg_xai.explain import Explanation, Readout, explain
from audioseg_xai.frames import SAMPLE_RATE, WINDOW
from audioseg_xai.inference import Chunk, Segmenter
from audioseg_xai.labels import canonical
from audioseg_xai.models.directory import Model, load_model
from audioseg_xai.models.networks import Student
from audioseg_xai.recordings import Recording

_CHUNKS_BETWEEN_TRIMS = 5

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
    """

    model: str | None = None
    device: str = "auto"
    classes: str | None = None
    threads: int = 0
    num_workers: int = 1
    allow_truncated: bool = False
    upstream_checkpoint: str | None = None


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
    model : Model
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

    def __init__(self, model: Model, settings: Settings | None = None) -> None:
        self.model, self.settings = model, settings or Settings()
        decided = [name for name in model.classes if name in model.config.decoding]
        wanted = _wanted(self.settings.classes, decided)
        self.decoding = {name: model.config.decoding[name] for name in wanted}
        self.segmenter = Segmenter(
            model.network,
            resolve_device(self.settings.device),
            upstream_checkpoint=self.settings.upstream_checkpoint,
        )

    def segment(self, recording: Recording) -> Segmentation:
        """Return the segments of a recording.

        Raises
        ------
        AudioError
            If it cannot be read, not to its end, or is shorter than one frame.
        """
        found = self._run(recording, lambda chunk: chunk.probabilities, ())
        segments = tuple(
            segment.to_segment(
                float(segment.means[self.model.classes.index(segment.label)]),
                found.num_frames,
                found.duration,
            )
            for segment in sorted(found.segments, key=lambda s: (s.onset, s.label))
        )
        return Segmentation(recording.uri, found.duration, segments)

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

    @functools.cached_property
    def readout(self) -> Readout:
        """The linear end of the student.

        Raises
        ------
        ModelError
            If the model is a teacher.
        """
        network = self.model.network
        if not isinstance(network, Student):
            raise ModelError("this model is a teacher, a black box: explain with a student")
        return Readout(
            self.model.classes,
            _array(network.dictionary),
            _array(network.classifier.weight),
            _array(network.classifier.bias),
            network.config.spectrogram.frequencies(),
        )

    def _run(
        self,
        recording: Recording,
        values: Callable[[Chunk], NDArray[np.float32]],
        sinks: Sequence[Sink],
    ) -> Pass:
        decoder = StreamingDecoder(self.model.classes, self.decoding)
        segments: list[DecodedSegment] = []
        on_truncated: OnTruncated = "warn" if self.settings.allow_truncated else "error"
        with AudioReader(recording.path, on_truncated=on_truncated) as reader:
            for number, chunk in enumerate(self.segmenter.process(reader), start=1):
                if not np.isfinite(chunk.logits).all():
                    raise AudioError(
                        f"{reader.name}: the model puts out NaN or infinity within the first "
                        f"{reader.num_samples / SAMPLE_RATE:.3f} s: check the model with "
                        "xai-segment doctor, or export the recording again"
                    )
                segments += decoder.push(chunk.probabilities, values(chunk))
                for sink in sinks:
                    sink(chunk)
                if number % _CHUNKS_BETWEEN_TRIMS == 0:
                    _release_freed_memory()
            segments += decoder.finish()
            if reader.num_samples < WINDOW:
                raise _too_short(reader)
            return Pass(decoder.num_frames, reader.num_samples / SAMPLE_RATE, tuple(segments))


def _cores() -> int:
    """Return the cores that are ours: those of the process, or what OMP_NUM_THREADS grants."""
    granted = os.environ.get("OMP_NUM_THREADS", "")
    cores = len(os.sched_getaffinity(0))
    return min(cores, int(granted)) if granted.isdecimal() and int(granted) else cores


@functools.lru_cache(maxsize=1)
def load_pipeline(settings: Settings) -> Pipeline:
    """Load the model that `settings` name, once a process, and set the number of threads."""
    torch.set_num_threads(settings.threads or max(1, _cores() // max(1, settings.num_workers)))
    return Pipeline(load_model(settings.model), settings)


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


def _release_freed_memory() -> None:
    # Small things that stay (segments, HDF5's tables) lie between the large arrays of a chunk that
    # go: glibc would keep the holes, 60 MB more each hour. Other C libraries have no such call.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _too_short(reader: AudioReader) -> AudioError:
    return AudioError(
        f"{reader.name}: {reader.num_samples} samples at 16 kHz are too short to decide anything: "
        f"a frame needs {WINDOW} (25 ms); leave the file out"
    )


def _array(parameter: torch.Tensor) -> NDArray[np.float32]:
    return parameter.detach().cpu().numpy()
