"""The pool of the mini recipe, the demo recording, the recipes: licences, splits, audio."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from audioseg_xai.annotation import read_rttm
from audioseg_xai.audio import read_audio
from audioseg_xai.config import load_yaml
from audioseg_xai.corpora.pool import Pool, PoolItem
from audioseg_xai.frame_labels import segments_to_frames
from audioseg_xai.frames import HOP, SAMPLE_RATE, WINDOW, num_frames
from audioseg_xai.labels import CLASSES
from audioseg_xai.simulate import SimulationConfig, Simulator, Stock
from audioseg_xai.simulate.activity import cell_power, loud_level
from audioseg_xai.training.student import StudentRun
from audioseg_xai.training.teacher import TeacherRun

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "recipes"
MINI = RECIPES / "mini"
ASSETS = ROOT / "audioseg_xai" / "assets"
POOL = Pool.read(MINI / "pool")

OPEN_LICENCES = {
    "CC-BY-3.0", "CC-BY-SA-3.0", "CC-BY-SA-3.0-IT", "GPL-1.0-or-later", "GPL-2.0-only",
    "GPL-2.0-or-later", "GPL-3.0-or-later", "MIT",
}  # fmt: skip


# --- the pool -------------------------------------------------------------------------------------


def test_the_index_and_the_folder_list_the_same_audio() -> None:
    on_disk = {path.relative_to(POOL.root).as_posix() for path in POOL.root.rglob("*.ogg")}
    assert on_disk == {item.path for item in POOL}


def test_the_pool_is_small_enough_for_git() -> None:
    assert sum(path.stat().st_size for path in POOL.root.rglob("*") if path.is_file()) <= 3_000_000


@pytest.mark.parametrize("item", list(POOL), ids=lambda item: item.path)
def test_each_file_is_audible_and_as_long_as_listed(item: PoolItem) -> None:
    samples, rate = soundfile.read(POOL.root / item.path, dtype="float32")
    assert (rate, samples.ndim) == (SAMPLE_RATE, 1)
    assert len(samples) / rate == pytest.approx(item.duration, abs=0.01)
    assert loud_level(cell_power(samples)) > -45


@pytest.mark.parametrize("item", list(POOL), ids=lambda item: item.path)
def test_each_file_has_an_open_licence_and_a_stated_origin(item: PoolItem) -> None:
    notes = (POOL.root / "LICENCES.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| {re.escape(item.path)} \|.*$", notes, re.MULTILINE)
    _, licence, author, package, version, _ = (cell.strip() for cell in row.strip("|").split("|"))
    assert licence == item.licence and licence in OPEN_LICENCES
    assert package == item.source and author and version
    assert re.search(rf"^- {re.escape(item.path)}: `usr/", notes, re.MULTILINE)


@pytest.mark.parametrize("kind", ["speech", "music", "event"])
def test_validation_audio_is_from_packages_that_training_audio_is_not_from(kind: str) -> None:
    train, valid = ({item.source for item in POOL.select(kind, s)} for s in ("train", "valid"))
    assert train and valid and not train & valid


def test_there_are_enough_voices_for_overlap() -> None:
    assert len(POOL.by_speaker("train")) >= 8
    assert len(POOL.by_speaker("valid")) >= 3


@pytest.mark.parametrize("split", ["train", "valid"])
def test_recordings_can_be_mixed_from_it(split: str) -> None:
    config = load_yaml(MINI / "conf" / "simulate.yaml", SimulationConfig)
    config = config.model_copy(
        update={"duration": (20.0, 20.0), "rooms": config.rooms.model_copy(update={"rooms": 0})}
    )
    simulator = Simulator(Stock(POOL, split), config, 0)
    labels = {s.label for index in range(5) for s in simulator.mixture(index).segments}
    assert {"speech", "music", "noise"} <= labels


# --- the demo recording ---------------------------------------------------------------------------


def test_the_demo_is_a_minute_with_all_classes() -> None:
    info = soundfile.info(ASSETS / "demo.flac")
    assert (info.samplerate, info.channels) == (SAMPLE_RATE, 1)
    assert 55 <= info.duration <= 65
    assert (ASSETS / "demo.flac").stat().st_size < 1_500_000
    (segments,) = read_rttm(ASSETS / "demo.rttm").values()
    assert {segment.label for segment in segments} == set(CLASSES)
    assert all(0 <= s.onset < s.offset <= info.duration for s in segments)


def test_the_demo_is_silent_where_its_reference_is_empty_and_nowhere_else() -> None:
    samples = read_audio(ASSETS / "demo.flac")
    frames = num_frames(len(samples))
    (segments,) = read_rttm(ASSETS / "demo.rttm").values()
    labels = segments_to_frames(segments, frames) == 1
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP][:frames]
    levels = 10 * np.log10(np.mean(windows.astype(float) ** 2, axis=1) + 1e-12)
    nothing = ~labels.any(axis=1)
    assert nothing.sum() > 50  # a second at least
    # Boundaries are padded (speech) or faded (the rest): compare what is typical.
    assert np.median(levels[nothing]) < -60
    for column, name in enumerate(CLASSES):
        assert np.median(levels[labels[:, column]]) > -40, name
    assert not (labels[:, CLASSES.index("overlap")] & ~labels[:, CLASSES.index("speech")]).any()


def test_the_demo_says_what_it_is_made_of() -> None:
    note = (ASSETS / "DEMO.md").read_text(encoding="utf-8")
    assert "mixture of" in note and "GNU General Public License, version 2" in note
    assert (ASSETS / "GPL-2.txt").read_text().lstrip().startswith("GNU GENERAL PUBLIC LICENSE")


# --- the recipes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", ["mini", "open"])
def test_the_configurations_of_a_recipe_fit_together(recipe: str) -> None:
    conf = RECIPES / recipe / "conf"
    simulation = load_yaml(conf / "simulate.yaml", SimulationConfig)
    teacher = load_yaml(conf / "teacher.yaml", TeacherRun)
    student = load_yaml(conf / "student.yaml", StudentRun)
    script = (RECIPES / recipe / "run.sh").read_text(encoding="utf-8")
    (components,) = re.findall(r"^components=(\d+)", script, re.MULTILINE)
    assert student.network.components == int(components)
    assert student.network.level == teacher.network.level
    longest_crop = max(teacher.training.data.crop, student.training.data.crop)
    assert longest_crop <= num_frames(round(simulation.duration[0] * SAMPLE_RATE)) + 1


def settings_of(config: Path) -> dict[str, object]:
    def flat(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, object]]:
        for key, value in values.items():
            if isinstance(value, dict):
                yield from flat(value, f"{prefix}{key}.")
            else:
                yield prefix + key, value

    return dict(flat(load_yaml(config, StudentRun).model_dump(mode="json"), ""))


def test_each_ablation_changes_what_its_name_says() -> None:
    folder = RECIPES / "open/conf/ablations"
    base = settings_of(folder / "base.yaml")
    names = sorted(path.stem for path in folder.glob("*.yaml") if path.stem != "base")
    assert len(names) >= 14
    for name in names:
        values = settings_of(folder / f"{name}.yaml")
        changed = {key for key in values if values[key] != base.get(key)}
        what = name.rstrip("0123456789_").removesuffix("_dictionary")
        assert any(what in key for key in changed), (name, changed)


@pytest.mark.parametrize("recipe", ["mini", "open"])
def test_a_recipe_has_the_stages_of_the_toolkit(recipe: str) -> None:
    listed = subprocess.run(
        [RECIPES / recipe / "run.sh", "--list"], capture_output=True, text=True, check=True
    ).stdout
    titles = [line.split(maxsplit=1)[1] for line in listed.splitlines()]
    expected = ["data", "features", "dictionary", "teacher", "distillation", "segm", "explan"]
    expected += ["ablations"] if recipe == "open" else []
    assert len(titles) == len(expected)
    assert all(title.startswith(e) for title, e in zip(titles, expected, strict=True))


def test_expected_files_are_distinct_and_inside_the_recipe() -> None:
    lines = (MINI / "expected_files.txt").read_text().splitlines()
    paths = [line for line in lines if line and not line.startswith("#")]
    assert len(paths) == len(set(paths)) > 10
    assert all(path.split("/")[0] in ("data", "exp") and ".." not in path for path in paths)
