"""Time of WavLM features: s3prl's own network and ours, on the same sound in the same run.

    python benchmarks/upstream.py               # needs: pip install -e '.[upstream]'
    python benchmarks/upstream.py --size large --threads 1

The weights are random and have the shapes of the published ones. All take the same windows of the
bundled demo in turn, round after round; the fastest round counts. Prints a Markdown table, with the
cosine of each feature vector with that of s3prl; on a GPU as well, where there is one. Then says
how far features in windows are from those of the whole recording.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import soundfile
import torch
from machine import gemm_peak
from results import Cell, Limit, Result, options, publish
from s3prl.upstream.wavlm.hubconf import wavlm_local
from torch.utils.flop_counter import FlopCounterMode

from audioseg_xai.upstream import FeatureStream, UpstreamConfig, load_upstream

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "audioseg_xai" / "assets" / "demo.flac"
SCRIPT = ROOT / "recipes" / "broadcast" / "local" / "make_wavlm.py"
RATE = 16_000
REFERENCE = "s3prl f32"
GFLOPS = "GFLOP/s"

Network = Callable[[torch.Tensor], torch.Tensor]
"""From samples (B, N) to hidden states (B, T, L, D)."""


def networks(checkpoint: Path, device: str) -> dict[str, Network]:
    """Return s3prl's network and ours, by the name that the table gives them."""
    expert = wavlm_local(str(checkpoint)).eval().to(device)

    @torch.no_grad()
    def original(samples: torch.Tensor) -> torch.Tensor:
        return torch.stack(expert(list(samples.to(device)))["hidden_states"], dim=2)

    found: dict[str, Network] = {REFERENCE: original}
    for precision in ("f32", "bf16"):
        config = UpstreamConfig.model_validate(
            {"name": "wavlm_local", "checkpoint": str(checkpoint), "precision": precision}
        )
        found[f"ours {precision}"] = load_upstream(config, device).hidden_states
    return found


def seconds(network: Network, batches: list[torch.Tensor], device: str) -> float:
    """Return what a network takes for all batches, in seconds of wall time."""
    started = time.perf_counter()
    for batch in batches:
        network(batch)
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - started


def measure(
    checkpoint: Path, device: str, batches: list[torch.Tensor], rounds: int
) -> list[dict[str, Cell]]:
    """Time the networks on a device; return a row each."""
    compared = networks(checkpoint, device)
    expected = compared[REFERENCE](batches[0])  # also warms up
    audio = sum(batch.numel() for batch in batches) / RATE
    cosine = {
        name: torch.cosine_similarity(network(batches[0]), expected, dim=-1)
        for name, network in compared.items()
    }
    taken = [
        {name: seconds(network, batches, device) for name, network in compared.items()}
        for _ in range(rounds)
    ]
    fastest = {name: min(once[name] for once in taken) for name in compared}
    return [
        {"device": device, "network": name, "wall s": wall, "real time": audio / wall,
         "against s3prl": fastest[REFERENCE] / wall, "mean cosine": f"{cosine[name].mean():.6f}",
         "least cosine": f"{cosine[name].min():.6f}"}
        for name, wall in fastest.items()
    ]  # fmt: skip


def operations(checkpoint: Path, batches: list[torch.Tensor]) -> float:
    """Return the operations of products and convolutions for all batches."""
    with FlopCounterMode(display=False) as counter:
        networks(checkpoint, "cpu")["ours f32"](batches[0])
    return counter.get_total_flops() * len(batches)


def compare_windows(checkpoint: Path, samples: torch.Tensor) -> dict[str, Cell]:
    """Return how far features in windows of the grid are from those of the whole recording."""
    config = UpstreamConfig(name="wavlm_local", checkpoint=str(checkpoint))
    upstream = load_upstream(config, "cpu")
    whole = upstream.hidden_states(samples[None])[0]
    stream = FeatureStream(upstream)
    windows = torch.cat([*stream.push(samples), *stream.finish()])
    cosine = torch.cosine_similarity(windows, whole, dim=-1).mean(0)
    return {
        "window s": config.chunk, "margin s": config.margin, "recording s": len(samples) / RATE,
        "mean cosine, before the first layer": f"{cosine[0]:.4f}",
        "last layer": f"{cosine[-1]:.4f}", "worst": f"{cosine.min():.4f}",
    }  # fmt: skip


@click.command()
@click.option("--size", type=click.Choice(["base_plus", "large"]), default="base_plus")
@click.option("--window", default=10.0, show_default=True, help="Seconds computed at once.")
@click.option("--windows", default=4, show_default=True, help="Of the demo; on a GPU 16 times.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--threads", default=1, show_default=True, help="Of the CPU.")
@options
def main(
    size: str,
    window: float,
    windows: int,
    rounds: int,
    threads: int,
    quick: bool,
    json_path: Path | None,
) -> None:
    """Measure, and print Markdown tables."""
    torch.set_num_threads(threads)
    if quick:
        windows, rounds = 1, 1
    samples, rate = soundfile.read(DEMO, dtype="float32")
    assert rate == RATE
    length = round(window * RATE)
    cut = [torch.from_numpy(samples[n * length :][:length])[None] for n in range(windows)]
    if cut[-1].shape[1] < length:
        sys.exit(f"the demo has no {windows} windows of {window:g} s: say fewer or shorter ones")
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "wavlm.pt"
        subprocess.run([sys.executable, SCRIPT, checkpoint, "--size", size], check=True)
        rows = measure(checkpoint, "cpu", cut, rounds)
        wall = float(rows[1]["wall s"])
        reached = operations(checkpoint, cut) / wall / 1e9
        if torch.cuda.is_available():  # more at once, as a GPU needs
            rows += measure(checkpoint, "cuda", [torch.cat(cut * 4)] * 4, rounds)
        apart = compare_windows(
            checkpoint, torch.from_numpy(samples[: 20 * RATE if quick else None])
        )
    bound = Limit(
        "ours f32, against products on one thread", reached, threads * gemm_peak(), GFLOPS
    )
    ratios = {f"speed of {row['network']} on {row['device']} / s3prl": float(row["against s3prl"])
              for row in rows if row["network"] != REFERENCE}  # fmt: skip
    described: list[dict[str, Cell]] = [{"weights": "random", "size": size, "threads": threads}]
    publish(Result("upstream", [*rows, apart, *described], ratios, [bound]), json_path)
    if not torch.cuda.is_available():
        print("\nNo usable GPU here: the speed on one was NOT measured.")


if __name__ == "__main__":
    main()
