"""Compute spectrograms and frame labels of a data directory into an HDF5 archive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from audioseg_xai.cli import command, num_workers_option, run_items

if TYPE_CHECKING:
    from audioseg_xai.archive import ArchiveEntry
    from audioseg_xai.extract import Extraction


@command()
@click.option("--datadir", required=True, type=Path, metavar="DIR", help="Recordings and labels.")
@click.option("--output", required=True, type=Path, metavar="DIR", help="The archive to fill.")
@click.option("--fft-size", default=512, help="FFT size in samples; F is half of it plus one.")
@num_workers_option
def cli(datadir: Path, output: Path, fft_size: int, num_workers: int) -> None:
    """Compute spectrograms and frame labels of a data directory into an HDF5 archive.

    One file a recording, and an index. Files that are there, whole, and made of the same audio
    and labels are kept, so a run that was interrupted goes on.
    """
    from audioseg_xai.archive import write_index
    from audioseg_xai.config import parse_config
    from audioseg_xai.datadir import DataDir
    from audioseg_xai.extract import extractions
    from audioseg_xai.features import SpectrogramConfig

    config = parse_config({"fft_size": fft_size}, SpectrogramConfig, "--fft-size")
    data = DataDir.read(datadir)
    data.validate()
    work = extractions(data, output, config)
    outcome = run_items(work, _extract, describe=_uri, num_workers=num_workers)
    write_index(output, outcome.done)


def _extract(work: Extraction) -> ArchiveEntry:
    import torch

    torch.set_num_threads(1)
    return work.run()


def _uri(work: Extraction) -> str:
    return work.uri


if __name__ == "__main__":
    cli()
