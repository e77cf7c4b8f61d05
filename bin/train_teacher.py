"""Train the teacher on labelled recordings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from audioseg_xai.cli import command, training_options

if TYPE_CHECKING:
    from audioseg_xai.models.directory import Model


@command()
@training_options
def cli(
    train: tuple[Path, ...],
    valid: tuple[Path, ...],
    augment_with: tuple[Path, ...],
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
    """Train the teacher on labelled recordings; a run that was stopped goes on.

    SIGUSR1 or SIGTERM stop it after the step, with a checkpoint and exit code 75: the same command
    goes on from it. The results do not depend on the number of processes, but for rounding.

    Labels that a corpus lacks take no part; classes that none of them has are not decided.
    """
    from audioseg_xai.config import load_yaml
    from audioseg_xai.training.running import run_training, with_precision

    def train_one() -> Model:
        from audioseg_xai.training.corpora import Corpora
        from audioseg_xai.training.teacher import TeacherRun, train_teacher

        run = load_yaml(config, TeacherRun) if config else TeacherRun()
        return train_teacher(
            Corpora.open(train, valid, augment_with),
            with_precision(run, precision),
            work or output / "train",
            upstream_checkpoint=upstream_checkpoint,
            device=device,
            num_workers=num_workers,
        )

    run_training(train_one, output, devices=devices, num_nodes=num_nodes)


if __name__ == "__main__":
    cli()
