"""Turn openly licensed material, or a corpus on disk, into what the next steps read."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from audioseg_xai.cli import command, num_workers_option, overwrite_option, run_items

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(name="prepare")
def cli() -> None:
    """Turn a corpus on disk into a data directory, or open material into a source pool."""


@command("open")
@click.option("--sources", "config", type=FILE, required=True, help="Packages and rules: YAML.")
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), required=True, help="The pool."
)
@click.option(
    "--debs", type=FOLDER, help="Folder that holds the .deb files: nothing is downloaded then."
)
@click.option("--extra-speech", type=FOLDER, multiple=True, help="Folder of more speech.")
@click.option("--extra-noise", type=FOLDER, multiple=True, help="Folder of more noise.")
@num_workers_option
@overwrite_option
def prepare_open(
    config: Path,
    output: Path,
    debs: Path | None,
    extra_speech: tuple[Path, ...],
    extra_noise: tuple[Path, ...],
    num_workers: int,
    overwrite: bool,
) -> None:
    """Make a pool of clean speech, music and noise out of Debian packages.

    Packages are downloaded to OUTPUT/debs with apt-get (no root needed) and unpacked; what the
    rules of SOURCES take becomes 16 kHz FLAC. OUTPUT/manifest.json names package, version and
    licence of everything, for attribution.
    """
    from audioseg_xai.config import load_yaml
    from audioseg_xai.corpora import build, debian
    from audioseg_xai.corpora.sources import Sources

    build.refuse_existing(output, overwrite)
    sources = load_yaml(config, Sources)
    names = [source.name for source in sources.packages]
    files = debian.locate(names, debs) if debs else debian.fetch(names, output / "debs")
    jobs = build.plan(sources, files, extra_speech, extra_noise)
    output.mkdir(parents=True, exist_ok=True)
    process = partial(build.build_source, sources=sources, root=output)
    outcome = run_items(jobs, process, describe=build.Job.__str__, num_workers=num_workers)
    pool = build.assemble(outcome.done, output, config)
    click.echo(build.table(pool))


cli.add_command(prepare_open)

if __name__ == "__main__":
    cli()
