"""Learn the dictionary of spectra W by sparse NMF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from audioseg_xai.cli import command, seed_option
from audioseg_xai.errors import UsageError

_IN_MEMORY, _STREAM = {"frames", "iterations"}, {"frames_per_pass", "max_minutes", "resume"}


@command()
@click.option(
    "--archive",
    "archives",
    required=True,
    multiple=True,
    type=Path,
    metavar="DIR",
    help="Feature archive (repeatable: one a corpus, all with the same share).",
)
@click.option("--output", required=True, type=Path, metavar="FILE", help="safetensors file.")
@click.option("--components", default=256, help="K, the number of atoms.")
@click.option("--sparsity", default=1.0, help="mu, the weight of the L1 norm of H.")
@click.option(
    "--loss",
    default="frobenius",
    type=click.Choice(["frobenius", "kl"]),
    help="Half the squared error, or the generalised Kullback-Leibler divergence.",
)
@click.option("--iterations", default=60, help="Sweeps at most, in memory.")
@click.option(
    "--frames",
    default=60_000,
    type=click.IntRange(min=1),
    help="Frames to hold in memory and learn from.",
)
@click.option("--passes", type=int, help="Learn from a stream of frames, in so many passes.")
@click.option("--frames-per-pass", type=int, help="Frames drawn for a pass; 1,000,000 by default.")
@click.option("--max-minutes", type=float, help="Stop the passes after this time.")
@click.option("--resume", is_flag=True, help="Go on where stopped passes left off.")
@click.option("--student", type=Path, metavar="YAML", help="Student whose level settings to use.")
@seed_option
def cli(
    archives: tuple[Path, ...],
    output: Path,
    components: int,
    sparsity: float,
    loss: str,
    iterations: int,
    frames: int,
    student: Path | None,
    seed: int,
    resume: bool,
    **stream: float | None,
) -> None:
    """Learn the dictionary of spectra W by sparse NMF.

    The frames are drawn so that every corpus, and every combination of classes in it, has its
    share. With --passes memory does not grow with the recordings or the frames: what is learned
    from a batch is a sum of fixed size. A checkpoint beside the output is written after each pass
    and every ten minutes; --resume goes on from it as if nothing had happened.
    """
    from audioseg_xai.archive import Archive
    from audioseg_xai.config import load_yaml, parse_config
    from audioseg_xai.nmf import NMFConfig
    from audioseg_xai.training.dictionary import make_dictionary
    from audioseg_xai.training.dictionary_stream import StreamConfig
    from audioseg_xai.training.student import StudentRun

    _check_options(click.get_current_context())
    run = load_yaml(student, StudentRun) if student else StudentRun()
    values: dict[str, Any] = {"components": components, "sparsity": sparsity, "loss": loss}
    config = parse_config(values | {"iterations": iterations, "seed": seed}, NMFConfig, "options")
    given = {name: value for name, value in stream.items() if value is not None}
    amount = parse_config(given, StreamConfig, "options") if given else frames
    sources = [Archive(folder) for folder in archives]
    make_dictionary(sources, run.network, config, amount, output, resume=resume)


def _check_options(ctx: click.Context) -> None:
    default = click.core.ParameterSource.DEFAULT
    given = {name for name in ctx.params if ctx.get_parameter_source(name) is not default}
    wrong = given & (_IN_MEMORY if "passes" in given else _STREAM)
    if wrong:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(wrong))
        how = "takes the place of" if "passes" in given else "is needed for"
        raise UsageError(f"--passes {how} {options}")


if __name__ == "__main__":
    cli()
