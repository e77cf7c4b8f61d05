"""What each segment rests on, from when it closes: explanations of recordings of any length.

A segment that is closed cannot change any more. What it rests on is computed then and handed on,
and, where it is needed once the recording has ended, waits on disk: memory holds the onset and the
class of a segment, not its relevances.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audioseg_xai.annotation import Segment
from audioseg_xai.decode import DecodedSegment
from audioseg_xai.explain import Explanation, Readout, project, relevance, select

Floats = NDArray[np.floating]

BLOCK = 512
"""Segments that are projected to frequency, or read from disk, at once."""


@dataclass(frozen=True)
class Outline:
    """What an explanation is of: see `Explanation`, which has the segments as well."""

    uri: str
    duration: float
    num_frames: int
    threshold: float


@dataclass(frozen=True)
class Closed:
    """Segments of a recording that closed, and what each rests on.

    Attributes
    ----------
    segments : tuple of Segment, length S
        In any order; the confidence is the mean probability of the class.
    relevance : numpy.ndarray of float32, shape (S, K)
        What each component adds to the mean logit, negative evidence included.
    mean_logit : numpy.ndarray of float32, shape (S,)
        Mean logit of the class of each segment: the sum of its relevances plus the bias.
    """

    segments: tuple[Segment, ...]
    relevance: Floats
    mean_logit: Floats


def explain_closed(
    readout: Readout, decoded: Sequence[DecodedSegment], num_frames: int, duration: float
) -> Closed:
    """Return what segments rest on.

    Parameters
    ----------
    readout : Readout
        Of the student that decided.
    decoded : sequence of DecodedSegment
        Their means are those of probabilities, logits and activations side by side, D = 2C + K.
    num_frames : int
        Frames that were heard.
    duration : float
        Seconds of the recording; counts for segments that last until `num_frames`.
    """
    count, width = len(readout.classes), 2 * len(readout.classes) + readout.weights.shape[1]
    classes = np.array([readout.classes.index(found.label) for found in decoded], dtype=np.intp)
    means = np.array([found.means for found in decoded], np.float32).reshape(-1, width)
    return Closed(
        tuple(
            found.to_segment(float(found.means[c]), num_frames, duration)
            for found, c in zip(decoded, classes, strict=True)
        ),
        relevance(means[:, 2 * count :], classes, readout.weights).astype(np.float32, copy=False),
        means[np.arange(len(means)), count + classes],
    )


def gather(parts: Iterable[Closed], readout: Readout, outline: Outline) -> Explanation:
    """Return the explanation of a recording, all of it in memory.

    Parameters
    ----------
    parts : iterable of Closed
        All segments, as they closed.
    readout : Readout
        Of the student that decided.
    outline : Outline
        The recording.
    """
    held = list(parts)
    segments = [segment for part in held for segment in part.segments]
    relevances = np.concatenate([_none(readout), *(part.relevance for part in held)])
    logits = np.concatenate([np.zeros(0, np.float32), *(part.mean_logit for part in held)])
    onsets = [segment.onset for segment in segments]
    order = _order(onsets, [readout.classes.index(s.label) for s in segments], readout.classes)
    return _explanation(
        [segments[row] for row in order], relevances[order], logits[order], readout, outline
    )


def in_order(segments: Iterable[Segment]) -> list[Segment]:
    """Return segments by onset and label, as explanations have them.

    Two stable sorts by what is there already: a sort by pairs would make a pair for each.
    """
    return sorted(sorted(segments, key=attrgetter("label")), key=attrgetter("onset"))


class ClassSpectra:
    """Adds up `explain.class_spectra`, the mean spectrum of each class, as segments close.

    The projection is linear: that of the mean of what is selected, weighted by duration, is the
    mean of the projections.

    Parameters
    ----------
    readout : Readout
        Of the student that decided.
    threshold : float
        tau of the selection.
    """

    def __init__(self, readout: Readout, threshold: float) -> None:
        self._readout, self._threshold = readout, threshold
        self._sums = np.zeros(readout.weights.shape)
        self._seconds = np.zeros(len(readout.classes))

    def add(self, closed: Closed) -> None:
        """Add segments."""
        classes = [self._readout.classes.index(segment.label) for segment in closed.segments]
        seconds = np.array([segment.duration for segment in closed.segments])
        weighted = select(closed.relevance, self._threshold) * seconds[:, None]
        np.add.at(self._sums, classes, weighted)
        np.add.at(self._seconds, classes, seconds)

    def spectra(self) -> dict[str, Floats]:
        """Return the mean spectrum (F,) of each class that has segments."""
        found = np.flatnonzero(self._seconds)
        means = self._sums[found] / self._seconds[found, None]
        projected = project(means, self._readout.dictionary)
        return {self._readout.classes[c]: row for c, row in zip(found, projected, strict=True)}


class ClosedSpool:
    """Segments on disk, with what they rest on, in a file without a name; a context manager.

    Parameters
    ----------
    folder : Path
        Where that file lies.
    readout : Readout
        Of the student that decides.
    """

    def __init__(self, folder: Path, readout: Readout) -> None:
        self._folder, self._readout = folder, readout
        self._dtype = np.dtype(
            [
                *((name, "f8") for name in ("onset", "offset", "confidence")),
                ("class", "i4"),
                ("mean_logit", "f4"),
                ("relevance", "f4", (readout.weights.shape[1],)),
            ]
        )
        self._onsets, self._classes = array("d"), array("i")
        # Without a buffer, which would try once more when it is closed on a full disk.
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115

    def __enter__(self) -> ClosedSpool:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._onsets)

    @property
    def labels(self) -> list[str]:
        """The classes that segments have."""
        return [self._readout.classes[c] for c in sorted(set(self._classes))]

    def add(self, closed: Closed) -> None:
        """Append segments.

        Raises
        ------
        OSError
            If the disk does not take them.
        """
        rows = np.empty(len(closed.segments), self._dtype)
        for name in ("onset", "offset", "confidence"):
            rows[name] = [getattr(segment, name) for segment in closed.segments]
        rows["class"] = [self._readout.classes.index(s.label) for s in closed.segments]
        rows["mean_logit"], rows["relevance"] = closed.mean_logit, closed.relevance
        self._onsets.extend(rows["onset"].tolist())
        self._classes.extend(rows["class"].tolist())
        try:
            left = memoryview(rows.tobytes())
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            error.filename = error.filename or str(self._folder)
            raise

    def blocks(self, outline: Outline) -> Iterator[Explanation]:
        """Yield the explanation of a recording, `BLOCK` segments at a time, at least one block.

        Parameters
        ----------
        outline : Outline
            The recording.

        Yields
        ------
        Explanation
            By onset and label.
        """
        order = _order(self._onsets, self._classes, self._readout.classes)
        for start in range(0, max(len(order), 1), BLOCK):
            rows = self._read(order[start : start + BLOCK])
            segments = [
                Segment(onset, offset, self._readout.classes[c], confidence)
                for onset, offset, confidence, c in zip(
                    *(rows[name].tolist() for name in ("onset", "offset", "confidence", "class")),
                    strict=True,
                )
            ]
            yield _explanation(
                segments, rows["relevance"], rows["mean_logit"], self._readout, outline
            )

    def _read(self, places: NDArray[np.intp]) -> NDArray[Any]:
        rows = np.empty(len(places), self._dtype)
        for row, place in enumerate(places.tolist()):
            self._file.seek(place * self._dtype.itemsize)
            self._file.readinto(rows[row : row + 1].view(np.uint8).data)
        return rows


def _none(readout: Readout) -> Floats:
    return np.zeros((0, readout.weights.shape[1]), np.float32)


def _order(
    onsets: Sequence[float], classes: Sequence[int], names: Sequence[str]
) -> NDArray[np.intp]:
    """Return the places of segments by onset, and at one onset by the name of the class."""
    ranks = np.argsort(np.argsort(names))
    return np.lexsort((ranks[np.asarray(classes, np.intp)], np.asarray(onsets)))


def _explanation(
    segments: Sequence[Segment],
    relevances: Floats,
    mean_logit: Floats,
    readout: Readout,
    outline: Outline,
) -> Explanation:
    # In blocks, because the last bit of a product depends on how many rows it has.
    blocks = [relevances[start : start + BLOCK] for start in range(0, len(relevances), BLOCK)]
    chosen = (select(block, outline.threshold) for block in blocks or [_none(readout)])
    spectra = np.concatenate([project(block, readout.dictionary) for block in chosen])
    return Explanation(
        **asdict(outline),
        segments=tuple(segments),
        relevance=relevances,
        spectra=spectra.astype(np.float32, copy=False),
        mean_logit=mean_logit,
    )
