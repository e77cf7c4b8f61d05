"""The same problems solved by scikit-learn: same iterates, same activations."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from audioseg_xai.nmf import NMFConfig, encode, learn_dictionary
from audioseg_xai.nmf.dictionary import initial_atoms
from audioseg_xai.nmf.updates import LOSSES

decomposition = pytest.importorskip("sklearn.decomposition")

F, K, T = 18, 4, 120


def problem(noise: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    atoms = torch.rand(F, K, generator=generator) ** 3
    activations = torch.rand(T, K, generator=generator) ** 2
    return activations @ atoms.T + noise * torch.rand(T, F, generator=generator)


def factorised(
    spectrogram: torch.Tensor, begin: NDArray[np.float64], atoms: torch.Tensor, **options: object
) -> float:
    """Return the divergence that scikit-learn reaches; its W is our H transposed."""
    model = decomposition.NMF(n_components=K, init="custom", tol=0, **options)
    x = spectrogram.double().numpy()
    model.fit_transform(x, W=begin, H=atoms.T.double().numpy().copy())
    # It reports the square root of twice the divergence, whichever it is.
    return float(0.5 * model.reconstruction_err_**2)


@pytest.mark.filterwarnings("ignore:Maximum number of iterations")
def test_multiplicative_updates_walk_the_same_path() -> None:
    spectrogram = problem(noise=0.2)
    kl, config = LOSSES["kl"], NMFConfig(components=K, loss="kl", sparsity=0)
    atoms, x = initial_atoms(spectrogram, config), spectrogram.T.contiguous()
    h = kl.begin(x, atoms)
    begin = (h.T.double().numpy().copy(), atoms.clone())
    for _ in range(60):
        kl.update_activations(h, x, atoms, 0.0, 1)
        scale = kl.update_atoms(atoms, kl.statistics(x, h, atoms), 0.0)
        h *= scale[:, None]
    options = {"solver": "mu", "beta_loss": "kullback-leibler", "max_iter": 60}
    expected = factorised(spectrogram, *begin, **options)
    assert kl.divergence(x, h, atoms) == pytest.approx(expected, rel=1e-3)


@pytest.mark.filterwarnings("ignore:Maximum number of iterations")
def test_coordinate_descent_walks_the_same_path() -> None:
    spectrogram = problem(noise=0.2)
    config = NMFConfig(components=K, sparsity=0, iterations=25, tolerance=0)
    learned = learn_dictionary(spectrogram, config)
    begin = np.full((T, K), 1e-12)  # all zeros are refused
    atoms = initial_atoms(spectrogram, config)
    expected = factorised(spectrogram, begin, atoms, solver="cd", max_iter=25)
    assert learned.objective[-1] * T == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("mu", [0.0, 0.3])
def test_activations_are_the_ones_that_coordinate_descent_finds(mu: float) -> None:
    spectrogram = problem(noise=0.1)
    atoms = initial_atoms(spectrogram, NMFConfig(components=K))
    found = encode(spectrogram, atoms, mu, sweeps=500)
    reference, _, _ = decomposition.non_negative_factorization(
        spectrogram.double().numpy(),
        H=atoms.T.double().numpy().copy(),
        n_components=K,
        update_H=False,
        solver="cd",
        tol=1e-10,
        max_iter=2000,
        alpha_W=mu / F,  # it multiplies the penalty by the number of bins
        l1_ratio=1.0,
    )
    assert np.abs(found.numpy() - reference).max() < 1e-3
