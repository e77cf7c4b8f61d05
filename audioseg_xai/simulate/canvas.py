"""The sheet that tracks are laid on, and the labels that follow from what was laid where."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from audioseg_xai.annotation import Segment
from audioseg_xai.simulate.activity import (
    GRID,
    GRID_RATE,
    Floats,
    Mask,
    cell_power,
    cells,
    decibels,
    drop,
    fill,
    loud_level,
    pad,
    runs,
    smooth,
)
from audioseg_xai.simulate.config import AudibleLabels, SimulationConfig, SpeechLabels


@dataclass(frozen=True)
class Sound:
    """What was laid down of one background: its kind, and its cell powers on the whole sheet."""

    kind: str
    power: Floats


class Canvas:
    """A recording in the making.

    Parameters
    ----------
    size : int
        Samples; a multiple of 160.
    keep_stems : bool
        Whether to keep the sum of each kind apart as well, in `stems`.

    Attributes
    ----------
    samples : ndarray [shape=(N,), float32]
        The mixture so far.
    stems : dict of str to ndarray
        The sum of the tracks by kind, with `keep_stems`.
    """

    def __init__(self, size: int, *, keep_stems: bool = False) -> None:
        self.samples = np.zeros(size, np.float32)
        self.num_cells = size // GRID
        self.stems: dict[str, Floats] = {}
        self._keep_stems = keep_stems
        self._loose: dict[int, Mask] = {}
        self._tight: dict[int, Mask] = {}
        self._sounds: list[Sound] = []

    def add_speech(
        self, samples: Floats, cell: int, speaker: int, loose: Mask, tight: Mask
    ) -> None:
        """Lay an utterance from grid cell `cell` on; what reaches over the end is cut."""
        self._mix(samples, cell, "speech")
        for masks, found in ((self._loose, loose), (self._tight, tight)):
            mask = masks.setdefault(speaker, np.zeros(self.num_cells, np.bool_))
            room = mask[cell : cell + found.size]
            room |= found[: room.size]

    def add_sound(self, samples: Floats, cell: int, kind: str) -> None:
        """Lay a background of `kind` (music, noise, event, distractor) from `cell` on."""
        laid = self._mix(samples, cell, kind)
        power = np.zeros(self.num_cells, np.float32)
        found = cell_power(laid)
        power[cell : cell + found.size] = found
        self._sounds.append(Sound(kind, power))

    def _mix(self, samples: Floats, cell: int, kind: str) -> Floats:
        start = cell * GRID
        laid = samples[: max(0, self.samples.size - start)]
        self.samples[start : start + laid.size] += laid
        if self._keep_stems:
            stem = self.stems.setdefault(kind, np.zeros_like(self.samples))
            stem[start : start + laid.size] += laid
        return laid

    def segments(self, config: SimulationConfig) -> list[Segment]:
        """Return the labels of what was laid down so far, sorted by onset."""
        mixture = cell_power(self.samples)
        masks = {
            "speech": _speech(list(self._loose.values()), config.speech_labels, self.num_cells),
            "music": self._audible(("music",), mixture, {"music": config.music_labels}),
            "noise": self._audible(
                ("noise", "event"),
                mixture,
                {"noise": config.noise_labels, "event": config.event_labels},
            ),
            "overlap": _overlap(list(self._tight.values()), config.speech_labels, self.num_cells),
        }
        masks["speech"] |= masks["overlap"]  # whoever talks over somebody talks
        return sorted(
            Segment(float(first / GRID_RATE), float(last / GRID_RATE), label)
            for label, mask in masks.items()
            for first, last in runs(mask)
        )

    def _audible(
        self, kinds: tuple[str, ...], mixture: Floats, rules: dict[str, AudibleLabels]
    ) -> Mask:
        mask = np.zeros(self.num_cells, np.bool_)
        for sound in self._sounds:
            if sound.kind in kinds:
                mask |= audible(sound.power, mixture, rules[sound.kind])
        rule = rules[kinds[0]]
        return drop(fill(mask, cells(rule.gap)), cells(rule.shortest))


def audible(power: Floats, mixture: Floats, rule: AudibleLabels) -> Mask:
    """Return in which cells a track can be heard in the mixture.

    Parameters
    ----------
    power, mixture : ndarray [shape=(cells,)]
        Mean squares of the track and of the mixture that holds it.
    rule : AudibleLabels
        The thresholds.

    Returns
    -------
    ndarray of bool [shape=(cells,)]
    """
    sounding = power[power > 0]
    if not sounding.size:
        return np.zeros(power.size, np.bool_)
    levels = decibels(power)
    heard = (levels > rule.floor) & (levels > loud_level(sounding) + rule.own)
    # Masking is judged over a longer time than onset and end: a bed goes on under a word.
    around = smooth(power, rule.window)
    masked = decibels(around) < decibels(smooth(mixture, rule.window)) + rule.mix
    return drop(fill(heard & ~masked, cells(rule.gap)), cells(rule.shortest))


def _speech(speakers: list[Mask], rule: SpeechLabels, num_cells: int) -> Mask:
    padded = [pad(mask, cells(rule.pad)) for mask in speakers]
    union = np.logical_or.reduce([np.zeros(num_cells, np.bool_), *padded])
    return fill(union, cells(rule.gap))


def _overlap(speakers: list[Mask], rule: SpeechLabels, num_cells: int) -> Mask:
    if len(speakers) < 2:
        return np.zeros(num_cells, np.bool_)
    tight = [fill(pad(mask, cells(rule.overlap_pad)), cells(rule.overlap_gap)) for mask in speakers]
    both = np.sum(tight, axis=0) >= 2
    return drop(both, cells(rule.overlap_min))
