"""A linear probe: how well activations tell a factor, and which components do."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from audioseg_xai.config import Config
from audioseg_xai.explain import Readout
from audioseg_xai.probing.examples import Examples, ProbeError, gather, read_examples, read_uris
from audioseg_xai.probing.split import Fold, assign, given_split, grouped_folds

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]

DEFAULT_FOLDS = 5
_ITERATIONS = 2000


class ProbeConfig(Config):
    """How a probe is learned and tested.

    Attributes
    ----------
    folds : int or None
        Parts that are tested with in turn; None takes the splits that the labels give or, without
        them, 5.
    min_examples : int
        Labels with fewer are left out.
    penalty : float
        Of the squared L2 norm of the coefficients: 1 / C of scikit-learn's LogisticRegression.
    seed : int
        Of the division into folds.
    """

    folds: int | None = Field(default=None, ge=2)
    min_examples: int = Field(default=5, ge=2)
    penalty: float = Field(default=1.0, gt=0)
    seed: int = Field(default=0, ge=0)


@dataclass(frozen=True)
class Quality:
    """How good predictions are.

    Attributes
    ----------
    accuracy : float
        Share of the examples that are right.
    macro_f1 : float
        Mean F1 of the labels, each counting the same.
    uar : float
        Unweighted average recall, the mean recall of the labels (balanced accuracy).
    """

    accuracy: float
    macro_f1: float
    uar: float


@dataclass(frozen=True)
class Probed:
    """What a probe shows.

    Attributes
    ----------
    labels : tuple of str
        The V values of the factor.
    quality : Quality
        Of the probe, over all tested examples.
    chance : Quality
        Of always answering the most frequent label of what was learned from.
    confusion : numpy.ndarray of int, shape (V, V)
        Tested examples by label (row) and answer (column).
    folds : list of tuple
        Examples learned from, tested with, and the accuracy, of each fold.
    relevance, differences : numpy.ndarray, shape (V, K)
        See `relevance_to_labels`; of a probe learned from all that any fold learns from.
    frequencies : numpy.ndarray, shape (K,)
        Centre of each component in Hz, see `centre_frequencies`.
    """

    labels: tuple[str, ...]
    quality: Quality
    chance: Quality
    confusion: NDArray[np.int64]
    folds: list[tuple[int, int, float]]
    relevance: Floats
    differences: Floats
    frequencies: Floats

    def top(self, label: str, count: int = 10) -> list[int]:
        """Return the components that speak most for `label`, the first most of all."""
        row = self.relevance[self.labels.index(label)]
        return [k for k in np.argsort(-row, kind="stable")[:count].tolist() if row[k] > 0]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, for a JSON file; the centre of an atom that is 0 is null."""
        centres = [None if np.isnan(f) else float(f) for f in self.frequencies]
        return {
            "labels": list(self.labels),
            "quality": vars(self.quality),
            "chance": vars(self.chance),
            "confusion": self.confusion.tolist(),
            "folds": [dict(zip(("train", "test", "accuracy"), f, strict=True)) for f in self.folds],
            "top": {label: self.top(label) for label in self.labels},
            "relevance": dict(zip(self.labels, self.relevance.tolist(), strict=True)),
            "differences": dict(zip(self.labels, self.differences.tolist(), strict=True)),
            "centre_hz": centres,
        }


def probe_archives(
    archives: Sequence[str | Path],
    labels: str | Path,
    config: ProbeConfig | None = None,
    *,
    train_list: str | Path | None = None,
    test_list: str | Path | None = None,
) -> Probed:
    """Probe the activations of explanation archives for what a label file says.

    Parameters
    ----------
    archives : sequence of path
        Explanation archives, made with one model.
    labels : path
        See `examples.read_examples`.
    config : ProbeConfig, optional
        How.
    train_list, test_list : path, optional
        Recordings to learn from and to test with, a uri a line; both or none.

    Raises
    ------
    ProbeError
        If lists, folds and splits contradict each other, or too few examples are left.
    AnnotationError
        If labels or lists are not understood.
    ArchiveError
        If archives cannot be read or do not fit together.
    """
    settings = config or ProbeConfig()
    examples = read_examples(labels)
    by_lists = train_list is not None and test_list is not None
    if train_list is not None and test_list is not None:
        examples = assign(examples, read_uris(train_list), read_uris(test_list))
    elif train_list is not None or test_list is not None:
        raise ProbeError("a list of training and one of test belong together: give both, or none")
    divided = by_lists or any(example.split for example in examples)
    if divided and settings.folds is not None:
        raise ProbeError("folds, and a split by lists or labels: ask for one of them")
    gathered = gather(archives, examples)
    if divided:
        folds = [given_split(gathered.listed, settings.min_examples)]
    else:
        count = settings.folds or DEFAULT_FOLDS
        folds = grouped_folds(gathered.listed, count, settings.min_examples, settings.seed)
    return probe(gathered, folds, settings.penalty)


def probe(examples: Examples, folds: Sequence[Fold], penalty: float = 1.0) -> Probed:
    """Learn a probe from each fold and test it: logistic regression on standardised activations.

    Parameters
    ----------
    examples : Examples
        Labels and mean activations.
    folds : sequence of (train, test)
        Indices of examples; no example is tested twice.
    penalty : float
        See `ProbeConfig`.

    Returns
    -------
    Probed
        Answers of all folds are taken together.
    """
    from sklearn.metrics import confusion_matrix

    x = examples.activations
    truth = np.array([example.segment.label for example in examples.listed])
    answers, majority, sizes = [], [], []
    for train, test in folds:
        answers.append(_learn(x[train], truth[train], penalty).predict(x[test]))
        majority.append(np.full(len(test), _most_frequent(truth[train])))
        sizes.append((len(train), len(test), float(np.mean(answers[-1] == truth[test]))))
    learned, tested = (np.concatenate(part) for part in zip(*folds, strict=True))
    learned = np.unique(learned)
    labels = np.unique(truth[np.union1d(learned, tested)])
    answered = np.concatenate(answers)
    return Probed(
        tuple(labels.tolist()),
        quality(truth[tested], answered),
        quality(truth[tested], np.concatenate(majority)),
        confusion_matrix(truth[tested], answered, labels=labels),
        sizes,
        *relevance_to_labels(x[learned], truth[learned], penalty),
        centre_frequencies(examples.readout),
    )


def quality(truth: NDArray[np.str_], answers: NDArray[np.str_]) -> Quality:
    """Compare answers with the truth, both of shape (N,), over the labels of the truth."""
    from sklearn.metrics import accuracy_score, f1_score, recall_score

    over = {"labels": np.unique(truth), "average": "macro", "zero_division": 0}
    return Quality(
        float(accuracy_score(truth, answers)),
        float(f1_score(truth, answers, **over)),
        float(recall_score(truth, answers, **over)),
    )


def relevance_to_labels(
    activations: Floats, truth: NDArray[np.str_], penalty: float = 1.0
) -> tuple[Floats, Floats]:
    """Return how much each component speaks for each label.

    r_vk = theta_vk d_vk with d_vk = mean of x_k where the label is v - mean of x_k elsewhere, where
    x are the standardised activations and theta the coefficients of the probe: what the component
    adds, on average, to the logit of v when v is the label. A component speaks for a label by its
    presence (d > 0) or by its absence (d < 0). Of two labels, each has the logit against the other.

    Parameters
    ----------
    activations : numpy.ndarray, shape (N, K)
        Mean activations of the examples.
    truth : numpy.ndarray of str, shape (N,)
        Their labels.
    penalty : float
        See `ProbeConfig`.

    Returns
    -------
    relevance : numpy.ndarray, shape (V, K)
        r in logits, by label in sorted order.
    differences : numpy.ndarray, shape (V, K)
        d in standard deviations.
    """
    model = _learn(activations, truth, penalty)
    x, theta = model[0].transform(activations), model[1].coef_
    if len(theta) == 1:  # of two labels scikit-learn keeps the coefficients of the second
        theta = np.concatenate([-theta, theta])
    differences = np.array(
        [
            x[truth == label].mean(axis=0) - x[truth != label].mean(axis=0)
            for label in model[1].classes_
        ]
    )
    return theta * differences, differences


def centre_frequencies(readout: Readout) -> Floats:
    """Return sum_f f W_fk / sum_f W_fk of each component, shape (K,), in Hz; NaN where W is 0."""
    weight = readout.dictionary.sum(axis=0, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        result: Floats = readout.frequencies.astype(np.float64) @ readout.dictionary / weight
    return result


def _learn(activations: Floats, truth: NDArray[np.str_], penalty: float) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=1 / penalty, max_iter=_ITERATIONS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # said below, in a line
        model.fit(activations, truth)
    if model[1].n_iter_.max() >= _ITERATIONS:
        log.warning(f"the probe has not converged in {_ITERATIONS} steps: raise the penalty")
    return model


def _most_frequent(labels: NDArray[np.str_]) -> str:
    names, counts = np.unique(labels, return_counts=True)
    return str(names[np.argmax(counts)])
