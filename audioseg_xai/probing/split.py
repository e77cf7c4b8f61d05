"""Which examples a probe learns from and which it is tested with: never the same recording."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from audioseg_xai.probing.examples import Example, ProbeError

log = logging.getLogger(__name__)

Indices = NDArray[np.intp]
Fold = tuple[Indices, Indices]
"""Which examples are learned from, and which are tested with."""


def assign(
    examples: Sequence[Example], train: Collection[str], test: Collection[str]
) -> list[Example]:
    """Say by lists of recordings which examples are learned from and which are tested with.

    Parameters
    ----------
    examples : sequence of Example
        Without splits of their own.
    train, test : collection of str
        Uris.

    Raises
    ------
    ProbeError
        If a recording is in both lists, or an example has a split already.
    """
    both = sorted(set(train) & set(test))
    if both:
        raise ProbeError(f"{both[0]} is in the lists of both training and test: take it out of one")
    if any(example.split for example in examples):
        raise ProbeError("the labels have a column split: leave it out, or the lists")
    named = {uri: "train" for uri in train} | {uri: "test" for uri in test}
    return [replace(example, split=named.get(example.uri, "")) for example in examples]


def given_split(examples: Sequence[Example], min_examples: int) -> Fold:
    """Return the one fold that the splits of the examples make.

    Examples without a split are left out, as are labels that have fewer than `min_examples`, or
    none to learn from or to test with; all with a warning.

    Raises
    ------
    ProbeError
        If a recording or a group is both learned from and tested with, or fewer than two labels
        are left.
    """
    splits = np.array([example.split for example in examples])
    _check_apart(examples, splits)
    unused = np.count_nonzero(splits == "")
    if unused:
        log.warning(f"examples that are neither of training nor of test, left out: {unused}")
    labels = _labels(examples)
    sides = [Counter(labels[splits == side].tolist()) for side in ("train", "test")]
    usable = {
        label
        for label in set(labels.tolist())
        if all(side[label] for side in sides) and sum(s[label] for s in sides) >= min_examples
    }
    _check_labels(labels[splits != ""], usable, f"{min_examples} examples, some of either side")
    kept = np.isin(labels, sorted(usable))
    return np.flatnonzero(kept & (splits == "train")), np.flatnonzero(kept & (splits == "test"))


def grouped_folds(
    examples: Sequence[Example], folds: int, min_examples: int, seed: int
) -> list[Fold]:
    """Divide the examples into folds, each of which is tested with once.

    Recordings and groups stay whole, and labels are spread evenly over the folds as far as that
    allows (StratifiedGroupKFold of scikit-learn). Labels with fewer than `min_examples`, or in
    one independent set of recordings only, are left out with a warning.

    Raises
    ------
    ProbeError
        If there are fewer independent sets of recordings than folds, fewer than two labels are
        left, or a fold would learn from one label only.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    labels, units = _labels(examples), independent_sets(examples)
    homes = {label: len(set(units[labels == label].tolist())) for label in set(labels.tolist())}
    counts = Counter(labels.tolist())
    usable = {label for label in counts if counts[label] >= min_examples and homes[label] > 1}
    _check_labels(labels, usable, f"{min_examples} examples in 2 independent recordings")
    kept = np.flatnonzero(np.isin(labels, sorted(usable)))
    count = len(set(units[kept].tolist()))
    if count < folds:
        raise ProbeError(
            f"{folds} folds need as many independent recordings, there are {count}: "
            f"say --folds {count}"
        )
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    divided = splitter.split(kept, labels[kept], units[kept])
    result = [(kept[train], kept[test]) for train, test in divided if len(test)]
    if any(len(set(labels[train].tolist())) < 2 for train, _ in result):
        raise ProbeError("a fold would learn from one label only: give more recordings of each")
    return result


def independent_sets(examples: Sequence[Example]) -> Indices:
    """Return a number for each example, the same for those that a recording or group connects.

    Examples
    --------
    >>> from audioseg_xai.annotation import Segment
    >>> pairs = [("a", "x"), ("b", "y"), ("c", "x"), ("c", "z")]
    >>> independent_sets([Example(u, Segment(0, 1, "v"), g) for u, g in pairs]).tolist()
    [0, 1, 0, 0]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    # A graph of examples, recordings and groups: an example holds its recording and group together.
    names: dict[tuple[str, str], int] = {}
    ends = [
        names.setdefault(node, len(examples) + len(names))
        for example in examples
        for node in (("uri", example.uri), ("group", example.group))
    ]
    starts = np.repeat(np.arange(len(examples)), 2)
    size = len(examples) + len(names)
    graph = coo_array((np.ones(len(ends)), (starts, ends)), shape=(size, size))
    _, parts = connected_components(graph, directed=False)
    return np.asarray(parts[: len(examples)], dtype=np.intp)


def _labels(examples: Sequence[Example]) -> NDArray[np.str_]:
    return np.array([example.segment.label for example in examples])


def _check_apart(examples: Sequence[Example], splits: NDArray[np.str_]) -> None:
    for what in ("uri", "group"):
        sides = [
            {getattr(e, what) for e, split in zip(examples, splits, strict=True) if split == side}
            for side in ("train", "test")
        ]
        both = sorted(sides[0] & sides[1])
        if both:
            kind = "recording" if what == "uri" else "group"
            raise ProbeError(f"{kind} {both[0]} is of both training and test: keep them apart")


def _check_labels(labels: NDArray[np.str_], usable: set[str], needed: str) -> None:
    counts = Counter(labels.tolist())
    dropped = ", ".join(f"{name} ({counts[name]})" for name in sorted(set(counts) - usable))
    if len(usable) < 2:
        raise ProbeError(
            f"a probe tells labels apart, and fewer than two of them have {needed}"
            + (f"; too few of {dropped}" if dropped else "")
        )
    if dropped:
        log.warning(f"labels left out, because they have fewer than {needed}: {dropped}")
