"""Sparse NMF in memory: descent, unit atoms, and factorisations that are known."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audioseg_xai.errors import TrainingError
from audioseg_xai.nmf import BandErrors, LossName, NMFConfig, band_edges, encode, learn_dictionary

LOSSES: tuple[LossName, ...] = ("frobenius", "kl")


def mixture(frames: int = 400, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Three spectra that share no bin, sounding one or two at a time."""
    generator = torch.Generator().manual_seed(seed)
    atoms = torch.zeros(12, 3)
    for k in range(3):
        atoms[4 * k : 4 * k + 4, k] = torch.rand(4, generator=generator) + 0.5
    atoms /= atoms.norm(dim=0)
    activations = torch.rand(frames, 3, generator=generator)
    activations *= torch.rand(frames, 3, generator=generator) > 0.4
    return 5 * activations @ atoms.T, atoms


@pytest.mark.parametrize("loss", LOSSES)
def test_finds_the_spectra_that_a_mixture_is_made_of(loss: LossName) -> None:
    spectrogram, atoms = mixture()
    config = NMFConfig(components=3, sparsity=0.01, iterations=300, tolerance=0, loss=loss)
    found = learn_dictionary(spectrogram, config)
    similarity = found.atoms.T @ atoms
    assert similarity.max(dim=0).values.min() > 0.999
    assert found.relative_error < 0.02


@settings(max_examples=20, deadline=None)
@given(
    loss=st.sampled_from(LOSSES),
    sparsity=st.floats(0, 3),
    components=st.integers(1, 40),
    silent=st.integers(0, 140),
    seed=st.integers(0, 50),
)
def test_objective_never_rises_and_atoms_keep_unit_norm(
    loss: LossName, sparsity: float, components: int, silent: int, seed: int
) -> None:
    spectrogram = torch.rand(150, 20, generator=torch.Generator().manual_seed(seed)) * 4
    spectrogram[:silent] = 0
    config = NMFConfig(
        components=components,
        sparsity=sparsity,
        iterations=15,
        tolerance=0,
        seed=seed,
        loss=loss,
    )
    found = learn_dictionary(spectrogram, config)
    steps = zip(found.objective, found.objective[1:], strict=False)
    # Rounding in float32 is all that may raise it, most visibly where almost nothing is left.
    scale = spectrogram.square().sum().item() / len(spectrogram)
    assert all(after <= before + 1e-6 * (before + scale) for before, after in steps)
    assert found.atoms.min() >= 0
    assert torch.allclose(found.atoms.norm(dim=0), torch.ones(components), atol=1e-5)


def test_the_objective_is_the_penalised_divergence_a_frame() -> None:
    # One atom, two bins alike: all of H is known after the first sweep, W stays as it is.
    spectrogram = torch.tensor([[2.0, 2.0], [4.0, 4.0]])
    config = NMFConfig(components=1, sparsity=1.0, iterations=400, tolerance=0)
    squared = learn_dictionary(spectrogram, config)
    # H = sqrt(2) x - mu; ||x w - x||^2 leaves mu^2 a frame: 1/2 mu^2 + mu (sqrt(2) 3 - mu).
    assert squared.objective[-1] == pytest.approx(0.5 + 3 * 2**0.5 - 1, rel=1e-4)
    kl = learn_dictionary(spectrogram, config.model_copy(update={"loss": "kl"}))
    # h = 2 x / (sqrt(2) + mu), so a bin of W H is x q with q = sqrt(2) / (sqrt(2) + 1).
    q = 2**0.5 / (2**0.5 + 1)
    divergence = 2 * 3 * (-np.log(q) - 1 + q)
    assert kl.objective[-1] == pytest.approx(divergence + 2 * 3 / (2**0.5 + 1), rel=1e-4)


def test_frames_in_other_chunks_have_the_same_dictionary(monkeypatch: pytest.MonkeyPatch) -> None:
    spectrogram = torch.rand(300, 20, generator=torch.Generator().manual_seed(0))
    config = NMFConfig(components=5, sparsity=0.1, iterations=10)
    whole = learn_dictionary(spectrogram, config)
    monkeypatch.setattr("audioseg_xai.nmf.learning._CHUNK", 70)
    cut = learn_dictionary(spectrogram, config)
    assert torch.allclose(cut.atoms, whole.atoms, atol=1e-4)
    assert torch.allclose(cut.mean_activations, whole.mean_activations, atol=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
def test_mean_activations_are_those_of_the_frames(loss: LossName) -> None:
    spectrogram, _ = mixture()
    config = NMFConfig(components=3, sparsity=0.1, iterations=200, tolerance=0, loss=loss)
    learned = learn_dictionary(spectrogram, config)
    encoded = encode(spectrogram, learned.atoms, 0.1, sweeps=300, loss=loss)
    assert torch.allclose(encoded.mean(dim=0), learned.mean_activations, rtol=0.02, atol=1e-3)


# --- activations under fixed atoms --------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
def test_more_sparsity_leaves_smaller_activations(loss: LossName) -> None:
    spectrogram, _ = mixture()
    learned = learn_dictionary(spectrogram, NMFConfig(components=6, iterations=30, loss=loss))
    sizes = [
        encode(spectrogram, learned.atoms, mu, loss=loss).sum().item() for mu in (0.0, 0.5, 2.0)
    ]
    assert sizes[0] > sizes[1] > sizes[2]


def test_more_sparsity_leaves_fewer_activations() -> None:
    spectrogram, _ = mixture()
    learned = learn_dictionary(spectrogram, NMFConfig(components=6, iterations=30))
    used = [
        (encode(spectrogram, learned.atoms, sparsity) > 0).float().mean().item()
        for sparsity in (0.0, 0.5, 2.0)
    ]
    assert used[0] >= used[1] >= used[2]
    assert used[0] > used[2]


def test_activations_solve_the_penalised_problem_exactly() -> None:
    # With orthonormal atoms the solution is the soft threshold of the projections.
    atoms = torch.eye(4)
    spectrum = torch.tensor([[3.0, 1.0, 0.4, 0.0]])
    assert encode(spectrum, atoms, sparsity=0.5).tolist() == [[2.5, 0.5, 0.0, 0.0]]
    # And for Kullback-Leibler h = x / (1 + mu): x log(x / h) - x + h + mu h is least there.
    shrunk = encode(spectrum, atoms, sparsity=0.5, loss="kl")
    assert shrunk[0].tolist() == pytest.approx([2.0, 2 / 3, 0.8 / 3, 0.0], abs=1e-6)


@settings(max_examples=5, deadline=None)
@given(components=st.integers(1, 50), mu=st.floats(0, 2), seed=st.integers(0, 99))
def test_activations_meet_the_conditions_of_a_minimum(
    components: int, mu: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    atoms = torch.rand(90, components, generator=generator) ** 6
    atoms /= atoms.norm(dim=0)
    spectra = torch.rand(30, 90, generator=generator) * 3
    h = encode(spectra, atoms, mu, sweeps=150)
    slope = (h @ atoms.T - spectra) @ atoms + mu  # zero where h > 0, else not negative
    assert (slope.abs()[h > 0] < 2e-3).all()
    assert (slope[h == 0] > -2e-3).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_silence_has_no_activations(loss: LossName) -> None:
    spectrogram, _ = mixture()
    learned = learn_dictionary(spectrogram, NMFConfig(components=4, iterations=5))
    assert encode(torch.zeros(3, 12), learned.atoms, 0.1, loss=loss).count_nonzero() == 0


def test_nothing_is_learned_from_silence() -> None:
    with pytest.raises(TrainingError, match="all frames are silent"):
        learn_dictionary(torch.zeros(20, 12), NMFConfig(components=2))


# --- errors by group and band -------------------------------------------------------------------


def test_error_a_band_is_that_of_its_own_bins_and_frames() -> None:
    spectrum = torch.ones(3, 8)
    guess = spectrum.clone()
    guess[:2, 4:] = 0.5
    errors: BandErrors[str] = BandErrors(bands=2)
    loud = torch.tensor([True, True, False])
    errors.add(spectrum, guess, {"all": torch.ones(3, dtype=torch.bool), "loud": loud})
    assert errors.frames == {"all": 3, "loud": 2}
    assert errors.relative("loud") == (pytest.approx((8 * 0.25 / 16) ** 0.5), [0.0, 0.5])
    assert errors.relative("all")[1] == [0.0, pytest.approx((8 * 0.25 / 12) ** 0.5)]


@given(cut=st.integers(1, 19), bands=st.integers(1, 12), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_errors_of_parts_are_those_of_the_whole(cut: int, bands: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.rand(20, 9, generator=generator) for _ in range(2))
    chosen = torch.rand(20, generator=generator) > 0.3
    whole: BandErrors[str] = BandErrors(bands)
    whole.add(x, y, {"some": chosen})
    parts: BandErrors[str] = BandErrors(bands)
    for rows in (slice(0, cut), slice(cut, None)):
        parts.add(x[rows], y[rows], {"some": chosen[rows]})
    if chosen.any():
        expected = ((x - y)[chosen].norm() / x[chosen].norm()).item()
        assert whole.relative("some")[0] == pytest.approx(expected, rel=1e-5)
        assert parts.relative("some")[1] == pytest.approx(whole.relative("some")[1], rel=1e-6)


def test_where_nothing_sounds_there_is_no_relative_error() -> None:
    errors: BandErrors[str] = BandErrors(bands=2)
    errors.add(torch.zeros(2, 4), torch.ones(2, 4), {"all": torch.ones(2, dtype=torch.bool)})
    assert errors.relative("all") == (None, [None, None])


def test_bands_are_named_by_the_frequencies_of_their_bins() -> None:
    # 5 bins at 0, 2, 4, 6 and 8 kHz; the first band has one more.
    assert band_edges(5, 2, 8000.0) == [(0.0, 4000.0), (6000.0, 8000.0)]
    assert band_edges(2, 8, 8000.0) == [(0.0, 0.0), (8000.0, 8000.0)]
