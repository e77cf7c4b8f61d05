"""Turn openly licensed material, or a corpus on disk, into what the next steps read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from audioseg_xai.cli import PARTLY, command, num_workers_option, overwrite_option, run_items

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(name="prepare")
def cli() -> None:
    """Turn a corpus on disk into data directories, or open material into a source pool.

    Of a corpus each recording is checked: what is missing, malformed or does not fit its audio
    is left out and said, with file and line, and the exit code is 3 then. Byte-order marks, CRLF
    line ends, Latin-1 text, overlapping turns of one speaker, and labels that end up to 0.5 s
    after the audio are put right with a warning.
    """


FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def _corpus_options(function: FunctionT) -> FunctionT:
    """Add what every corpus takes; passed as in `sets.Settings`, and `root`."""
    output = click.Path(file_okay=False, path_type=Path)
    for option in (
        overwrite_option,
        click.option("--decode", is_flag=True, help="Decode all audio to its end: finds damage."),
        click.option("--strict", is_flag=True, help="Write nothing when there is a problem."),
        click.option("--classes", help="Keep only these, such as speech,music."),
        click.option("--output", required=True, type=output, help="A data directory a list."),
        click.argument("root", type=FOLDER),
    ):
        function = option(function)
    return function


def _prepare(name: str, root: Path, options: dict[str, Any], **settings: Any) -> None:
    from importlib import import_module

    from audioseg_xai.corpora.sets import Settings, prepare_corpus

    read = partial(import_module(f"audioseg_xai.corpora.{name}").read, **options)
    report = prepare_corpus(name, read, root, Settings(**settings), options)
    if report.problems:
        click.get_current_context().exit(PARTLY)


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


@command("dihard")
@_corpus_options
def prepare_dihard(**settings: Any) -> None:
    """DIHARD III: speech and overlap; sets dev and eval, groups core, full and domains."""
    _prepare("dihard", settings.pop("root"), {}, **settings)


@command("allies")
@_corpus_options
def prepare_allies(**settings: Any) -> None:
    """ALLIES: speech and overlap; a set a list in lst, and one of the unlisted shows.

    The set allies_clean has music as well when there are Transcriber files.
    """
    _prepare("allies", settings.pop("root"), {}, **settings)


@command("albayzin")
@click.option(
    "--labels",
    type=click.Choice(["rttm", "trs"]),
    help="Labels of Aragon Radio, or of 2010; by default trs where there is no RTTM file.",
)
@_corpus_options
def prepare_albayzin(labels: str | None, **settings: Any) -> None:
    """Albayzin: speech, music and noise; a set a list in lists/AragonRadio."""
    _prepare("albayzin", settings.pop("root"), {"labels": labels}, **settings)


@command("openbmat")
@click.option(
    "--mapping",
    type=click.Choice(["MD_mapping", "MRLE_mapping", "original"]),
    default="MD_mapping",
    help="Which of the released class sets.",
)
@click.option(
    "--agreement",
    type=click.Choice(["majority", "full"]),
    default="majority",
    help="How many annotators must say so; elsewhere nothing is known.",
)
@click.option("--split", metavar="NAME=SHARE,...", help="Divide by a digest of the names.")
@_corpus_options
def prepare_openbmat(mapping: str, agreement: str, split: str | None, **settings: Any) -> None:
    """OpenBMAT: music; the set all and, with --split train=0.8,valid=0.1,test=0.1, parts."""
    from audioseg_xai.corpora.parts import parse_split

    options = {
        "mapping": mapping,
        "agreement": agreement,
        "split": parse_split(split) if split else None,
    }
    _prepare("openbmat", settings.pop("root"), options, **settings)


@command("table")
@click.argument("config", type=FILE)
@click.option("--role", type=click.Choice(["teacher", "student", "test"]), required=True)
@click.option("--data", type=click.Choice(["train", "valid"]), help="Name the directory as well.")
def prepare_table(config: Path, role: Any, data: str | None) -> None:
    """Print which corpora play a role: lines '<corpus>[/<directory>] <classes>'."""
    from audioseg_xai.config import load_yaml
    from audioseg_xai.corpora.table import CorpusTable

    for name, classes in load_yaml(config, CorpusTable).rows(role, data):
        click.echo(f"{name} {','.join(classes)}")


for subcommand in (
    prepare_open,
    prepare_dihard,
    prepare_openbmat,
    prepare_allies,
    prepare_albayzin,
    prepare_table,
):
    cli.add_command(subcommand)

if __name__ == "__main__":
    cli()
