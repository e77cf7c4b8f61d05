"""Albayzin: Aragon Radio (2012, 2014) and Catalan television (2010): speech, music, noise.

Of Aragon Radio: ``lists/AragonRadio/{train,dev,test}.txt``, and ``<show>.wav`` and ``<show>.rttm``
anywhere below the root, classes that sound together as overlapping lines labelled ``sp``, ``mu``
or ``no``. Of 2010: ``<show>.trs`` with five exclusive classes, written as the text between
synchronisation points or as the topics of sections; lists as above, or none.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from audioseg_xai.annotation import Segment
from audioseg_xai.corpora.coverage import by_label, covered, labelled, warn_of_own_overlaps
from audioseg_xai.corpora.labelled import Corpus, Labelled
from audioseg_xai.corpora.layout import index_files, pick, unexpected
from audioseg_xai.corpora.loose import check_id, class_line, own_lines, parse_lines, read_list
from audioseg_xai.corpora.report import Report
from audioseg_xai.corpora.transcriber import read_trs
from audioseg_xai.errors import AnnotationError, CorpusError

CLASSES = ("speech", "music", "noise")

Labels = Literal["rttm", "trs"]

ALL = "all"
"""Name of the set when there are no lists."""

FIVE_CLASSES: dict[str, tuple[str, ...] | None] = {
    "music": ("music",),
    "speech": ("speech",),
    "speech over music": ("speech", "music"),
    "speech over noise": ("speech", "noise"),
    "other": None,
}
"""The classes of 2010. Noise alone is "other" there, but not all of "other" is noise: such
stretches are not part of what was annotated."""

_SHORT = {
    "mu": "music",
    "sp": "speech",
    "sm": "speech over music",
    "sn": "speech over noise",
    "ot": "other",
    "others": "other",
    "speech music": "speech over music",
    "speech noise": "speech over noise",
    "speech with music": "speech over music",
    "speech with noise": "speech over noise",
}


def read(root: Path, report: Report, labels: Labels | None = None) -> Corpus:
    """Read a set for each list.

    Parameters
    ----------
    root : Path
        The corpus.
    report : Report
        Takes problems and repairs.
    labels : {'rttm', 'trs'}, optional
        Which files have the labels; RTTM files by default, Transcriber files where there is not
        one RTTM file.

    Returns
    -------
    Corpus
        Classes speech, music and noise.

    Raises
    ------
    CorpusError
        If `root` is not laid out so.
    """
    files = {suffix: index_files(root, [f".{suffix}"]) for suffix in ("wav", "rttm", "trs")}
    kind = labels or ("rttm" if files["rttm"] else "trs")
    if not files[kind]:
        wanted = f"<show>.{kind}" if labels else "<show>.rttm (Aragon Radio) or <show>.trs (2010)"
        raise unexpected(root, f"{wanted} of Albayzin, anywhere below it")
    corpus = Corpus()
    for name, uris in _lists(root, kind, files[kind], report).items():
        corpus.add_set(name, uris, CLASSES)
    for uri in sorted({uri for uris in corpus.sets.values() for uri in uris}):
        audio = pick(files["wav"], uri, ".wav", root, report)
        source = pick(files[kind], uri, f".{kind}", root, report)
        if audio is not None and source is not None:
            reader = _from_rttm if kind == "rttm" else _from_trs
            corpus.recordings[uri] = reader(uri, audio, source, report)
    return corpus


def _lists(
    root: Path, kind: str, found: dict[str, list[Path]], report: Report
) -> dict[str, list[str]]:
    lists = sorted(root.glob("lists/AragonRadio/*.txt")) or sorted(root.glob("lists/**/*.txt"))
    if len({path.parent for path in lists}) > 1:
        folders = ", ".join(sorted({path.parent.name for path in lists}))
        raise CorpusError(f"{root}/lists: lists of several sets ({folders}); leave one folder")
    if lists:
        return {path.stem: read_list(path, report) for path in lists}
    if kind == "rttm":
        raise unexpected(root, "lists/AragonRadio/{train,dev,test}.txt")
    return {ALL: [uri for uri in sorted(found) if _named(root, uri, report)]}


def _named(root: Path, uri: str, report: Report) -> bool:
    try:
        check_id(uri)
    except CorpusError as error:
        report.error(root, error, uri=uri)
        return False
    return True


def _from_rttm(uri: str, audio: Path, source: Path, report: Report) -> Labelled:
    lines = own_lines(source, parse_lines(source, report, _class_line, uri), uri, report)
    regions = by_label(segment for _, segment in lines)
    warn_of_own_overlaps(source, regions, report)
    merged = [s for label, found in regions.items() for s in labelled(covered([found]), label)]
    return Labelled(audio, sorted(merged), None, source)


def _class_line(line: str) -> tuple[str, Segment] | None:
    found = class_line(line)
    if found is not None and found[1].label not in CLASSES:
        raise AnnotationError(f"{found[1].label} is not annotated in Albayzin; remove the line")
    return found


def _from_trs(uri: str, audio: Path, source: Path, report: Report) -> Labelled:
    transcript = read_trs(source, report, uri)
    intervals = transcript.texts or transcript.topics
    if not intervals and uri not in report.left_out:
        what = "has neither text between <Sync> points nor topics that name a class"
        report.problem(source, what, f"name one of {', '.join(FIVE_CLASSES)}", uri=uri)
    segments, known = [], []
    for onset, offset, text, line in intervals:
        classes = FIVE_CLASSES.get(_five_class(text), ())
        if classes == ():
            what = f"{text!r} at {onset:g} s is none of {', '.join(FIVE_CLASSES)}"
            report.problem(source, what, "correct it", line=line, uri=uri)
        elif classes is not None:
            segments += [(onset, offset, label) for label in classes]
            known.append((onset, offset))
    regions = by_label(Segment(*fields) for fields in segments)
    merged = [s for label, found in regions.items() for s in labelled(covered([found]), label)]
    return Labelled(audio, sorted(merged), covered([known]), source)


def _five_class(text: str) -> str:
    words = " ".join(re.split(r"[\W_]+", text.lower())).strip()
    return _SHORT.get(words, words)
