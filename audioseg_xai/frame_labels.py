"""Segments as labels of frames, and decisions about frames as segments."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audioseg_xai.annotation import Region, Segment
from audioseg_xai.errors import AnnotationError
from audioseg_xai.frames import FRAME_SHIFT, HOP, SAMPLE_RATE, WINDOW
from audioseg_xai.labels import CLASSES, UNKNOWN


def segments_to_frames(
    segments: Iterable[Segment],
    num_frames: int,
    classes: Sequence[str] = CLASSES,
    known: Iterable[str] = CLASSES,
    uem: Iterable[Region] | None = None,
) -> NDArray[np.int8]:
    """Label frames by what sounds at their centre, sample ``320 t + 200``.

    Parameters
    ----------
    segments : iterable of Segment
        What sounds; labels must be in `classes`.
    num_frames : int
        Number of frames T.
    classes : sequence of str, optional
        Names of the C columns.
    known : iterable of str, optional
        Classes that the annotators labelled: the others are unknown, and segments of theirs
        are left out.
    uem : iterable of (onset, offset), optional
        Where they labelled, in seconds; frames outside are unknown. Everywhere by default.

    Returns
    -------
    ndarray of int8 [shape=(T, C)]
        1 where the class sounds, 0 where it does not, -1 where that is unknown.

    Raises
    ------
    AnnotationError
        If a segment has a label that is not in `classes`.
    """
    frames = np.zeros((num_frames, len(classes)), dtype=np.int8)
    for segment in segments:
        if segment.label not in classes:
            raise AnnotationError(f"segment label {segment.label!r} is not in {tuple(classes)}")
        frames[_frame_slice(segment.onset, segment.offset), classes.index(segment.label)] = 1
    labelled = set(known)
    frames[:, [name not in labelled for name in classes]] = UNKNOWN
    if uem is not None:
        outside = np.ones(num_frames, dtype=bool)
        for onset, offset in uem:
            outside[_frame_slice(onset, offset)] = False
        frames[outside] = UNKNOWN
    return frames


def frames_to_segments(
    active: NDArray[Any], classes: Sequence[str] = CLASSES, duration: float | None = None
) -> list[Segment]:
    """Turn runs of active frames into segments.

    Frame ``t`` stands for ``[0.02 t, 0.02 (t + 1))`` seconds, and the last frame of the
    recording reaches to its end.

    Parameters
    ----------
    active : ndarray of bool [shape=(T, C)]
        Decisions.
    classes : sequence of str, optional
        Names of the C columns.
    duration : float, optional
        Length of the recording in seconds; ``0.02 T`` by default.

    Returns
    -------
    list of Segment
        Sorted; without confidence.

    Raises
    ------
    AnnotationError
        If `active` has another shape, or `duration` ends before the last frame begins.
    """
    active = np.asarray(active, dtype=bool)
    if active.ndim != 2 or active.shape[1] != len(classes):
        raise AnnotationError(f"decisions have shape {active.shape}, not (T, {len(classes)})")
    edges = _frame_edges(len(active), duration)
    segments = [
        Segment(edges[first], edges[last], name)
        for column, name in enumerate(classes)
        for first, last in runs(active[:, column])
    ]
    return sorted(segments)


def runs(active: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return first and last-plus-one index of every run of True in a vector.

    Examples
    --------
    >>> runs(np.array([True, True, False, True]))
    [(0, 2), (3, 4)]
    """
    padded = np.concatenate(([False], active, [False]))
    changes = np.flatnonzero(padded[1:] != padded[:-1]).tolist()
    return list(zip(changes[::2], changes[1::2], strict=True))


def _frame_edges(num_frames: int, duration: float | None) -> list[float]:
    # t * HOP / SAMPLE_RATE rather than t * 0.02: the quotient is the float nearest to the time.
    edges = [t * HOP / SAMPLE_RATE for t in range(num_frames + 1)]
    if duration is not None and num_frames:
        if not duration > edges[-2]:
            raise AnnotationError(
                f"a recording of {duration} s cannot have {num_frames} frames of {FRAME_SHIFT} s"
            )
        edges[-1] = duration
    return edges


def _frame_slice(onset: float, offset: float) -> slice:
    """Frames whose centre lies in ``[onset, offset)``."""
    return slice(_first_centre_from(onset), _first_centre_from(offset))


def _first_centre_from(seconds: float) -> int:
    # Times come from decimal text, so they may miss the centre they mean by a rounding error.
    return max(0, math.ceil((seconds * SAMPLE_RATE - WINDOW / 2 - 1e-6) / HOP))
