"""What a run was made of: digests of its inputs, and where two such descriptions differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch

from audioseg_xai.archive import Archive
from audioseg_xai.models.directory import Model
from audioseg_xai.nmf import Dictionary


def archive_digest(archive: Archive) -> str:
    """Return the SHA-256 of what the index of an archive lists: recordings, and their labels.

    An index that was written before it told digests of labels keeps the digest that it had.
    """
    rows = [
        [entry.uri, entry.file, entry.num_frames, *filter(None, [entry.labels_digest])]
        for entry in archive.entries
    ]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def dictionary_digest(dictionary: Dictionary) -> str:
    """Return the SHA-256 of W and of what H begins at."""
    facts = {"atoms": dictionary.atoms, "mean": dictionary.mean_activations}
    return _tensors_digest(facts | {"sparsity": torch.tensor(dictionary.sparsity)})


def model_digest(model: Model) -> str:
    """Return the digest of a model, computed from its weights if it was never saved."""
    return model.digest or _tensors_digest(model.network.state_dict())


def differences(one: Any, other: Any, name: str = "") -> list[str]:
    """Return the dotted names of the values in which two nested mappings differ."""
    if not (isinstance(one, Mapping) and isinstance(other, Mapping)):
        return [] if one == other else [name]
    found = []
    for key in sorted({*one, *other}):
        inner = f"{name}.{key}" if name else key
        found += differences(one.get(key), other.get(key), inner)
    return found


def _tensors_digest(tensors: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {tuple(values.shape)} {values.dtype}\n".encode())
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()
