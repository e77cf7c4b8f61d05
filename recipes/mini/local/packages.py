"""Sounds out of Debian packages: find, decode to 16 kHz mono, cut, join."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audioseg_xai.corpora.debian import identify, locate, unpack
from audioseg_xai.corpora.decoding import decode
from audioseg_xai.errors import CorpusError
from audioseg_xai.frames import SAMPLE_RATE

Samples = NDArray[np.float32]


class Packages:
    """Unpacks packages when they are asked for.

    Parameters
    ----------
    debs : Path
        Folder with the .deb files (`apt-get download PACKAGE`).
    scratch : Path
        Where packages are unpacked.
    """

    def __init__(self, debs: Path, scratch: Path) -> None:
        self._debs, self._scratch = debs, scratch
        self._files: dict[str, list[str]] = {}
        self.versions: dict[str, str] = {}

    def find(self, package: str, patterns: Sequence[str]) -> list[str]:
        """Return the files that match: one pattern after the other, each in order of path."""
        files = self._unpacked(package)
        found = [path for p in patterns for path in files if fnmatchcase(path, p)]
        if not found:
            raise CorpusError(f"{package}: no file matches {', '.join(patterns)}")
        return found

    def read(self, package: str, path: str) -> Samples:
        """Return a file of a package as 16 kHz mono samples."""
        self._unpacked(package)
        return decode(self._scratch / package / path)

    def cut(
        self, package: str, paths: Iterable[str], start: float, shortest: float, seconds: float
    ) -> tuple[Samples, list[str]]:
        """Join files, each without its first `start` seconds, until there are `seconds`.

        Returns
        -------
        samples : ndarray (N,)
            At most `seconds`.
        used : list of str
            The files they came from.
        """
        size = round(seconds * SAMPLE_RATE)
        samples, used = np.zeros(0, np.float32), []
        for path in paths:
            if samples.size >= size:
                break
            part = self.read(package, path)[round(start * SAMPLE_RATE) :]
            if part.size >= shortest * SAMPLE_RATE:
                samples = np.concatenate([samples, part])
                used.append(path)
        return samples[:size], used

    def _unpacked(self, package: str) -> list[str]:
        if package not in self._files:
            deb = locate([package], self._debs)[package]
            folder = self._scratch / package
            unpack(deb, folder)
            self.versions[package] = identify(deb).version
            self._files[package] = sorted(
                path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
            )
        return self._files[package]
