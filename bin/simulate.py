"""Mix broadcast-like and meeting-like recordings with exact labels from a pool of audio."""

from __future__ import annotations

from pathlib import Path

import click

from audioseg_xai.cli import command, num_workers_option, overwrite_option, seed_option

_FOLDER = click.Path(path_type=Path, file_okay=False)


@command()
@click.option("--pool", required=True, type=_FOLDER, help="Folder with pool.jsonl and its audio.")
@click.option("--output", required=True, type=_FOLDER, help="Data directory to make.")
@click.option("--hours", default=1.0, help="Length of all recordings together.")
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Settings (YAML); what is left out keeps its default.",
)
@click.option("--split", default="train", help="Which files of the pool to use.")
@seed_option
@num_workers_option
@overwrite_option
@click.pass_context
def cli(
    ctx: click.Context,
    pool: Path,
    output: Path,
    hours: float,
    config_path: Path | None,
    split: str,
    seed: int,
    num_workers: int,
    overwrite: bool,
) -> None:
    """Mix recordings with exact labels: speech, music, noise and overlapped speech.

    The same pool, settings and seed give the same recordings, with any number of workers. An
    interrupted call goes on where it stopped.
    """
    from audioseg_xai.config import load_yaml
    from audioseg_xai.simulate import SimulationConfig, simulate_data_dir

    config = load_yaml(config_path, SimulationConfig) if config_path else SimulationConfig()
    simulate_data_dir(
        pool,
        output,
        hours,
        config,
        split=split,
        seed=seed,
        num_workers=num_workers,
        overwrite=overwrite,
    )


if __name__ == "__main__":
    cli()
