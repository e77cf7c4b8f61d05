"""Explanation archives: one HDF5 file, a group a recording, the dictionary at the root.

Root: ``dictionary (F, K)``, ``weights (C, K)``, ``bias (C,)``, ``frequencies (F,)`` in Hz, and
the attributes ``classes``, ``frame_shift`` (seconds) and ``provenance`` (JSON). A group:
``probabilities (T, C)``, ``activations (T, K)``, ``segments`` (table: class, onset, offset,
confidence), ``relevance (S, K)``, ``spectra (S, F)``, ``mean_logit (S,)``, ``flip (S,)`` (how many
components the class hangs on, -1 if it stays without any), and the attributes ``uri``, ``duration``
(seconds), ``num_frames`` and ``relevance_threshold``. A prototype file has ``prototypes (C, K)``,
``prototype_spectra (C, F)``, ``prototype_counts (C,)``, ``prototype_quartiles (3, C, K)`` and what
`characteristics` says of them (``component_centre (K,)``, ``component_bandwidth (K,)``,
``component_distinctness (C, K)``, ``component_serves (C, K)``, ``prototype_similarity (C, C)``) at
the root instead of groups and, when it holds only decisions that another system shares,
``prototype_dropped (C,)``: how many others were left out.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from audioseg_xai.annotation import Segment, read_rttm
from audioseg_xai.characteristics import describe
from audioseg_xai.closed_segments import ClosedSpool
from audioseg_xai.disk_room import DiskRoom
from audioseg_xai.errors import AnnotationError, ArchiveError
from audioseg_xai.explain import Explanation, Prototypes, Readout
from audioseg_xai.explanation_layout import (
    DESCRIPTION,
    DROPPED,
    PROTOTYPES,
    QUARTILES,
    Compression,
    bound_metadata,
    copy_recordings,
    group_name,
    open_archive,
    read_root,
    read_segments,
    write_root,
)
from audioseg_xai.files import atomic_path
from audioseg_xai.recording_writer import ARRAYS, RecordingWriter

log = logging.getLogger(__name__)


class ExplanationWriter:
    """An open explanation archive, to be had from `write_explanations`."""

    def __init__(
        self,
        file: h5py.File,
        readout: Readout,
        compression: Compression,
        thresholds: Mapping[str, float] | None,
        name: Path,
    ) -> None:
        self._file, self._readout, self._name = file, readout, name
        self._compression: Compression = compression
        self._thresholds = thresholds
        self._room = DiskRoom(file, name)

    @contextmanager
    def recording(self, uri: str) -> Iterator[RecordingWriter]:
        """Yield the writer of a recording; when the block fails, nothing of it remains."""
        name = group_name(uri)
        if name in self._file:
            raise ArchiveError(f"{uri}: is in the archive already: give each recording its own uri")
        group = self._file.create_group(name)
        group.attrs["uri"] = uri
        folder = Path(self._file.filename).parent
        try:
            with (
                ClosedSpool(folder, self._readout) as spool,
                RecordingWriter(
                    group, self._readout, self._compression, self._thresholds, spool, self._room
                ) as writer,
            ):
                yield writer
        except BaseException:
            group.id.close()  # what is open keeps its place in the file
            del self._file[name]
            raise
        finally:
            self._room.release()

    def take(self, part: Path, uri: str) -> None:
        """Move a recording here from a part, see `write_part`, which is deleted.

        Raises
        ------
        OSError
            If the disk has no room for it.
        """
        try:
            with open_archive(part) as file:
                copy_recordings(file, [uri], self._file, self._name)
        finally:
            part.unlink()


@contextmanager
def write_explanations(
    path: str | Path,
    readout: Readout,
    provenance: Mapping[str, Any],
    *,
    compression: Compression = None,
    thresholds: Mapping[str, float] | None = None,
) -> Iterator[ExplanationWriter]:
    """Yield a writer of the explanation archive `path`; whole or not at all.

    Parameters
    ----------
    path : str or Path
        The HDF5 file.
    readout : Readout
        Of the student that decides.
    provenance : mapping
        How it is made; must serialise to JSON.
    compression : 'gzip' or None
        For the activations, which take most of the room: 92 MB an hour without at K = 256. With
        gzip it is less than half, and takes seconds an hour.
    thresholds : mapping of str to float, optional
        Class to the probability that it needs; with them ``flip`` is written, see `contrast.flips`.
    """
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        bound_metadata(file)
        write_root(file, readout, provenance)
        yield ExplanationWriter(file, readout, compression, thresholds, Path(path))


@contextmanager
def write_part(
    path: Path,
    readout: Readout,
    *,
    compression: Compression = None,
    thresholds: Mapping[str, float] | None = None,
) -> Iterator[ExplanationWriter]:
    """Yield a writer of recordings that `ExplanationWriter.take` moves into an archive.

    Parameters are those of `write_explanations`. Nothing is left at `path` when the block fails.
    """
    try:
        with h5py.File(path, "w") as file:
            bound_metadata(file)
            yield ExplanationWriter(file, readout, compression, thresholds, path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def write_prototypes(
    path: str | Path, prototypes: Prototypes, readout: Readout, provenance: Mapping[str, Any]
) -> None:
    """Write a prototype file, whole or not at all."""
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        write_root(file, readout, provenance)
        arrays = (prototypes.relevance, prototypes.spectra, prototypes.counts)
        for name, array in zip(PROTOTYPES, arrays, strict=True):
            file[name] = array
        if prototypes.dropped is not None:
            file[DROPPED] = prototypes.dropped
        if prototypes.quartiles is not None:
            file[QUARTILES] = prototypes.quartiles
        description = describe(prototypes, readout)
        for name, attribute in DESCRIPTION.items():
            file[name] = getattr(description, attribute)


class ExplanationArchive:
    """An explanation archive, open for reading; a context manager.

    Parameters
    ----------
    path : str or Path
        The HDF5 file.

    Attributes
    ----------
    readout : Readout
        What the explanations were made with.
    provenance : dict
        How they were made.
    uris : list of str
        The recordings.

    Raises
    ------
    ArchiveError
        If the file is missing or is no explanation archive.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path
        self._file = open_archive(path)
        try:
            self.readout = read_root(self._file, path)
            self.provenance = json.loads(self._file.attrs["provenance"])
            groups = [item for item in self._file.values() if isinstance(item, h5py.Group)]
            self._groups = {str(group.attrs["uri"]): group for group in groups}
        except (KeyError, ValueError) as error:
            self._file.close()
            raise ArchiveError(f"{path}: is no explanation archive: {error}") from None
        self.uris = list(self._groups)

    def __enter__(self) -> ExplanationArchive:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Explanation]:
        """Yield the explanation of each recording, one in memory at a time."""
        return map(self.explanation, self.uris)

    def explanation(self, uri: str) -> Explanation:
        """Return the segments of a recording and what they rest on."""
        group = self._group(uri)
        return Explanation(
            uri=uri,
            duration=float(group.attrs["duration"]),
            num_frames=int(group.attrs["num_frames"]),
            threshold=float(group.attrs["relevance_threshold"]),
            segments=read_segments(group["segments"][()]),
            **{name: group[name][()] for name in ARRAYS},
        )

    def probabilities(self, uri: str) -> NDArray[np.float32]:
        """Return the probabilities of a recording, shape (T, C)."""
        result: NDArray[np.float32] = self._group(uri)["probabilities"][()]
        return result

    def activations(self, uri: str, frames: slice = slice(None)) -> NDArray[np.float16]:
        """Return H of a recording or of some of its frames, shape (T, K)."""
        result: NDArray[np.float16] = self._group(uri)["activations"][frames]
        return result

    def flips(self, uri: str) -> NDArray[np.int32] | None:
        """Return ``flip`` (S,), see `contrast.flips`; None when the archive has none."""
        group = self._group(uri)
        return group["flip"][()] if "flip" in group else None

    def num_frames(self, uri: str) -> int:
        """Return T of a recording."""
        return int(self._group(uri).attrs["num_frames"])

    def duration(self, uri: str) -> float:
        """Return the length of a recording in seconds."""
        return float(self._group(uri).attrs["duration"])

    def _group(self, uri: str) -> h5py.Group:
        if uri not in self._groups:
            known = ", ".join(self.uris[:5])
            raise ArchiveError(f"{self.path}: has no recording {uri!r}; it has {known}")
        return self._groups[uri]


def read_explanations(path: str | Path) -> tuple[Readout, list[Explanation]]:
    """Return all of an archive but its frames: the readout, and each explanation."""
    with ExplanationArchive(path) as archive:
        return archive.readout, list(archive)


def read_prototypes(path: str | Path) -> tuple[Readout, Prototypes]:
    """Read a prototype file.

    Raises
    ------
    ArchiveError
        If the file is missing or holds no prototypes.
    """
    with open_archive(path) as file:
        readout = read_root(file, path)
        missing = [name for name in PROTOTYPES if name not in file]
        if missing:
            raise ArchiveError(
                f"{path}: holds no prototypes ({', '.join(missing)} missing): make them with "
                "xai-segment prototypes"
            )
        others = (file[name][()] if name in file else None for name in (DROPPED, QUARTILES))
        return readout, Prototypes(*(file[name][()] for name in PROTOTYPES), *others)


def iter_explanations(paths: Sequence[str | Path]) -> Iterator[tuple[Readout, Explanation]]:
    """Yield the explanations of several archives that were made with one model.

    Raises
    ------
    ArchiveError
        If they were made with different models.
    """
    first: Readout | None = None
    for path in paths:
        with ExplanationArchive(path) as archive:
            first = first or archive.readout
            if not first.same_as(archive.readout):
                raise ArchiveError(
                    f"{path}: was made with another model than {paths[0]}: their relevances cannot "
                    "be averaged; explain all recordings with one model"
                )
            for explanation in archive:
                yield first, explanation


def check_covered(
    path: str | Path, found: Container[str], uris: Sequence[str], consequence: str
) -> None:
    """Warn of explained recordings that an RTTM file has nothing for.

    Parameters
    ----------
    path : str or Path
        The file.
    found : container of str
        The recordings that it has something for.
    uris : sequence of str
        The explained recordings.
    consequence : str
        What becomes of those that it lacks.

    Raises
    ------
    AnnotationError
        If it has none of them.
    """
    lacking = [uri for uri in uris if uri not in found]
    if uris and len(lacking) == len(uris):
        raise AnnotationError(
            f"{path}: has none of the explained recordings, such as {uris[0]}; check that both "
            "name them alike"
        )
    if lacking:
        log.warning(
            f"{path}: has nothing for {len(lacking)} of {len(uris)} recordings, such as "
            f"{lacking[0]}: {consequence}"
        )


def read_decisions(path: str | Path, archives: Sequence[str | Path]) -> dict[str, list[Segment]]:
    """Read what another system found in the recordings of explanation archives.

    Recordings that the RTTM file `path` lacks are warned of: nothing may have been found there,
    for which RTTM has no line.

    Raises
    ------
    AnnotationError
        If `path` cannot be understood, or has none of the recordings.
    ArchiveError
        If an archive cannot be read.
    """
    decisions = read_rttm(path)
    uris: list[str] = []
    for name in archives:
        with ExplanationArchive(name) as archive:
            uris += archive.uris
    check_covered(path, decisions, uris, "no decision is shared there")
    return decisions
