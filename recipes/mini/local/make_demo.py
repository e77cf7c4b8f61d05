#!/usr/bin/env python3
"""Compose the demo recording of the package from Debian packages. The repository ships the result.

    python local/make_demo.py DEBS

DEBS is a folder with the .deb files of the packages named below (`apt-get download PACKAGE`).
Writes demo.flac and demo.rttm into audioseg_xai/assets. The recording is a mixture of real
recordings, laid out below second by second; the reference follows from what was laid where, by
the same rules as the labels of the simulated training data. What is in it comes from sources that
the default model is not trained on.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from packages import Packages, Samples

from audioseg_xai.annotation import write_rttm
from audioseg_xai.files import atomic_path
from audioseg_xai.frames import SAMPLE_RATE
from audioseg_xai.simulate.activity import GRID, cells
from audioseg_xai.simulate.canvas import Canvas
from audioseg_xai.simulate.channel import fade_ends, follow, set_level
from audioseg_xai.simulate.config import SimulationConfig
from audioseg_xai.simulate.noises import coloured
from audioseg_xai.simulate.speech import find_activity

ASSETS = Path(__file__).resolve().parents[3] / "audioseg_xai" / "assets"
SECONDS = 62.5
CONFIG = SimulationConfig(reference_level=-20.0)
SPEECH, MUSIC, BED, AMBIENCE, FLOOR = -20.0, -21.0, -34.0, -33.0, -66.0
"""Loud levels (95th percentile of 10 ms powers) in dBFS: nothing is near clipping."""

DIALOGUE, TUNES = "fillets-ng-data-nl", "hedgewars-data"
PLACES = "searchandrescue-data"

VOICES = {"m": 1, "v": 2}
TALK = [  # onset in seconds, voice, file: the two take turns, twice before the other has ended
    (10.0, "v", "*/computer/nl/poc-v-vyresil.ogg"),
    (27.5, "m", "*/atlantis/nl/sp-m-vratit1.ogg"),
    (40.5, "v", "*/warcraft/nl/war-v-prozradit.ogg"),
    (45.8, "m", "*/labyrinth/nl/bl-m-funkce.ogg"),
    (52.0, "v", "*/airplane/nl/let-v-oko.ogg"),
]


def main(debs: Path) -> None:
    """Make the recording and its reference."""
    canvas = Canvas(cells(SECONDS) * GRID)
    with tempfile.TemporaryDirectory() as scratch:
        packages = Packages(debs, Path(scratch))
        for onset, voice, pattern in TALK:
            say(canvas, packages, onset, voice, pattern)
        opening(canvas, packages)
        airfield(canvas, packages)
    hiss = coloured(np.random.default_rng(0), canvas.samples.size, -3.0)
    canvas.add_sound(set_level(hiss, FLOOR), 0, "distractor")
    peak = float(np.abs(canvas.samples).max())
    if peak >= 1:
        raise ValueError(f"the demo recording would clip: its peak is {peak:.2f}")
    with atomic_path(ASSETS / "demo.flac") as temporary:
        soundfile.write(temporary, canvas.samples, SAMPLE_RATE, "PCM_16", format="FLAC")
    write_rttm({"demo": canvas.segments(CONFIG)}, ASSETS / "demo.rttm")
    print(f"peak {peak:.2f}; wrote {ASSETS}/demo.flac and demo.rttm")


def say(canvas: Canvas, packages: Packages, onset: float, voice: str, pattern: str) -> None:
    """Let a voice say what a file holds."""
    samples = one(packages, DIALOGUE, pattern)
    samples = set_level(samples[: samples.size // GRID * GRID], SPEECH)
    found = find_activity(samples, CONFIG.speech_labels)
    canvas.add_speech(samples, cells(onset), VOICES[voice], found.loose, found.tight)
    print(f"{voice} {onset:g}-{onset + samples.size / SAMPLE_RATE:.2f} {pattern}")


def opening(canvas: Canvas, packages: Packages) -> None:
    """Lay music alone from 1 s, under the first speaker from 9 s, gone at 24 s."""
    music = excerpt(one(packages, TUNES, "*/Music/oriental.ogg"), 120.0, 23.0)
    music = duck(set_level(music, MUSIC), at=8.0, ramp=1.0, depth=BED - MUSIC)
    canvas.add_sound(fade_ends(music, 0.3, 2.5), cells(1.0), "music")


def airfield(canvas: Canvas, packages: Packages) -> None:
    """Lay a jet engine alone from 25 s, then under the second speaker; thunder at 37 s."""
    engine = one(packages, PLACES, "*/sounds/jet_engine_start2.wav")
    canvas.add_sound(fade_ends(set_level(engine, AMBIENCE), 0.5, 1.5), cells(25.0), "noise")
    thunder = one(packages, PLACES, "*/sounds/thunder_moderate.wav")
    canvas.add_sound(fade_ends(set_level(thunder, -24.0), 0.01, 1.0), cells(37.0), "event")


def one(packages: Packages, package: str, pattern: str) -> Samples:
    """Return the samples of the one file that `pattern` names."""
    (path,) = packages.find(package, [pattern])
    return packages.read(package, path)


def excerpt(samples: Samples, start: float, seconds: float) -> Samples:
    """Return `seconds` from second `start` on."""
    first = round(start * SAMPLE_RATE)
    return samples[first : first + round(seconds * SAMPLE_RATE)]


def duck(samples: Samples, at: float, ramp: float, depth: float) -> Samples:
    """Return music that goes down by `depth` dB (negative) within `ramp` seconds from `at`."""
    times = np.arange(-(-samples.size // GRID)) * GRID / SAMPLE_RATE
    return follow(samples, (depth * np.clip((times - at) / ramp, 0, 1)).astype(np.float32))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} DEBS")
    main(Path(sys.argv[1]))
