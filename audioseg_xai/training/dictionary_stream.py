"""The learning of a dictionary from a stream of frames, which can be stopped and resumed."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from audioseg_xai.config import Config
from audioseg_xai.errors import TrainingError
from audioseg_xai.files import atomic_path
from audioseg_xai.nmf import Dictionary, NMFConfig, StreamingLearner
from audioseg_xai.training.frame_sampling import FrameSampler
from audioseg_xai.training.identity import archive_digest, differences

log = logging.getLogger(__name__)

_HELD = 4096
"""Frames that stay in memory: the atoms begin as some of them, the objective is theirs."""


class StreamConfig(Config):
    """How long to learn.

    Attributes
    ----------
    passes : int
        Draws of frames to learn from, one after the other.
    frames_per_pass : int
        Frames of a draw.
    max_minutes : float, optional
        Time after which to stop, whatever is left to do.
    checkpoint_minutes : float
        Time between checkpoints; there is one after each pass as well.
    """

    passes: int = Field(default=3, ge=1)
    frames_per_pass: int = Field(default=1_000_000, ge=1)
    max_minutes: float | None = Field(default=None, gt=0)
    checkpoint_minutes: float = Field(default=10.0, gt=0)


class StreamRun:
    """Learns a dictionary from what a sampler draws, in memory that does not grow with it.

    Parameters
    ----------
    sampler : FrameSampler
        Gives the frames; pass `p` learns from draw number `p`.
    config : NMFConfig
        What to learn.
    stream : StreamConfig
        How long.
    checkpoint : Path
        The file that a stopped run goes on from. It depends on the frames learned so far alone,
        so on one thread a resumed run ends at exactly the dictionary of one that never stopped.

    Attributes
    ----------
    passes, batches : int
        Whole passes that are done, and batches of the one after them.
    """

    def __init__(
        self, sampler: FrameSampler, config: NMFConfig, stream: StreamConfig, checkpoint: Path
    ) -> None:
        self.sampler, self.config, self.stream = sampler, config, stream
        self.checkpoint = checkpoint
        self.passes = self.batches = 0
        self.learner = StreamingLearner(sampler.sample(_HELD, "hold").spectra, config)

    @property
    def finished(self) -> bool:
        """Whether all passes are done."""
        return self.passes >= self.stream.passes

    def run(self) -> Dictionary:
        """Learn until all passes are done or the time is up; `checkpoint` says how far it came."""
        for save in self._moments():
            if save:
                self._save()
        if not self.finished:
            log.info("time is up in pass %d of %d", self.passes + 1, self.stream.passes)
        learned = self.learner.dictionary()
        learned.facts |= {
            "frames": self.learner.seen,
            "passes": self.passes,
            "finished": self.finished,
            "objective": learned.objective,
        }
        return learned

    def _moments(self) -> Iterator[bool]:
        """Learn a batch or finish a pass at a time; yield whether it is time for a checkpoint."""
        started = saved = time.monotonic()
        limit = 60 * self.stream.max_minutes if self.stream.max_minutes else float("inf")
        for whole in self._steps():
            now = time.monotonic()
            over = now - started >= limit
            due = whole or over or now - saved >= 60 * self.stream.checkpoint_minutes
            if due:
                saved = now
            yield due
            if over:
                return

    def _steps(self) -> Iterator[bool]:
        """Learn a batch or finish a pass at a time; yield whether a pass is finished."""
        while not self.finished:
            draw = self.sampler.draw(self.stream.frames_per_pass, "learn", self.passes)
            for sample in islice(draw, self.batches, None):
                self.learner.learn(sample.spectra)
                self.batches += 1
                yield False
            objective = self.learner.finish_pass()
            self.passes, self.batches = self.passes + 1, 0
            log.info("pass %d of %d: objective %.4f", self.passes, self.stream.passes, objective)
            yield True

    def _fingerprint(self) -> dict[str, Any]:
        kinds = {":".join(map(str, kind)): n for kind, n in self.sampler.counts.items()}
        return {
            "options": self.config.model_dump(include=set(_SHAPING)),
            "frames-per-pass": self.stream.frames_per_pass,
            "level": self.sampler.level.model_dump(),
            "archives": [archive_digest(archive) for archive in self.sampler.archives],
            "labels": kinds,
        }

    def _save(self) -> None:
        facts = {
            "fingerprint": json.dumps(self._fingerprint()),
            "passes": str(self.passes),
            "batches": str(self.batches),
        }
        with atomic_path(self.checkpoint) as temporary:
            tensors = {name: each.contiguous() for name, each in self.learner.state().items()}
            save_file(tensors, temporary, facts)

    def resume(self) -> None:
        """Go on from the checkpoint.

        Raises
        ------
        TrainingError
            If it cannot be read, or belongs to a run with other settings or archives.
        """
        state, facts = _read(self.checkpoint)
        try:
            found = json.loads(facts["fingerprint"])
            self._check(found)
            self.passes, self.batches = int(facts["passes"]), int(facts["batches"])
            self.learner.restore(state)
        except (KeyError, ValueError) as error:
            raise _unreadable(self.checkpoint, error) from None
        log.info("resumed after %d passes and %d batches", self.passes, self.batches)

    def _check(self, found: Mapping[str, Any]) -> None:
        differing = differences(found, self._fingerprint())
        if differing:
            raise TrainingError(
                f"{self.checkpoint}: belongs to a run with other settings or archives "
                f"({', '.join(differing)}): give those, or delete it"
            )


_SHAPING = ("components", "sparsity", "loss", "seed")


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as handle:
            # Copies: the file is replaced while the tensors live.
            tensors = {name: handle.get_tensor(name).clone() for name in handle.keys()}  # noqa: SIM118
            return tensors, handle.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> TrainingError:
    return TrainingError(
        f"{path}: is no checkpoint of learn-dictionary ({error}): delete it, and run without "
        "--resume"
    )
