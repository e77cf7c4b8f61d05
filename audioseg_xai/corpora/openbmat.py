"""OpenBMAT (Zenodo 3381249): one-minute pieces of television, annotated for music.

Annotations are ``json/<mapping>.json`` or ``tsv/<mapping>/<annotator>/<file>.tsv``; audio files
may lie anywhere below the root, in any of the usual formats. Several annotators labelled each
file. Where they do not agree nobody knows: such stretches are left out of what is scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from audioseg_xai.annotation import Region
from audioseg_xai.corpora.coverage import covered, labelled
from audioseg_xai.corpora.labelled import Corpus, Labelled
from audioseg_xai.corpora.layout import AUDIO_SUFFIXES, index_files, pick
from audioseg_xai.corpora.openbmat_files import Votes, read_votes
from audioseg_xai.corpora.parts import ALL, divide
from audioseg_xai.corpora.report import Report

CLASSES = ("music",)

Agreement = Literal["majority", "full"]

_CONTRADICTION = 0.01
"""Seconds in which one annotator may say both: rounding where segments meet."""


def read(
    root: Path,
    report: Report,
    *,
    mapping: str = "MD_mapping",
    agreement: Agreement = "majority",
    split: Mapping[str, float] | None = None,
) -> Corpus:
    """Read the set ``all`` and, with `split`, parts of it.

    Parameters
    ----------
    root : Path
        The corpus.
    report : Report
        Takes problems and repairs.
    mapping : {'MD_mapping', 'MRLE_mapping', 'original'}
        Which of the released class sets; music in front or behind counts as music in all.
    agreement : {'majority', 'full'}
        What more than half of the annotators say, or only what all say.
    split : mapping of str to float, optional
        Names and shares of parts; see `divide`.

    Returns
    -------
    Corpus
        Class music; the UEM of a recording is where the annotators agree.

    Raises
    ------
    CorpusError
        If `root` is not laid out so.
    """
    votes = read_votes(root, mapping, report)
    audio = index_files(root, AUDIO_SUFFIXES)
    for uri in sorted(audio.keys() - votes.files.keys() - report.left_out):
        what = f"no annotation of {uri!r} in {votes.source.name}"
        report.problem(audio[uri][0], what, "remove the file, or add its annotation", uri=uri)
    corpus = Corpus()
    for uri in sorted(votes.files):
        path = pick(audio, uri, "audio", root, report)
        recording = _recording(uri, path, votes, agreement, report) if path else None
        if recording is not None:
            corpus.recordings[uri] = recording
    corpus.add_set(ALL, sorted(votes.files), CLASSES)
    for name, uris in divide(sorted(votes.files), split or {}).items():
        corpus.add_set(name, uris, CLASSES)
    return corpus


def _recording(
    uri: str, path: Path, votes: Votes, agreement: Agreement, report: Report
) -> Labelled | None:
    by_annotator = votes.files[uri]
    for annotator, (music, other) in by_annotator.items():
        both = sum(offset - onset for onset, offset in covered([music, other], at_least=2))
        if both > _CONTRADICTION:
            what = f"annotator {annotator!r} says music and no music of {uri!r} for {both:.3f} s"
            remedy = "correct the segments that overlap"
            report.problem(votes.place(annotator, uri), what, remedy, uri=uri)
            return None
    music, known = agreed(list(by_annotator.values()), len(votes.annotators), agreement)
    if not known:
        what = f"the annotators ({len(by_annotator)} of {len(votes.annotators)}) agree nowhere"
        report.problem(votes.source, f"{uri!r}: {what}", "leave it out", uri=uri)
        return None
    return Labelled(path, labelled(music, "music"), known, votes.source)


def agreed(
    votes: Sequence[tuple[list[Region], list[Region]]], annotators: int, agreement: Agreement
) -> tuple[list[Region], list[Region]]:
    """Return where there is music, and where it is known whether there is.

    Parameters
    ----------
    votes : sequence of (music, no music)
        What each annotator of the file said, in seconds.
    annotators : int
        How many annotators the corpus has: one who did not label the file does not vote.
    agreement : {'majority', 'full'}
        More than half of `annotators`, or all of them.
    """
    needed = annotators if agreement == "full" else annotators // 2 + 1
    music = covered([said for said, _ in votes], needed)
    other = covered([said for _, said in votes], needed)
    return music, covered([music, other])
