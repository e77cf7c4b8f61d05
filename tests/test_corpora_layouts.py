"""Each corpus in its own layout, small enough to count by hand."""

from __future__ import annotations

import json

import pytest
from corpora_dummies import (
    albayzin,
    allies,
    catalan,
    dihard,
    hum,
    openbmat,
    prepare,
    quick_disk,
    timeline,
    turn,
    write,
)

from audioseg_xai.datadir import DataDir
from audioseg_xai.errors import CorpusError

pytestmark = pytest.mark.usefixtures(quick_disk.__name__)


def test_dihard(tmp_path):
    report = prepare("dihard", dihard(tmp_path / "corpus"), tmp_path / "out")
    assert not report.problems and not report.repairs
    dev, evaluation = DataDir.read(tmp_path / "out/dev"), DataDir.read(tmp_path / "out/eval")
    assert dev.uris == ["DH_DEV_0001", "DH_DEV_0002"] and evaluation.uris == ["DH_EVAL_0001"]
    assert timeline(dev, "DH_DEV_0001", "speech") == [(1, 6), (8, 9)]
    assert timeline(dev, "DH_DEV_0001", "overlap") == [(4.5, 5)]
    assert timeline(dev, "DH_DEV_0002", "speech") == [(0, 4)]
    assert timeline(dev, "DH_DEV_0002", "overlap") == []  # one ends where the other begins
    assert dev.duration["DH_DEV_0001"] == 10.0 and dev.classes == ("speech", "overlap")
    assert (tmp_path / "out/dev/groups").read_text().splitlines() == [
        "DH_DEV_0001 core",
        "DH_DEV_0001 domain:court",
        "DH_DEV_0001 full",
        "DH_DEV_0002 domain:meeting",
        "DH_DEV_0002 full",
    ]
    assert dev.groups["DH_DEV_0002"] == ("domain:meeting", "full")


def test_dihard_releases_side_by_side(tmp_path):
    dihard(tmp_path / "both/LDC2022S12/third_dihard_challenge_dev")
    prepare("dihard", tmp_path / "both", tmp_path / "out")
    assert DataDir.read(tmp_path / "out/dev").uris == ["DH_DEV_0001", "DH_DEV_0002"]


@pytest.mark.parametrize("form", ["tsv", "json"])
@pytest.mark.parametrize(
    ("agreement", "music", "known"),
    [("majority", (0, 5), [(0, 10)]), ("full", (0, 4), [(0, 4), (6, 10)])],
)
def test_openbmat(tmp_path, form, agreement, music, known):
    root = openbmat(tmp_path / "corpus", form)
    report = prepare("openbmat", root, tmp_path / "out", agreement=agreement)
    data = DataDir.read(tmp_path / "out/all")
    assert not report.problems and data.classes == ("music",)
    assert timeline(data, "a", "music") == [music] and data.uem["a"] == known
    assert timeline(data, "b", "music") == [(0, 10)] and data.uem["b"] == [(0, 10)]


def test_openbmat_where_an_annotator_is_missing_the_others_must_agree(tmp_path):
    root = openbmat(tmp_path / "corpus")
    (root / "tsv/MD_mapping/six/a.tsv").unlink()
    prepare("openbmat", root, tmp_path / "out")
    data = DataDir.read(tmp_path / "out/all")
    assert timeline(data, "a", "music") == [(0, 4)] and data.uem["a"] == [(0, 4), (5, 10)]


def test_openbmat_parts(tmp_path):
    root = openbmat(tmp_path / "corpus")
    prepare("openbmat", root, tmp_path / "out", split={"train": 0.5, "test": 0.5})
    parts = [DataDir.read(tmp_path / "out" / name).uris for name in ("train", "test")]
    assert sorted(parts) == [["a"], ["b"]]
    assert DataDir.read(tmp_path / "out/all").uris == ["a", "b"]


def test_openbmat_audio_lies_anywhere_also_behind_links(tmp_path):
    root = openbmat(tmp_path / "corpus")
    (root / "audio").rename(tmp_path / "disk")
    (root / "sounds").symlink_to(tmp_path / "disk")
    (tmp_path / "disk/loop").symlink_to(root)
    hum(tmp_path / "disk/._a.wav")  # some systems leave such companions
    prepare("openbmat", root, tmp_path / "out")
    assert DataDir.read(tmp_path / "out/all").uris == ["a", "b"]


def test_allies(tmp_path):
    report = prepare("allies", allies(tmp_path / "corpus"), tmp_path / "out")
    assert not report.problems
    clean = DataDir.read(tmp_path / "out/allies_clean")
    assert clean.classes == ("speech", "music", "overlap")
    assert timeline(clean, "CLEAN", "speech") == [(1.5, 6)]
    assert timeline(clean, "CLEAN", "overlap") == [(4, 4.5)]
    assert timeline(clean, "CLEAN", "music") == [(2.5, 6), (9, 10)]
    assert clean.uem["CLEAN"] == [(0.5, 9.5)]
    others = DataDir.read(tmp_path / "out/Test-D")
    assert others.uris == ["CLEAN", "DEBATE"] and others.classes == ("speech", "overlap")
    assert timeline(others, "CLEAN", "music") == []
    assert DataDir.read(tmp_path / "out/unlisted").uris == ["MORE"]


def test_allies_without_transcriber_files_has_no_music(tmp_path):
    root = allies(tmp_path / "corpus")
    (root / "trs/CLEAN.trs").unlink()
    prepare("allies", root, tmp_path / "out")
    assert DataDir.read(tmp_path / "out/allies_clean").classes == ("speech", "overlap")


def test_albayzin(tmp_path):
    report = prepare("albayzin", albayzin(tmp_path / "corpus"), tmp_path / "out")
    assert not report.problems and not report.repairs
    names = {"train": "radio1", "dev": "radio2", "test": "radio3"}
    for name, show in names.items():
        data = DataDir.read(tmp_path / "out" / name)
        assert data.uris == [show] and data.classes == ("speech", "music", "noise")
        assert timeline(data, show, "speech") == [(0, 6)]
        assert timeline(data, show, "music") == [(2, 9)]
        assert timeline(data, show, "noise") == [(8, 10)]


def test_albayzin_2010_maps_exclusive_classes(tmp_path):
    report = prepare("albayzin", catalan(tmp_path / "corpus"), tmp_path / "out")
    assert not report.problems
    data = DataDir.read(tmp_path / "out/all")
    # 0 music 2 speech 4 speech over music 6 speech over noise 8 other 10
    assert timeline(data, "tv1", "music") == [(0, 2), (4, 6)]
    assert timeline(data, "tv1", "speech") == [(2, 8)]
    assert timeline(data, "tv1", "noise") == [(6, 8)]
    assert data.uem["tv1"] == [(0, 8)]  # nobody knows whether "other" is noise
    assert timeline(data, "tv2", "speech") == timeline(data, "tv2", "music") == [(1, 9)]


def test_albayzin_labels_of_ones_choice(tmp_path):
    root = albayzin(catalan(tmp_path / "corpus"))
    write(root, {"lists/AragonRadio/train.txt": "tv1\n"})
    report = prepare("albayzin", root, tmp_path / "out", labels="trs")
    assert DataDir.read(tmp_path / "out/train").uris == ["tv1"]
    assert report.left_out == {"radio2", "radio3"}


def test_overlapping_lines_of_a_class_are_merged_and_said(tmp_path):
    root = albayzin(tmp_path / "corpus")
    lines = turn("radio1", 1, 3, "mu") + turn("radio1", 2, 4, "music")
    write(root, {"rttm/radio1.rttm": lines})
    report = prepare("albayzin", root, tmp_path / "out")
    assert timeline(DataDir.read(tmp_path / "out/train"), "radio1", "music") == [(1, 6)]
    assert "radio1.rttm: has overlapping segments with one label" in "".join(report.repair_lines())


def test_how_it_was_made_is_noted(tmp_path):
    root = dihard(tmp_path / "corpus")
    (root / "data/flac/DH_DEV_0002.flac").unlink()
    prepare("dihard", root, tmp_path / "out")
    note = json.loads((tmp_path / "out/prepared.json").read_text())
    assert [p["uri"] for p in note["problems"]] == ["DH_DEV_0002"]
    assert note["provenance"]["config"]["corpus"] == "dihard"


@pytest.mark.parametrize(
    ("corpus", "expected"),
    [
        ("dihard", "expected data/flac, data/rttm and data/uem of DIHARD III"),
        ("openbmat", "expected json/MD_mapping.json or tsv/MD_mapping/<annotator>/<file>.tsv"),
        ("allies", "expected wav, mdtm, uem and lst of ALLIES"),
        ("albayzin", r"expected <show>.rttm \(Aragon Radio\) or <show>.trs"),
    ],
)
def test_another_folder_is_told_from_the_corpus(tmp_path, corpus, expected):
    root = write(tmp_path / "corpus", {"notes.txt": "x", "music/x.mid": "x"})
    with pytest.raises(CorpusError, match=f"{expected}.*, found music/, notes.txt; give"):
        prepare(corpus, root, tmp_path / "out")
    assert not (tmp_path / "out").exists()
