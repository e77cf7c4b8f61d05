"""DIHARD III (LDC2022S12 dev, LDC2022S14 eval): who speaks when, in eleven domains.

Read are ``data/{flac,rttm,uem}/<uri>.*`` and ``docs/recordings.tbl``; where
``data/uem_scoring/core/all.uem`` is there, the core subset is compared with it. The files of
``data/sad`` are not needed, since speech is the union of the turns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from audioseg_xai.corpora.coverage import by_label, speech_and_overlap, warn_of_own_overlaps
from audioseg_xai.corpora.labelled import Corpus, Labelled
from audioseg_xai.corpora.layout import index_files, pick, unexpected
from audioseg_xai.corpora.loose import (
    check_id,
    own_lines,
    parse_lines,
    read_lines,
    read_own_uem,
    rttm_line,
    uem_line,
)
from audioseg_xai.corpora.report import Report
from audioseg_xai.errors import CorpusError

CLASSES = ("speech", "overlap")

SETS = {"DH_DEV_": "dev", "DH_EVAL_": "eval"}
"""Sets by the beginning of the uri."""

LAYOUT = "data/flac, data/rttm and data/uem of DIHARD III (LDC2022S12, LDC2022S14)"

_COLUMNS = ("uri", "in_core", "domain")


@dataclass(frozen=True)
class Entry:
    """A line of ``recordings.tbl``: subset and domain of a recording."""

    in_core: bool
    domain: str

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the subsets."""
        return (*(("core",) if self.in_core else ()), "full", f"domain:{self.domain}")


def read(root: Path, report: Report) -> Corpus:
    """Read the sets ``dev`` and ``eval``, as far as they are there.

    Parameters
    ----------
    root : Path
        A release, or a folder with both releases in it.
    report : Report
        Takes problems and repairs.

    Returns
    -------
    Corpus
        Classes speech and overlap. Groups of a recording: ``full``, ``core`` if it belongs to
        the core subset, and ``domain:<domain>``.

    Raises
    ------
    CorpusError
        If `root` is not laid out so.
    """
    corpus = Corpus()
    listed: dict[str, list[str]] = {}
    for release in _releases(root):
        for uri, recording in _read_release(release, report):
            if uri in corpus.recordings:
                what = f"{uri!r} is in two releases"
                report.problem(release, what, "leave one of them", uri=uri)
            elif recording is not None:
                corpus.recordings[uri] = recording
            listed.setdefault(_set_of(uri), []).append(uri)
    for name in filter(None, sorted(listed)):
        corpus.add_set(name, sorted(set(listed[name])), CLASSES)
    return corpus


def _releases(root: Path) -> list[Path]:
    for pattern in ("data/rttm", "*/data/rttm", "*/*/data/rttm"):
        found = sorted(path.parents[1] for path in root.glob(pattern) if path.is_dir())
        if found:
            return found
    raise unexpected(root, LAYOUT)


def _read_release(release: Path, report: Report) -> Iterator[tuple[str, Labelled | None]]:
    data = release / "data"
    kinds = {kind: index_files(data / kind, [f".{kind}"]) for kind in ("flac", "rttm", "uem")}
    table = _read_table(release / "docs" / "recordings.tbl", report)
    _compare_core(data / "uem_scoring" / "core" / "all.uem", table, report)
    for uri in sorted(kinds["flac"].keys() | kinds["rttm"].keys() | table.keys()):
        if not _valid(data, uri, report):
            continue
        paths = {kind: pick(kinds[kind], uri, f".{kind}", data, report) for kind in kinds}
        if table and uri not in table:
            what = f"no line about {uri!r}, so that its domain is not known"
            remedy = "add the line, or remove the recording"
            report.problem(release / "docs" / "recordings.tbl", what, remedy, uri=uri)
        yield uri, _recording(uri, paths, table.get(uri), report)


def _valid(folder: Path, uri: str, report: Report) -> bool:
    try:
        check_id(uri)
    except CorpusError as error:
        report.error(folder, error, uri=uri)
        return False
    if not _set_of(uri):
        what = f"{uri!r} is neither of the dev set (DH_DEV_...) nor of the eval set (DH_EVAL_...)"
        report.problem(folder, what, "move its files elsewhere", uri=uri)
        return False
    return True


def _set_of(uri: str) -> str:
    return next((name for start, name in SETS.items() if uri.startswith(start)), "")


def _recording(
    uri: str, paths: dict[str, Path | None], entry: Entry | None, report: Report
) -> Labelled | None:
    audio, rttm, uem = (paths[kind] for kind in ("flac", "rttm", "uem"))
    if audio is None or rttm is None or uem is None:
        return None
    lines = own_lines(rttm, parse_lines(rttm, report, rttm_line, uri), uri, report)
    turns = by_label(segment for _, segment in lines)
    warn_of_own_overlaps(rttm, turns, report)
    groups = entry.groups if entry else ("full",)
    segments = speech_and_overlap(turns)
    return Labelled(audio, segments, read_own_uem(uem, uri, report), rttm, uem, groups)


def _read_table(path: Path, report: Report) -> dict[str, Entry]:
    """Read ``recordings.tbl``; without it, subsets and domains are unknown: a problem."""
    lines = read_lines(path, report, remedy="copy it again from the release")
    _, header = next(lines, (0, ""))
    columns = [name.strip().lower() for name in header.split("\t")]
    absent = [name for name in _COLUMNS if name not in columns]
    if header and absent:
        what = f"no column {', '.join(absent)}: expected uri, in_core, lang, domain, ... with tabs"
        report.problem(path, f"{what}, found {header!r}", "restore the first line", line=1)
        return {}
    return dict(_table_rows(path, lines, columns, report))


def _table_rows(
    path: Path, lines: Iterable[tuple[int, str]], columns: list[str], report: Report
) -> Iterator[tuple[str, Entry]]:
    seen: dict[str, int] = {}
    for number, line in lines:
        row = dict(zip(columns, (field.strip() for field in line.split("\t")), strict=False))
        uri = row.get("uri", "")
        try:
            entry = _entry(row)
        except CorpusError as error:
            report.error(path, error, line=number, uri=uri)
            continue
        if uri in seen:
            what = f"{uri!r} was in line {seen[uri]} already"
            report.problem(path, what, "leave one of the lines out", line=number, uri=uri)
        seen[uri] = number
        yield uri, entry


def _entry(row: dict[str, str]) -> Entry:
    if any(not row.get(name) for name in _COLUMNS):
        fields = "\t".join(row.values())
        raise CorpusError(f"expected {', '.join(_COLUMNS)} between tabs, found {fields!r}; fix it")
    check_id(row["uri"])
    in_core = {"true": True, "false": False}.get(row["in_core"].lower())
    if in_core is None:
        raise CorpusError(f"in_core {row['in_core']!r} is neither True nor False; correct it")
    if row["domain"].split() != [row["domain"]]:
        raise CorpusError(f"domain {row['domain']!r} has a space in it; write '_' instead")
    return Entry(in_core, row["domain"])


def _compare_core(path: Path, table: dict[str, Entry], report: Report) -> None:
    if not path.is_file() or not table:
        return
    scored = {uri for _, (uri, _) in parse_lines(path, report, uem_line)}
    core = {uri for uri, entry in table.items() if entry.in_core}
    for uri in sorted(scored ^ core):
        where = "listed, but not in core by" if uri in scored else "not listed, but in core by"
        remedy = "correct the one that is wrong"
        report.problem(path, f"{uri!r} is {where} docs/recordings.tbl", remedy, uri=uri)
