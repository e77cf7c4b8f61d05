"""Where networks run: what `--device` means."""

from __future__ import annotations

import torch

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
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "cuda" if found else "cpu"
    if name.startswith("cuda") and int(name.partition(":")[2] or 0) >= found:
        raise UsageError(f"--device {name}: this machine has {found} usable GPUs: say cpu or auto")
    return name


def fabric_device(name: str) -> tuple[str, int | list[int]]:
    """Return accelerator and devices, as lightning-fabric wants them, for a name."""
    kind, _, number = resolve_device(name).partition(":")
    return kind, [int(number)] if number else 1
