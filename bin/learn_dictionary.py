"""Learn the dictionary of spectra W by sparse NMF."""

from __future__ import annotations

from pathlib import Path

import click

from audioseg_xai.cli import command, log, seed_option


@command()
@click.option("--archive", required=True, type=Path, metavar="DIR", help="Feature archive.")
@click.option("--output", required=True, type=Path, metavar="FILE", help="safetensors file.")
@click.option("--components", default=256, help="K, the number of atoms.")
@click.option("--sparsity", default=1.0, help="mu, the weight of the L1 norm of H.")
@click.option("--iterations", default=60, help="Sweeps at most.")
@click.option("--frames", default=60_000, help="Frames to learn from, balanced over the classes.")
@click.option("--student", type=Path, metavar="YAML", help="Student whose level settings to use.")
@seed_option
def cli(
    archive: Path,
    output: Path,
    components: int,
    sparsity: float,
    iterations: int,
    frames: int,
    student: Path | None,
    seed: int,
) -> None:
    """Learn the dictionary of spectra W by sparse NMF.

    The frames are drawn so that every class, and none, has its share.
    """
    from audioseg_xai.archive import Archive
    from audioseg_xai.config import load_yaml
    from audioseg_xai.nmf import NMFConfig, band_errors, encode, learn_dictionary
    from audioseg_xai.training.dictionary import balanced_frames, save_dictionary
    from audioseg_xai.training.student import StudentRun

    run = load_yaml(student, StudentRun) if student else StudentRun()
    spectra = balanced_frames(Archive(archive), run.network, frames, seed)
    config = NMFConfig(components=components, sparsity=sparsity, iterations=iterations, seed=seed)
    learned = learn_dictionary(
        spectra, config, lambda sweep, value: log.debug("sweep %d: %.4f", sweep, value)
    )
    sample = spectra[:: max(1, len(spectra) // 5000)]
    bands = band_errors(sample, encode(sample, learned.atoms, sparsity) @ learned.atoms.T)
    log.info("%d frames, relative error %.4f", len(spectra), learned.relative_error)
    log.info("relative error a band, low to high: %s", " ".join(f"{e:.3f}" for e in bands))
    save_dictionary(learned, output)


if __name__ == "__main__":
    cli()
