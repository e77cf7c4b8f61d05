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

import sys
import tempfile
import time
import warnings
from itertools import pairwise
from pathlib import Path

import click
import numpy as np
import torch
from machine import gemm_peak
from programs import run_program
from results import Cell, Limit, Result, options, publish
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning

from audioseg_xai.archive import Archive, ArchiveEntry, write_index, write_recording
from audioseg_xai.models.networks import StudentConfig
from audioseg_xai.nmf import NMFConfig, learn_dictionary
from audioseg_xai.nmf.dictionary import LossName, initial_atoms
from audioseg_xai.training.dictionary import balanced_frames

BINS = 257
TOLERANCE = 1e-3
OURS = "audioseg_xai"
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


def compare(
    spectra: torch.Tensor, components: int, iterations: int
) -> tuple[list[dict[str, Cell]], float]:
    """Return the first table, and how many times as long scikit-learn takes."""
    config = NMFConfig(components=components, sparsity=0, iterations=iterations, tolerance=0)
    seconds, error = reference(spectra, config)
    mine, reached, sweeps = ours(spectra, config, (1 + TOLERANCE) * error)
    programs = [("scikit-learn, cd", iterations, seconds, error), (OURS, sweeps, mine, reached)]
    rows: list[dict[str, Cell]] = [
        {"program": name, "frames": len(spectra), "bins": BINS, "K": components,
         "sweeps": number, "CPU s": cpu, "relative error": found}
        for name, number, cpu, found in programs
    ]  # fmt: skip
    return rows, seconds / mine


def scale(spectra: torch.Tensor, components: int) -> list[dict[str, Cell]]:
    """Return the second table."""
    rows: list[dict[str, Cell]] = []
    for part in (8, 4, 2, 1):
        some = spectra[: len(spectra) // part]
        row: dict[str, Cell] = {"frames": len(some)}
        for loss in ("frobenius", "kl"):
            seconds = sweep_seconds(some, components, loss)
            row[f"{loss}, CPU s a sweep"] = seconds
            row[f"{loss}, us a frame"] = 1e6 * seconds / len(some)
        rows.append(row)
    return rows


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


def memory(hours: tuple[float, ...]) -> list[dict[str, Cell]]:
    """Return the third table."""
    rows: list[dict[str, Cell]] = []
    for length in hours:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            frames = write_archive(folder / "archive", length)
            command = [sys.executable, "-m", "audioseg_xai.bin.learn_dictionary"]
            command += ["--archive", f"{folder}/archive", "--output", f"{folder}/w.safetensors"]
            command += ["--components", str(STREAMED), "--passes", "1"]
            run = run_program([*command, "--frames-per-pass", str(frames)])
        rows.append(
            {"hours": length, "frames streamed": frames, "K": STREAMED, "CPU s": run.cpu,
             "peak MB": run.peak}
        )  # fmt: skip
    return rows


def limit(frames: int, components: int, seconds: float) -> Limit:
    """Return how far a sweep of the squared error is from the rate of matrix products.

    The products of the spectra with one factor and of the other with itself, for either factor:
    4 N K (F + K) operations.
    """
    operations = 4 * frames * components * (BINS + components)
    what = "a sweep, against matrix products on one thread"
    return Limit(what, operations / seconds / 1e9, gemm_peak(), "GFLOP/s")


@click.command()
@click.option("--archive", type=Path, metavar="DIR", help="Take the frames from this archive.")
@click.option("--frames", default=20_000, show_default=True, help="Of the first two tables.")
@click.option("--components", default=256, show_default=True, help="K of the first two tables.")
@click.option("--iterations", default=30, show_default=True, help="Of scikit-learn.")
@click.option("--hours", multiple=True, type=float, default=(0.5, 2, 8), help="Third table.")
@options
def main(
    archive: Path | None,
    frames: int,
    components: int,
    iterations: int,
    hours: tuple[float, ...],
    quick: bool,
    json_path: Path | None,
) -> None:
    """Measure, and print Markdown tables."""
    torch.set_num_threads(1)
    if quick:
        frames, iterations, hours = 5000, 10, (0.5, 1)
    if archive is None:
        spectra = low_rank(frames)
    else:
        spectra = balanced_frames(Archive(archive), StudentConfig(), frames, seed=0)
    compared, ratio = compare(spectra, components, iterations)
    scaled, streamed = scale(spectra, components), memory(hours)
    growth = float(streamed[-1]["peak MB"]) / float(streamed[0]["peak MB"])
    ratios = {
        "CPU time of scikit-learn / ours, to the same error": ratio,
        f"peak memory of the stream, {hours[-1]:g} h / {hours[0]:g} h": growth,
    }
    bound = limit(len(spectra), components, float(scaled[-1]["frobenius, CPU s a sweep"]))
    publish(Result("nmf", [*compared, *scaled, *streamed], ratios, [bound]), json_path)


if __name__ == "__main__":
    main()
