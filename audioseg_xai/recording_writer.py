"""The group of one recording in an explanation archive, while it is being written."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from audioseg_xai.closed_segments import Closed, ClosedSpool, Outline
from audioseg_xai.contrast import flips
from audioseg_xai.disk_room import DiskRoom
from audioseg_xai.explain import Explanation, Readout
from audioseg_xai.explanation_layout import (
    CACHED_CHUNKS,
    Compression,
    chunk_bytes,
    growing,
    half,
    segment_table,
)

ARRAYS = ("relevance", "spectra", "mean_logit")
"""Datasets that are attributes of `Explanation`."""


class RecordingWriter:
    """The group of one recording while it is being written.

    Frames come in chunks of any size, segments all at once or as they close, which takes memory
    that does not grow with the recording.
    """

    def __init__(
        self,
        group: h5py.Group,
        readout: Readout,
        compression: Compression,
        thresholds: Mapping[str, float] | None,
        spool: ClosedSpool,
        room: DiskRoom,
    ) -> None:
        self._room = room
        self._group, self._thresholds, self._spool = group, thresholds, spool
        self._frames = {
            "probabilities": growing(group, "probabilities", len(readout.classes), "f4", None),
            "activations": growing(
                group, "activations", readout.weights.shape[1], "f2", compression
            ),
        }
        # What HDF5 has not written yet, at most.
        self._cached = sum(CACHED_CHUNKS * chunk_bytes(each) for each in self._frames.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for dataset in self._frames.values():
            dataset.id.close()

    def push(self, probabilities: NDArray[np.floating], activations: NDArray[np.floating]) -> None:
        """Append frames: probabilities (t, C) and activations (t, K).

        Raises
        ------
        OSError
            If the disk does not take them.
        """
        self._room.reserve(self._cached + probabilities.nbytes + activations.nbytes)
        for name, rows in (("probabilities", probabilities), ("activations", activations)):
            dataset = self._frames[name]
            start = dataset.shape[0]
            dataset.resize(start + len(rows), axis=0)
            dataset[start:] = half(rows) if dataset.dtype == np.float16 else rows

    def add(self, closed: Closed) -> None:
        """Take segments, in any order, each once; they wait beside the archive.

        Raises
        ------
        OSError
            If the disk does not take them.
        """
        self._spool.add(closed)

    def finish_added(self, outline: Outline) -> None:
        """Write the segments that were added, and what is known at the end of the recording."""
        blocks = self._spool.blocks(outline)
        self._write(outline, blocks, len(self._spool), self._spool.labels)

    def finish(self, explanation: Explanation) -> None:
        """Write all segments, and what else is known at the end of the recording."""
        segments = explanation.segments
        labels = {segment.label for segment in segments}
        self._write(explanation, [explanation], len(segments), labels)

    def _write(
        self,
        outline: Outline | Explanation,
        blocks: Iterable[Explanation],
        count: int,
        labels: Collection[str],
    ) -> None:
        done = 0
        for block in blocks:
            stop, found = done + len(block.segments), self._rows(block, labels)
            if not done:  # the first rows of a dataset take the room of all
                self._room.reserve(
                    sum(row.nbytes for row in found.values()) * -(-count // max(stop, 1))
                )
            for name, rows in found.items():
                dataset = self._group.require_dataset(
                    name, (count, *rows.shape[1:]), rows.dtype, exact=True
                )
                dataset[done:stop] = rows
            done = stop
        self._group.attrs["duration"] = outline.duration
        self._group.attrs["num_frames"] = outline.num_frames
        self._group.attrs["relevance_threshold"] = outline.threshold

    def _rows(self, block: Explanation, labels: Collection[str]) -> dict[str, NDArray[Any]]:
        rows = {"segments": segment_table(block.segments, labels)}
        rows |= {name: getattr(block, name) for name in ARRAYS}
        if self._thresholds is not None:
            rows["flip"] = flips(block, self._thresholds)
        return rows
