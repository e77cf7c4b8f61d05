"""Explanation archives: one HDF5 file, a group a recording, the dictionary at the root.

Root: ``dictionary (F, K)``, ``weights (C, K)``, ``bias (C,)``, ``frequencies (F,)`` in Hz, and
the attributes ``classes``, ``frame_shift`` (seconds) and ``provenance`` (JSON). A group:
``probabilities (T, C)``, ``activations (T, K)``, ``segments`` (table: class, onset, offset,
confidence), ``relevance (S, K)``, ``spectra (S, F)``, ``mean_logit (S,)``, and the attributes
``uri``, ``duration`` (seconds), ``num_frames`` and ``relevance_threshold``. A prototype file has
``prototypes (C, K)``, ``prototype_spectra (C, F)`` and ``prototype_counts (C,)`` at the root
instead of groups.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from audioseg_xai.annotation import Segment
from audioseg_xai.errors import ArchiveError
from audioseg_xai.explain import Explanation, Prototypes, Readout
from audioseg_xai.files import atomic_path
from audioseg_xai.frames import FRAME_SHIFT

Compression = Literal["gzip"] | None

_ROOT = ("dictionary", "weights", "bias", "frequencies")
_PROTOTYPES = ("prototypes", "prototype_spectra", "prototype_counts")
_ARRAYS = ("relevance", "spectra", "mean_logit")
_ROWS = 512
_BLOCK = 4 << 20


class RecordingWriter:
    """The group of one recording while it is being written; frames come in chunks of any size."""

    def __init__(self, group: h5py.Group, readout: Readout, compression: Compression) -> None:
        self._group = group
        self._frames = {
            "probabilities": _growing(group, "probabilities", len(readout.classes), "f4", None),
            "activations": _growing(
                group, "activations", readout.weights.shape[1], "f2", compression
            ),
        }

    def push(self, probabilities: NDArray[np.floating], activations: NDArray[np.floating]) -> None:
        """Append frames: probabilities (t, C) and activations (t, K)."""
        for name, rows in (("probabilities", probabilities), ("activations", activations)):
            dataset = self._frames[name]
            start = dataset.shape[0]
            dataset.resize(start + len(rows), axis=0)
            dataset[start:] = _half(rows) if dataset.dtype == np.float16 else rows

    def finish(self, explanation: Explanation) -> None:
        """Write what is known at the end of the recording."""
        self._group["segments"] = _table(explanation.segments)
        for name in _ARRAYS:
            self._group[name] = getattr(explanation, name)
        self._group.attrs["duration"] = explanation.duration
        self._group.attrs["num_frames"] = explanation.num_frames
        self._group.attrs["relevance_threshold"] = explanation.threshold


class ExplanationWriter:
    """An open explanation archive, to be had from `write_explanations`."""

    def __init__(self, file: h5py.File, readout: Readout, compression: Compression) -> None:
        self._file, self._readout, self._compression = file, readout, compression

    @contextmanager
    def recording(self, uri: str) -> Iterator[RecordingWriter]:
        """Yield the writer of a recording; when the block fails, nothing of it remains."""
        name = _group_name(uri)
        if name in self._file:
            raise ArchiveError(f"{uri}: is in the archive already: give each recording its own uri")
        group = self._file.create_group(name)
        group.attrs["uri"] = uri
        try:
            yield RecordingWriter(group, self._readout, self._compression)
        except BaseException:
            del self._file[name]
            raise


@contextmanager
def write_explanations(
    path: str | Path,
    readout: Readout,
    provenance: Mapping[str, Any],
    *,
    compression: Compression = None,
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
    """
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        _write_root(file, readout, provenance)
        yield ExplanationWriter(file, readout, compression)


def write_prototypes(
    path: str | Path, prototypes: Prototypes, readout: Readout, provenance: Mapping[str, Any]
) -> None:
    """Write a prototype file, whole or not at all."""
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        _write_root(file, readout, provenance)
        arrays = (prototypes.relevance, prototypes.spectra, prototypes.counts)
        for name, array in zip(_PROTOTYPES, arrays, strict=True):
            file[name] = array


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
        self._file = _open(path)
        try:
            self.readout = _read_root(self._file, path)
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
            segments=_segments(group["segments"][()]),
            **{name: group[name][()] for name in _ARRAYS},
        )

    def probabilities(self, uri: str) -> NDArray[np.float32]:
        """Return the probabilities of a recording, shape (T, C)."""
        result: NDArray[np.float32] = self._group(uri)["probabilities"][()]
        return result

    def activations(self, uri: str) -> NDArray[np.float16]:
        """Return H of a recording, shape (T, K)."""
        result: NDArray[np.float16] = self._group(uri)["activations"][()]
        return result

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
    with _open(path) as file:
        readout = _read_root(file, path)
        missing = [name for name in _PROTOTYPES if name not in file]
        if missing:
            raise ArchiveError(
                f"{path}: holds no prototypes ({', '.join(missing)} missing): make them with "
                "xai-segment prototypes"
            )
        return readout, Prototypes(*(file[name][()] for name in _PROTOTYPES))


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


# --- how things are stored ----------------------------------------------------------------------


def _growing(
    group: h5py.Group, name: str, width: int, dtype: str, compression: Compression
) -> h5py.Dataset:
    rows = max(1, min(_ROWS, _BLOCK // max(width, 1)))
    return group.create_dataset(
        name,
        shape=(0, width),
        maxshape=(None, width),
        chunks=(rows, max(width, 1)),
        dtype=dtype,
        compression=compression,
        compression_opts=1 if compression else None,
    )


def _half(values: NDArray[np.floating]) -> NDArray[np.float16]:
    # Beyond the range of float16 the nearest value is better than infinity.
    return np.minimum(values, np.finfo(np.float16).max).astype(np.float16)


def _group_name(uri: str) -> str:
    """Return a name for the group of `uri` that HDF5 takes for neither a path nor a dataset."""
    name = uri.replace("%", "%25").replace("/", "%2F")
    if name in (*_ROOT, *_PROTOTYPES, "."):
        name = f"%{ord(name[0]):02X}{name[1:]}"
    return name


def _table(segments: Sequence[Segment]) -> NDArray[Any]:
    longest = max((len(segment.label.encode()) for segment in segments), default=1)
    dtype = [
        ("class", h5py.string_dtype("utf-8", longest)),
        ("onset", "f8"),
        ("offset", "f8"),
        ("confidence", "f4"),
    ]
    rows = [(s.label.encode(), s.onset, s.offset, s.confidence) for s in segments]
    return np.array(rows, dtype=dtype)


def _segments(table: NDArray[Any]) -> tuple[Segment, ...]:
    return tuple(
        Segment(float(onset), float(offset), label.decode(), float(confidence))
        for label, onset, offset, confidence in table
    )


def _write_root(file: h5py.File, readout: Readout, provenance: Mapping[str, Any]) -> None:
    for name in _ROOT:
        file[name] = np.asarray(getattr(readout, name), dtype=np.float32)
    file.attrs["classes"] = list(readout.classes)
    file.attrs["frame_shift"] = FRAME_SHIFT
    file.attrs["provenance"] = json.dumps(dict(provenance))


def _open(path: str | Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except FileNotFoundError:
        raise ArchiveError(
            f"{path}: no such file: make it with xai-segment explain --hdf5"
        ) from None
    except OSError as error:
        reason = " ".join(str(error).split())
        raise ArchiveError(f"{path}: is no HDF5 file that can be read: {reason}") from None


def _read_root(file: h5py.File, path: str | Path) -> Readout:
    missing = [name for name in _ROOT if name not in file]
    if missing or "classes" not in file.attrs:
        raise ArchiveError(f"{path}: is no explanation archive: it has no {missing or 'classes'}")
    return Readout(tuple(file.attrs["classes"]), *(file[name][()] for name in _ROOT))
