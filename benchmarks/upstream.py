"""Time of WavLM features: s3prl's own network and ours, on the same sound in the same run.

    python benchmarks/upstream.py               # needs: pip install -e '.[upstream]'
    python benchmarks/upstream.py --size large --threads 1

The weights are random and have the shapes of the published ones. All take the same windows of the
bundled demo in turn, round after round; the fastest round counts. Prints a Markdown table, with the
cosine of each feature vector with that of s3prl; on a GPU as well, where there is one. Then says
how far features in windows are from those of the whole recording.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import soundfile
import torch
from s3prl.upstream.wavlm.hubconf import wavlm_local

from audioseg_xai.upstream import FeatureStream, UpstreamConfig, load_upstream

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "audioseg_xai" / "assets" / "demo.flac"
SCRIPT = ROOT / "recipes" / "broadcast" / "local" / "make_wavlm.py"
RATE = 16_000

Network = Callable[[torch.Tensor], torch.Tensor]
"""From samples (B, N) to hidden states (B, T, L, D)."""


def networks(checkpoint: Path, device: str) -> dict[str, Network]:
    """Return s3prl's network and ours, by the name that the table gives them."""
    expert = wavlm_local(str(checkpoint)).eval().to(device)

    @torch.no_grad()
    def original(samples: torch.Tensor) -> torch.Tensor:
        return torch.stack(expert(list(samples.to(device)))["hidden_states"], dim=2)

    found: dict[str, Network] = {"s3prl f32": original}
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


def measure(checkpoint: Path, device: str, batches: list[torch.Tensor], rounds: int) -> None:
    """Time the networks on a device; print a row each and the ratios."""
    compared = networks(checkpoint, device)
    expected = compared["s3prl f32"](batches[0])  # also warms up
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
    for name, wall in fastest.items():
        found = cosine[name]
        speed = f"{audio / wall:.1f}x | {fastest['s3prl f32'] / wall:.2f}"
        print(
            f"| {device} | {name} | {wall:.2f} | {speed} | {found.mean():.6f} | {found.min():.6f} |"
        )


def compare_windows(checkpoint: Path, samples: torch.Tensor) -> None:
    """Say how far features in windows of the grid are from those of the whole recording."""
    config = UpstreamConfig(name="wavlm_local", checkpoint=str(checkpoint))
    upstream = load_upstream(config, "cpu")
    whole = upstream.hidden_states(samples[None])[0]
    stream = FeatureStream(upstream)
    windows = torch.cat([*stream.push(samples), *stream.finish()])
    cosine = torch.cosine_similarity(windows, whole, dim=-1).mean(0)
    print(
        f"\nWindows of {config.chunk:g} s and {config.margin:g} s on each side, against "
        f"{len(samples) / RATE:.0f} s as a whole: mean cosine {cosine[0]:.4f} of what enters the "
        f"first layer, {cosine[-1]:.4f} of the last hidden state, {cosine.min():.4f} of the worst."
    )


@click.command()
@click.option("--size", type=click.Choice(["base_plus", "large"]), default="base_plus")
@click.option("--window", default=10.0, show_default=True, help="Seconds computed at once.")
@click.option("--windows", default=4, show_default=True, help="Of the demo; on a GPU 16 times.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--threads", default=1, show_default=True, help="Of the CPU.")
def main(size: str, window: float, windows: int, rounds: int, threads: int) -> None:
    """Measure, and print a Markdown table."""
    torch.set_num_threads(threads)
    samples, rate = soundfile.read(DEMO, dtype="float32")
    assert rate == RATE
    length = round(window * RATE)
    cut = [torch.from_numpy(samples[n * length :][:length])[None] for n in range(windows)]
    if cut[-1].shape[1] < length:
        sys.exit(f"the demo has no {windows} windows of {window:g} s: say fewer or shorter ones")
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "wavlm.pt"
        subprocess.run([sys.executable, SCRIPT, checkpoint, "--size", size], check=True)
        print(
            "| device | network | wall s | real time | against s3prl | mean cosine | least cosine |"
        )
        print("|---|---|---|---|---|---|---|")
        measure(checkpoint, "cpu", cut, rounds)
        if torch.cuda.is_available():  # more at once, as a GPU needs
            measure(checkpoint, "cuda", [torch.cat(cut * 4)] * 4, rounds)
        compare_windows(checkpoint, torch.from_numpy(samples))
    if not torch.cuda.is_available():
        print("\nNo usable GPU here: the speed on one was NOT measured.")
    print(f"\n{size}, windows of {window:g} s, {threads} threads, {platform.machine()}")


if __name__ == "__main__":
    main()
