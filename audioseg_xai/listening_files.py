"""Sound files of what decisions rest on, for recordings of any length; see `listening`."""

from __future__ import annotations

import itertools
import json
import logging
import math
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from audioseg_xai.audio import AudioReader, TruncatedAudioError
from audioseg_xai.errors import AudioError, UsageError
from audioseg_xai.explain import Explanation, Readout
from audioseg_xai.frames import HOP, SAMPLE_RATE, num_frames
from audioseg_xai.listening import Excerpt, Floats, excerpts, listen
from audioseg_xai.provenance import provenance
from audioseg_xai.recordings import STDIN, Recording

BLOCK = 60 * SAMPLE_RATE
"""Samples that are computed at once, at most."""

INDEX = "index.json"

log = logging.getLogger(__name__)


class Listener:
    """Collects the activations of a recording and then writes its sounds; see `listening`."""

    def __init__(
        self,
        folder: Path,
        recording: Recording,
        dictionary: NDArray[np.floating],
        config: Mapping[str, Any],
        activations: _Spool,
    ) -> None:
        self._folder, self._recording, self._config = folder, recording, config
        self._dictionary, self._activations = dictionary, activations
        self._loudest = 0.0

    def push(self, activations: NDArray[np.floating]) -> None:
        """Take the next frames, shape (t, K)."""
        self._activations.append(activations)

    def finish(self, explanation: Explanation) -> None:
        """Write the sounds of all segments, and the index.

        Raises
        ------
        AudioError
            If the recording has changed since it was decided, or the disk does not take the files.
        """
        with _Spool(self._folder, 1) as sound:
            self._read_again(sound, explanation)
            parts = _Parts(sound, self._activations, self._dictionary)
            planned = excerpts(explanation, len(sound))
            for label, items in planned.items():
                self._write_class(label, items, parts, len(sound))
        self._write_index(explanation, planned)
        if self._loudest > 1:
            log.warning(
                f"{self._recording.source}: its sounds exceed full scale by "
                f"{20 * math.log10(self._loudest):.1f} dB and were clipped"
            )

    def _read_again(self, sound: _Spool, explanation: Explanation) -> None:
        with AudioReader(self._recording.path) as reader:
            try:
                for block in reader:
                    sound.append(block[:, None])
            except TruncatedAudioError:
                # Said, and allowed, when the recording was decided; its length tells if it is new.
                log.debug(f"{reader.name}: is used up to its damage")
        if len(sound) != round(explanation.duration * SAMPLE_RATE):
            raise AudioError(
                f"{self._recording.source}: has changed while it was read: explain it again"
            )

    def _write_class(
        self, label: str, items: Sequence[Excerpt], parts: _Parts, num_samples: int
    ) -> None:
        with self._wav(f"{safe_name(label)}_relevant.wav") as track:
            position = 0
            for item in items:
                _write_silence(track, item.begin - position)
                self._write_excerpt(item, parts, track)
                position = item.end
            _write_silence(track, num_samples - position)

    def _write_excerpt(self, item: Excerpt, parts: _Parts, track: soundfile.SoundFile) -> None:
        names = _names(item)
        with self._wav(names["relevant"]) as relevant, self._wav(names["rest"]) as rest:
            for part, other in parts.of(item):
                relevant.write(part)
                track.write(part)
                rest.write(other)
                self._loudest = max(self._loudest, _peak(part), _peak(other))

    @contextmanager
    def _wav(self, name: str) -> Iterator[soundfile.SoundFile]:
        try:
            with soundfile.SoundFile(self._folder / name, "w", SAMPLE_RATE, 1, "PCM_16") as file:
                yield file
        except soundfile.LibsndfileError as error:
            raise AudioError(f"{name}: cannot be written: {error}") from error

    def _write_index(
        self, explanation: Explanation, planned: Mapping[str, Sequence[Excerpt]]
    ) -> None:
        everything = sorted(
            itertools.chain(*planned.values()), key=lambda item: (item.onset, item.segment.label)
        )
        settings = {**self._config, "relevance_threshold": explanation.threshold}
        index = {
            "uri": explanation.uri,
            "sample_rate": SAMPLE_RATE,
            "duration": explanation.duration,
            "tracks": {label: f"{safe_name(label)}_relevant.wav" for label in planned},
            "segments": [_entry(item) for item in everything],
            "provenance": provenance(settings),
        }
        text = json.dumps(index, indent=1, ensure_ascii=False)
        (self._folder / INDEX).write_text(f"{text}\n", encoding="utf-8")


def check_listening(folder: Path, recordings: Iterable[Recording]) -> None:
    """Refuse what cannot be listened to, before any work is done.

    Raises
    ------
    UsageError
        If a recording is standard input, which cannot be read a second time, or there is
        something in its folder.
    """
    for recording in recordings:
        if recording.path == STDIN:
            raise UsageError("--listen: standard input cannot be read twice: save it to a file")
        final = folder / safe_name(recording.uri)
        if final.exists() and not (final.is_dir() and not any(final.iterdir())):
            raise UsageError(f"{final}: is there already: remove it, or write to another folder")


@contextmanager
def listening(
    folder: Path, recording: Recording, readout: Readout, config: Mapping[str, Any]
) -> Iterator[Listener]:
    """Yield what writes the sounds of a recording to ``folder/uri``; whole or not at all.

    There is ``CLASS_ONSET-OFFSET_relevant.wav`` and ``..._rest.wav`` for each segment,
    ``CLASS_relevant.wav`` with the relevant parts of all segments of a class and silence between
    them, as long as the recording, and ``index.json``, which lists them. Memory does not grow with
    the recording; on the disk of `folder` its samples and activations take 414 MB an hour at
    K = 256 until the sounds are written.

    Parameters
    ----------
    folder : Path
        Where the folders of all recordings lie.
    recording : Recording
        It is read a second time.
    readout : Readout
        Of the student that decides.
    config : mapping
        Goes into the provenance; must serialise to JSON.

    Raises
    ------
    UsageError
        As `check_listening` does.
    """
    check_listening(folder, [recording])
    final = folder / safe_name(recording.uri)
    temporary = folder / f".{uuid.uuid4().hex[:8]}.tmp"
    temporary.mkdir(parents=True)
    try:
        with _Spool(temporary, readout.weights.shape[1]) as activations:
            yield Listener(temporary, recording, readout.dictionary, config, activations)
        temporary.replace(final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def safe_name(name: str) -> str:
    """Return a name for a file or a folder that every system takes; different for each `name`.

    Examples
    --------
    >>> safe_name("a/b"), safe_name(".."), safe_name("news_9")
    ('a%2Fb', '%2E.', 'news_9')
    """
    return re.sub(r'^\.|[%/\\:*?"<>|\x00-\x1f]', lambda found: f"%{ord(found[0]):02X}", name)


class _Spool:
    """Rows of float32 in a temporary file without a name; a context manager."""

    def __init__(self, folder: Path, width: int) -> None:
        self._width, self._count = width, 0
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115

    def __enter__(self) -> _Spool:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._count

    def append(self, rows: NDArray[np.floating]) -> None:
        self._file.write(rows.astype(np.float32, copy=False).tobytes())
        self._count += len(rows)

    def __getitem__(self, rows: slice) -> Floats:
        first, stop, _ = rows.indices(self._count)
        size = 4 * self._width
        self._file.seek(first * size)
        data = self._file.read(max(stop - first, 0) * size)
        return np.frombuffer(data, np.float32).reshape(-1, self._width)


class _Parts:
    """The two parts of a recording, anywhere in it, as `listen` gives them for the whole."""

    def __init__(
        self, sound: _Spool, activations: _Spool, dictionary: NDArray[np.floating]
    ) -> None:
        self._sound, self._activations, self._dictionary = sound, activations, dictionary
        self._fft_size = 2 * (len(dictionary) - 1)

    def of(self, item: Excerpt) -> Iterator[tuple[Floats, Floats]]:
        """Yield the faded parts of an excerpt, block by block."""
        for start in range(item.begin, item.end, BLOCK):
            stop = min(start + BLOCK, item.end)
            gain = item.gain(start, stop)
            relevant, rest = self._between(start, stop, item.relevance > 0)
            yield relevant * gain, rest * gain

    def _between(self, start: int, stop: int, selected: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        # A sample depends on the frames that hold it, and they reach fft_size to either side.
        frame = max(start // HOP - math.ceil(self._fft_size / HOP), 0)
        first, last = frame * HOP, min(stop + self._fft_size, len(self._sound))
        samples = self._sound[first:last][:, 0]
        activations = self._activations[frame : frame + num_frames(len(samples))]
        inside = slice(start - first, stop - first)
        relevant, rest = listen(samples, activations, self._dictionary, selected)
        return relevant[inside], rest[inside]


def _names(item: Excerpt) -> dict[str, str]:
    segment = item.segment
    stem = f"{safe_name(segment.label)}_{segment.onset:.3f}-{segment.offset:.3f}"
    return {part: f"{stem}_{part}.wav" for part in ("relevant", "rest")}


def _entry(item: Excerpt) -> dict[str, Any]:
    segment = item.segment
    return {
        "class": segment.label,
        "onset": segment.onset,
        "offset": segment.offset,
        "begin": item.begin / SAMPLE_RATE,
        "end": item.end / SAMPLE_RATE,
        **_names(item),
        "components": item.components,
    }


def _write_silence(track: soundfile.SoundFile, count: int) -> None:
    for start in range(0, count, BLOCK):
        track.write(np.zeros(min(BLOCK, count - start), np.float32))


def _peak(samples: Floats) -> float:
    return float(np.abs(samples).max(initial=0))
