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
@click.option(
    "--frames",
    default=60_000,
    type=click.IntRange(min=1),
    help="Frames to learn from, balanced over the classes.",
)
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
    from audioseg_xai.config import load_yaml, parse_config
    from audioseg_xai.nmf import NMFConfig, band_errors, encode, learn_dictionary
    from audioseg_xai.training.dictionary import balanced_frames, save_dictionary
    from audioseg_xai.training.identity import archive_digest
    from audioseg_xai.training.student import StudentRun

    run = load_yaml(student, StudentRun) if student else StudentRun()
    options = {"components": components, "sparsity": sparsity, "iterations": iterations}
    config = parse_config(options | {"seed": seed}, NMFConfig, "options")
    source = Archive(archive)
    spectra = balanced_frames(source, run.network, frames, seed)
    learned = learn_dictionary(
        spectra, config, lambda sweep, value: log.debug("sweep %d: %.4f", sweep, value)
    )
    sample = spectra[:: max(1, len(spectra) // 5000)]
    bands = band_errors(sample, encode(sample, learned.atoms, sparsity) @ learned.atoms.T)
    log.info("%d frames, relative error %.4f", len(spectra), learned.relative_error)
    log.info("relative error a band, low to high: %s", " ".join(f"{e:.3f}" for e in bands))
    network = run.network.model_dump(mode="json")
    settings = {**config.model_dump(), "frames": frames, "level": network["level"]}
    save_dictionary(learned, output, settings, {"archive": archive_digest(source)})


if __name__ == "__main__":
    cli()
