"""Faithfulness, on a student whose every decision is known: H is the spectrogram itself."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from dummies import save_student, write_sound

from audioseg_xai import cli
from audioseg_xai.faithfulness.decision import Decision
from audioseg_xai.faithfulness.evaluation import (
    BANDS,
    EQUAL_ENERGY,
    FRAME,
    NMF,
    Examiner,
    FaithfulnessConfig,
    summarise,
)
from audioseg_xai.faithfulness.measures import area, complexity, cosine, faithfulness, gini
from audioseg_xai.faithfulness.rankings import (
    BandRanking,
    BinRanking,
    ComponentRanking,
    FrameRanking,
)
from audioseg_xai.models.networks import Student, StudentConfig

BINS = 257
SPEECH_BINS = slice(40, 60)


@pytest.fixture(scope="module")
def student() -> Student:
    """Return a student with W = I and H = X that hears speech in bins 40 to 59, and no more."""
    config = StudentConfig.model_validate(
        {
            "components": BINS,
            "front_end": {"kind": "spectrogram", "bands": 8, "channels": [2]},
            "tcn": {"channels": 4, "blocks": 1, "repeats": 1},
            "level": {"context": 10},
        }
    )
    network = Student(config, torch.eye(BINS))
    with torch.no_grad():
        network.to_activations.weight.zero_()
        network.to_activations.bias.zero_()
        network.analysis.weight.copy_(torch.eye(BINS))
        network.classifier.weight.zero_()
        network.classifier.weight[0, SPEECH_BINS] = 0.05
        network.classifier.bias.fill_(-4.0)
    return network.eval()


@pytest.fixture(scope="module")
def log_power() -> torch.Tensor:
    """Return 100 frames of noise, 20 dB louder in the bins of speech."""
    power = 1e6 * torch.rand(100, BINS, generator=torch.Generator().manual_seed(1)) + 1e5
    power[:, SPEECH_BINS] *= 100
    return torch.log1p(power)


@pytest.fixture
def decision(student, log_power) -> Decision:
    return Decision(student, log_power, 30, 60, 0)


def test_a_decision_is_what_the_whole_recording_gives(student, log_power, decision):
    with torch.inference_mode():
        output = student(student.level_norm(log_power.clone().unsqueeze(0)))
    logits = output.logits[0, 30:60, 0]
    assert decision.mean_logit == pytest.approx(logits.mean().item(), abs=1e-4)
    assert decision.probability == pytest.approx(logits.sigmoid().mean().item(), abs=1e-5)
    assert torch.allclose(decision.activations, output.activations[0, 30:60], atol=1e-4)


def test_relevance_lies_where_the_student_looks(decision):
    relevance = decision.relevance
    assert (relevance[SPEECH_BINS] > 0).all()
    assert relevance.sum() == pytest.approx(relevance[SPEECH_BINS].sum())


def test_nothing_removed_changes_nothing(decision):
    kept = torch.ones_like(decision.normalised)
    assert decision.ask(kept) == pytest.approx(decision.probability, abs=1e-6)
    assert decision.removed_energy(kept) == 0


def test_without_its_bins_only_the_bias_of_speech_is_left(decision):
    mask = torch.ones_like(decision.normalised)
    mask[:, SPEECH_BINS] = 0
    assert decision.ask(mask) == pytest.approx(1 / (1 + math.exp(4)), abs=1e-4)


def test_half_the_amplitude_everywhere_removes_three_quarters_of_the_energy(decision):
    mask = torch.full_like(decision.normalised, 0.5)
    assert decision.removed_energy(mask) == pytest.approx(0.75, abs=1e-5)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_rankings_find_the_count_for_a_share_of_the_energy(decision, share):
    scores = torch.rand(decision.normalised.shape, generator=torch.Generator().manual_seed(0))
    ranking = BinRanking(decision, scores)
    count = ranking.count_for_energy(share)
    measured = decision.removed_energy(1 - ranking.mask(count))
    assert ranking.removed(count) == pytest.approx(measured, abs=1e-4)
    assert measured == pytest.approx(share, abs=0.01)


def test_rankings_take_the_most_relevant_first(decision):
    first = ComponentRanking(decision, decision.relevance.argsort(descending=True)).mask(20)
    assert (first[:, SPEECH_BINS] > 0.99).all() and first.sum() == pytest.approx(20 * 30, rel=1e-3)
    assert torch.equal(FrameRanking(decision).mask(20) > 0.5, first > 0.5)
    bands = BandRanking(decision, decision.dictionary @ decision.relevance)  # 16 or 17 bins each
    assert bands.mask(1)[:, SPEECH_BINS].sum() > 0
    assert bands.mask(16).all()


def test_the_explanation_beats_its_random_control_where_the_student_is_transparent(decision):
    examiner = Examiner(FaithfulnessConfig(steps=4, draws=2), {})
    found = examiner.examine(decision, "speech", 0.5)
    assert found.selected == 20
    assert found.incompleteness < 1e-4
    nmf, control = found.trials[NMF], found.trials[EQUAL_ENERGY]
    assert nmf.without == pytest.approx(1 / (1 + math.exp(4)), abs=1e-3)
    assert nmf.alone == pytest.approx(found.probability, abs=0.05)
    assert found.trials[FRAME].without == pytest.approx(nmf.without, abs=1e-3)
    assert control.without > nmf.without
    figures = summarise([found], examiner.shares)
    assert figures["speech"][NMF]["ratio"] > 1
    assert figures["all"][NMF] == figures["speech"][NMF]
    assert {BANDS, EQUAL_ENERGY} <= set(figures["all"])


def test_curves_begin_and_end_where_they_must(decision):
    trial = Examiner(FaithfulnessConfig(steps=3, draws=1), {}).examine(decision, "speech", 0.5)
    curves = trial.trials[NMF]
    assert curves.deletion[0] == pytest.approx(trial.probability, abs=1e-5)
    assert curves.insertion[-1] == pytest.approx(trial.probability, abs=1e-5)
    assert curves.deletion[-1] == pytest.approx(curves.insertion[0], abs=1e-5)


def test_attributions_of_a_linear_student_find_its_bins(decision):
    baselines = pytest.importorskip("audioseg_xai.faithfulness.baselines").BASELINES
    for name, method in baselines.items():
        scores = method(decision)
        assert scores.shape == decision.normalised.shape
        inside = scores[:, SPEECH_BINS].abs().mean()
        outside = scores[:, 100:].abs().mean()
        assert inside > 10 * outside, name


def test_measures_by_hand():
    p, q = np.array([0.9, 0.8]), np.array([0.1, 0.4])
    o = np.array([0.95, 0.4])
    found = faithfulness(p, q, o, np.array([0.5, 0.5]))
    assert found.drop == pytest.approx(0.6)  # (0.8 + 0.4) / 2
    assert found.fidelity == 0.5  # 0.4 is under the threshold, 0.8 was not
    assert found.average_increase == 50
    assert found.average_drop == pytest.approx(25)  # (0 + 0.4 / 0.8) / 2
    assert found.average_gain == pytest.approx(25)  # (0.05 / 0.1 + 0) / 2


def test_no_decision_cannot_be_measured():
    empty = np.zeros(0)
    with pytest.raises(ValueError, match="no decision"):
        faithfulness(empty, empty, empty, empty)


def test_sparseness_and_complexity_by_hand():
    assert gini(np.ones(10)) == pytest.approx(0)
    assert gini(np.array([0.0, 0, 0, -5])) == pytest.approx(0.75)  # (n - 1) / n
    assert gini(np.zeros(3)) == 0
    assert complexity(np.ones(8)) == pytest.approx(math.log(8))
    assert complexity(np.array([0.0, 3.0])) == 0
    assert complexity(np.zeros(3)) == 0


def test_areas_and_angles_by_hand():
    assert area(np.array([0, 0.5, 1.0]), np.array([1.0, 0.5, 0.0])) == pytest.approx(0.5)
    assert cosine(np.array([1.0, 0.0]), np.array([1.0, 1.0])) == pytest.approx(math.sqrt(0.5))
    assert cosine(np.zeros(2), np.ones(2)) == 0


def test_the_command_writes_table_figures_and_curves(tmp_path):
    model, audio = save_student(tmp_path / "model"), write_sound(tmp_path / "good.wav")
    words = ["faithfulness", audio, "--model", model, "--segments", 1, "--draws", 1]
    words += ["--no-baselines", "--duration", 0.5, "--json", tmp_path / "f.json"]
    words += ["--markdown", tmp_path / "f.md", "--figure", tmp_path / "f.png"]
    done = CliRunner().invoke(cli.main, [str(word) for word in words])
    assert done.exit_code == 0, done.stderr
    found = json.loads((tmp_path / "f.json").read_text())
    assert found["incompleteness"] < 1e-3
    assert NMF in found["methods"]["all"]
    assert found["provenance"]["config"]["mask"] == "power"
    assert "| all |" in (tmp_path / "f.md").read_text()
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")


def test_a_figure_that_cannot_be_drawn_is_refused_before_the_work(tmp_path):
    audio = write_sound(tmp_path / "good.wav")
    words = ["faithfulness", str(audio), "--model", "nowhere", "--figure", str(tmp_path / "f.gif")]
    done = CliRunner().invoke(cli.main, words)
    assert done.exit_code == 2
    assert "--figure" in done.stderr and "must end in .png, .pdf or .svg" in done.stderr
