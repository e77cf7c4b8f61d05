"""Build a pool: unpack each source, decode what its rules take, write 16 kHz FLAC pieces."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from audioseg_xai.corpora.debian import Package, identify, unpack
from audioseg_xai.corpora.decoding import decode
from audioseg_xai.corpora.pieces import stems, write_pieces
from audioseg_xai.corpora.pool import INDEX, Pool, PoolItem, Summary
from audioseg_xai.corpora.sources import Source, Sources, choose
from audioseg_xai.errors import AudioError, CorpusError, UsageError
from audioseg_xai.files import sha256_file, write_text_atomic

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Job:
    """A source to build from: a Debian package, or a folder the user named.

    Attributes
    ----------
    source : Source
        The rules.
    deb : Path or None
        The package file.
    folder : Path or None
        The folder, when there is no package.
    """

    source: Source
    deb: Path | None = None
    folder: Path | None = None

    def __str__(self) -> str:
        """Return the name of the source."""
        return self.source.name


@dataclass
class Built:
    """What came out of a source.

    Attributes
    ----------
    job : Job
        What it was made of.
    package : Package or None
        Identity of the package, for the manifest.
    items : list of tuple of PoolItem and str
        Each item with the digest of the file it was cut from.
    undecodable : list of str
        Files that could not be decoded, with the reason.
    too_quiet_or_short : int
        Number of files and pieces dropped for that.
    """

    job: Job
    package: Package | None = None
    items: list[tuple[PoolItem, str]] = field(default_factory=list)
    undecodable: list[str] = field(default_factory=list)
    too_quiet_or_short: int = 0


def plan(
    sources: Sources,
    debs: Mapping[str, Path],
    extra_speech: Sequence[Path] = (),
    extra_noise: Sequence[Path] = (),
) -> list[Job]:
    """List what is to be built.

    Parameters
    ----------
    sources : Sources
        The configuration.
    debs : mapping of str to Path
        The package file of each of its packages.
    extra_speech, extra_noise : sequence of Path
        Folders the user named; each belongs to the first extra source whose rules take a file.

    Returns
    -------
    list of Job
        In the order of the configuration, then the folders.

    Raises
    ------
    CorpusError
        If a folder holds no file that an extra source takes.
    """
    jobs = [Job(source, deb=debs[source.name]) for source in sources.packages]
    jobs += [_claim(folder, sources.extra_speech, sources.vocals) for folder in extra_speech]
    jobs += [_claim(folder, sources.extra_noise, sources.vocals) for folder in extra_noise]
    return [_renamed(job, jobs[:number]) for number, job in enumerate(jobs)]


def _claim(folder: Path, candidates: Sequence[Source], vocals: bool) -> Job:
    paths = list(_files(folder))
    for source in candidates:
        if choose(source, paths, vocals):
            return Job(source, folder=folder)
    names = ", ".join(source.name for source in candidates) or "none"
    raise CorpusError(f"{folder}: no audio that an extra source knows (there are: {names})")


def _renamed(job: Job, before: Sequence[Job]) -> Job:
    if all(other.source.name != job.source.name for other in before):
        return job
    name = f"{job.source.name}-{len(before)}"  # two folders of one source: keep their files apart
    return replace(job, source=job.source.model_copy(update={"name": name}))


def build_source(job: Job, sources: Sources, root: Path) -> Built:
    """Write the audio of one source into the pool at `root`.

    Parameters
    ----------
    job : Job
        The source.
    sources : Sources
        Lengths and levels that hold for all sources.
    root : Path
        The pool.

    Returns
    -------
    Built
        Its items; the index is not written yet.

    Raises
    ------
    CorpusError
        If the package cannot be unpacked, or the rules take nothing of it.
    """
    if job.deb is None:
        assert job.folder is not None
        return _convert(Built(job), job.folder, sources, root)
    with tempfile.TemporaryDirectory(dir=root, prefix=".unpacked-") as folder:
        unpack(job.deb, Path(folder), job.source.archives)
        return _convert(Built(job, identify(job.deb)), Path(folder), sources, root)


def _convert(built: Built, folder: Path, sources: Sources, root: Path) -> Built:
    source = built.job.source
    choices = choose(source, _files(folder), sources.vocals)
    if not choices:
        raise CorpusError(f"{source.name}: the rules take no file of {built.job.deb or folder}")
    for choice, stem in zip(choices, stems(choices), strict=True):
        try:
            samples = decode(folder / choice.path)
        except AudioError as error:
            built.undecodable.append(f"{choice.path}: {error}".replace(f"{folder}/", ""))
            continue
        digest = sha256_file(folder / choice.path)
        for item in write_pieces(choice, stem, samples, source, sources, root):
            if item is None:
                built.too_quiet_or_short += 1
            else:
                built.items.append((item, digest))
    return built


def _files(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield path.relative_to(folder).as_posix()


def assemble(results: Iterable[Built], root: Path, config: Path) -> Pool:
    """Write index and manifest of a pool whose audio is written.

    A file that several sources hold counts once, for the first of them.

    Parameters
    ----------
    results : iterable of Built
        What `build_source` returned, in the order of the configuration.
    root : Path
        The pool. Audio that is not of `results` is removed from it.
    config : Path
        The `sources.yaml`; a copy goes into the pool.

    Returns
    -------
    Pool
        The pool, written.
    """
    listed = list(results)
    pool = Pool(root, tuple(sorted(_unique(listed), key=lambda item: item.path)))
    pool.write()
    write_text_atomic(root / "sources.yaml", config.read_text(encoding="utf-8"))
    write_text_atomic(root / MANIFEST, json.dumps(_manifest(pool, listed), indent=1) + "\n")
    _remove_strangers(pool)
    return pool


def _unique(results: list[Built]) -> Iterator[PoolItem]:
    owner: dict[str, str] = {}
    for built in results:
        for item, digest in built.items:
            stem = item.path.partition("@")[0]  # pieces of one file share its digest
            if owner.setdefault(digest, stem) == stem:
                yield item


def _manifest(pool: Pool, results: list[Built]) -> list[dict[str, Any]]:
    summary = pool.summary()
    return [
        _entry(built, [s for s in summary if s.source == built.job.source.name])
        for built in results
    ]


def _entry(built: Built, parts: list[Summary]) -> dict[str, Any]:
    source, package = built.job.source, built.package
    return {
        "source": source.name,
        "package": package
        and {"version": package.version, "homepage": package.homepage, "sha256": package.sha256},
        "licence": source.licence,
        "attribution": source.attribution,
        "parts": [_part(part) for part in parts],
        "too_quiet_or_short": built.too_quiet_or_short,
        "undecodable": built.undecodable,
    }


def _part(part: Summary) -> dict[str, Any]:
    values = asdict(part) | {"hours": round(part.hours, 4)}
    del values["source"]
    return values


def _remove_strangers(pool: Pool) -> None:
    known = {pool.root / item.path for item in pool}
    for path in pool.root.glob("*/*/*.flac"):
        if path not in known:
            path.unlink()
    for folder in pool.root.glob("*/*/"):
        if not any(folder.iterdir()):
            shutil.rmtree(folder)


def refuse_existing(root: Path, overwrite: bool) -> None:
    """Raise a UsageError when `root` is a pool already and shall not be made again."""
    if (root / INDEX).exists() and not overwrite:
        raise UsageError(f"{root}: is a pool already: --overwrite makes it again")


def table(pool: Pool) -> str:
    """Return hours, files and speakers of each kind, source and split as lines of text."""
    parts = pool.summary()
    lines = [_row("kind", "source", "split", "files", "hours", "speakers")]
    lines += [
        _row(p.kind, p.source, p.split, str(p.files), f"{p.hours:.3f}", str(p.speakers))
        for p in parts
    ]
    for kind, split in sorted({(p.kind, p.split) for p in parts}):
        total = [p for p in parts if (p.kind, p.split) == (kind, split)]
        files, hours = sum(p.files for p in total), sum(p.hours for p in total)
        speakers = len({item.speaker for item in pool.select(kind, split)} - {None})
        lines.append(_row(kind, "all", split, str(files), f"{hours:.3f}", str(speakers)))
    return "\n".join(lines)


def _row(kind: str, source: str, split: str, files: str, hours: str, speakers: str) -> str:
    return f"{kind:<10} {source:<32} {split:<5} {files:>6} {hours:>8} {speakers:>8}"
