"""What a probe learns from and is tested with: labelled stretches, and their mean activations."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audioseg_xai.annotation import Segment, check_uri, read_rttm
from audioseg_xai.datadir import TOLERANCE
from audioseg_xai.errors import AnnotationError, ArchiveError, AudiosegError
from audioseg_xai.explain import Readout
from audioseg_xai.explanation_archive import ExplanationArchive
from audioseg_xai.frame_labels import segments_to_frames
from audioseg_xai.textfields import field_lines, parse_number, read_text

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]

_COLUMNS = ("uri", "onset", "offset", "label")
_OPTIONAL = ("group", "split")
_SPLITS = ("train", "test", "")
_BLOCK = 1 << 12  # frames in memory at a time
_LISTED = 5

_BEYOND = "they reach beyond the end of the recording"
_EMPTY = "no frame has its centre in them"
_UNKNOWN = "their recordings are in no archive"


class ProbeError(AudiosegError):
    """Examples that no probe can be learned from or tested with."""


@dataclass(frozen=True)
class Example:
    """A labelled stretch of a recording.

    Attributes
    ----------
    uri : str
        The recording.
    segment : Segment
        When, in seconds, and the value of the factor there.
    group : str
        What must not be both learned from and tested with, such as a speaker; else the uri.
    split : str
        'train', 'test', or '' where that is open.
    """

    uri: str
    segment: Segment
    group: str
    split: str = ""

    def __str__(self) -> str:
        """Name it as messages do."""
        return f"{self.uri} {self.segment.onset:g}-{self.segment.offset:g} s"


@dataclass(frozen=True)
class Examples:
    """Labelled stretches and what the student makes of them.

    Attributes
    ----------
    listed : list of Example
        N of them.
    activations : numpy.ndarray, shape (N, K)
        The mean of H over the frames of each.
    readout : Readout
        Of the student.
    """

    listed: list[Example]
    activations: Floats
    readout: Readout


def read_examples(path: str | Path) -> list[Example]:
    """Read labelled stretches from an RTTM file or, by its suffix, a CSV file.

    In RTTM the label field holds the value of the factor. A CSV file has a header and the columns
    ``uri,onset,offset,label``, times in seconds; ``group`` and ``split`` (train, test or empty)
    may follow.

    Raises
    ------
    AnnotationError
        If the file cannot be read or a line is not understood; names file and line.
    """
    if Path(path).suffix.lower() == ".csv":
        return list(_read_csv(path))
    return [
        Example(uri, segment, group=uri)
        for uri, segments in read_rttm(path, raw_labels=True).items()
        for segment in segments
    ]


def read_uris(path: str | Path) -> set[str]:
    """Read a list of recordings, a uri a line.

    Raises
    ------
    AnnotationError
        If the file cannot be read, or a line has more than a uri; names file and line.
    """
    uris = set()
    for where, fields in field_lines(path):
        if len(fields) != 1:
            raise AnnotationError(f"{where}: expected a uri, found {' '.join(fields)!r}")
        uris.add(fields[0])
    return uris


def gather(archives: Sequence[str | Path], examples: Sequence[Example]) -> Examples:
    """Average the activations over each example; one archive and one block are held at a time.

    A frame belongs to an example when its centre lies inside. Examples of recordings that no
    archive has, beyond the end of a recording or without a frame are left out, with a warning.

    Parameters
    ----------
    archives : sequence of path
        Explanation archives, made with one model.
    examples : sequence of Example
        What to average over.

    Raises
    ------
    ArchiveError
        If an archive cannot be read, was made with another model than the first, or has a
        recording that another one has too.
    ProbeError
        If no example is left.
    """
    wanted: dict[str, list[Example]] = {}
    for example in examples:
        wanted.setdefault(example.uri, []).append(example)
    kept: list[Example] = []
    means: list[Floats] = []
    left_out: dict[str, list[Example]] = {_BEYOND: [], _EMPTY: []}
    seen: dict[str, str | Path] = {}
    readout: Readout | None = None
    for path in archives:
        with ExplanationArchive(path) as archive:
            readout = _same_readout(readout, archive)
            _check_new(archive, seen)
            for uri in archive.uris:
                for example in wanted.get(uri, []):
                    rows, problem = _find(archive, example)
                    if problem:
                        left_out[problem].append(example)
                    else:
                        kept.append(example)
                        means.append(_mean(archive, uri, rows))
    left_out[_UNKNOWN] = [example for example in examples if example.uri not in seen]
    _warn(left_out)
    if readout is None or not kept:
        raise ProbeError("no example is left: check that labels and archives name recordings alike")
    return Examples(kept, np.array(means), readout)


def _read_csv(path: str | Path) -> Iterator[Example]:
    name, text = read_text(path)
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey="beyond the header")
    columns = [column.strip() for column in reader.fieldnames or ()]
    reader.fieldnames = columns
    _check_columns(name, columns)
    for row in reader:
        where = f"{name}:{reader.line_num}"
        if None in row.values() or len(row) != len(columns):
            raise AnnotationError(f"{where}: expected {len(columns)} fields, as in the header")
        try:
            yield _example({column: value.strip() for column, value in row.items()})
        except AnnotationError as error:
            raise AnnotationError(f"{where}: {error}") from None


def _check_columns(name: str, columns: list[str]) -> None:
    missing = [column for column in _COLUMNS if column not in columns]
    strange = [column for column in columns if column not in (*_COLUMNS, *_OPTIONAL)]
    if missing or strange or len(set(columns)) < len(columns):
        raise AnnotationError(
            f"{name}:1: expected the columns {','.join(_COLUMNS)} and, if need be, "
            f"{','.join(_OPTIONAL)}; found {','.join(columns) or 'nothing'}"
        )


def _example(row: dict[str, str]) -> Example:
    if not row["label"]:
        raise AnnotationError("the label is empty; give one, or remove the line")
    split = row.get("split", "")
    if split not in _SPLITS:
        raise AnnotationError(f"split {split!r} is neither train nor test nor empty")
    times = (parse_number(row["onset"], "onset"), parse_number(row["offset"], "offset"))
    uri = check_uri(row["uri"])
    return Example(uri, Segment(*times, row["label"]), row.get("group") or uri, split)


def _same_readout(first: Readout | None, archive: ExplanationArchive) -> Readout:
    if first is not None and not first.same_as(archive.readout):
        raise ArchiveError(
            f"{archive.path}: was made with another model than the first: explain all recordings "
            "with one model"
        )
    return first or archive.readout


def _check_new(archive: ExplanationArchive, seen: dict[str, str | Path]) -> None:
    for uri in archive.uris:
        if uri in seen:
            raise ArchiveError(f"{archive.path}: has {uri}, as {seen[uri]} has: leave one out")
        seen[uri] = archive.path


def _find(archive: ExplanationArchive, example: Example) -> tuple[slice, str]:
    """Return the frames of an example, and what keeps it from being used, or ''."""
    if example.segment.offset > archive.duration(example.uri) + TOLERANCE:
        return slice(0, 0), _BEYOND
    rows = _frames(example.segment, archive.num_frames(example.uri))
    return rows, "" if rows.stop > rows.start else _EMPTY


def _frames(segment: Segment, num_frames: int) -> slice:
    """Return the frames of a segment, by the rule that frames are labelled by."""
    label = (segment.label,)
    found = np.flatnonzero(segments_to_frames([segment], num_frames, label, known=label)[:, 0])
    return slice(int(found[0]), int(found[-1]) + 1) if len(found) else slice(0, 0)


def _mean(archive: ExplanationArchive, uri: str, frames: slice) -> Floats:
    total = np.zeros(archive.readout.weights.shape[1])
    for start in range(frames.start, frames.stop, _BLOCK):
        block = archive.activations(uri, slice(start, min(start + _BLOCK, frames.stop)))
        total += block.sum(axis=0, dtype=np.float64)
    mean: Floats = total / (frames.stop - frames.start)
    return mean


def _warn(left_out: dict[str, list[Example]]) -> None:
    for reason, examples in left_out.items():
        if examples:
            shown = ", ".join(map(str, examples[:_LISTED]))
            more = f" and {len(examples) - _LISTED} more" if len(examples) > _LISTED else ""
            log.warning(f"left out, because {reason}: {shown}{more}")
