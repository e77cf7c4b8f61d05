"""Probes of activations in which one component holds the factor, or none does."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from audioseg_xai.annotation import Segment
from audioseg_xai.errors import AnnotationError, ArchiveError
from audioseg_xai.explain import Explanation, Readout
from audioseg_xai.explanation_archive import write_explanations
from audioseg_xai.probing.examples import Example, Examples, ProbeError, gather, read_examples
from audioseg_xai.probing.probe import (
    ProbeConfig,
    Probed,
    centre_frequencies,
    probe,
    probe_archives,
    relevance_to_labels,
)
from audioseg_xai.probing.split import given_split, grouped_folds, independent_sets

K = 6
FREQUENCIES = np.linspace(0, 8000, 9)
# Component k sounds at bins k and k + 1, the upper one thrice as strong; the last never.
DICTIONARY = np.eye(9, K) + 3 * np.eye(9, K, -1)
DICTIONARY[:, -1] = 0
READOUT = Readout(("speech",), DICTIONARY, np.ones((1, K)), np.zeros(1), FREQUENCIES)

Archive = Callable[..., Path]


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """Return a function that writes an archive with activations (T, K) by uri."""

    def write(name: str, readout: Readout = READOUT, **activations: np.ndarray) -> Path:
        path = tmp_path / name
        with write_explanations(path, readout, {}) as writer:
            for uri, frames in activations.items():
                count = len(frames)
                nothing = np.zeros((0, K))
                seconds = count * 0.02 + 0.005
                found = Explanation(uri, seconds, count, 0.1, (), nothing, nothing, np.zeros(0))
                with writer.recording(uri) as recording:
                    recording.push(np.zeros((count, 1)), frames)
                    recording.finish(found)
        return path

    return write


def examples_of(
    activations: np.ndarray, labels: Iterable[str], groups: Iterable[str] | None = None
) -> Examples:
    names = groups or (f"r{n}" for n in range(len(activations)))
    listed = [
        Example(name, Segment(n, n + 1, label), name)
        for n, (label, name) in enumerate(zip(labels, names, strict=True))
    ]
    return Examples(listed, activations, READOUT)


def probed(examples: Examples, folds: int = 5) -> Probed:
    return probe(examples, grouped_folds(examples.listed, folds, 5, 0))


# --- what a probe finds ---------------------------------------------------------------------------


@pytest.mark.parametrize("values", [("bird", "car", "dog"), tuple("abcd")])
def test_components_that_hold_the_factor_are_found(
    rng: np.random.Generator, values: tuple[str, ...]
) -> None:
    labels = np.array(values * 30)
    x = rng.random((len(labels), K))
    for k, value in enumerate(values):
        x[labels == value, k + 1] += 4
    found = probed(examples_of(x, labels))
    assert found.labels == values
    assert (found.quality.accuracy, found.quality.macro_f1, found.quality.uar) == (1, 1, 1)
    assert found.confusion.tolist() == (30 * np.eye(len(values), dtype=int)).tolist()
    for k, value in enumerate(values):
        assert found.top(value)[0] == k + 1
        assert found.relevance[k, k + 1] > 2 * np.delete(found.relevance[k], k + 1).max()
        assert found.differences[k, k + 1] > 1


def test_absence_of_a_component_can_speak_for_a_label(rng: np.random.Generator) -> None:
    # Component 2 is there for b alone: its absence is what tells a.
    labels = np.array(["a", "b"] * 30)
    x = 0.01 * rng.random((60, K))
    x[labels == "b", 2] += 1
    found = probed(examples_of(x, labels))
    assert found.top("a")[0] == found.top("b")[0] == 2
    np.testing.assert_allclose(found.relevance[0], found.relevance[1])
    assert found.differences[:, 2] == pytest.approx([-2, 2], abs=0.01)


def test_random_labels_are_told_by_chance_only(rng: np.random.Generator) -> None:
    labels = rng.choice(["a", "b", "c"], 600)
    found = probed(examples_of(rng.random((600, K)), labels))
    assert found.quality.uar == pytest.approx(1 / 3, abs=0.06)
    assert found.chance.uar == pytest.approx(1 / 3)
    assert found.quality.accuracy < found.chance.accuracy + 0.06


def test_chance_is_the_most_frequent_label(rng: np.random.Generator) -> None:
    labels = ["often"] * 45 + ["rare"] * 15
    found = probed(examples_of(rng.random((60, K)), labels), folds=3)
    # always 'often': recall 1 and 0, precision .75 and none, F1 6/7 and 0
    chance = (found.chance.accuracy, found.chance.macro_f1, found.chance.uar)
    assert chance == pytest.approx((0.75, 3 / 7, 0.5))


def test_what_tells_recordings_apart_is_no_knowledge_of_the_factor() -> None:
    # 6 voices with a component each: who met a voice before knows its label, who did not, nothing.
    rows = np.repeat(np.arange(6), 20)
    labels = np.array(["a", "b"] * 3)[rows]
    apart = probed(examples_of(np.eye(6)[rows], labels, [f"v{n}" for n in rows]), folds=3)
    leaking = probed(examples_of(np.eye(6)[rows], labels), folds=3)
    assert apart.quality.accuracy <= 0.5
    assert leaking.quality.accuracy == 1


def test_relevance_worked_out_by_hand() -> None:
    # x is +1 for b and -1 for a once standardised: the means differ by 2. Only component 0 varies.
    x = np.zeros((8, K))
    x[4:, 0] = 1
    found, differences = relevance_to_labels(x, np.array(["a"] * 4 + ["b"] * 4), penalty=1.0)
    assert differences[:, 0].tolist() == [-2, 2]
    # theta minimises theta^2 / 2 + 8 log(1 + exp(-theta)): theta = 8 / (1 + exp(theta))
    theta = found[1, 0] / 2
    assert theta == pytest.approx(8 / (1 + np.exp(theta)), abs=1e-3)
    assert found[0, 0] == pytest.approx(2 * theta)  # -theta times -2
    assert not found[:, 1:].any()


def test_centres_are_means_of_atoms_and_an_empty_atom_has_none() -> None:
    centres = centre_frequencies(READOUT)
    assert centres[:-1].tolist() == [750, 1750, 2750, 3750, 4750]
    assert np.isnan(centres[-1])


# --- which examples -------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(2, 4))
def test_no_recording_and_no_group_is_on_both_sides(seed: int, folds: int) -> None:
    # Groups of two recordings; one recording in five has examples of the next group as well.
    rng = np.random.default_rng(seed)
    mixed = rng.random(20) < 0.2
    examples = [
        Example(f"r{uri}", Segment(0, 1, label), f"g{uri // 2 + mixed[uri] * rng.integers(0, 2)}")
        for uri, label in zip(rng.integers(0, 20, 80), rng.choice(["a", "b"], 80), strict=True)
    ]
    assume(len(set(independent_sets(examples).tolist())) > folds)
    tested = []
    for train, test in grouped_folds(examples, folds, 2, seed):
        for what in ("uri", "group"):
            sides = [{getattr(examples[i], what) for i in side} for side in (train, test)]
            assert not sides[0] & sides[1]
        tested += test.tolist()
    assert sorted(tested) == list(range(len(examples)))


def test_labels_with_too_few_examples_are_listed(
    rng: np.random.Generator, caplog: pytest.LogCaptureFixture
) -> None:
    labels = ["a"] * 10 + ["b"] * 10 + ["rare"] * 4 + ["alone"] * 6
    groups = [*(f"r{n}" for n in range(24)), *(["same"] * 6)]
    found = probed(examples_of(rng.random((30, K)), labels, groups))
    assert found.labels == ("a", "b")
    assert found.confusion.sum() == 20
    assert "2 independent recordings: alone (6), rare (4)" in caplog.text


def test_too_few_recordings_or_labels(rng: np.random.Generator) -> None:
    listed = examples_of(rng.random((20, K)), ["a", "b"] * 10, ["x", "y", "z", "z"] * 5).listed
    with pytest.raises(ProbeError, match=r"there are 3: say --folds 3"):
        grouped_folds(listed, 4, 5, 0)
    listed = examples_of(rng.random((20, K)), ["a"] * 19 + ["b"]).listed
    with pytest.raises(ProbeError, match=r"fewer than two of them have 5 .* too few of b \(1\)"):
        grouped_folds(listed, 4, 5, 0)


def split_examples(*rows: tuple[str, str, str, str]) -> list[Example]:
    return [Example(uri, Segment(0, 1, label), group, split) for uri, group, label, split in rows]


def test_a_given_split_is_used_and_the_rest_left_out(caplog: pytest.LogCaptureFixture) -> None:
    listed = split_examples(
        *[("r1", "r1", label, "train") for label in "aabbc"],
        *[("r2", "r2", label, "test") for label in "abd"],
        ("r3", "r3", "a", ""),
    )
    train, test = given_split(listed, 2)
    assert (train.tolist(), test.tolist()) == ([0, 1, 2, 3], [5, 6])
    assert "neither of training nor of test, left out: 1" in caplog.text
    assert "some of either side: c (1), d (1)" in caplog.text


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((("r", "x", "a", "train"), ("r", "y", "b", "test")), "recording r is of both"),
        ((("r", "x", "a", "train"), ("s", "x", "b", "test")), "group x is of both"),
    ],
)
def test_a_split_that_leaks_is_refused(rows: tuple[tuple[str, ...], ...], message: str) -> None:
    with pytest.raises(ProbeError, match=message):
        given_split(split_examples(*rows), 2)  # type: ignore[arg-type]


# --- mean activations -----------------------------------------------------------------------------


def test_activations_are_averaged_over_the_frames_inside(archive: Archive) -> None:
    # frame t has its centre at 0.02 t + 0.0125 s
    frames = np.arange(10_000)[:, None] * np.ones(K) / 10_000
    path = archive("x.h5", r=frames.astype(np.float16))
    stored = frames.astype(np.float16).astype(float)
    segments = [Segment(0, 200, "v"), Segment(0.0, 0.02, "v"), Segment(1.0125, 1.0525, "v")]
    found = gather([path], [Example("r", segment, "r") for segment in segments])
    expected = [stored.mean(axis=0), stored[0], stored[50:52].mean(axis=0)]
    np.testing.assert_allclose(found.activations, expected)


def test_examples_that_cannot_be_used_are_listed(
    archive: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    paths = [archive("x.h5", r=np.ones((50, K))), archive("y.h5", s=np.ones((50, K)))]
    spans = [("r", 0, 1), ("s", 0.2, 0.5), ("r", 0.5, 1.5), ("r", 0.021, 0.03), ("t", 0, 1)]
    examples = [Example(uri, Segment(a, b, "v"), uri) for uri, a, b in spans]
    assert gather(paths, examples).listed == examples[:2]
    assert [record.getMessage() for record in caplog.records] == [
        "left out, because they reach beyond the end of the recording: r 0.5-1.5 s",
        "left out, because no frame has its centre in them: r 0.021-0.03 s",
        "left out, because their recordings are in no archive: t 0-1 s",
    ]
    with pytest.raises(ProbeError, match="no example is left"):
        gather(paths, examples[-1:])


def test_archives_that_do_not_fit_together(archive: Archive) -> None:
    one = [Example("r", Segment(0, 1, "v"), "r")]
    first, twin = archive("x.h5", r=np.ones((50, K))), archive("y.h5", r=np.ones((50, K)))
    with pytest.raises(ArchiveError, match=r"y\.h5: has r, as .*x\.h5 has"):
        gather([first, twin], one)
    other = Readout(("speech",), 2 * DICTIONARY, np.ones((1, K)), np.zeros(1), FREQUENCIES)
    with pytest.raises(ArchiveError, match=r"z\.h5: was made with another model"):
        gather([first, archive("z.h5", other, q=np.ones((50, K)))], one)


# --- label files ----------------------------------------------------------------------------------


def test_labels_of_rttm_and_of_csv(tmp_path: Path) -> None:
    (tmp_path / "x.rttm").write_text("SPEAKER r 1 0.5 1.5 <NA> <NA> adult_male <NA> <NA>\n")
    assert read_examples(tmp_path / "x.rttm") == [Example("r", Segment(0.5, 2, "adult_male"), "r")]
    (tmp_path / "x.csv").write_text(
        '\ufeffuri, onset,offset,label,split,group\r\nr,0.5,2,"hip, hop",train,ann\r\n'
        "s,1,2,jazz,,\r\n"
    )
    assert read_examples(tmp_path / "x.csv") == [
        Example("r", Segment(0.5, 2, "hip, hop"), "ann", "train"),
        Example("s", Segment(1, 2, "jazz"), "s"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ":1: expected the columns uri,onset,offset,label .* found nothing"),
        ("uri,onset,offset\n", ":1: expected the columns .* found uri,onset,offset$"),
        ("uri,onset,offset,label,gruop\n", ":1: expected the columns .*group.* found .*gruop"),
        ("uri,onset,offset,label,label\n", ":1: expected the columns"),
        ("uri,onset,offset,label\nr,0,1,a\nr,0,1\n", ":3: expected 4 fields"),
        ("uri,onset,offset,label\nr,0,1,a,b\n", ":2: expected 4 fields"),
        ("uri,onset,offset,label\nr,zero,1,a\n", ":2: onset 'zero' is not a number"),
        ("uri,onset,offset,label\nr,1,1,a\n", ":2: offset 1.0 is not after onset"),
        ("uri,onset,offset,label\nr,0,1,\n", ":2: the label is empty"),
        ("uri,onset,offset,label\na b,0,1,x\n", ":2: 'a b' cannot name a recording"),
        ("uri,onset,offset,label,split\nr,0,1,a,dev\n", ":2: split 'dev' is neither train nor"),
    ],
)
def test_labels_that_are_not_understood(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(AnnotationError, match=rf"x\.csv{message}"):
        read_examples(tmp_path / "x.csv")


def test_lists_that_name_no_example_are_not_ignored(archive: Archive, tmp_path: Path) -> None:
    path = archive("x.h5", **{f"r{n}": np.ones((50, K)) for n in range(10)})
    lines = [f"r{n},0,1,{'ab'[n % 2]}" for n in range(10)]
    (tmp_path / "x.csv").write_text("\n".join(["uri,onset,offset,label", *lines]))
    (tmp_path / "train").write_text("R0\n")
    (tmp_path / "test").write_text("R1\n")
    with pytest.raises(ProbeError, match="fewer than two of them have"):
        probe_archives(
            [path],
            tmp_path / "x.csv",
            ProbeConfig(min_examples=2),
            train_list=tmp_path / "train",
            test_list=tmp_path / "test",
        )
