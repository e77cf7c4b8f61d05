"""Where networks run: what `--device` means."""

from __future__ import annotations

import ctypes
from pathlib import Path

from audioseg_xai.errors import UsageError


def resolve_device(name: str) -> str:
    """Return the torch device for a name: ``auto`` is a GPU when there is one, else the CPU.

    Parameters
    ----------
    name : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises
    ------
    UsageError
        If a GPU is asked for that is not there: work never moves silently to the CPU.
    """
    if name == "cpu" or (name == "auto" and not _has_gpu_driver()):
        return "cpu"
    import torch

    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "cuda" if found else "cpu"
    if name.startswith("cuda") and int(name.partition(":")[2] or 0) >= found:
        raise UsageError(f"--device {name}: this machine has {found} usable GPUs: say cpu or auto")
    return name


def fabric_device(name: str, processes: int = 1) -> tuple[str, int | list[int]]:
    """Return accelerator and devices, as lightning-fabric wants them, for a name.

    Parameters
    ----------
    name : str
        As for `resolve_device`.
    processes : int, optional
        How many of this machine there are, each with a device of its own.

    Raises
    ------
    UsageError
        If there are fewer GPUs than processes, or `name` is one GPU for several of them.
    """
    kind, _, number = resolve_device(name).partition(":")
    if processes == 1:
        return kind, [int(number)] if number else 1
    if number:
        raise UsageError(f"--device {name}: is one GPU, for {processes} processes: say cuda")
    if kind == "cuda":
        resolve_device(f"cuda:{processes - 1}")
    return kind, processes


def _has_gpu_driver() -> bool:
    """Tell whether there can be a GPU: whoever has none need not wait for PyTorch to say so."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return Path("/dev/kfd").exists()  # AMD
    return True
