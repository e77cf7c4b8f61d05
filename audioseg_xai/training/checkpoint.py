"""What a stopped training goes on from: one file, whole or as it was before."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from audioseg_xai.errors import TrainingError
from audioseg_xai.files import atomic_path
from audioseg_xai.training.identity import differences


class Checkpoint:
    """The checkpoint of a run.

    Parameters
    ----------
    path : Path
        The file.
    fingerprint : mapping
        Settings and digests of all that shapes the run (JSON values): the checkpoint of a run with
        another fingerprint is refused.
    steps : int, optional
        Steps after which it is due again, besides validations.
    minutes : float, optional
        Minutes after which it is due again.
    """

    def __init__(
        self,
        path: Path,
        fingerprint: Mapping[str, Any],
        steps: int | None = None,
        minutes: float | None = None,
    ) -> None:
        self.path, self.fingerprint = path, dict(fingerprint)
        self._steps, self._minutes = steps, minutes
        self._saved = time.monotonic()

    def due(self, step: int) -> bool:
        """Tell whether it is time to save after `step`."""
        minutes = (time.monotonic() - self._saved) / 60
        by_steps = self._steps is not None and step % self._steps == 0
        return by_steps or (self._minutes is not None and minutes >= self._minutes)

    def save(self, state: Mapping[str, Any]) -> None:
        """Write a state; a program that is killed meanwhile leaves the one before."""
        with atomic_path(self.path) as temporary:
            torch.save({**state, "fingerprint": self.fingerprint}, temporary)
        self._saved = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """Return the state that was saved, None if there is none.

        Raises
        ------
        TrainingError
            If it belongs to another run.
        """
        if not self.path.exists():
            return None
        state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        differing = differences(state.get("fingerprint", {}), self.fingerprint)
        if differing:
            raise TrainingError(
                f"{self.path}: belongs to a run with another configuration "
                f"({', '.join(differing)}): delete it or choose another output folder"
            )
        return state
