"""Speed and memory of dictionary learning, and scikit-learn on the same frames in the same run.

    python benchmarks/nmf.py              # needs: pip install scikit-learn
    python benchmarks/nmf.py --archive exp/features/train

All on one thread, in processor seconds, because others may use the machine. The frames are low-rank
with noise, or drawn from a feature archive. Prints Markdown tables:

1. what scikit-learn's coordinate descent takes for some iterations, and what we take to come as
   low from the same atoms: relative error within 0.1 %, no L1 term;
2. a sweep against the number of frames, for either loss;
3. peak memory of `xai-segment learn-dictionary --passes 1` against hours of audio, all of whose
   frames it learns from.
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import platform
import sys
import tempfile
import time
import warnings
from itertools import pairwise
from pathlib import Path

import click
import numpy as np
import torch
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning
from speed import measure

from audioseg_xai.archive import Archive, ArchiveEntry, write_index, write_recording
from audioseg_xai.models.networks import StudentConfig
from audioseg_xai.nmf import NMFConfig, learn_dictionary
from audioseg_xai.nmf.dictionary import LossName, initial_atoms
from audioseg_xai.training.dictionary import balanced_frames

BINS = 257
TOLERANCE = 1e-3
STREAMED = 64  # K of the third table
RECORDING = 30_000  # frames: ten minutes


def low_rank(frames: int, rank: int = 300, seed: int = 0) -> torch.Tensor:
    """Return spectra (T, F) that `rank` sparse atoms and some noise make up, of real size."""
    generator = torch.Generator().manual_seed(seed)
    atoms = torch.rand(BINS, rank, generator=generator) ** 8
    active = torch.rand(frames, rank, generator=generator) > 0.9
    activations = 4 * torch.rand(frames, rank, generator=generator) * active
    return activations @ atoms.T + 0.3 * torch.rand(frames, BINS, generator=generator)


def reference(spectra: torch.Tensor, config: NMFConfig) -> tuple[float, float]:
    """Return processor seconds and relative error of scikit-learn's coordinate descent."""
    model = NMF(config.components, init="custom", solver="cd", tol=0, max_iter=config.iterations)
    begin = np.full((len(spectra), config.components), 1e-6, dtype=np.float32)
    atoms = np.ascontiguousarray(initial_atoms(spectra, config).T.numpy())
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit_transform(spectra.numpy(), W=begin, H=atoms)
    return time.process_time() - started, model.reconstruction_err_ / spectra.norm().item()


def ours(spectra: torch.Tensor, config: NMFConfig, target: float) -> tuple[float, float, int]:
    """Return processor seconds, relative error and sweeps until `target` is reached."""
    energy = spectra.square().sum().item()
    started, found = time.process_time(), list[tuple[float, float]]()

    def note(sweep: int, objective: float) -> None:
        error = (2 * objective * len(spectra) / energy) ** 0.5
        found.append((time.process_time() - started, error))

    learn_dictionary(spectra, config.model_copy(update={"iterations": 8 * config.iterations}), note)
    reached = [number for number, (_, error) in enumerate(found) if error <= target]
    if not reached:
        sys.exit(f"{len(found)} sweeps do not reach a relative error of {target:.4f}")
    return *found[reached[0]], reached[0] + 1


def compare(spectra: torch.Tensor, components: int, iterations: int) -> None:
    """Print the first table."""
    config = NMFConfig(components=components, sparsity=0, iterations=iterations, tolerance=0)
    seconds, error = reference(spectra, config)
    mine, reached, sweeps = ours(spectra, config, (1 + TOLERANCE) * error)
    print(f"{len(spectra)} frames, {spectra.shape[1]} bins, K = {components}\n")
    print("| program | sweeps | CPU s | relative error |\n|---|---|---|---|")
    print(f"| scikit-learn, cd | {iterations} | {seconds:.1f} | {error:.4f} |")
    print(f"| audioseg_xai | {sweeps} | {mine:.1f} | {reached:.4f} |")
    print(f"\nscikit-learn takes {seconds / mine:.1f} times as long\n")


def scale(spectra: torch.Tensor, components: int) -> None:
    """Print the second table."""
    print("| frames | frobenius, CPU s a sweep | a frame, us | kl, CPU s a sweep | a frame, us |")
    print("|---|---|---|---|---|")
    for part in (8, 4, 2, 1):
        some = spectra[: len(spectra) // part]
        cells = [str(len(some))]
        for loss in ("frobenius", "kl"):
            seconds = sweep_seconds(some, components, loss)
            cells += [f"{seconds:.3f}", f"{1e6 * seconds / len(some):.1f}"]
        print(f"| {' | '.join(cells)} |", flush=True)


def sweep_seconds(spectra: torch.Tensor, components: int, loss: LossName) -> float:
    """Return the processor seconds of a sweep, the least of some."""
    times = [time.process_time()]
    config = NMFConfig(components=components, loss=loss, iterations=5, tolerance=0)
    learn_dictionary(spectra, config, lambda sweep, value: times.append(time.process_time()))
    return min(after - before for before, after in pairwise(times[1:]))


def write_archive(folder: Path, hours: float) -> int:
    """Write an archive of ten-minute recordings and return its number of frames."""
    spectra, entries = low_rank(RECORDING).numpy(), []
    labels = np.zeros((RECORDING, 4), dtype=np.int8)
    for number in range(round(6 * hours)):
        entry = ArchiveEntry(f"r{number:05}", f"r{number:05}.h5", RECORDING)
        labels[:, number % 4] = 1 - labels[:, number % 4]
        arrays = {"spectrogram": np.roll(spectra, number, axis=1), "labels": labels}
        write_recording(folder / entry.file, arrays, {"uri": entry.uri})
        entries.append(entry)
    write_index(folder, entries)
    return RECORDING * len(entries)


def memory(hours: tuple[float, ...]) -> None:
    """Print the third table."""
    print(f"\nK = {STREAMED}")
    print("\n| hours | frames | CPU s | peak MB |\n|---|---|---|---|")
    peaks = []
    for length in hours:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            frames = write_archive(folder / "archive", length)
            command = [sys.executable, "-m", "audioseg_xai.bin.learn_dictionary"]
            command += ["--archive", f"{folder}/archive", "--output", f"{folder}/w.safetensors"]
            command += ["--components", str(STREAMED), "--passes", "1"]
            run = measure([*command, "--frames-per-pass", str(frames)])
        peaks.append(run.peak)
        print(f"| {length:g} | {frames} | {run.cpu:.1f} | {run.peak:.0f} |", flush=True)
    print(f"\nPeak memory, {hours[-1]:g} h against {hours[0]:g} h: {peaks[-1] / peaks[0]:.2f}")


@click.command()
@click.option("--archive", type=Path, metavar="DIR", help="Take the frames from this archive.")
@click.option("--frames", default=20_000, show_default=True, help="Of the first two tables.")
@click.option("--components", default=256, show_default=True, help="K of the first two tables.")
@click.option("--iterations", default=30, show_default=True, help="Of scikit-learn.")
@click.option("--hours", multiple=True, type=float, default=(0.5, 2, 8), help="Third table.")
def main(
    archive: Path | None, frames: int, components: int, iterations: int, hours: tuple[float, ...]
) -> None:
    """Measure, and print Markdown tables."""
    torch.set_num_threads(1)
    if archive is None:
        spectra = low_rank(frames)
    else:
        spectra = balanced_frames(Archive(archive), StudentConfig(), frames, seed=0)
    compare(spectra, components, iterations)
    scale(spectra, components)
    memory(hours)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")


if __name__ == "__main__":
    main()
