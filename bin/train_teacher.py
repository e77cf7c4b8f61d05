"""Train the teacher on labelled recordings."""

from __future__ import annotations

from pathlib import Path

from audioseg_xai.cli import command, training_options


@command()
@training_options
def cli(
    train: Path,
    valid: Path,
    config: Path | None,
    output: Path,
    work: Path | None,
    device: str,
    num_workers: int,
) -> None:
    """Train the teacher on labelled recordings; a run that was stopped goes on."""
    from audioseg_xai.archive import Archive
    from audioseg_xai.config import load_yaml
    from audioseg_xai.models.directory import save_model
    from audioseg_xai.training.teacher import TeacherRun, train_teacher

    run = load_yaml(config, TeacherRun) if config else TeacherRun()
    model = train_teacher(
        Archive(train),
        Archive(valid),
        run,
        work or output / "train",
        device=device,
        num_workers=num_workers,
    )
    save_model(model, output)


if __name__ == "__main__":
    cli()
