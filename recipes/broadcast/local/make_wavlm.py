#!/usr/bin/env python3
"""Write a WavLM with random weights, in the format of its checkpoints.

    python local/make_wavlm.py OUTPUT --seed 0

For trying out the recipe without the real weights: a tiny network computes its features in no
time. They are random functions of the sound, yet functions of the sound, so a teacher can learn
from them. --size base_plus and large have the shapes of the published models, to measure time
and memory. Size and seed give the same weights with the same version of torch.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import click

from audioseg_xai.cli import command, log, overwrite_option, seed_option
from audioseg_xai.errors import UsageError

GATED = {"relative_position_embedding": True, "gru_rel_pos": True}
TINY = GATED | {
    "conv_feature_layers": "[(24,10,5)] + [(24,3,2)] * 4 + [(24,2,2)] * 2",
    "encoder_layers": 3,
    "encoder_embed_dim": 32,
    "encoder_ffn_embed_dim": 64,
    "encoder_attention_heads": 4,
    "conv_pos": 32,
    "conv_pos_groups": 4,
    "num_buckets": 32,
    "max_distance": 80,
}
LARGE = GATED | {
    "extractor_mode": "layer_norm",
    "normalize": True,
    "layer_norm_first": True,
    "encoder_layers": 24,
    "encoder_embed_dim": 1024,
    "encoder_ffn_embed_dim": 4096,
    "encoder_attention_heads": 16,
    "max_distance": 800,
}
SIZES: dict[str, dict[str, Any]] = {"tiny": TINY, "base_plus": GATED, "large": LARGE}


def write_checkpoint(path: Path, settings: dict[str, Any], seed: int = 0) -> None:
    """Write a checkpoint ``{"cfg": settings, "model": random weights}``, whole or not at all."""
    import torch

    from audioseg_xai.files import atomic_path
    from audioseg_xai.upstream.libraries import wavlm_modules

    _, wavlm = wavlm_modules()
    with torch.random.fork_rng([]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # s3prl uses what torch is about to drop
        torch.manual_seed(seed)
        weights = wavlm.WavLM(wavlm.WavLMConfig(settings)).state_dict()
    # An open file: given a path, torch writes its (temporary) name into the file.
    with atomic_path(path) as temporary, open(temporary, "wb") as handle:
        torch.save({"cfg": settings, "model": weights}, handle)


@command()
@click.argument("output", type=Path)
@click.option("--size", type=click.Choice(list(SIZES)), default="tiny", help="Of the network.")
@seed_option
@overwrite_option
def cli(output: Path, size: str, seed: int, overwrite: bool) -> None:
    """Write a WavLM with random weights to OUTPUT."""
    if output.exists() and not overwrite:
        raise UsageError(f"{output}: is there already: say --overwrite to write it again")
    write_checkpoint(output, SIZES[size], seed)
    log.info(f"{size} WavLM with random weights: {output}")


if __name__ == "__main__":
    cli()
