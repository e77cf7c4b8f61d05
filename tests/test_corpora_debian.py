"""Debian packages: found, identified, unpacked, and made into a pool from the command line."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from audioseg_xai.corpora.debian import fetch, find_deb, identify, locate, unpack
from audioseg_xai.corpora.decoding import decode
from audioseg_xai.errors import AudioError, CorpusError

RATE = 16000
needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is missing")


def tone(seconds: float, rate: int = RATE) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)


def write(path: Path, samples: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, RATE)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return the tree of a package with music, a voice, and effects in a zip archive."""
    game = tmp_path / "tree/usr/share/game"
    write(game / "music/theme.wav", tone(4.0))
    write(game / "voices/anna/hello.wav", tone(1.0))
    write(tmp_path / "fx/rain.wav", tone(5.0))
    with zipfile.ZipFile(game / "fx.pk3", "w") as archive:
        archive.write(tmp_path / "fx/rain.wav", "sound/rain.wav")
    return tmp_path / "tree"


@pytest.fixture
def debs(tree: Path, tmp_path: Path) -> Path:
    """Return a folder with a package made of `tree`."""
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN/control").write_text(
        "Package: game-data\nVersion: 1.2-3\nArchitecture: all\nMaintainer: A <a@b.c>\n"
        "Homepage: https://game.example\nDescription: test\n"
    )
    folder = tmp_path / "debs"
    folder.mkdir()
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", str(tree), str(folder)],
        check=True,
        capture_output=True,
    )
    return folder


SOURCES = """
packages:
  - name: game-data
    licence: GPL-2.0-or-later
    archives: ["*.pk3"]
    rules:
      - {kind: music, include: ["*/music/*"], split: valid}
      - {kind: noise, include: ["*/fx.pk3.d/*"]}
      - {kind: speech, include: ["*/voices/*"], pattern: "voices/(?P<who>[^/]+)/", speaker: "{who}"}
"""


@needs_dpkg
def test_a_package_is_found_and_identified(debs: Path) -> None:
    found = find_deb("game-data", debs)
    assert found is not None
    package = identify(found)
    assert (package.name, package.version) == ("game-data", "1.2-3")
    assert package.homepage == "https://game.example"
    assert len(package.sha256) == 64


@needs_dpkg
def test_zip_archives_inside_are_expanded_beside_themselves(debs: Path, tmp_path: Path) -> None:
    unpack(locate(["game-data"], debs)["game-data"], tmp_path / "out", ["*.pk3"])
    assert (tmp_path / "out/usr/share/game/fx.pk3.d/sound/rain.wav").is_file()
    assert (tmp_path / "out/usr/share/game/music/theme.wav").is_file()


@needs_dpkg
def test_a_package_cut_short_is_an_error_that_names_it(debs: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken_1_all.deb"
    broken.write_bytes(locate(["game-data"], debs)["game-data"].read_bytes()[:200])
    with pytest.raises(CorpusError, match=r"broken_1_all\.deb"):
        unpack(broken, tmp_path / "out")


@needs_dpkg
def test_an_archive_that_is_no_zip_is_an_error(debs: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"theme\.wav: not a zip archive"):
        unpack(locate(["game-data"], debs)["game-data"], tmp_path / "out", ["*theme.wav"])


@needs_dpkg
def test_what_is_there_is_not_downloaded_again(debs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")  # apt-get cannot be run
    assert fetch(["game-data"], debs)["game-data"].parent == debs
    with pytest.raises(CorpusError, match="download of other needs the program apt-get"):
        fetch(["other"], debs)


def test_missing_packages_are_all_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="apt-get download one two"):
        locate(["one", "two"], tmp_path)


def test_a_package_is_not_mistaken_for_one_with_a_longer_name(tmp_path: Path) -> None:
    (tmp_path / "game-data-extra_1_all.deb").touch()
    assert find_deb("game-data", tmp_path) is None


@needs_dpkg
def test_the_command_builds_a_pool_without_a_network(debs: Path, tmp_path: Path) -> None:
    from audioseg_xai.bin.prepare import cli

    config = tmp_path / "sources.yaml"
    config.write_text(SOURCES)
    arguments = ["open", "--sources", config, "--output", tmp_path / "pool", "--debs", debs]
    result = CliRunner().invoke(cli, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    lines = (tmp_path / "pool/pool.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [(r["path"], r["kind"], r["speaker"], r["split"]) for r in rows] == [
        ("music/game-data/music+theme.flac", "music", None, "valid"),
        ("noise/game-data/fx.pk3.d+sound+rain.flac", "noise", None, "train"),
        ("speech/game-data/voices+anna+hello.flac", "speech", "anna", "train"),
    ]
    (entry,) = json.loads((tmp_path / "pool/manifest.json").read_text())
    assert entry["package"]["version"] == "1.2-3"
    assert (tmp_path / "pool/sources.yaml").read_text() == SOURCES
    again = CliRunner().invoke(cli, list(map(str, arguments)))
    assert again.exit_code == 2
    assert not list((tmp_path / "pool").glob(".unpacked-*"))


@pytest.mark.parametrize(("suffix", "codec", "rate"), [(".g722", "g722", 16000)])
def test_prompts_without_a_header_are_decoded_by_their_suffix(
    tmp_path: Path, suffix: str, codec: str, rate: int
) -> None:
    path = tmp_path / f"hello{suffix}"
    with av.open(str(path), "w", format=codec) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        samples = (tone(1.0, rate) * 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    decoded = decode(path)
    assert len(decoded) == pytest.approx(RATE, abs=320)
    spectrum = np.abs(np.fft.rfft(decoded))
    assert np.argmax(spectrum) * RATE / len(decoded) == pytest.approx(440, abs=2)
    assert np.abs(decoded).max() == pytest.approx(0.3, abs=0.03)


def test_an_empty_prompt_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "is.g722").touch()
    with pytest.raises(AudioError, match="is empty"):
        decode(tmp_path / "is.g722")
