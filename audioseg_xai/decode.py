"""From probabilities to segments, as they arrive: hysteresis, filled gaps, minimum durations."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from audioseg_xai.annotation import Segment
from audioseg_xai.config import Config
from audioseg_xai.errors import LabelError, UsageError
from audioseg_xai.frames import FRAME_SHIFT, frame_to_seconds
from audioseg_xai.labels import canonical


class ClassDecoding(Config):
    """How one class is decided.

    Attributes
    ----------
    onset : float
        Probability at which a segment begins.
    offset : float
        Probability below which it ends.
    min_duration : float
        Shorter segments are dropped, in seconds; applied after gaps are filled.
    min_gap : float
        Shorter gaps inside a class are filled, in seconds.
    """

    onset: float = Field(default=0.5, gt=0, le=1)
    offset: float = Field(default=0.5, gt=0, le=1)
    min_duration: float = Field(default=0.0, ge=0)
    min_gap: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> ClassDecoding:
        if self.offset > self.onset:
            raise ValueError(f"offset {self.offset} must not exceed onset {self.onset}")
        return self


DecodingConfig = dict[str, ClassDecoding]
"""Class name to how it is decided; a class that is left out is not decided."""


def chosen(classes: str | None, decided: DecodingConfig) -> DecodingConfig:
    """Return the rules of some of the classes that are decided, in the order of `decided`.

    Parameters
    ----------
    classes : str or None
        Names or their aliases, comma-separated; None are all.
    decided : dict
        Class name to `ClassDecoding`.

    Raises
    ------
    UsageError
        If one of them is no class or is not decided, or there is none.
    """
    if classes is None:
        return dict(decided)
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
    return {name: rule for name, rule in decided.items() if name in names}


@dataclass(frozen=True)
class DecodedSegment:
    """A segment, in frames, with the means of what was observed in it.

    Attributes
    ----------
    label : str
        Its class.
    onset, offset : int
        First frame, and the frame after the last.
    means : numpy.ndarray, shape (D,)
        Mean over its frames of the values that came with the probabilities.
    """

    label: str
    onset: int
    offset: int
    means: NDArray[np.float64]

    def to_segment(self, confidence: float, num_frames: int, duration: float) -> Segment:
        """Return it in seconds; the last frame of a recording reaches to its end."""
        end = duration if self.offset == num_frames else frame_to_seconds(self.offset)
        return Segment(frame_to_seconds(self.onset), end, self.label, confidence)


@dataclass
class _Run:
    """A segment that may still grow: where it began and ended, and the running sums there."""

    onset: int
    sums_at_onset: NDArray[np.float64]
    offset: int | None = None
    sums_at_offset: NDArray[np.float64] | None = None


class StreamingDecoder:
    """Decide segments from probabilities that arrive in chunks of any size.

    The segments do not depend on how the frames are cut into chunks. Memory is bounded: a class
    holds at most one segment that is not closed yet.

    Parameters
    ----------
    classes : tuple of str
        Axis C of the probabilities.
    config : dict
        Class name to `ClassDecoding`.
    """

    def __init__(self, classes: tuple[str, ...], config: DecodingConfig) -> None:
        self.classes, self.config = classes, config
        self.num_frames = 0
        self._active = {name: False for name in config}
        self._open: dict[str, _Run] = {}
        self._sums: NDArray[np.float64] | None = None

    def push(
        self, probabilities: NDArray[np.floating], values: NDArray[np.floating]
    ) -> list[DecodedSegment]:
        """Take the next frames; return the segments that no later frame can change.

        Parameters
        ----------
        probabilities : numpy.ndarray, shape (t, C)
            Decides.
        values : numpy.ndarray, shape (t, D)
            Averaged over each segment.
        """
        if self._sums is None:
            self._sums = np.zeros(values.shape[1])
        edges = {
            name: self._edges(name, probabilities[:, self.classes.index(name)])
            for name in self.config
        }
        sums = self._running_sums(values, np.unique(np.concatenate([*edges.values(), [0]])))
        first, self.num_frames = self.num_frames, self.num_frames + len(probabilities)
        closed = []
        for name, frames in edges.items():
            for frame in frames:
                closed += self._toggle(name, first + int(frame), sums[int(frame)])
            closed += self._close_if_settled(name)
        return sorted(closed, key=lambda segment: (segment.onset, segment.label))

    def finish(self) -> list[DecodedSegment]:
        """Return the segments that were still open at the end."""
        closed = []
        for name in list(self._open):
            run = self._open[name]
            if run.offset is None and self._sums is not None:
                run.offset, run.sums_at_offset = self.num_frames, self._sums.copy()
            closed += self._emit(name)
        return sorted(closed, key=lambda segment: (segment.onset, segment.label))

    def _edges(self, name: str, probabilities: NDArray[np.floating]) -> NDArray[np.intp]:
        """Return the frames at which a class switches on or off, by hysteresis."""
        rule, before = self.config[name], self._active[name]
        decided = np.zeros(len(probabilities) + 1, dtype=np.int8)
        decided[1:] = (probabilities >= rule.onset).astype(np.int8)
        decided[1:] -= probabilities < rule.offset
        decided[0] = 1 if before else -1
        # A frame between the thresholds keeps what the last decided frame before it said.
        last = np.maximum.accumulate(np.where(decided != 0, np.arange(len(decided)), 0))
        active = decided[last] > 0
        self._active[name] = bool(active[-1])
        return np.flatnonzero(active[1:] != active[:-1])

    def _running_sums(
        self, values: NDArray[np.floating], frames: NDArray[np.intp]
    ) -> dict[int, NDArray[np.float64]]:
        """Return the sums of all values before each of `frames`, which begin with 0."""
        assert self._sums is not None
        if len(values) == 0:
            return {0: self._sums}
        # `reduceat` gives the same sums in three times the time.
        edges = itertools.pairwise([*frames.tolist(), len(values)])
        parts = np.stack([values[a:b].sum(axis=0, dtype=np.float64) for a, b in edges])
        before = np.vstack([self._sums, self._sums + np.cumsum(parts, axis=0)])
        self._sums = before[-1]
        return dict(zip(frames.tolist(), before[:-1], strict=True))

    def _toggle(self, name: str, frame: int, sums: NDArray[np.float64]) -> list[DecodedSegment]:
        run = self._open.get(name)
        if run is not None and run.offset is None:
            run.offset, run.sums_at_offset = frame, sums
            return []
        if run is not None and run.offset is not None and not self._settled(name, frame):
            run.offset = run.sums_at_offset = None
            return []
        closed = self._emit(name) if run is not None else []
        self._open[name] = _Run(frame, sums)
        return closed

    def _settled(self, name: str, frame: int) -> bool:
        offset = self._open[name].offset
        gap = round(self.config[name].min_gap / FRAME_SHIFT, 6)
        return offset is not None and frame - offset >= gap

    def _close_if_settled(self, name: str) -> list[DecodedSegment]:
        if name in self._open and self._settled(name, self.num_frames) and not self._active[name]:
            return self._emit(name)
        return []

    def _emit(self, name: str) -> list[DecodedSegment]:
        run = self._open.pop(name)
        assert run.offset is not None and run.sums_at_offset is not None
        length = run.offset - run.onset
        if length < round(self.config[name].min_duration / FRAME_SHIFT, 6):
            return []
        means = (run.sums_at_offset - run.sums_at_onset) / length
        return [DecodedSegment(name, run.onset, run.offset, means)]
