"""Measure the explanations of decided segments against random controls and gradient baselines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import torch

from audioseg_xai.config import Config
from audioseg_xai.explain import select
from audioseg_xai.faithfulness.decision import Decision
from audioseg_xai.faithfulness.measures import (
    Floats,
    area,
    complexity,
    cosine,
    faithfulness,
    gini,
)
from audioseg_xai.faithfulness.rankings import (
    BandRanking,
    BinRanking,
    ComponentRanking,
    FrameRanking,
    Ranking,
)
from audioseg_xai.masking import MaskKind
from audioseg_xai.nmf import BandErrors

NMF, FRAME, BANDS = "NMF", "NMF, a frame", "NMF, 16 bands"
EQUAL_ENERGY, EQUAL_NUMBER = "random, equal energy", "random, equal number"
RANDOM_BINS, RANDOM_BANDS = "random bins, equal energy", "random bands"

Attribution = Callable[[Decision], torch.Tensor]


class FaithfulnessConfig(Config):
    """How explanations are measured.

    Attributes
    ----------
    threshold : float
        tau of the selection, relative to the largest relevance.
    mask : str
        ``power`` or ``ratio``, see `masking`.
    draws : int
        Random controls a decision; their mean counts.
    steps : int
        Points of the deletion and insertion curves besides the first.
    seed : int
        Of the random controls.
    """

    threshold: float = 0.1
    mask: MaskKind = "power"
    draws: int = 3
    steps: int = 6
    seed: int = 0


@dataclass
class Trial:
    """What one method did to one decision.

    Attributes
    ----------
    without, alone : float
        q and o: probability without the relevant part, and on it alone.
    deletion, insertion : numpy.ndarray, shape (steps + 1,) or (0,)
        Probability when 0 ... 1 of the energy is taken away from the most relevant end, or kept.
    gini, complexity : float
        Of the relevance map.
    seconds : float
        Processor time that the explanation took, measuring it left out.
    """

    without: float
    alone: float
    deletion: Floats = field(default_factory=lambda: np.zeros(0))
    insertion: Floats = field(default_factory=lambda: np.zeros(0))
    gini: float = float("nan")
    complexity: float = float("nan")
    seconds: float = 0.0


@dataclass
class Measured:
    """All that was found about one decision.

    Attributes
    ----------
    label : str
        Its class.
    probability, threshold : float
        p, and from where the class counts as there.
    selected : int
        Components selected.
    energy : float
        Share of the segment's energy that taking them away removes.
    incompleteness : float
        |sum of relevances + bias - mean logit|.
    stability : dict
        Cosine of the relevance with that after a small change of the input.
    trials : dict
        Method to what it did.
    """

    label: str
    probability: float
    threshold: float
    selected: int
    energy: float
    incompleteness: float
    stability: dict[str, float]
    trials: dict[str, Trial] = field(default_factory=dict)


class Examiner:
    """Measures decisions one after the other.

    Parameters
    ----------
    config : FaithfulnessConfig
        What to measure.
    baselines : mapping of str to callable
        Attribution methods to compare with.

    Attributes
    ----------
    errors : BandErrors
        Relative reconstruction error in eighths of the spectrum, a class and of ``all``.
    """

    def __init__(self, config: FaithfulnessConfig, baselines: dict[str, Attribution]) -> None:
        self.config, self.baselines = config, baselines
        self.rng = np.random.default_rng(config.seed)
        self.errors: BandErrors[str] = BandErrors()

    def examine(self, decision: Decision, label: str, threshold: float) -> Measured:
        """Measure one decision; `threshold` is the probability that its class needs."""
        started = time.process_time()
        relevance = decision.relevance
        order = relevance.argsort(descending=True)
        selected = int((select(relevance.numpy()[None], self.config.threshold) > 0).sum())
        seconds = time.process_time() - started
        ranking = ComponentRanking(decision, order[: int((relevance > 0).sum())], self.config.mask)
        energy = decision.removed_energy(1 - ranking.mask(selected))
        found = Measured(
            label,
            decision.probability,
            threshold,
            selected,
            energy,
            self._incompleteness(decision, relevance),
            self._stability(decision, relevance),
        )
        self._add_errors(decision, label)
        whole = ComponentRanking(decision, order, self.config.mask)
        found.trials[NMF] = self._trial(decision, whole, selected, seconds)
        self._describe(
            found.trials[NMF], (decision.activations * relevance) @ decision.dictionary.T
        )
        self._frame_and_bands(decision, found, relevance, energy)
        self._random(decision, found, selected, energy)
        for name, method in self.baselines.items():
            self._baseline(decision, found, name, method, energy)
        return found

    def _add_errors(self, decision: Decision, label: str) -> None:
        reconstruction = decision.activations @ decision.dictionary.T
        every = torch.ones(len(reconstruction), dtype=torch.bool)
        self.errors.add(decision.normalised, reconstruction, {label: every, "all": every})

    def _frame_and_bands(
        self, decision: Decision, found: Measured, relevance: torch.Tensor, energy: float
    ) -> None:
        frame = FrameRanking(decision, self.config.mask)
        found.trials[FRAME] = self._trial(decision, frame, frame.count_for_energy(energy))
        kept = torch.from_numpy(select(relevance.numpy()[None], self.config.threshold)[0])
        bands = BandRanking(decision, decision.dictionary @ kept)
        found.trials[BANDS] = self._trial(decision, bands, bands.count_for_energy(energy))

    def _random(self, decision: Decision, found: Measured, selected: int, energy: float) -> None:
        alive = np.flatnonzero(decision.activations.mean(0).numpy() > 0)
        controls: dict[str, list[Trial]] = {}
        for draw in range(self.config.draws):
            order = torch.from_numpy(self.rng.permutation(alive))
            scores = torch.from_numpy(self.rng.random(decision.normalised.shape))
            components = ComponentRanking(decision, order, self.config.mask)
            bins, bands = BinRanking(decision, scores), BandRanking(decision, scores[0])
            for name, ranking, count in (
                (EQUAL_ENERGY, components, components.count_for_energy(energy)),
                (EQUAL_NUMBER, components, selected),
                (RANDOM_BINS, bins, bins.count_for_energy(energy)),
                (RANDOM_BANDS, bands, bands.count_for_energy(energy)),
            ):
                # Curves cost most of the time: one draw for them.
                trial = self._trial(decision, ranking, count, curves=draw == 0)
                controls.setdefault(name, []).append(trial)
        found.trials |= {name: _mean(trials) for name, trials in controls.items()}

    def _baseline(
        self, decision: Decision, found: Measured, name: str, method: Attribution, energy: float
    ) -> None:
        started = time.process_time()
        scores = method(decision)
        seconds = time.process_time() - started
        ranking = BinRanking(decision, scores)
        count = ranking.count_for_energy(energy)
        found.trials[name] = self._trial(decision, ranking, count, seconds)
        self._describe(found.trials[name], scores)

    def _trial(
        self,
        decision: Decision,
        ranking: Ranking,
        count: int,
        seconds: float = 0.0,
        *,
        curves: bool = True,
    ) -> Trial:
        mask = ranking.mask(count)
        without, alone = decision.ask(1 - mask), decision.ask(mask)
        if not curves:
            return Trial(without, alone)
        parts = [ranking.mask(ranking.count_for_energy(share)) for share in self.shares[:-1]]
        parts.append(torch.ones_like(mask))
        deletion = np.array([decision.ask(1 - part) for part in parts])
        insertion = np.array([decision.ask(part) for part in parts])
        return Trial(without, alone, deletion, insertion, seconds=seconds)

    @property
    def shares(self) -> Floats:
        """Shares of the energy at which curves are measured."""
        return np.linspace(0, 1, self.config.steps + 1)

    @staticmethod
    def _describe(trial: Trial, scores: torch.Tensor) -> None:
        values = scores.numpy()
        trial.gini, trial.complexity = gini(values), complexity(values)

    @staticmethod
    def _incompleteness(decision: Decision, relevance: torch.Tensor) -> float:
        bias = decision.network.classifier.bias[decision.class_index].item()
        return abs(relevance.double().sum().item() + bias - decision.mean_logit)

    @staticmethod
    def _stability(decision: Decision, relevance: torch.Tensor) -> dict[str, float]:
        power = torch.expm1(decision.log_power)
        changes = {
            "gain -6 dB": torch.log1p(power * 10**-0.6),
            "gain +6 dB": torch.log1p(power * 10**0.6),
            "noise at 30 dB": torch.log1p(power + power.mean() * 1e-3),
        }
        before = relevance.numpy()
        return {
            name: cosine(before, decision.relevance_after(change).numpy())
            for name, change in changes.items()
        }


def _mean(trials: Sequence[Trial]) -> Trial:
    return Trial(
        float(np.mean([trial.without for trial in trials])),
        float(np.mean([trial.alone for trial in trials])),
        trials[0].deletion,
        trials[0].insertion,
    )


def summarise(
    measured: Iterable[Measured], shares: Floats
) -> dict[str, dict[str, dict[str, float]]]:
    """Return class (or ``all``) to method to figures, means over decisions.

    ``ratio`` is the fall of the probability without the selected components over its fall without
    random components of the same energy.
    """
    listed = list(measured)
    groups = {name: [m for m in listed if m.label == name] for name in _labels(listed)}
    return {
        name: {method: _figures(group, method, shares) for method in group[0].trials}
        for name, group in (groups | {"all": listed}).items()
        if group
    }


def _labels(measured: Sequence[Measured]) -> list[str]:
    return sorted({item.label for item in measured})


def _figures(group: Sequence[Measured], method: str, shares: Floats) -> dict[str, float]:
    trials = [item.trials[method] for item in group]
    p = np.array([item.probability for item in group])
    q = np.array([trial.without for trial in trials])
    o = np.array([trial.alone for trial in trials])
    control = np.array([item.trials[EQUAL_ENERGY].without for item in group])
    figures = asdict(faithfulness(p, q, o, np.array([item.threshold for item in group])))
    fall = float(np.mean(p - control))
    return figures | {
        "decisions": float(len(group)),
        "ratio": figures["drop"] / fall if fall > 0 else float("inf"),
        "deletion": float(np.mean([area(shares, trial.deletion) for trial in trials])),
        "insertion": float(np.mean([area(shares, trial.insertion) for trial in trials])),
        "gini": float(np.mean([trial.gini for trial in trials])),
        "complexity": float(np.mean([trial.complexity for trial in trials])),
        "seconds": float(np.mean([trial.seconds for trial in trials])),
    }
