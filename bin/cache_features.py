"""Compute spectrograms, frame labels and upstream features of a data directory into HDF5."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audioseg_xai.cli import command, device_option, log, num_workers_option, run_items
from audioseg_xai.errors import UsageError

if TYPE_CHECKING:
    from audioseg_xai.archive import ArchiveEntry
    from audioseg_xai.extract import Extraction
    from audioseg_xai.upstream import UpstreamConfig


@command()
@click.option("--datadir", required=True, type=Path, metavar="DIR", help="Recordings and labels.")
@click.option("--output", required=True, type=Path, metavar="DIR", help="The archive to fill.")
@click.option("--fft-size", default=512, help="FFT size in samples; F is half of it plus one.")
@click.option("--upstream", "name", metavar="NAME", help="Model of s3prl, such as wavlm_large.")
@click.option("--upstream-checkpoint", metavar="FILE", help="Its weights; else s3prl's download.")
@click.option("--layers", metavar="all|N|W,W...", help="Hidden states, one, or weights; else all.")
@click.option("--chunk", type=float, help="Seconds of features that a window gives; else 10.")
@click.option("--margin", type=float, help="Seconds that it sees more on each side; else 1.28.")
@click.option("--precision", type=click.Choice(["f32", "bf16"]), help="bf16 is faster; else f32.")
@click.option(
    "--store",
    type=click.Choice(["features", "audio"]),
    help="Features, or audio to compute them from in training; with --upstream else features.",
)
@click.option("--job", default="1/1", metavar="I/N", help="Do part I of N, and no index if N > 1.")
@device_option
@num_workers_option
def cli(
    datadir: Path,
    output: Path,
    fft_size: int,
    name: str | None,
    store: Any,
    job: str,
    device: str,
    num_workers: int,
    **upstream: Any,
) -> None:
    """Compute spectrograms, frame labels and upstream features of a data directory into HDF5.

    One file a recording, and an index. Files that are there, whole, and made of the same audio,
    labels and model are kept, so a run that was interrupted goes on. To share the work: one call
    for each part with --job, on any machine, and a last one without, which writes the index.
    """
    from audioseg_xai.archive import write_index
    from audioseg_xai.config import parse_config
    from audioseg_xai.datadir import DataDir
    from audioseg_xai.extract import extractions, shard
    from audioseg_xai.features import SpectrogramConfig

    config = parse_config({"fft_size": fft_size}, SpectrogramConfig, "--fft-size")
    settings = _upstream(name, upstream)
    shard([], job)  # refuses a bad one before anything is read
    data = DataDir.read(datadir)
    data.validate()
    work = extractions(data, output, config, upstream=settings, store=store, device=device)
    extract = functools.partial(_extract, num_workers=num_workers)
    mine = shard(work, job, data.duration)
    outcome = run_items(mine, extract, describe=_uri, num_workers=num_workers)
    if job.endswith("/1"):
        write_index(output, outcome.done)
    else:
        log.info(f"part {job} of {output} is done; the index is written without --job")


def _upstream(name: str | None, options: dict[str, Any]) -> UpstreamConfig | None:
    given = {key: value for key, value in options.items() if value is not None}
    if name is None:
        if given:
            option = min(given).replace("_", "-")
            raise UsageError(f"--{option} is about an upstream model: name it with --upstream")
        return None
    from audioseg_xai.config import parse_config
    from audioseg_xai.upstream import UpstreamConfig, parse_layers

    if "layers" in given:
        given["layers"] = parse_layers(given["layers"])
    given["checkpoint"] = given.pop("upstream_checkpoint", None)
    return parse_config({"name": name, **given}, UpstreamConfig, "--upstream")


def _extract(work: Extraction, num_workers: int) -> ArchiveEntry:
    import os

    import torch

    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(max(1, cores // max(1, num_workers)) if work.upstream else 1)
    return work.run()


def _uri(work: Extraction) -> str:
    return work.uri


if __name__ == "__main__":
    cli()
