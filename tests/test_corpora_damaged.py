"""Annotation files with bytes lost, doubled or changed at random: said or read, never a crash."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from corpora_dummies import albayzin, allies, catalan, dihard, openbmat, prepare, quick_disk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audioseg_xai.datadir import DataDir
from audioseg_xai.errors import AudiosegError

pytestmark = pytest.mark.usefixtures(quick_disk.__name__)

FILES = {
    "data/rttm/DH_DEV_0001.rttm": ("dihard", dihard),
    "data/uem/DH_DEV_0001.uem": ("dihard", dihard),
    "docs/recordings.tbl": ("dihard", dihard),
    "mdtm/CLEAN.mdtm": ("allies", allies),
    "trs/CLEAN.trs": ("allies", allies),
    "lst/Test-D.lst": ("allies", allies),
    "rttm/radio1.rttm": ("albayzin", albayzin),
    "trs/tv1.trs": ("albayzin", catalan),
    "tsv/MD_mapping/one/a.tsv": ("openbmat", openbmat),
    "json/MD_mapping.json": ("openbmat", lambda root: openbmat(root, "json")),
}

pieces = st.one_of(
    st.binary(max_size=6),
    st.sampled_from([b"\t", b"\n", b"\r", b" ", b"-", b"1e999", b"nan", b"..", b"/", b"\0", b"<"]),
)
damage = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 30), pieces), min_size=1, max_size=3)


@pytest.fixture
def corpus(request, tmp_path) -> Path:
    """Return a sound corpus."""
    return FILES[request.param][1](tmp_path / "corpus")


@pytest.mark.parametrize(("corpus", "name"), [(name, name) for name in FILES], indirect=["corpus"])
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(damage=damage)
def test_damage_is_said_or_read(corpus, name, tmp_path, damage):
    path, output = corpus / name, tmp_path / "out"
    whole = path.read_bytes()
    content = whole
    for place, lost, new in damage:
        start = round(place * len(content))
        content = content[:start] + new + content[start + lost :]
    shutil.rmtree(output, ignore_errors=True)
    try:
        path.write_bytes(content)
        report = prepare(FILES[name][0], corpus, output)
    except AudiosegError as error:
        assert "\n" not in str(error) and not output.exists()
    else:
        assert all("; " in str(p) and str(p).isprintable() for p in report.problems)
        for folder in (part for part in output.iterdir() if part.is_dir()):
            DataDir.read(folder).validate()
    finally:
        path.write_bytes(whole)
