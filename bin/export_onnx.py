"""Write a model as an ONNX graph, for programs without PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from audioseg_xai.cli import command, log

if TYPE_CHECKING:
    from audioseg_xai.exports import Input


@command("export-onnx")
@click.option("--model", metavar="DIR", help="Model directory; else the one that ships.")
@click.option("--output", required=True, type=Path, metavar="FILE", help="Such as model.onnx.")
@click.option(
    "--input",
    "source",
    type=click.Choice(["waveform", "spectrogram"]),
    default="waveform",
    help="What the graph takes.",
)
def cli(model: str | None, output: Path, source: Input) -> None:
    """Write a model as one graph from 16 kHz samples to probabilities and activations.

    The graph takes waveform (1, samples), 400 or more in [-1, 1], or the log spectrogram (1,
    frames, bins), and gives probabilities (1, frames, classes) and, of a student, activations (1,
    frames, components): a frame every 20 ms. It is compared with PyTorch before it is written.
    Thresholds, classes, licence and more are in its metadata, and in a JSON file beside it;
    examples/onnx_segment.py makes segments with these, onnxruntime and NumPy.
    """
    from audioseg_xai.exports import export_onnx
    from audioseg_xai.models.directory import load_model
    from audioseg_xai.recordings import check_outputs

    check_outputs([], [output, output.with_suffix(".json")])
    difference = export_onnx(load_model(model), output, source)
    log.info(f"{output}: differs from PyTorch by {difference:.1g} at most")


if __name__ == "__main__":
    cli()
