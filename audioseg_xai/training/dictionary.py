"""The making of a dictionary from archives, and the file it lives in."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_args

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from audioseg_xai.archive import Archive
from audioseg_xai.errors import ModelError, TrainingError, UsageError
from audioseg_xai.files import atomic_path
from audioseg_xai.models.networks import NetworkConfig
from audioseg_xai.nmf import Dictionary, LossName, NMFConfig, learn_dictionary
from audioseg_xai.provenance import provenance
from audioseg_xai.training.dictionary_errors import class_errors, log_errors
from audioseg_xai.training.dictionary_stream import StreamConfig, StreamRun
from audioseg_xai.training.frame_sampling import FrameSample, FrameSampler
from audioseg_xai.training.identity import archive_digest

log = logging.getLogger(__name__)

_REPORTED = 20_000
"""Frames that the errors are computed on, at most."""


def make_dictionary(
    archives: Sequence[Archive],
    network: NetworkConfig,
    config: NMFConfig,
    amount: int | StreamConfig,
    output: str | Path,
    *,
    resume: bool = False,
) -> Dictionary:
    """Learn a dictionary from archives, report its errors, and write it to a file.

    Parameters
    ----------
    archives : sequence of Archive
        Labelled recordings, one archive a corpus; only their spectrograms are learned from.
    network : NetworkConfig
        Its level normalisation and FFT size.
    config : NMFConfig
        What to learn.
    amount : int or StreamConfig
        How many frames to hold in memory and learn from, or how to learn from a stream.
    output : str or Path
        The file to write. A stream keeps a checkpoint beside it until it has learned all.
    resume : bool, optional
        Whether to go on from the checkpoint of a stream, if there is one.

    Returns
    -------
    Dictionary
        What has been written; `class_errors` stands in its facts under ``errors``.

    Raises
    ------
    TrainingError
        If there is a checkpoint that is not to be resumed, or cannot be, or nothing to learn from.
    ArchiveError
        If an archive is damaged, or was made with another FFT size than the network's.
    UsageError
        If an archive is given twice.
    """
    _check_distinct(archives)
    checkpoint = _checkpoint_of(output)
    if isinstance(amount, StreamConfig):
        _check_checkpoint(checkpoint, resume)
    sampler = FrameSampler(archives, network, config.seed)
    if isinstance(amount, StreamConfig):
        learned, samples = _learn_stream(sampler, config, amount, checkpoint, resume)
        settings: dict[str, Any] = amount.model_dump()
    else:
        learned, samples = _learn_in_memory(sampler, config, amount)
        settings = {"frames": amount}
    names = corpus_names(archives)
    _report(learned, samples, names)
    level = network.model_dump(mode="json")["level"]
    digests = [archive_digest(archive) for archive in archives]
    save_dictionary(
        learned,
        output,
        {**config.model_dump(), **settings, "level": level},
        dict(zip(names if len(names) > 1 else ["archive"], digests, strict=True)),
    )
    if learned.facts.get("finished"):
        checkpoint.unlink(missing_ok=True)
    return learned


def _learn_in_memory(
    sampler: FrameSampler, config: NMFConfig, frames: int
) -> tuple[Dictionary, Iterable[FrameSample]]:
    sample = sampler.sample(frames)
    learned = learn_dictionary(
        sample.spectra, config, lambda sweep, value: log.debug("sweep %d: %.4f", sweep, value)
    )
    learned.facts |= {"frames": len(sample.spectra), "objective": learned.objective}
    return learned, [FrameSample(*(part[:_REPORTED] for part in sample))]


def _learn_stream(
    sampler: FrameSampler, config: NMFConfig, stream: StreamConfig, checkpoint: Path, resume: bool
) -> tuple[Dictionary, Iterable[FrameSample]]:
    run = StreamRun(sampler, config, stream, checkpoint)
    if checkpoint.exists():
        run.resume()
    elif resume:
        log.info("%s: no checkpoint, so learning begins at the beginning", checkpoint)
    return run.run(), sampler.draw(_REPORTED, "report")


def _report(learned: Dictionary, samples: Iterable[FrameSample], names: Sequence[str]) -> None:
    errors = class_errors(samples, learned, names)
    learned.facts["errors"] = errors
    log.info("%d frames, relative error %.4f", learned.facts["frames"], learned.relative_error)
    log_errors(errors)


def _check_distinct(archives: Sequence[Archive]) -> None:
    counted = Counter(archive.folder.resolve() for archive in archives)
    twice = [archive.folder for archive in archives if counted[archive.folder.resolve()] > 1]
    if twice:
        raise UsageError(f"--archive {twice[0]} is given twice: its frames would count twice")


def _check_checkpoint(checkpoint: Path, resume: bool) -> None:
    if checkpoint.exists() and not resume:
        raise TrainingError(
            f"{checkpoint}: an earlier run stopped here: give --resume to go on, or delete it"
        )


def _checkpoint_of(output: str | Path) -> Path:
    return Path(output).with_suffix(".checkpoint.safetensors")


def corpus_names(archives: Sequence[Archive]) -> list[str]:
    """Return a name for each archive: its folder's, with the parent's where they are alike."""
    names = [archive.folder.resolve().name for archive in archives]
    if len(set(names)) == len(names):
        return names
    folders = [archive.folder.resolve() for archive in archives]
    longer = [f"{folder.parent.name}/{folder.name}" for folder in folders]
    if len(set(longer)) == len(longer):
        return longer
    return [f"{number}:{name}" for number, name in enumerate(longer, start=1)]


def balanced_frames(
    archive: Archive, network: NetworkConfig, frames: int, seed: int
) -> torch.Tensor:
    """Return normalised spectra drawn so that each combination of classes has its share.

    Parameters
    ----------
    archive : Archive
        Labelled recordings.
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
    return FrameSampler([archive], network, seed).sample(frames).spectra


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
    metadata = {
        "relative_error": repr(dictionary.relative_error),
        "sparsity": repr(dictionary.sparsity),
        "loss": dictionary.loss,
        "facts": json.dumps(dictionary.facts),
        "provenance": json.dumps(origin),
    }
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata)


def load_dictionary(path: str | Path) -> Dictionary:
    """Read what `save_dictionary` wrote, or earlier versions of it, which knew one loss.

    Raises
    ------
    ModelError
        If the file is missing, or is no dictionary, or does not say how sparse it is.
    """
    try:
        with safe_open(path, framework="pt") as handle:
            metadata = handle.metadata() or {}
            facts = json.loads(metadata.get("facts", "{}"))
            return Dictionary(
                handle.get_tensor("atoms"),
                handle.get_tensor("mean"),
                relative_error=float(metadata["relative_error"]),
                objective=facts.get("objective", []),
                sparsity=float(metadata["sparsity"]),
                loss=_loss_name(metadata.get("loss", "frobenius")),
                facts=facts,
            )
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise ModelError(
            f"{path}: is no dictionary ({error}): make one with 'xai-segment learn-dictionary'"
        ) from None


def _loss_name(name: str) -> LossName:
    if name not in get_args(LossName):
        raise ValueError(f"its loss is {name!r}")
    return cast(LossName, name)
