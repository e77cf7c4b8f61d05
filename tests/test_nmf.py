"""Sparse NMF: exact descent, unit atoms, and a factorisation that is known."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audioseg_xai.errors import TrainingError
from audioseg_xai.nmf import NMFConfig, band_errors, encode, learn_dictionary


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


def test_finds_the_spectra_that_a_mixture_is_made_of() -> None:
    spectrogram, atoms = mixture()
    found = learn_dictionary(spectrogram, NMFConfig(components=3, sparsity=0.01, iterations=200))
    similarity = found.atoms.T @ atoms
    assert similarity.max(dim=0).values.min() > 0.999
    assert found.relative_error < 0.01


@settings(max_examples=15, deadline=None)
@given(sparsity=st.floats(0, 3), components=st.integers(1, 9), seed=st.integers(0, 50))
def test_objective_never_rises_and_atoms_keep_unit_norm(
    sparsity: float, components: int, seed: int
) -> None:
    spectrogram = torch.rand(150, 20, generator=torch.Generator().manual_seed(seed)) * 4
    config = NMFConfig(
        components=components, sparsity=sparsity, iterations=15, tolerance=0, seed=seed
    )
    found = learn_dictionary(spectrogram, config)
    steps = zip(found.objective, found.objective[1:], strict=False)
    assert all(after <= before * (1 + 1e-5) for before, after in steps)
    assert found.atoms.min() >= 0
    assert torch.allclose(found.atoms.norm(dim=0), torch.ones(components), atol=1e-5)


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


def test_silence_has_no_activations() -> None:
    spectrogram, _ = mixture()
    learned = learn_dictionary(spectrogram, NMFConfig(components=4, iterations=5))
    assert encode(torch.zeros(3, 12), learned.atoms, 0.1).count_nonzero() == 0


def test_error_a_band_is_that_of_its_own_bins() -> None:
    spectrum = torch.ones(2, 8)
    guess = spectrum.clone()
    guess[:, 4:] = 0.5
    assert band_errors(spectrum, guess, bands=2) == pytest.approx([0.0, 0.5])


def test_nothing_is_learned_from_silence() -> None:
    with pytest.raises(TrainingError, match="all frames are silent"):
        learn_dictionary(torch.zeros(20, 12), NMFConfig(components=2))
