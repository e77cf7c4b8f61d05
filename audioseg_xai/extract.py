"""From a data directory to a feature archive: spectrogram, frame labels, upstream features."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from audioseg_xai.annotation import Region, Segment
from audioseg_xai.archive import (
    CHECKPOINT,
    ArchiveEntry,
    labels_digest,
    stored_entry,
    write_recording,
)
from audioseg_xai.audio import AudioReader
from audioseg_xai.datadir import DataDir
from audioseg_xai.errors import ArchiveError, AudioError, UsageError
from audioseg_xai.features import SAMPLE_SCALE, SpectrogramConfig, SpectrogramStream
from audioseg_xai.files import sha256_file
from audioseg_xai.frame_labels import segments_to_frames
from audioseg_xai.frames import FRAME_SHIFT, SAMPLE_RATE
from audioseg_xai.h5arrays import Spool
from audioseg_xai.shards import Job
from audioseg_xai.upstream import FeatureStream, Upstream, UpstreamConfig, load_upstream

Store = Literal["features", "audio"]
"""What an archive holds for networks that listen to an upstream model."""

_BLOCK = SAMPLE_RATE * 10


@dataclass(frozen=True)
class Extraction:
    """What it takes to make the archive file of one recording; can go to another process.

    Attributes
    ----------
    uri : str
        The recording.
    audio : Path
        Its file.
    segments : tuple of Segment
        Its annotation.
    uem : tuple of (onset, offset)
        Where it was annotated, in seconds.
    classes : tuple of str
        What was annotated.
    folder : Path
        The archive.
    spectrogram : SpectrogramConfig
        FFT size.
    upstream : UpstreamConfig or None
        The model that networks will listen to, with the digest of its weights.
    store : 'features', 'audio' or None
        Features of the upstream, the recording itself, or neither.
    device : str
        Where the upstream runs.
    """

    uri: str
    audio: Path
    segments: tuple[Segment, ...]
    uem: tuple[Region, ...]
    classes: tuple[str, ...]
    folder: Path
    spectrogram: SpectrogramConfig
    upstream: UpstreamConfig | None = None
    store: Store | None = None
    device: str = "cpu"

    def run(self) -> ArchiveEntry:
        """Make the file, unless it is there, whole, and made of the same audio and labels.

        Memory does not grow with the recording: it goes through in blocks, and what comes of them
        waits in unnamed files, because the length is known only in the end. Features are made from
        a second reading.

        Raises
        ------
        AudioError
            If the audio cannot be decoded or is shorter than a frame.
        ArchiveError
            If features do not fit into 16 bits.
        """
        path = self.folder / f"{self.uri}.h5"
        attributes = self._attributes()
        done = stored_entry(self.uri, path, attributes)
        if done is not None:
            return done
        with ExitStack() as stack:
            spectrogram = stack.enter_context(Spool(self.folder, np.float16))
            samples = stack.enter_context(Spool(self.folder, np.int16))
            self._read_into(spectrogram, samples if self.store == "audio" else None)
            labels = self._labels(spectrogram.shape[0])
            arrays: dict[str, NDArray[np.int8] | Spool] = {
                "spectrogram": spectrogram,
                "labels": labels,
            }
            if self.store == "audio":
                arrays["samples"] = samples
            features = self._features() if self.store == "features" else ()
            write_recording(path, arrays, attributes | self._whereabouts(), features)
        return ArchiveEntry(self.uri, path.name, len(labels), labels_digest(labels))

    def _read_into(self, spectrogram: Spool, samples: Spool | None) -> None:
        stream = SpectrogramStream(self.spectrogram)
        with AudioReader(self.audio, block=_BLOCK) as reader:
            for block in reader:
                spectrogram.append(_half(stream.push(torch.from_numpy(block))))
                if samples is not None:
                    samples.append(to_int16(block))
        spectrogram.append(_half(stream.finish()))
        if spectrogram.shape[0] == 0:
            raise AudioError(
                f"{self.audio}: {stream.num_samples} samples are less than one frame (400)"
            )

    def _labels(self, frames: int) -> NDArray[np.int8]:
        return segments_to_frames(self.segments, frames, known=self.classes, uem=self.uem)

    def _features(self) -> Iterator[NDArray[np.float16]]:
        if self.upstream is None:
            raise UsageError("features are those of an upstream model: name one with --upstream")
        upstream = _loaded(self.upstream, self.device)
        with AudioReader(self.audio, block=_BLOCK) as reader:
            for part in block_features(upstream, reader):
                yield _to_half(part, self.uri)

    def _attributes(self) -> dict[str, str | int | float]:
        labels = [[s.onset, s.offset, s.label] for s in self.segments]
        settings = {
            "spectrogram": self.spectrogram.model_dump(),
            "labels": labels,
            "uem": self.uem,
            "classes": self.classes,
        }
        if self.store is not None:
            settings["store"] = self.store
        return {
            "uri": self.uri,
            "sample_rate": SAMPLE_RATE,
            "frame_shift": FRAME_SHIFT,
            "upstream": "spectrogram" if self.upstream is None else self.upstream.identity(),
            "config": json.dumps(settings, sort_keys=True),
            "audio_sha256": sha256_file(self.audio),
        }

    def _whereabouts(self) -> dict[str, str | int | float]:
        # For whoever goes on with the archive; a checkpoint that was moved makes no new features.
        if self.upstream is None or self.upstream.checkpoint is None:
            return {}
        return {CHECKPOINT: str(Path(self.upstream.checkpoint).resolve())}


def extractions(
    data: DataDir,
    folder: str | Path,
    spectrogram: SpectrogramConfig,
    *,
    upstream: UpstreamConfig | None = None,
    store: Store | None = None,
    device: str = "cpu",
) -> list[Extraction]:
    """Return the work of turning data directory `data` into an archive in `folder`.

    Parameters
    ----------
    data : DataDir
        Recordings and labels.
    folder : str or Path
        The archive.
    spectrogram : SpectrogramConfig
        FFT size.
    upstream : UpstreamConfig, optional
        The model that networks will listen to; it is loaded to see whether it can be.
    store : {'features', 'audio'}, optional
        What is stored for them; with an upstream its features by default.
    device : str, optional
        Where the upstream runs.

    Raises
    ------
    UsageError
        If features shall be stored of no upstream.
    ModelError, ConfigError
        If the upstream cannot be loaded.
    """
    if store == "features" and upstream is None:
        raise UsageError("--store features: name their model with --upstream")
    known = None if upstream is None else _loaded(upstream, device).config
    kept: Store | None = store if store or known is None else "features"
    return [
        Extraction(
            uri=uri,
            audio=data.wav[uri],
            segments=tuple(data.reference.get(uri, ())),
            uem=tuple(data.uem.get(uri, ())),
            classes=data.classes,
            folder=Path(folder),
            spectrogram=spectrogram,
            upstream=known,
            store=kept,
            device=device,
        )
        for uri in data.uris
    ]


def shard(
    work: list[Extraction], job: str, durations: Mapping[str, float] | None = None
) -> list[Extraction]:
    """Return the part of `work` that job `job`, such as ``2/8``, does.

    Parameters
    ----------
    work : list of Extraction
        All of it.
    job : str
        Which part of how many.
    durations : mapping of str to float, optional
        Seconds of each recording, by uri, so that the parts take equally long.

    Raises
    ------
    UsageError
        If `job` is no such pair, or beyond its number.
    """
    weights = [durations[item.uri] for item in work] if durations is not None else ()
    return Job.parse(job).share(work, weights)


def recording_features(
    upstream: Upstream, samples: NDArray[np.float32]
) -> Iterator[NDArray[np.float32]]:
    """Yield the features of a recording, window after window of the fixed grid.

    Parameters
    ----------
    upstream : Upstream
        The model.
    samples : numpy.ndarray, shape (N,)
        16 kHz mono audio.

    Yields
    ------
    numpy.ndarray, shape (t, D), or (t, L, D) if the upstream gives all its hidden states
        T frames in all.
    """
    starts = range(0, len(samples), _BLOCK)
    yield from block_features(upstream, (samples[start : start + _BLOCK] for start in starts))


def block_features(
    upstream: Upstream, blocks: Iterable[NDArray[np.float32]]
) -> Iterator[NDArray[np.float32]]:
    """Yield `recording_features` of a recording that comes in blocks (n,) of any length."""
    stream = FeatureStream(upstream)
    single = upstream.config.layers != "all"
    for block in blocks:
        for part in stream.push(torch.from_numpy(block)):
            yield _to_array(part, single)
    for part in stream.finish():
        yield _to_array(part, single)


def to_int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Return samples as 16-bit integers; what lies beyond [-1, 1] is clipped."""
    scaled = np.rint(samples * np.float32(SAMPLE_SCALE))
    return np.clip(scaled, -SAMPLE_SCALE, SAMPLE_SCALE - 1).astype(np.int16)


@functools.lru_cache(maxsize=1)
def _load(config: UpstreamConfig, device: str) -> Upstream:
    return load_upstream(config, device)


def _loaded(config: UpstreamConfig, device: str) -> Upstream:
    """Load an upstream once a process, whether its digest is known already or not."""
    upstream = _load(config.model_copy(update={"digest": ""}), device)
    if config.digest and config.digest != upstream.config.digest:
        raise ArchiveError(
            f"{config.checkpoint or config.name}: has changed since the work began: start again"
        )
    return upstream


def _half(frames: torch.Tensor) -> NDArray[np.float16]:
    array: NDArray[np.float16] = frames.half().numpy()
    return array


def _to_array(part: torch.Tensor, single: bool) -> NDArray[np.float32]:
    array: NDArray[np.float32] = part.cpu().numpy()
    return array[:, 0] if single else array


def _to_half(part: NDArray[np.float32], uri: str) -> NDArray[np.float16]:
    with np.errstate(over="ignore"):
        half = part.astype(np.float16)
    if not np.isfinite(half).all():
        largest = np.abs(part).max()
        raise ArchiveError(
            f"{uri}: features reach {largest:.3g}, which 16-bit floats cannot hold: choose layers "
            "with --layers, or keep the audio with --store audio"
        )
    return half
