"""The class names and their aliases."""

from __future__ import annotations

import pytest

from audioseg_xai.errors import LabelError
from audioseg_xai.labels import CLASSES, canonical, class_index, parse_classes


def test_order_of_the_class_axis():
    assert CLASSES == ("speech", "music", "noise", "overlap")
    assert [class_index(name) for name in CLASSES] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("sp", "speech"), ("mu", "music"), ("no", "noise"), ("ov", "overlap"), ("Speech", "speech")],
)
def test_aliases_and_case(name, expected):
    assert canonical(name) == expected
    assert CLASSES[class_index(name)] == expected


@pytest.mark.parametrize("name", ["", "spk1", "voice", "speech ", "-1"])
def test_unknown_class_is_refused_with_the_known_ones(name):
    with pytest.raises(LabelError, match="speech, music, noise, overlap"):
        canonical(name)


def test_parse_classes_gives_axis_order_without_repeats():
    assert parse_classes("ov, music,speech,sp") == ("speech", "music", "overlap")
    assert parse_classes(["noise", "mu"]) == ("music", "noise")


@pytest.mark.parametrize("names", ["", " , ", []])
def test_parse_classes_wants_a_name(names):
    with pytest.raises(LabelError, match="no class named"):
        parse_classes(names)


def test_parse_classes_refuses_an_unknown_name():
    with pytest.raises(LabelError, match="'voice'"):
        parse_classes("speech,voice")
