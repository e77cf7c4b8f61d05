"""Validate, fix and divide data directories."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from audioseg_xai.cli import command, log, overwrite_option, run_items
from audioseg_xai.errors import DataDirError, UsageError

_FOLDER = click.Path(file_okay=False, path_type=Path)
_DECODE = click.option(
    "--decode", is_flag=True, help="Decode all audio to its end: slow, finds damage."
)


@click.group(name="datadir")
def cli() -> None:
    """Validate, fix and divide data directories."""


@command("validate")
@click.argument("folders", nargs=-1, required=True, type=_FOLDER, metavar="DIR...")
@click.option("--no-audio", is_flag=True, help="Do not look at the audio files.")
@_DECODE
def validate_command(folders: tuple[Path, ...], no_audio: bool, decode: bool) -> None:
    """Check every line, whether the files agree, and whether the audio fits them."""
    run_items(folders, partial(_validate, check_audio=not no_audio, decode=decode))


def _validate(folder: Path, check_audio: bool, decode: bool) -> None:
    from audioseg_xai.corpora.upkeep import validate

    report = validate(folder, check_audio=check_audio, decode=decode)
    for line in report.repair_lines():
        log.warning("%s", line)
    for problem in report.problems:
        log.error("%s", problem)
    if report.problems:
        raise DataDirError(f"{folder}: {len(report.problems)} problems")
    click.echo(f"{folder}: valid")


@command("fix")
@click.argument("folder", type=_FOLDER, metavar="DIR")
@click.option("--output", required=True, type=_FOLDER, help="Data directory to write.")
@_DECODE
@overwrite_option
def fix_command(folder: Path, output: Path, decode: bool, overwrite: bool) -> None:
    """Write a valid copy of DIR, and say each thing that was changed.

    Sorts, drops recordings without audio, takes durations from the audio, clips segments and
    scored regions to it, and scores recordings as a whole that all.uem lacks.
    """
    from audioseg_xai.corpora.upkeep import fix

    if (output / "wav.scp").exists() and not overwrite:
        raise UsageError(f"{output}: holds a data directory already: --overwrite replaces it")
    for line in fix(folder, output, decode=decode):
        click.echo(line)


@command("split")
@click.argument("folder", type=_FOLDER, metavar="DIR")
@click.option("--parts", required=True, metavar="NAME=SHARE,...", help="Shares add up to 1.")
@click.option("--output", required=True, type=_FOLDER, help="A folder a part is made in it.")
@overwrite_option
def split_command(folder: Path, parts: str, output: Path, overwrite: bool) -> None:
    """Divide the recordings of DIR into parts, such as train=0.9,valid=0.1.

    Which recording goes where depends on the names alone: the same names give the same parts.
    """
    from audioseg_xai.corpora.parts import divide_data, parse_split
    from audioseg_xai.datadir import DataDir

    shares = parse_split(parts)
    taken = [name for name in shares if (output / name / "wav.scp").exists()]
    if taken and not overwrite:
        raise UsageError(f"{output / taken[0]}: is there already: --overwrite replaces it")
    for name, part in divide_data(DataDir.read(folder), shares).items():
        part.write(output / name)
        click.echo(f"{output / name}: {len(part.uris)} recordings")


cli.add_command(validate_command)
cli.add_command(split_command)
cli.add_command(fix_command)

if __name__ == "__main__":
    cli()
