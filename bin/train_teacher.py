"""Train the teacher on labelled recordings."""

from __future__ import annotations

from pathlib import Path

from audioseg_xai.cli import command, training_options


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
    device: str,
    num_workers: int,
) -> None:
    """Train the teacher on labelled recordings; a run that was stopped goes on.

    Labels that a corpus lacks take no part; classes that none of them has are not decided.
    """
    from audioseg_xai.config import load_yaml
    from audioseg_xai.models.directory import save_model
    from audioseg_xai.training.corpora import Corpora
    from audioseg_xai.training.teacher import TeacherRun, train_teacher

    run = load_yaml(config, TeacherRun) if config else TeacherRun()
    model = train_teacher(
        Corpora.open(train, valid, augment_with),
        run,
        work or output / "train",
        upstream_checkpoint=upstream_checkpoint,
        device=device,
        num_workers=num_workers,
    )
    save_model(model, output)


if __name__ == "__main__":
    cli()
