"""Measure the explanations of a model on recordings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from audioseg_xai.annotation import Segment
from audioseg_xai.audio import read_audio
from audioseg_xai.errors import ModelError
from audioseg_xai.faithfulness.decision import Decision
from audioseg_xai.faithfulness.evaluation import (
    Attribution,
    Examiner,
    FaithfulnessConfig,
    Measured,
    summarise,
)
from audioseg_xai.features import log_spectrogram
from audioseg_xai.frames import FRAME_SHIFT
from audioseg_xai.models.fold import folded
from audioseg_xai.models.networks import Student
from audioseg_xai.pipeline import Pipeline
from audioseg_xai.recordings import Recording

_MIN_FRAMES = 5


@dataclass(frozen=True)
class Limits:
    """Which of the decided segments are measured.

    Attributes
    ----------
    segments : int
        A class, drawn at random over all recordings.
    duration : float
        Of longer segments a random part of so many seconds.
    """

    segments: int = 20
    duration: float = 4.0


@dataclass(frozen=True)
class Study:
    """What was measured.

    Attributes
    ----------
    measured : list of Measured
        A decision each.
    shares : list of float
        Where curves were measured.
    errors : dict of str to list of float
        Relative reconstruction error in eighths of the spectrum, a class and of ``all``.
    """

    measured: list[Measured]
    shares: list[float]
    errors: dict[str, list[float | None]]

    def figures(self) -> dict[str, Any]:
        """Return all figures as plain numbers, for JSON."""
        return {
            "methods": summarise(self.measured, np.array(self.shares)),
            "curves": self._curves(),
            "selected components": _by_class(self.measured, lambda item: item.selected),
            "energy removed": _by_class(self.measured, lambda item: item.energy),
            "incompleteness": max(item.incompleteness for item in self.measured),
            "stability": {
                name: float(np.mean([item.stability[name] for item in self.measured]))
                for name in self.measured[0].stability
            },
            "reconstruction error, eighths of the spectrum": self.errors,
        }

    def _curves(self) -> dict[str, Any]:
        return {
            method: {
                kind: np.mean(
                    [getattr(item.trials[method], kind) for item in self.measured], axis=0
                ).tolist()
                for kind in ("deletion", "insertion")
            }
            for method in self.measured[0].trials
        } | {"shares": self.shares}


def study(
    pipeline: Pipeline,
    recordings: Sequence[Recording],
    config: FaithfulnessConfig,
    limits: Limits,
    baselines: dict[str, Attribution],
    progress: Any = iter,
) -> Study:
    """Measure the explanations of decided segments.

    Parameters
    ----------
    pipeline : Pipeline
        With a student that listens to spectrograms.
    recordings : sequence of Recording
        They are segmented first; whole recordings are held in memory, one at a time.
    config : FaithfulnessConfig
        What to measure.
    limits : Limits
        How many segments.
    baselines : dict of str to callable
        Other attribution methods.
    progress : callable, optional
        Wraps the list of segments.

    Raises
    ------
    ModelError
        If nothing is decided in any recording, or the model is a teacher.
    """
    network = folded(pipeline.network)
    if not isinstance(network, Student):
        raise ModelError("this model is a teacher, a black box: measure a student")
    rng = np.random.default_rng(config.seed)
    chosen = _choose(pipeline, recordings, limits, rng)
    examiner = Examiner(config, baselines)
    measured, held, log_power = [], None, torch.empty(0)
    for recording, segment in progress(chosen):
        if recording is not held:
            samples = torch.from_numpy(read_audio(recording.path))
            held, log_power = recording, log_spectrogram(samples, network.config.spectrogram)
        start, stop = _frames(segment, len(log_power), limits, rng)
        decision = Decision(
            network, log_power, start, stop, pipeline.model.classes.index(segment.label)
        )
        threshold = pipeline.decoding[segment.label].offset
        measured.append(examiner.examine(decision, segment.label, threshold))
    errors = {name: examiner.errors.relative(name)[1] for name in examiner.errors.frames}
    return Study(measured, examiner.shares.tolist(), errors)


def _choose(
    pipeline: Pipeline, recordings: Sequence[Recording], limits: Limits, rng: np.random.Generator
) -> list[tuple[Recording, Segment]]:
    found = [
        (recording, segment)
        for recording in recordings
        for segment in pipeline.segment(recording).segments
        if segment.duration >= _MIN_FRAMES * FRAME_SHIFT
    ]
    chosen: set[int] = set()
    for name in pipeline.decoding:
        members = [i for i, (_, segment) in enumerate(found) if segment.label == name]
        chosen |= set(rng.permutation(members)[: limits.segments].tolist()) if members else set()
    if not chosen:
        raise ModelError("the model decides nothing in these recordings: nothing can be measured")
    return [found[i] for i in sorted(chosen)]


def _frames(
    segment: Segment, num_frames: int, limits: Limits, rng: np.random.Generator
) -> tuple[int, int]:
    start = min(round(segment.onset / FRAME_SHIFT), num_frames - 1)
    stop = min(max(round(segment.offset / FRAME_SHIFT), start + 1), num_frames)
    longest = max(1, round(limits.duration / FRAME_SHIFT))
    if stop - start > longest:
        start += int(rng.integers(stop - start - longest + 1))
        stop = start + longest
    return start, stop


def _by_class(measured: Sequence[Measured], value: Any) -> dict[str, float]:
    return {
        name: float(np.mean([value(item) for item in measured if item.label == name]))
        for name in sorted({item.label for item in measured})
    }
