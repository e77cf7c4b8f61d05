"""Files are whole or absent: an interrupted writer leaves what was there before."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from audioseg_xai.files import atomic_path, sha256_file, write_text_atomic
from audioseg_xai.provenance import provenance
from audioseg_xai.version import __version__


def test_a_file_appears_whole_and_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "out.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        assert temporary.parent == path.parent  # a rename over file systems is no rename
        assert temporary.suffix == ".txt"
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert os.listdir(path.parent) == ["out.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")
    with pytest.raises(error), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["out.txt"]


def test_a_writer_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "out.txt"):
        pass
    assert os.listdir(tmp_path) == []


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    with atomic_path(path) as first, atomic_path(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"  # the last to finish
    assert os.listdir(tmp_path) == ["out.txt"]


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")
    code = (
        "import sys, time\n"
        "from audioseg_xai.files import atomic_path\n"
        "with atomic_path(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    print('written', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGKILL)
    assert path.read_text() == "old"


def test_text_is_utf8_whatever_the_locale(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    write_text_atomic(path, "é\n")
    assert path.read_bytes() == b"\xc3\xa9\n"


def test_digest(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "x").write_bytes(content)
    assert sha256_file(tmp_path / "x") == hashlib.sha256(content).hexdigest()


def test_provenance_names_versions_settings_and_inputs_without_folders(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"abc")
    record = json.loads(json.dumps(provenance({"seed": 3}, [tmp_path / "a.wav"])))
    assert record["tool"] == f"audioseg_xai {__version__}"
    assert record["config"] == {"seed": 3}
    assert record["inputs"] == {"a.wav": hashlib.sha256(b"abc").hexdigest()}
    assert {"numpy", "torch"} <= set(record["libraries"])
    assert str(tmp_path) not in json.dumps(record)
