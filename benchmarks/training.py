"""A step of the training of the default student, in full and in mixed precision.

    python benchmarks/training.py

Network, teacher and losses are those of `recipes/open`, with random weights and dictionary; a batch
is eight crops of 15 s of the bundled demo. CPU time on one thread, the best of some steps: losses,
gradients and optimiser. Mixed precision gains where the processor computes in bfloat16.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

import click
import torch
from data_path import fastest_step, write_archive
from lightning_fabric import Fabric
from results import Result, options, publish

from audioseg_xai.config import load_yaml
from audioseg_xai.labels import CLASSES
from audioseg_xai.losses import LossConfig
from audioseg_xai.models.networks import Student, Teacher
from audioseg_xai.training.corpora import Corpora
from audioseg_xai.training.data import Batch, CropDataset, CropSource
from audioseg_xai.training.student import StudentLosses, StudentRun
from audioseg_xai.training.teacher import TeacherRun
from audioseg_xai.training.trainer import Precision

RECIPE = Path(__file__).resolve().parent.parent / "recipes" / "open" / "conf"

WITHOUT = {
    "labels alone": {"alpha": 0.0, "epsilon": 0.0},
    "imitating the teacher": {"epsilon": 0.0},
    "imitating it, masked crops": {},
}
"""What the steps lack of the loss of the recipe."""


def draw_batches(run: StudentRun, count: int) -> list[Batch]:
    """Return batches of crops of the demo."""
    with tempfile.TemporaryDirectory() as name:
        archive = write_archive(Path(name), hours=0.5)
        long = run.training.data.model_copy(update={"short": 0.0})
        source = CropSource(Corpora([archive], [archive]), long, CLASSES)
        dataset = CropDataset(source, seed=0, first=0, steps=count)
        return [dataset[number] for number in range(count)]


def step_seconds(
    run: StudentRun,
    teacher: Teacher,
    config: LossConfig,
    precision: Precision,
    batches: list[Batch],
) -> float:
    """Return CPU seconds of the fastest step."""
    torch.manual_seed(0)
    bins, atoms = run.network.spectrogram.num_bins, run.network.components
    student = Student(run.network, torch.rand(bins, atoms) / bins**0.5).train()
    fabric = Fabric(accelerator="cpu", precision=precision)
    forward, optimizer = fabric.setup(student, torch.optim.AdamW(student.parameters()))
    losses = StudentLosses(student, config, [teacher], precision=precision)
    return fastest_step(losses, forward, optimizer, batches, fabric.backward)


def rows(
    run: StudentRun, teacher: Teacher, batches: list[Batch]
) -> Iterable[dict[str, str | float]]:
    """Yield a line a kind of step."""
    for name, lacking in WITHOUT.items():
        config = run.loss.model_copy(update=lacking)
        seconds = {
            precision: step_seconds(run, teacher, config, precision, batches)
            for precision in get_args(Precision)
        }
        yield {"step": name} | {f"{key}, s": value for key, value in seconds.items()}


@click.command()
@options
def main(quick: bool, json_path: Path | None) -> None:
    """Measure, and print Markdown."""
    torch.set_num_threads(1)
    run = load_yaml(RECIPE / "student.yaml", StudentRun)
    taught = load_yaml(RECIPE / "teacher.yaml", TeacherRun)
    batches = draw_batches(run, 4 if quick else 12)
    found = list(rows(run, Teacher(taught.network), batches))
    ratios = {
        f"CPU time of a training step in full / in mixed precision, {row['step']}": (
            float(row["32-true, s"]) / float(row["bf16-mixed, s"])
        )
        for row in found
    }
    publish(Result("training", found, ratios), json_path)


if __name__ == "__main__":
    main()
