"""Data directories of a corpus: one a list, and a note of how they were made."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from audioseg_xai.corpora.labelled import Corpus, Finished, finish_all, keep_classes
from audioseg_xai.corpora.report import Report
from audioseg_xai.datadir import DataDir
from audioseg_xai.errors import CorpusError, UsageError
from audioseg_xai.files import write_text_atomic
from audioseg_xai.labels import parse_classes
from audioseg_xai.provenance import provenance

NOTE = "prepared.json"
"""File in the output folder: settings, versions, what was left out and why, what was repaired."""

log = logging.getLogger(__name__)

_SHOWN = 20  # names in a message before "and N more"


@dataclass(frozen=True)
class Settings:
    """How data directories are made of any corpus.

    Attributes
    ----------
    output : Path
        Folder of the data directories.
    classes : str or None
        Classes to keep, with commas between; all that are annotated by default.
    strict : bool
        Whether one problem makes all fail.
    decode : bool
        Whether audio is decoded to its end.
    overwrite : bool
        Whether data directories that are there are made again.
    """

    output: Path
    classes: str | None = None
    strict: bool = False
    decode: bool = False
    overwrite: bool = False


def prepare_corpus(
    name: str,
    read: Callable[[Path, Report], Corpus],
    root: Path,
    settings: Settings,
    options: Mapping[str, Any] | None = None,
) -> Report:
    """Write the data directories of a corpus.

    Parameters
    ----------
    name : str
        The corpus.
    read : callable
        Reads its labels, such as `dihard.read`.
    root : Path
        The corpus on disk.
    settings : Settings
        How.
    options : mapping, optional
        What else `read` was told, for the note.

    Returns
    -------
    Report
        Problems (recordings that are left out) and repairs; they are logged as well.

    Raises
    ------
    CorpusError
        If nothing can be used or, when strict, if there is any problem: nothing is written then.
    UsageError
        If data directories are there already, or classes are asked for that nobody annotated.
    """
    report = Report()
    corpus = read(root, report)
    classes = {name: _chosen(name, known, settings) for name, known in corpus.classes.items()}
    _refuse_existing(corpus, settings)
    finished = finish_all(corpus.recordings, report, decode=settings.decode)
    made = {
        name: data_dir([uri for uri in uris if uri in finished], finished, classes[name])
        for name, uris in corpus.sets.items()
    }
    for name in [name for name, data in made.items() if not data.wav]:
        del made[name]
        report.problem(root, f"no recording of the set {name} is left", "see the other problems")
    _log_problems(report)
    if not made or (settings.strict and report.problems):
        why = "--strict was given" if made else "nothing can be used"
        raise CorpusError(f"{root}: {_counted(report)}, {why}; nothing was written")
    _write(made, settings.output)
    note = {"corpus": name, "options": dict(options or {})} | _described(settings)
    _write_note(note, report, settings.output)
    _log_left_out(corpus, made, report)
    return report


def data_dir(
    uris: list[str], finished: Mapping[str, Finished], classes: tuple[str, ...]
) -> DataDir:
    """Return a data directory of some recordings, with the segments of some classes."""
    chosen = {uri: finished[uri] for uri in uris}
    return DataDir(
        wav={uri: item.audio for uri, item in chosen.items()},
        duration={uri: item.duration for uri, item in chosen.items()},
        reference={uri: keep_classes(item.segments, classes) for uri, item in chosen.items()},
        uem={uri: item.uem for uri, item in chosen.items()},
        classes=classes,
        groups={uri: item.groups for uri, item in chosen.items() if item.groups},
    )


def _chosen(name: str, known: tuple[str, ...], settings: Settings) -> tuple[str, ...]:
    if settings.classes is None:
        return known
    wanted = parse_classes(settings.classes)
    unknown = [label for label in wanted if label not in known]
    if unknown:
        raise UsageError(
            f"--classes: {', '.join(unknown)} is not annotated in the set {name}, "
            f"which has {', '.join(known)}"
        )
    return wanted


def _refuse_existing(corpus: Corpus, settings: Settings) -> None:
    there = [name for name in corpus.sets if (settings.output / name / "wav.scp").exists()]
    if there and not settings.overwrite:
        raise UsageError(
            f"{settings.output}: holds {', '.join(there)} already: give another --output, "
            "or --overwrite"
        )


def _log_problems(report: Report) -> None:
    for line in report.repair_lines():
        log.warning("%s", line)
    for problem in report.problems:
        log.error("%s", problem)


def _write(made: Mapping[str, DataDir], output: Path) -> None:
    for name, data in made.items():
        data.write(output / name)
        hours = sum(data.duration.values()) / 3600
        labels = ", ".join(data.classes)
        log.info("%s: %d recordings, %.2f h: %s", output / name, len(data.wav), hours, labels)


def _described(settings: Settings) -> dict[str, Any]:
    return {"classes": settings.classes, "decode": settings.decode, "strict": settings.strict}


def _write_note(settings: dict[str, Any], report: Report, output: Path) -> None:
    note = {
        "problems": [asdict(problem) for problem in report.problems],
        "repairs": [asdict(repair) for repair in report.repairs],
        "provenance": provenance(settings),
    }
    write_text_atomic(output / NOTE, json.dumps(note, indent=1, ensure_ascii=False) + "\n")


def _log_left_out(corpus: Corpus, made: Mapping[str, DataDir], report: Report) -> None:
    if not report.problems:
        return
    used = {uri for data in made.values() for uri in data.wav}
    listed = {uri for uris in corpus.sets.values() for uri in uris} | report.left_out
    left_out = sorted(listed - used)
    names = ", ".join(map(repr, left_out[:_SHOWN])) or "no recording"
    more = f" and {len(left_out) - _SHOWN} more" if len(left_out) > _SHOWN else ""
    log.error("%s; left out: %s%s", _counted(report), names, more)


def _counted(report: Report) -> str:
    return f"{len(report.problems)} problem{'s' * (len(report.problems) != 1)}"
