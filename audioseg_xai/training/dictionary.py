"""What a dictionary is learned from, and the file it lives in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from audioseg_xai.archive import Archive
from audioseg_xai.errors import ModelError
from audioseg_xai.files import atomic_path
from audioseg_xai.models.level import LevelNorm
from audioseg_xai.models.networks import NetworkConfig
from audioseg_xai.nmf import Dictionary
from audioseg_xai.provenance import provenance
from audioseg_xai.training.data import check_bins

_MAX_RECORDINGS = 400


def balanced_frames(
    archive: Archive, network: NetworkConfig, frames: int, seed: int
) -> torch.Tensor:
    """Return normalised spectra drawn so that each combination of classes has its share.

    Parameters
    ----------
    archive : Archive
        Labelled recordings; at most 400 of them, drawn at random, are read.
    network : NetworkConfig
        Its level normalisation.
    frames : int
        How many spectra to return, at most.
    seed : int
        Of the draw.

    Returns
    -------
    torch.Tensor, shape (n, F)
        Non-negative spectra, in random order.

    Raises
    ------
    ArchiveError
        If the archive was made with another FFT size than the network's.
    """
    check_bins(archive, network.spectrogram.num_bins)
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(archive))[:_MAX_RECORDINGS]
    level = LevelNorm(network.level, network.spectrogram.fft_size)
    spectra, kinds = [], []
    for index in chosen:
        spectrogram, labels, _ = archive.read(archive.entries[index])
        normalised = level(torch.from_numpy(spectrogram).float().unsqueeze(0))[0]
        kept = rng.permutation(len(labels))[: max(1, 4 * frames // len(chosen))]
        spectra.append(normalised[kept])
        kinds.append((labels[kept] == 1) @ (2 ** np.arange(labels.shape[1])))
    picked = _balance(np.concatenate(kinds), frames, rng)
    return torch.cat(spectra)[torch.from_numpy(picked)]


def _balance(kinds: NDArray[np.integer], frames: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return indices with as equal a share of each kind as there are frames for."""
    order = rng.permutation(len(kinds))
    rank = np.empty(len(kinds), dtype=np.int64)  # how many of its kind come before a frame
    for kind in np.unique(kinds):
        members = order[kinds[order] == kind]
        rank[members] = np.arange(len(members))
    picked: NDArray[np.intp] = order[np.argsort(rank[order], kind="stable")][:frames]
    return rng.permutation(picked)


def save_dictionary(
    dictionary: Dictionary,
    path: str | Path,
    settings: Mapping[str, Any] | None = None,
    inputs: Mapping[str, str] | None = None,
) -> None:
    """Write a dictionary to a safetensors file.

    Parameters
    ----------
    dictionary : Dictionary
        W (F, K) and the mean activations (K,) become tensors, the rest metadata.
    path : str or Path
        The file to write.
    settings, inputs : mapping, optional
        Configuration, and name to digest of what went in, for the provenance in the metadata.
    """
    tensors = {"atoms": dictionary.atoms.contiguous(), "mean": dictionary.mean_activations}
    origin = provenance(settings) | {"inputs": dict(inputs or {})}
    facts = {
        "relative_error": repr(dictionary.relative_error),
        "sparsity": repr(dictionary.sparsity),
        "provenance": json.dumps(origin),
    }
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, facts)


def load_dictionary(path: str | Path) -> Dictionary:
    """Read what `save_dictionary` wrote.

    Raises
    ------
    ModelError
        If the file is missing, or is no dictionary, or does not say how sparse it is.
    """
    try:
        with safe_open(path, framework="pt") as handle:
            facts = handle.metadata() or {}
            return Dictionary(
                handle.get_tensor("atoms"),
                handle.get_tensor("mean"),
                relative_error=float(facts["relative_error"]),
                sparsity=float(facts["sparsity"]),
            )
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise ModelError(
            f"{path}: is no dictionary ({error}): make one with 'xai-segment learn-dictionary'"
        ) from None
