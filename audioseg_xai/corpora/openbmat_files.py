"""The annotation files of OpenBMAT: one JSON file a mapping, or a TSV file an annotator and piece.

JSON: ``{"annotations": {"<annotator>": {"<file>": {"0": {"start": 0.0, "end": 22.22, "class":
"no-music"}, ...}}}}``. TSV: lines ``<start> <tab> <end> <tab> <class>`` without header.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audioseg_xai.annotation import Region
from audioseg_xai.corpora.layout import AUDIO_SUFFIXES, unexpected
from audioseg_xai.corpora.loose import check_id, parse_lines, read_bytes
from audioseg_xai.corpora.report import Report
from audioseg_xai.errors import AnnotationError, AudiosegError, CorpusError
from audioseg_xai.textfields import check_times, parse_number

MAPPINGS = ("MD_mapping", "MRLE_mapping", "original")

IS_MUSIC = {
    "music": True,
    "fg-music": True,
    "similar": True,
    "bg-music": True,
    "bgvl-music": True,
    "no-music": False,
}
"""Whether there is music, by class of any mapping."""

Said = tuple[list[Region], list[Region]]
"""Where an annotator says that there is music, and where that there is none, in seconds."""


@dataclass
class Votes:
    """What the annotators said.

    Attributes
    ----------
    source : Path
        File or folder that it was read from.
    annotators : list of str
        All annotators.
    files : dict of str to dict of str to Said
        By uri and annotator.
    """

    source: Path
    annotators: list[str] = field(default_factory=list)
    files: dict[str, dict[str, Said]] = field(default_factory=dict)

    def place(self, annotator: str, uri: str) -> Path:
        """Return the file that holds what an annotator said of a recording."""
        is_json = self.source.suffix == ".json"
        return self.source if is_json else self.source / annotator / f"{uri}.tsv"

    def add(self, annotator: str, uri: str, said: list[tuple[bool, Region]]) -> None:
        """Add what an annotator said of a recording."""
        music = [region for is_music, region in said if is_music]
        other = [region for is_music, region in said if not is_music]
        self.files.setdefault(uri, {})[annotator] = (music, other)


def read_votes(root: Path, mapping: str, report: Report) -> Votes:
    """Read ``json/<mapping>.json`` or, where that is not there, ``tsv/<mapping>``.

    Raises
    ------
    CorpusError
        If there is neither, or the JSON file cannot be used at all.
    """
    as_json, as_tsv = root / "json" / f"{mapping}.json", root / "tsv" / mapping
    if as_json.is_file():
        return _read_json(as_json, report)
    if as_tsv.is_dir():
        return _read_tsv(as_tsv, report)
    raise unexpected(root, f"json/{mapping}.json or tsv/{mapping}/<annotator>/<file>.tsv")


def _read_tsv(folder: Path, report: Report) -> Votes:
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    votes = Votes(folder, [name for name in names if name[0] != "."])
    for annotator in votes.annotators:
        for path in sorted((folder / annotator).glob("[!.]*.tsv")):
            uri = _without_suffix(path.stem)
            try:
                check_id(uri)
            except CorpusError as error:
                report.error(path, error, uri=uri)
                continue
            lines = parse_lines(path, report, _tsv_line, uri, remedy="copy it again")
            votes.add(annotator, uri, [said for _, said in lines])
    if not votes.files:
        raise unexpected(folder, "<annotator>/<file>.tsv")
    return votes


def _tsv_line(line: str) -> tuple[bool, Region]:
    fields = [text.strip() for text in line.split("\t")]
    if len(fields) != 3:
        raise AnnotationError(
            f"expected 3 fields between tabs, found {len(fields)}; write start, end and class"
        )
    region = (parse_number(fields[0], "start"), parse_number(fields[1], "end"))
    check_times(*region)
    return _is_music(fields[2]), region


def _read_json(path: Path, report: Report) -> Votes:
    content = read_bytes(path, report, remedy="copy it again")
    if content is None:
        raise CorpusError(f"{path}: cannot be used; copy it again")
    by_annotator = _object(_parse_json(path, content), path, "annotations")
    votes = Votes(path, sorted(by_annotator))
    for annotator in votes.annotators:
        files = _object(by_annotator, path, annotator)
        for name in sorted(files):
            uri = _without_suffix(name)
            try:
                votes.add(annotator, check_id(uri), list(_json_segments(files[name])))
            except AudiosegError as error:
                report.error(path, _placed(error, f"annotations.{annotator}.{name}"), uri=uri)
    if not votes.files:
        raise CorpusError(f"{path}: no file is annotated in it; copy it again")
    return votes


def _parse_json(path: Path, content: bytes) -> Any:
    try:
        return json.loads(
            content.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_distinct
        )
    except json.JSONDecodeError as error:
        place = f"{path}:{error.lineno}"
        raise CorpusError(f"{place}: is not JSON: {error.msg}; copy it again") from None
    except UnicodeDecodeError:
        raise CorpusError(f"{path}: is not UTF-8; save it as UTF-8") from None
    except ValueError as error:  # an integer of thousands of digits
        raise CorpusError(f"{path}: {error}; copy it again") from None
    except RecursionError:
        raise CorpusError(f"{path}: is nested too deeply; copy it again") from None
    except CorpusError as error:
        raise CorpusError(f"{path}: {error}") from None


def _refuse_constant(name: str) -> Any:
    raise CorpusError(f"holds {name}, which is no time; correct it")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise CorpusError(f"key {key!r} is there twice in one object; leave one of them")
        found[key] = value
    return found


def _object(values: Any, path: Path, key: str) -> dict[str, Any]:
    if not isinstance(values, dict) or not isinstance(values.get(key), dict):
        has = sorted(values) if isinstance(values, dict) else f"a {type(values).__name__}"
        raise CorpusError(f"{path}: expected an object under the key {key!r}, found {has}; fix it")
    inner: dict[str, Any] = values[key]
    return inner


def _json_segments(segments: Any) -> Iterator[tuple[bool, Region]]:
    if not isinstance(segments, dict):
        raise AnnotationError(f"expected an object, found a {type(segments).__name__}; correct it")
    for number, segment in segments.items():
        if not isinstance(segment, dict) or not {"start", "end", "class"} <= segment.keys():
            raise AnnotationError(
                f"segment {number!r} is no object with start, end and class; correct it"
            )
        region = (_seconds(segment["start"]), _seconds(segment["end"]))
        check_times(*region)
        yield _is_music(segment["class"]), region


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise AnnotationError(f"time {value!r} is no number; correct it")
    return parse_number(str(value), "time")


def _is_music(name: Any) -> bool:
    if not isinstance(name, str) or name not in IS_MUSIC:
        raise AnnotationError(f"unknown class {name!r}: expected {', '.join(IS_MUSIC)}; correct it")
    return IS_MUSIC[name]


def _placed(error: Exception, place: str) -> AnnotationError:
    return AnnotationError(f"{place}: {error}")


def _without_suffix(name: str) -> str:
    suffix = next((s for s in AUDIO_SUFFIXES if name.lower().endswith(s)), "")
    return name.removesuffix(name[len(name) - len(suffix) :])
