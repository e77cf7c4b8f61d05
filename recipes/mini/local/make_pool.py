#!/usr/bin/env python3
"""Cut the pool of the mini recipe from Debian packages. The repository ships the result.

    python local/make_pool.py DEBS

DEBS is a folder with the .deb files that pool.yaml names (`apt-get download PACKAGE`). Writes
pool/*/*.ogg (16 kHz mono Opus), pool/pool.jsonl and pool/LICENCES.md.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from packages import Packages, Samples

from audioseg_xai.config import Config, load_yaml
from audioseg_xai.corpora.pool import Pool, PoolItem
from audioseg_xai.files import atomic_path, write_text_atomic
from audioseg_xai.frames import SAMPLE_RATE

HERE = Path(__file__).resolve().parent
POOL = HERE.parent / "pool"
COMPRESSION = 0.93  # 28 kbit/s or so
"""What soundfile makes of it: 0 is the highest bitrate, 1 the lowest."""

HEAD = """\
# Licences of the audio in this folder

Each file was cut from the named files of a Debian package (bookworm), mixed down to mono,
resampled to 16 kHz and encoded as Opus by `local/make_pool.py`; nothing else was changed. Author
and licence are what the copyright file of the package states for these files. Each keeps its
licence; the MIT licence of the code does not cover them.

- GPL: [GPL-2.txt](GPL-2.txt), [GPL-3.txt](GPL-3.txt). The source is the package,
  which Debian keeps in every version.
- Creative Commons: <https://creativecommons.org/licenses/by/3.0/>,
  <https://creativecommons.org/licenses/by-sa/3.0/>,
  <https://creativecommons.org/licenses/by-sa/3.0/it/>.
- MIT (music/feelings.ogg, music/madness.ogg): the permission notice at the end of this page.

| file | licence | author | package | version | seconds |
|---|---|---|---|---|---|
"""

MIT_NOTICE = """
## MIT

Copyright (c) 2006/2007 Carlos Viola Iborra <karuritosu@gmail.com>

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
associated documentation files (the "Software"), to deal in the Software without restriction,
including without limitation the rights to use, copy, modify, merge, publish, distribute,
sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or
substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT
NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM,
DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT
OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


class Package(Config):
    """Licence and author of what is taken from a package."""

    licence: str
    by: str


class Cut(Config):
    """One file of the pool; pool.yaml explains the keys."""

    path: str
    split: str
    package: str
    seconds: float
    start: float = 0.0
    shortest: float = 0.0
    parts: list[str]


class Cuts(Config):
    """What pool.yaml holds."""

    packages: dict[str, Package]
    files: list[Cut]


def main(debs: Path) -> None:
    """Make the pool."""
    cuts = load_yaml(HERE / "pool.yaml", Cuts)
    with tempfile.TemporaryDirectory() as scratch:
        packages = Packages(debs, Path(scratch))
        made = [_make(cut, cuts.packages[cut.package].licence, packages) for cut in cuts.files]
    Pool(POOL, tuple(item for item, _ in made)).write()
    write_text_atomic(POOL / "LICENCES.md", _licences(made, cuts.packages, packages.versions))


def _make(cut: Cut, licence: str, packages: Packages) -> tuple[PoolItem, list[str]]:
    found = packages.find(cut.package, cut.parts)
    samples, used = packages.cut(cut.package, found, cut.start, cut.shortest, cut.seconds)
    write_opus(POOL / cut.path, samples)
    kind, name = Path(cut.path).parts
    speaker = Path(name).stem if kind == "speech" else None
    seconds = samples.size / SAMPLE_RATE
    print(f"{cut.path}: {seconds:.2f} s from {len(used)} files", file=sys.stderr)
    return PoolItem(cut.path, kind, cut.package, speaker, seconds, licence, cut.split), used


def write_opus(path: Path, samples: Samples) -> None:
    """Write 16 kHz mono Ogg/Opus."""
    with atomic_path(path) as temporary:
        soundfile.write(
            temporary,
            np.clip(samples, -1, 1),
            SAMPLE_RATE,
            "OPUS",
            format="OGG",
            compression_level=COMPRESSION,
        )


def _licences(
    made: list[tuple[PoolItem, list[str]]], packages: dict[str, Package], versions: dict[str, str]
) -> str:
    rows = [
        f"| {item.path} | {item.licence} | {packages[item.source].by} | {item.source} "
        f"| {versions[item.source]} | {item.duration:.1f} |"
        for item, _ in made
    ]
    origins = [f"- {item.path}: " + ", ".join(f"`{path}`" for path in used) for item, used in made]
    listed = [*rows, "", "## Files of the packages", "", *origins]
    return HEAD + "\n".join(listed) + "\n" + MIT_NOTICE


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} DEBS")
    main(Path(sys.argv[1]))
