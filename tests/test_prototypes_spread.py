"""The spread of prototypes, what marks a class, and what the files say about both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from audioseg_xai import explain
from audioseg_xai.annotation import Segment
from audioseg_xai.characteristics import component_bands, describe, print_characteristics
from audioseg_xai.explain import Explanation, Prototypes, Readout, prototypes
from audioseg_xai.explanation_archive import (
    ExplanationArchive,
    read_prototypes,
    write_explanations,
    write_prototypes,
)

READOUT = Readout(
    classes=("speech", "music", "noise"),
    dictionary=np.array([[1.0, 0.0, 0.6], [0.0, 1.0, 0.8]]),
    weights=np.ones((3, 3)),
    bias=np.zeros(3),
    frequencies=np.array([1000.0, 3000.0]),
)


def explanations(rows: np.ndarray, label: str = "music", size: int = 7) -> Iterator[Explanation]:
    """Yield recordings of `size` segments that have the relevances (S, K), all of one class."""
    for first in range(0, len(rows), size):
        part = rows[first : first + size]
        segments = tuple(Segment(i, i + 1, label) for i in range(len(part)))
        empty = np.zeros((len(part), 2))
        yield Explanation(f"r{first}", 9.0, 449, 0.1, segments, part, empty, empty[:, 0])


def test_quartiles_worked_out_by_hand() -> None:
    rows = np.array([[0.0, 5, 1], [1, 5, -1], [2, 5, 7], [3, 5, 1], [40, 5, 1]])
    found = prototypes(explanations(rows, size=2), READOUT)
    assert found.quartiles is not None
    assert found.quartiles[:, 1].tolist() == [[1, 5, 1], [2, 5, 1], [3, 5, 1]]
    assert not found.quartiles[:, [0, 2]].any()
    assert found.counts.tolist() == [0, 5, 0]


@settings(max_examples=20, deadline=None)
@given(hnp.arrays(np.float32, (30, 3), elements=st.floats(-9, 9, width=32)), st.integers(1, 30))
def test_quartiles_are_exact_however_segments_come(rows: np.ndarray, size: int) -> None:
    found = prototypes(explanations(rows, size=size), READOUT).quartiles
    assert found is not None
    np.testing.assert_allclose(found[:, 1], np.quantile(rows, [0.25, 0.5, 0.75], axis=0), rtol=1e-5)


def test_of_many_segments_a_fair_sample_stands_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain, "RESERVOIR", 400)
    rows = np.repeat(np.arange(4000.0)[:, None], 3, axis=1)
    found = prototypes(explanations(rows, size=100), READOUT).quartiles
    again = prototypes(explanations(rows, size=300), READOUT).quartiles
    assert found is not None and again is not None
    # Three standard errors of a quartile's rank: 3 sqrt(.25 / 400) of 4000. The first or the last
    # 400 would miss by thousands.
    np.testing.assert_allclose(found[:, 1, 0], [1000, 2000, 3000], atol=300)
    np.testing.assert_array_equal(found, again)


# --- what marks a class -------------------------------------------------------------------------

MADE = Prototypes(
    relevance=np.array([[6.0, 0.0, 2.0], [1.0, 3.0, 0.0], [0.0, 0.0, 0.0]]),
    spectra=np.zeros((3, 2)),
    counts=np.array([4, 2, 0]),
)


def test_where_components_lie() -> None:
    centre, bandwidth = component_bands(READOUT.dictionary, READOUT.frequencies)
    share = 0.8 / 1.4
    np.testing.assert_allclose(centre, [1000, 3000, 1000 + 2000 * share])
    np.testing.assert_allclose(bandwidth, [0, 0, 2000 * np.sqrt(share * (1 - share))], atol=1e-6)
    nowhere, _ = component_bands(np.zeros((2, 1)), READOUT.frequencies)
    assert np.isnan(nowhere).all()


def test_a_class_is_marked_by_what_others_do_not_rest_on() -> None:
    found = describe(MADE, READOUT)
    # shares: speech .75 0 .25, music .25 .75 0
    np.testing.assert_allclose(
        found.distinctness, [[0.5, -0.75, 0.25], [-0.5, 0.75, -0.25], [0] * 3]
    )
    assert found.most_characteristic("speech").tolist() == [0, 2]
    assert found.most_characteristic("speech", 1).tolist() == [0]
    assert found.most_characteristic("music").tolist() == [1]
    assert found.most_characteristic("noise").tolist() == []


def test_components_that_serve_several_classes() -> None:
    found = describe(MADE, READOUT)
    assert found.serves.tolist() == [[True, False, True], [True, True, False], [False] * 3]
    assert found.shared.tolist() == [0]


def test_how_alike_classes_are() -> None:
    found = describe(MADE, READOUT).similarity
    cosine = 6 / np.sqrt((36 + 4) * (1 + 9))
    np.testing.assert_allclose(found[:2, :2], [[1, cosine], [cosine, 1]])
    assert np.isnan(found[2]).all() and np.isnan(found[:, 2]).all()


def test_evidence_against_a_class_marks_it_not() -> None:
    relevance = np.array([[2.0, -5.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    found = describe(Prototypes(relevance, MADE.spectra, MADE.counts), READOUT)
    np.testing.assert_allclose(found.distinctness[0], [1, -1, 0])
    assert found.similarity[0, 1] < 0


def test_the_table_names_components_by_their_frequencies(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_characteristics(describe(MADE, READOUT), count=1)
    printed = capsys.readouterr()
    assert printed.out == ""
    rows = [line.split() for line in printed.err.splitlines() if line.strip()]
    assert rows[2] == ["speech", "4", "0", "(1000±0", "Hz)", "1", "of", "2", "1.00", "0.30", "-"]
    assert rows[4] == ["noise", "0", "-", "0", "of", "0", "-", "-", "-"]


# --- in files -----------------------------------------------------------------------------------


def test_a_prototype_file_holds_all_of_it(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    made = prototypes(explanations(rows), READOUT)
    write_prototypes(tmp_path / "p.h5", made, READOUT, {})
    _, found = read_prototypes(tmp_path / "p.h5")
    np.testing.assert_array_equal(found.quartiles, made.quartiles)
    assert found.dropped is None
    described = describe(made, READOUT)
    with h5py.File(tmp_path / "p.h5") as file:
        assert file["prototype_quartiles"].shape == (3, 3, 3)
        np.testing.assert_array_equal(file["prototype_similarity"][()], described.similarity)
        np.testing.assert_array_equal(file["component_centre"][()], described.centre)
        np.testing.assert_array_equal(file["component_bandwidth"][()], described.bandwidth)
        np.testing.assert_array_equal(file["component_serves"][()], described.serves)
        np.testing.assert_array_equal(file["component_distinctness"][()], described.distinctness)


@pytest.mark.parametrize("thresholds", [None, {"music": 0.5}])
def test_an_archive_says_how_much_a_class_hangs_on(
    tmp_path: Path, thresholds: dict[str, float] | None
) -> None:
    (found,) = explanations(np.array([[2.0, 1, 0], [1, 1, 1]]))
    found = Explanation(**(vars(found) | {"mean_logit": np.array([2.5, 4.0])}))
    with (
        write_explanations(tmp_path / "x.h5", READOUT, {}, thresholds=thresholds) as writer,
        writer.recording(found.uri) as recording,
    ):
        recording.finish(found)
    with ExplanationArchive(tmp_path / "x.h5") as archive:
        flips = archive.flips(found.uri)
    assert (flips if flips is None else flips.tolist()) == (thresholds and [2, -1])
