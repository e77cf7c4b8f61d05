"""`xai-segment prepare CORPUS`, as a user runs it, and the corpora that the recipe makes itself."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from corpora_dummies import albayzin, allies, catalan, dihard, openbmat, quick_disk, write

from audioseg_xai import cli
from audioseg_xai.datadir import DataDir

pytestmark = pytest.mark.usefixtures(quick_disk.__name__)

RECIPE = Path(__file__).parents[1] / "recipes" / "broadcast"
MAKERS = {"dihard": dihard, "openbmat": openbmat, "allies": allies, "albayzin": albayzin}


def run(*words: object) -> Result:
    return CliRunner().invoke(cli.main, ["prepare", *map(str, words)])


@pytest.mark.parametrize("corpus", MAKERS)
def test_a_sound_corpus(tmp_path, corpus):
    root = MAKERS[corpus](tmp_path / "corpus")
    done = run(corpus, root, "--output", tmp_path / "out")
    assert done.exit_code == 0 and done.stdout == ""
    for folder in (path for path in (tmp_path / "out").iterdir() if path.is_dir()):
        DataDir.read(folder).validate()
        assert f"{folder}: " in done.stderr
    again = run(corpus, root, "--output", tmp_path / "out")
    assert again.exit_code == cli.USAGE and "--overwrite" in again.stderr
    assert run(corpus, root, "--output", tmp_path / "out", "--overwrite").exit_code == 0


def test_what_is_left_out_is_listed_at_the_end_and_the_exit_code_is_3(tmp_path):
    root = dihard(tmp_path / "corpus")
    (root / "data/flac/DH_DEV_0001.flac").unlink()
    write(root, {"data/uem/DH_EVAL_0001.uem": "DH_EVAL_0001 1 0 10\r\n"})
    done = run("dihard", root, "--output", tmp_path / "out")
    assert done.exit_code == cli.PARTLY
    assert "warning: " in done.stderr and "CRLF" in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last == "xai-segment dihard: error: 1 problem; left out: 'DH_DEV_0001'"
    assert DataDir.read(tmp_path / "out/dev").uris == ["DH_DEV_0002"]


def test_strict_writes_nothing(tmp_path):
    root = dihard(tmp_path / "corpus")
    (root / "data/flac/DH_DEV_0001.flac").unlink()
    done = run("dihard", root, "--output", tmp_path / "out", "--strict")
    assert done.exit_code == cli.FAILED and not (tmp_path / "out").exists()
    assert "1 problem, --strict was given; nothing was written" in done.stderr


def test_strict_lets_repairs_pass(tmp_path):
    root = write(
        dihard(tmp_path / "corpus"), {"data/uem/DH_EVAL_0001.uem": "DH_EVAL_0001 1 0 10\r\n"}
    )
    assert run("dihard", root, "--output", tmp_path / "out", "--strict").exit_code == 0


def test_some_classes(tmp_path):
    root = albayzin(tmp_path / "corpus")
    assert run("albayzin", root, "--output", tmp_path / "out", "--classes", "mu").exit_code == 0
    data = DataDir.read(tmp_path / "out/train")
    assert data.classes == ("music",) and {s.label for s in data.reference["radio1"]} == {"music"}
    done = run("albayzin", root, "--output", tmp_path / "b", "--classes", "speech,overlap")
    assert done.exit_code == cli.USAGE
    assert "--classes: overlap is not annotated in the set dev" in done.stderr


def test_options_of_the_corpora(tmp_path):
    root = openbmat(tmp_path / "corpus")
    options = ("--agreement", "full", "--split", "train=0.5,test=0.5")
    assert run("openbmat", root, "--output", tmp_path / "out", *options).exit_code == 0
    assert DataDir.read(tmp_path / "out/all").uem["a"] == [(0, 4), (6, 10)]
    assert (tmp_path / "out/test").is_dir()
    done = run("openbmat", root, "--output", tmp_path / "b", "--mapping", "original")
    assert done.exit_code == cli.FAILED and "expected json/original.json or tsv" in done.stderr
    done = run("albayzin", catalan(tmp_path / "tv"), "--output", tmp_path / "tvs")
    assert done.exit_code == 0 and DataDir.read(tmp_path / "tvs/all").uris == ["tv1", "tv2"]


def test_no_such_corpus(tmp_path):
    done = run("dihard", tmp_path / "none", "--output", tmp_path / "out")
    assert done.exit_code == cli.USAGE and "does not exist" in done.stderr


def test_the_table_as_lines():
    table = RECIPE / "conf" / "corpora.yaml"
    assert run("table", table, "--role", "student").stdout.splitlines() == [
        "albayzin speech,music,noise",
        "dihard speech,overlap",
    ]
    lines = run("table", table, "--role", "teacher", "--data", "valid").stdout.splitlines()
    assert lines == [
        "albayzin/dev speech,music,noise",
        "openbmat/valid music",
        "allies/Test-D speech,overlap",
        "dihard/valid speech,overlap",
    ]


def test_preparing_a_corpus_never_waits_for_torch(tmp_path):
    root = openbmat(tmp_path / "corpus")
    code = (
        "import sys\nfrom audioseg_xai.cli import main\n"
        f"try: main(['prepare', 'openbmat', {str(root)!r}, '--output', {str(tmp_path / 'o')!r}])\n"
        "finally: print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["False"], done.stderr


# --- the corpora that the recipe makes ------------------------------------------------------------


@pytest.fixture(scope="module")
def maker():
    path = RECIPE / "local" / "make_corpora.py"
    specification = importlib.util.spec_from_file_location("make_corpora", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(maker, tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    done = CliRunner().invoke(maker.cli, [str(root), "--minutes", "0.5", "--seed", "3"])
    assert done.exit_code == 0, done.output
    return root


@pytest.mark.parametrize("corpus", MAKERS)
def test_made_corpora_are_laid_out_as_the_released_ones(tmp_path, made, corpus):
    done = run(corpus, made / corpus, "--output", tmp_path / "out")
    assert done.exit_code == 0 and "warning" not in done.stderr, done.stderr
    assert any(path.is_dir() for path in (tmp_path / "out").iterdir())


@pytest.mark.parametrize("form", ["json", "tsv"])
def test_made_annotators_differ_and_mostly_agree(tmp_path, made, form):
    root = tmp_path / "openbmat"
    root.symlink_to(made / "openbmat")
    found = [
        (made / f"openbmat/tsv/MD_mapping/annotator_{n}/piece_0001.tsv").read_text()
        for n in (1, 2, 3)
    ]
    assert len(set(found)) == 3
    view = tmp_path / "view"
    view.mkdir()
    for name in ("audio", form):
        (view / name).symlink_to(root / name)
    assert run("openbmat", view, "--output", tmp_path / "o", "--agreement", "full").exit_code == 0
    ((data, uem),) = DataDir.read(tmp_path / "o/all").uem.items()
    known = sum(offset - onset for onset, offset in uem)
    assert data == "piece_0001" and 50 < known < 60


def test_made_corpora_are_the_same_each_time(tmp_path, maker, made):
    done = CliRunner().invoke(maker.cli, [str(tmp_path / "b"), "--minutes", "0.5", "--seed", "3"])
    assert done.exit_code == 0
    assert digests(tmp_path / "b") == digests(made)
    again = CliRunner().invoke(maker.cli, [str(tmp_path / "b"), "--minutes", "0.5"])
    assert again.exit_code == cli.USAGE and "--overwrite" in again.output


def digests(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }
