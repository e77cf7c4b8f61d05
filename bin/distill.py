"""Train the explainable student from a teacher, labels and a dictionary."""

from __future__ import annotations

from pathlib import Path

import click

from audioseg_xai.cli import command, training_options


@command()
@training_options
@click.option("--dictionary", required=True, type=Path, metavar="FILE", help="W.")
@click.option("--teacher", type=Path, metavar="DIR", help="Model to imitate; needed with alpha.")
@click.option("--start", type=Path, metavar="DIR", help="Student to go on from.")
def cli(
    train: tuple[Path, ...],
    valid: tuple[Path, ...],
    augment_with: tuple[Path, ...],
    dictionary: Path,
    teacher: Path | None,
    start: Path | None,
    config: Path | None,
    output: Path,
    work: Path | None,
    upstream_checkpoint: str | None,
    device: str,
    num_workers: int,
) -> None:
    """Train the explainable student; a run that was stopped goes on."""
    from audioseg_xai.config import load_yaml
    from audioseg_xai.models.directory import load_model, save_model
    from audioseg_xai.training.corpora import Corpora
    from audioseg_xai.training.dictionary import load_dictionary
    from audioseg_xai.training.student import StudentRun, distill

    model = distill(
        Corpora.open(train, valid, augment_with),
        load_yaml(config, StudentRun) if config else StudentRun(),
        load_dictionary(dictionary),
        work or output / "train",
        teacher=load_model(teacher) if teacher else None,
        start=load_model(start) if start else None,
        upstream_checkpoint=upstream_checkpoint,
        device=device,
        num_workers=num_workers,
    )
    save_model(model, output)


if __name__ == "__main__":
    cli()
