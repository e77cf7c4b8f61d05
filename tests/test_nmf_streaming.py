"""A dictionary from a stream of frames: as good as in memory, and resumed exactly."""

import weakref
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audioseg_xai.errors import TrainingError
from audioseg_xai.nmf import LossName, NMFConfig, StreamingLearner, encode, learn_dictionary
from audioseg_xai.nmf.learning import penalised
from audioseg_xai.nmf.updates import LOSSES

F, K = 24, 6


def frames(number: int, seed: int = 0) -> torch.Tensor:
    """Return frames that K sparse spectra explain, but for some noise."""
    atoms = torch.rand(F, K, generator=torch.Generator().manual_seed(77)) ** 6
    generator = torch.Generator().manual_seed(seed)
    active = torch.rand(number, K, generator=generator) > 0.6
    activations = 3 * torch.rand(number, K, generator=generator) * active
    return activations @ atoms.T + 0.05 * torch.rand(number, F, generator=generator)


def learned(config: NMFConfig, passes: int = 1, number: int = 2000) -> StreamingLearner:
    learner = StreamingLearner(frames(300, seed=5), config)
    for _ in range(passes):
        for batch in frames(number).split(250):
            learner.learn(batch)
        learner.finish_pass()
    return learner


def objective(atoms: torch.Tensor, spectra: torch.Tensor, loss: LossName) -> float:
    h = encode(spectra, atoms, 0.05, sweeps=300, loss=loss).T
    return penalised(LOSSES[loss], spectra.T, h, atoms, 0.05)


@pytest.mark.parametrize("loss", ["frobenius", "kl"])
def test_a_stream_gives_a_dictionary_as_good_as_all_frames_in_memory(loss: LossName) -> None:
    # Twice as many atoms as spectra, so that neither is caught where two spectra share an atom.
    config = NMFConfig(components=2 * K, sparsity=0.05, loss=loss, iterations=150, tolerance=0)
    stream = learned(config, passes=4).dictionary()
    memory = learn_dictionary(frames(2000), config)
    # On frames that neither has learned from. The two go different ways to different minima.
    found, expected = (objective(w.atoms, frames(500, seed=9), loss) for w in (stream, memory))
    assert found < 1.1 * expected
    assert stream.loss == loss and stream.sparsity == 0.05
    assert torch.allclose(stream.atoms.norm(dim=0), torch.ones(2 * K), atol=1e-5)
    assert stream.atoms.min() >= 0


@settings(max_examples=8, deadline=None)
@given(
    loss=st.sampled_from(["frobenius", "kl"]), sparsity=st.floats(0, 0.5), seed=st.integers(0, 99)
)
def test_the_objective_on_held_frames_falls_from_pass_to_pass(
    loss: LossName, sparsity: float, seed: int
) -> None:
    learner = learned(NMFConfig(components=K, sparsity=sparsity, seed=seed, loss=loss), passes=4)
    steps = list(zip(learner.objective, learner.objective[1:], strict=False))
    # The held frames are others than those that are learned from, and activations are solved in
    # so many sweeps, not to the end: where learning has converged, both move the objective of the
    # held frames up and down by some tenths of a percent.
    assert all(after <= 1.01 * before for before, after in steps)
    assert learner.objective[-1] <= learner.objective[0]


@pytest.mark.parametrize("loss", ["frobenius", "kl"])
def test_a_batch_is_a_step_of_the_updates_that_frames_in_memory_have(loss: LossName) -> None:
    config = NMFConfig(components=K, sparsity=0.1, loss=loss, iterations=1)
    held = frames(300, seed=5)
    learner = StreamingLearner(held, config)
    steps = LOSSES[loss]
    x, atoms = held.T.contiguous(), learner.atoms.clone()
    h = encode(held, atoms, 0.1, loss=loss).T
    steps.update_atoms(atoms, steps.statistics(x, h, atoms), 0.1)
    learner.learn(held)
    assert torch.allclose(learner.atoms, atoms, atol=1e-5)


def test_mean_activations_are_near_those_of_the_frames() -> None:
    config = NMFConfig(components=K, sparsity=0.05)
    dictionary = learned(config, passes=3).dictionary()
    mean = encode(frames(2000), dictionary.atoms, 0.05).mean(dim=0)
    assert torch.allclose(dictionary.mean_activations, mean, rtol=0.15, atol=0.02)


@settings(max_examples=6, deadline=None)
@given(stop=st.integers(0, 8), loss=st.sampled_from(["frobenius", "kl"]))
def test_what_was_restored_goes_on_bit_for_bit(stop: int, loss: LossName) -> None:
    config = NMFConfig(components=K, sparsity=0.1, loss=loss)
    held, batches = frames(300, seed=5), frames(800).split(100)
    straight = StreamingLearner(held, config)
    for batch in batches:
        straight.learn(batch)
    stopped = StreamingLearner(held, config)
    for batch in batches[:stop]:
        stopped.learn(batch)
    resumed = StreamingLearner(held, config)
    resumed.restore({name: each.clone() for name, each in stopped.state().items()})
    for batch in batches[stop:]:
        resumed.learn(batch)
    assert torch.equal(resumed.atoms, straight.atoms)
    state = straight.state()
    assert all(torch.equal(each, state[name]) for name, each in resumed.state().items())


@pytest.mark.parametrize("number", [2, 40])
def test_what_is_kept_does_not_grow_with_the_batches(number: int) -> None:
    alive: list[weakref.ref[torch.Tensor]] = []
    learner = StreamingLearner(frames(300, seed=5), NMFConfig(components=K))

    def batches() -> Iterator[torch.Tensor]:
        for seed in range(number):
            batch = frames(100, seed)
            alive.append(weakref.ref(batch))
            yield batch

    for batch in batches():
        learner.learn(batch)
    del batch
    assert not any(one() is not None for one in alive)
    # cross, scatter, total, atoms, seen, objective and frames: nothing has an axis of frames.
    assert sum(each.numel() for each in learner.state().values()) == 2 * F * K + K * K + K + 2


def test_there_is_no_dictionary_before_the_first_batch() -> None:
    learner = StreamingLearner(frames(300), NMFConfig(components=K))
    with pytest.raises(TrainingError, match="no batch of frames"):
        learner.dictionary()
