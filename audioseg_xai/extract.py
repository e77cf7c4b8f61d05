"""From a data directory to a feature archive: spectrogram and frame labels of each recording."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from audioseg_xai.annotation import Region, Segment, segments_to_frames
from audioseg_xai.archive import ArchiveEntry, stored_frames, write_recording
from audioseg_xai.audio import read_audio
from audioseg_xai.datadir import DataDir
from audioseg_xai.errors import AudioError
from audioseg_xai.features import SpectrogramConfig, log_spectrogram
from audioseg_xai.files import sha256_file
from audioseg_xai.frames import FRAME_SHIFT, SAMPLE_RATE, num_frames


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
    """

    uri: str
    audio: Path
    segments: tuple[Segment, ...]
    uem: tuple[Region, ...]
    classes: tuple[str, ...]
    folder: Path
    spectrogram: SpectrogramConfig

    def run(self) -> ArchiveEntry:
        """Make the file, unless it is there, whole, and made of the same audio and labels.

        Raises
        ------
        AudioError
            If the audio cannot be decoded or is shorter than a frame.
        """
        name = f"{self.uri}.h5"
        attributes = self._attributes()
        done = stored_frames(self.folder / name, attributes)
        if done is not None:
            return ArchiveEntry(self.uri, name, done)
        samples = read_audio(self.audio)
        frames = num_frames(len(samples))
        if frames == 0:
            raise AudioError(f"{self.audio}: {len(samples)} samples are less than one frame (400)")
        arrays: dict[str, NDArray[Any]] = {
            "spectrogram": self._spectrogram(samples),
            "labels": self._labels(frames),
        }
        write_recording(self.folder / name, arrays, attributes)
        return ArchiveEntry(self.uri, name, frames)

    def _spectrogram(self, samples: NDArray[np.float32]) -> NDArray[np.float16]:
        return log_spectrogram(torch.from_numpy(samples), self.spectrogram).half().numpy()

    def _labels(self, frames: int) -> NDArray[np.int8]:
        return segments_to_frames(self.segments, frames, known=self.classes, uem=self.uem)

    def _attributes(self) -> dict[str, str | int | float]:
        labels = [[s.onset, s.offset, s.label] for s in self.segments]
        settings = {
            "spectrogram": self.spectrogram.model_dump(),
            "labels": labels,
            "uem": self.uem,
            "classes": self.classes,
        }
        return {
            "uri": self.uri,
            "sample_rate": SAMPLE_RATE,
            "frame_shift": FRAME_SHIFT,
            "upstream": "spectrogram",
            "config": json.dumps(settings, sort_keys=True),
            "audio_sha256": sha256_file(self.audio),
        }


def extractions(
    data: DataDir, folder: str | Path, spectrogram: SpectrogramConfig
) -> list[Extraction]:
    """Return the work of turning data directory `data` into an archive in `folder`."""
    return [
        Extraction(
            uri=uri,
            audio=data.wav[uri],
            segments=tuple(data.reference.get(uri, ())),
            uem=tuple(data.uem.get(uri, ())),
            classes=data.classes,
            folder=Path(folder),
            spectrogram=spectrogram,
        )
        for uri in data.uris
    ]
