"""The model that ships: it loads, says what it is, and is as good as it must be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from audioseg_xai.annotation import Segment, read_rttm, read_uem
from audioseg_xai.audio import read_audio
from audioseg_xai.faithfulness.decision import Decision
from audioseg_xai.faithfulness.rankings import ComponentRanking
from audioseg_xai.features import log_spectrogram
from audioseg_xai.frames import FRAME_SHIFT
from audioseg_xai.inference import CHUNK, Segmenter
from audioseg_xai.labels import CLASSES
from audioseg_xai.models.directory import Model, default_model_folder, load_model
from audioseg_xai.models.networks import Student
from audioseg_xai.pipeline import Pipeline
from audioseg_xai.recordings import Recording
from audioseg_xai.scoring import score

ASSETS = default_model_folder().parent
DEVELOPMENT = Path(__file__).resolve().parents[2] / "shared" / "data" / "dev"


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model()


def f1(model: Model, reference: Path, audio: list[Path], classes: str, uem: Path | None) -> dict:
    """Return F1 in percent of each class, pooled over recordings."""
    pipeline = Pipeline(model)
    found: dict[str, list[Segment]] = {
        path.stem: list(pipeline.segment(Recording(path.stem, str(path))).segments)
        for path in audio
    }
    regions = read_uem(uem) if uem else None
    scores = score(read_rttm(reference), found, regions, classes, allow_missing=True)
    return {name: 100 * counts.f1 for name, counts in scores.pooled.items()}


def test_it_decides_all_classes_and_fits_into_the_package(model: Model) -> None:
    assert tuple(model.config.decoding) == CLASSES
    assert sum(path.stat().st_size for path in default_model_folder().iterdir()) < 5_000_000


def test_its_card_names_data_licences_and_quality() -> None:
    card = (default_model_folder() / "README.md").read_text(encoding="utf-8")
    for word in ("librispeech", "CC-BY", "F1", "overlap", "## Licence", "Provenance"):
        assert word in card


def test_it_is_a_student_that_was_trained_to_be_faithful(model: Model) -> None:
    assert model.config.network.kind == "student"
    parts = model.config.provenance["parts"]
    assert len(parts) == model.config.network.branches
    for part in parts:
        assert len(part["averaged"]) > 1
        for state in part["averaged"]:
            assert state["config"]["loss"]["epsilon"] > 0
            assert state["inputs"]["start"]  # the distilled student
    assert model.config.weights_sha256 == model.digest


def test_it_finds_what_is_in_the_demo(model: Model) -> None:
    found = f1(model, ASSETS / "demo.rttm", [ASSETS / "demo.flac"], ",".join(CLASSES), None)
    assert found["speech"] > 90
    assert found["music"] > 65
    assert found["noise"] > 60


def test_minutes_in_chunks_are_as_the_whole(model: Model) -> None:
    samples = np.tile(read_audio(ASSETS / "demo.flac"), 3)
    whole = list(Segmenter(model.network, chunk=10**6).process([samples]))
    chunks = list(Segmenter(model.network).process(np.array_split(samples, 17)))
    assert len(whole) == 1 and len(chunks) == -(-len(whole[0].probabilities) // CHUNK) > 3
    joined = np.concatenate([chunk.probabilities for chunk in chunks])
    assert np.abs(joined - whole[0].probabilities).max() < 1e-5


@pytest.mark.parametrize(
    ("name", "floors"),
    [("ami", {"speech": 90}), ("mix", {"speech": 95, "music": 94, "noise": 86})],
)
def test_it_reaches_its_floors_on_recordings_it_has_never_seen(
    model: Model, name: str, floors: dict[str, float]
) -> None:
    if not DEVELOPMENT.is_dir():
        pytest.skip("the development recordings are not on this machine")
    labels = DEVELOPMENT / "labels"
    classes = ",".join((labels / f"{name}.classes").read_text().split())
    audio = sorted((DEVELOPMENT / "audio").glob(f"{name}*.flac"))
    found = f1(model, labels / f"{name}.rttm", audio, classes, labels / f"{name}.uem")
    assert audio
    for label, floor in floors.items():
        assert found[label] >= floor, f"{label}: {found[label]:.1f} below {floor}"


def test_its_decisions_fall_with_what_they_rest_on(model: Model) -> None:
    samples = torch.from_numpy(read_audio(ASSETS / "demo.flac"))
    network = model.network
    assert isinstance(network, Student)
    log_power = log_spectrogram(samples, network.config.spectrogram)
    found = Pipeline(model).segment(Recording("demo", str(ASSETS / "demo.flac"))).segments
    speech = max((s for s in found if s.label == "speech"), key=lambda s: s.duration)
    start = round(speech.onset / FRAME_SHIFT)
    decision = Decision(network, log_power, start, start + 100, 0)
    order = decision.relevance.argsort(descending=True)
    ranking = ComponentRanking(decision, order)
    selected = int((decision.relevance > 0.1 * decision.relevance.max()).sum())
    assert decision.ask(1 - ranking.mask(selected)) < 0.5 * decision.probability
    assert decision.ask(ranking.mask(selected)) > 0.9 * decision.probability
