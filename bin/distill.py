"""Train the explainable student from a teacher, labels and a dictionary."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from audioseg_xai.cli import command, training_options

if TYPE_CHECKING:
    from audioseg_xai.models.directory import Model


@command()
@training_options
@click.option(
    "--dictionary", type=Path, metavar="FILE", help="W; left out, that of --start goes on."
)
@click.option(
    "--teacher",
    type=Path,
    multiple=True,
    metavar="DIR",
    help="Model to imitate; needed with alpha. Of several, the mean of their posteriors.",
)
@click.option(
    "--start",
    type=Path,
    multiple=True,
    metavar="DIR",
    help="Student to go on from. Several become one, with as many network.branches.",
)
def cli(
    train: tuple[Path, ...],
    valid: tuple[Path, ...],
    augment_with: tuple[Path, ...],
    dictionary: Path | None,
    teacher: tuple[Path, ...],
    start: tuple[Path, ...],
    config: Path | None,
    output: Path,
    work: Path | None,
    upstream_checkpoint: str | None,
    precision: str | None,
    devices: int | None,
    num_nodes: int | None,
    device: str,
    num_workers: int,
) -> None:
    """Train the explainable student; a run that was stopped goes on.

    SIGUSR1 or SIGTERM stop it after the step, with a checkpoint and exit code 75: the same command
    goes on from it. The results do not depend on the number of processes, but for rounding.
    """
    if dictionary is None and not start:
        raise click.UsageError("give --dictionary, or --start to go on with its dictionary")

    from audioseg_xai.config import load_yaml
    from audioseg_xai.training.running import run_training, with_precision

    def train_one() -> Model:
        from audioseg_xai.models.directory import load_model
        from audioseg_xai.models.joined import one_student
        from audioseg_xai.training.corpora import Corpora
        from audioseg_xai.training.dictionary import load_dictionary
        from audioseg_xai.training.student import StudentRun, distill

        run = load_yaml(config, StudentRun) if config else StudentRun()
        return distill(
            Corpora.open(train, valid, augment_with),
            with_precision(run, precision),
            load_dictionary(dictionary) if dictionary else None,
            work or output / "train",
            teachers=[load_model(folder) for folder in teacher],
            start=one_student([load_model(folder) for folder in start]) if start else None,
            upstream_checkpoint=upstream_checkpoint,
            device=device,
            num_workers=num_workers,
        )

    run_training(train_one, output, devices=devices, num_nodes=num_nodes)


if __name__ == "__main__":
    cli()
