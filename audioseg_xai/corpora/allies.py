"""ALLIES: French broadcast news and debates, who speaks when.

Read are ``<root>/{wav,mdtm,uem}/<show>.{wav,mdtm,uem}`` and the lists ``lst/*.lst``. Where the
corpus comes with Transcriber files (``<show>.trs``, anywhere below the root), their backgrounds
say when there is music.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from audioseg_xai.annotation import Segment
from audioseg_xai.corpora.coverage import labelled, speech_and_overlap, warn_of_own_overlaps
from audioseg_xai.corpora.labelled import Corpus, Labelled
from audioseg_xai.corpora.layout import expect_folder, index_files, pick
from audioseg_xai.corpora.loose import check_id, read_list, read_own_uem
from audioseg_xai.corpora.mdtm import read_turns
from audioseg_xai.corpora.report import Report
from audioseg_xai.corpora.transcriber import read_trs
from audioseg_xai.errors import CorpusError

CLASSES = ("speech", "overlap")
WITH_MUSIC = ("speech", "music", "overlap")

CLEAN = "allies_clean"
"""The list whose shows are annotated for music as well, where there are Transcriber files."""

UNLISTED = "unlisted"
"""Name of the set of shows that are in no list: what is left to train on."""

_INDEXED = {"wav": ".wav", "mdtm": ".mdtm", "uem": ".uem"}


def read(root: Path, report: Report) -> Corpus:
    """Read a set for each list, and one of the shows that no list names.

    Parameters
    ----------
    root : Path
        The corpus.
    report : Report
        Takes problems and repairs.

    Returns
    -------
    Corpus
        Classes speech and overlap; of the list ``allies_clean`` also music when there is any
        Transcriber file, and then every show of it must have one.

    Raises
    ------
    CorpusError
        If `root` is not laid out so.
    """
    for folder in (*_INDEXED, "lst"):
        expect_folder(root / folder, root, "wav, mdtm, uem and lst of ALLIES")
    corpus = Corpus()
    trs = index_files(root, [".trs"])
    lists = {path.stem: read_list(path, report) for path in sorted(root.glob("lst/*.lst"))}
    files = {kind: index_files(root / kind, [suffix]) for kind, suffix in _INDEXED.items()}
    for name, uris in lists.items():
        corpus.add_set(name, uris, WITH_MUSIC if trs and name == CLEAN else CLASSES)
    unlisted = _unlisted(files, lists.values(), root, report)
    if unlisted:
        corpus.add_set(UNLISTED, unlisted, CLASSES)
    with_music = set(lists.get(CLEAN, ())) if trs else set()
    for uri in sorted({uri for uris in corpus.sets.values() for uri in uris}):
        paths = {
            kind: pick(index, uri, _INDEXED[kind], root, report) for kind, index in files.items()
        }
        recording = _recording(uri, paths, report)
        if uri in with_music and (path := pick(trs, uri, ".trs", root, report)):
            music = labelled(read_trs(path, report, uri).music, "music")
            recording = recording and _with(recording, music)
        if recording:
            corpus.recordings[uri] = recording
    return corpus


def _unlisted(
    files: dict[str, dict[str, list[Path]]],
    lists: Iterable[list[str]],
    root: Path,
    report: Report,
) -> list[str]:
    listed = {uri for uris in lists for uri in uris}
    found = []
    for uri in sorted((files["wav"].keys() | files["mdtm"].keys()) - listed):
        try:
            found.append(check_id(uri))
        except CorpusError as error:
            report.error(root, error, uri=uri)
    return found


def _recording(uri: str, paths: dict[str, Path | None], report: Report) -> Labelled | None:
    audio, mdtm, uem = (paths[kind] for kind in _INDEXED)
    if audio is None or mdtm is None or uem is None:
        return None
    turns = read_turns(mdtm, uri, report)
    warn_of_own_overlaps(mdtm, turns, report)
    regions = read_own_uem(uem, uri, report)
    return Labelled(audio, speech_and_overlap(turns), regions, mdtm, uem)


def _with(recording: Labelled, more: list[Segment]) -> Labelled:
    return replace(recording, segments=sorted(recording.segments + more))
