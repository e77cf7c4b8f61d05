"""Debian packages as a source of openly licensed audio: fetch, identify, unpack. No root needed."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from audioseg_xai.errors import CorpusError
from audioseg_xai.files import sha256_file


@dataclass(frozen=True)
class Package:
    """A package file on disk.

    Attributes
    ----------
    name, version, homepage : str
        As its control file says; homepage may be empty.
    path : Path
        The .deb file.
    sha256 : str
        Digest of the file.
    """

    name: str
    version: str
    homepage: str
    path: Path
    sha256: str


def fetch(names: Iterable[str], folder: Path) -> dict[str, Path]:
    """Download the packages that `folder` lacks, with `apt-get download`.

    Parameters
    ----------
    names : iterable of str
        Package names.
    folder : Path
        Where .deb files are kept; made when missing.

    Returns
    -------
    dict
        Path of the .deb file of each name.

    Raises
    ------
    CorpusError
        If apt-get is missing or a package cannot be had.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        if find_deb(name, folder) is None:
            _run(["apt-get", "download", "--quiet", name], f"download of {name}", cwd=folder)
    return locate(names, folder)


def locate(names: Iterable[str], folder: Path) -> dict[str, Path]:
    """Find the .deb file of each package in `folder`, without a network.

    Raises
    ------
    CorpusError
        If some are not there; the message says how to get them.
    """
    found = {name: find_deb(name, folder) for name in names}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise CorpusError(
            f"{folder}: no .deb file of {', '.join(missing)}: "
            f"run `apt-get download {' '.join(missing)}` in that folder"
        )
    return {name: path for name, path in found.items() if path is not None}


def find_deb(name: str, folder: Path) -> Path | None:
    """Return the .deb file of package `name` in `folder` (the last by file name), or None."""
    candidates = sorted(folder.glob(f"{name}_*.deb"))
    return candidates[-1] if candidates else None


def identify(deb: Path) -> Package:
    """Read name, version and homepage of a .deb file.

    Raises
    ------
    CorpusError
        If dpkg-deb is missing, or the file is no package (for example cut short).
    """
    template = "--showformat=${Package}\n${Version}\n${Homepage}\n"
    shown = _run(["dpkg-deb", "--show", template, str(deb)], f"reading of {deb}").split("\n")
    return Package(shown[0], shown[1], shown[2], deb, sha256_file(deb))


def unpack(deb: Path, folder: Path, archives: Sequence[str] = ()) -> None:
    """Unpack a .deb file, and the zip archives inside that match `archives`.

    Parameters
    ----------
    deb : Path
        The package.
    folder : Path
        Where its tree goes. The content of the archive ``a/b.pk3`` goes to ``a/b.pk3.d/``.
    archives : sequence of str
        Glob patterns of zip files (``*.pk3``, ``*.wz``); ``*`` also crosses folders.

    Raises
    ------
    CorpusError
        If the package or an archive in it cannot be unpacked.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _run(["dpkg-deb", "--extract", str(deb), str(folder)], f"unpacking of {deb}")
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder).as_posix()
        if path.is_file() and any(fnmatchcase(relative, pattern) for pattern in archives):
            _expand(path)


def _expand(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(path.with_name(path.name + ".d"))
    except zipfile.BadZipFile as error:
        raise CorpusError(f"{path}: not a zip archive: {error}") from None


def _run(arguments: list[str], what: str, cwd: Path | None = None) -> str:
    if shutil.which(arguments[0]) is None:
        raise CorpusError(
            f"{what} needs the program {arguments[0]}: install it (Debian: apt, dpkg)"
        )
    done = subprocess.run(arguments, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise CorpusError(f"{what} failed: {reason}")
    return done.stdout
