"""The frames that dictionaries are learned from: from everywhere, each kind with its share."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from audioseg_xai.archive import Archive, ArchiveEntry
from audioseg_xai.errors import ArchiveError, TrainingError
from audioseg_xai.models.level import LevelNorm
from audioseg_xai.training import frame_sampling
from audioseg_xai.training.frame_sampling import FrameSample, FrameSampler, equal_shares
from tests.dummies import student_config
from tests.training_dummies import labels, write_archive

KINDS = st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 3))


def sampler(*archives: Archive, seed: int = 0) -> FrameSampler:
    return FrameSampler(archives, student_config(), seed)


def kinds(sample: FrameSample) -> Counter[tuple[int, ...]]:
    rows = zip(sample.archive.tolist(), sample.labels.tolist(), strict=True)
    return Counter((archive, *row) for archive, row in rows)


# --- shares -------------------------------------------------------------------------------------


@given(counts=st.dictionaries(KINDS, st.integers(1, 200), min_size=1), frames=st.integers(1, 900))
def test_shares_take_what_is_asked_for_or_all_there_is(
    counts: dict[tuple[int, int, int], int], frames: int
) -> None:
    shares = equal_shares(counts, frames)
    assert sum(shares.values()) == min(frames, sum(counts.values()))
    assert all(0 <= shares[kind] <= counts[kind] for kind in counts)
    archives: Counter[int] = Counter()
    for kind, share in shares.items():
        archives[kind[0]] += share
    available = {a: sum(n for kind, n in counts.items() if kind[0] == a) for a in archives}
    # Whoever gives less than another gives all it has (or one less, where they do not divide).
    for one in archives:
        assert archives[one] == available[one] or archives[one] >= max(archives.values()) - 1


def test_archives_share_first_then_annotations_then_classes() -> None:
    counts = {(0, 1, 0): 500, (0, 1, 1): 500, (0, 7, 0): 10, (0, 7, 4): 500, (1, 7, 2): 500}
    # Half for each archive; in the first, half for each of the two sets of annotated classes; of
    # these 100, the kind that has 10 frames leaves 90 to the other.
    assert equal_shares(counts, 400) == {
        (0, 1, 0): 50, (0, 1, 1): 50, (0, 7, 0): 10, (0, 7, 4): 90, (1, 7, 2): 200
    }  # fmt: skip


# --- draws --------------------------------------------------------------------------------------


@pytest.fixture
def two_corpora(tmp_path: Path) -> tuple[Archive, Archive]:
    """Return one that annotates all, and one that knows of speech alone."""
    rich = {
        "a": {"labels": labels(500, speech=slice(0, 400))},
        "b": {"labels": labels(500, music=slice(100, 110))},
    }
    poor = {"c": {"labels": labels(300, speech=slice(0, 20), music=None, noise=None, overlap=None)}}
    return write_archive(tmp_path / "rich", rich), write_archive(tmp_path / "poor", poor)


def test_every_corpus_and_every_combination_of_classes_has_its_share(
    two_corpora: tuple[Archive, Archive],
) -> None:
    found = kinds(sampler(*two_corpora).sample(200))
    assert found == {
        (0, 0, 0, 0, 0): 45,
        (0, 1, 0, 0, 0): 45,
        (0, 0, 1, 0, 0): 10,  # all there are
        (1, 0, -1, -1, -1): 80,
        (1, 1, -1, -1, -1): 20,
    }


def test_all_recordings_are_drawn_from(tmp_path: Path) -> None:
    # 30 recordings, each with a level of its own as its mark; each has 200 frames of one kind.
    recordings = {f"r{n:02}": {"labels": labels(200)} for n in range(30)}
    many = sampler(write_archive(tmp_path, recordings))
    seen: set[str] = set()
    for number in range(12):
        order = _read_uris(many, number)
        assert len(order) == 5  # 300 frames, 64 from a recording: no more are opened
        seen |= order
    assert len(seen) > 24


def _read_uris(drawn: FrameSampler, number: int) -> set[str]:
    seen = set()
    archive = drawn.archives[0]
    read = archive.read

    def noting(entry: ArchiveEntry, *args: Any) -> Any:
        seen.add(entry.uri)
        return read(entry, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "read", noting)
        assert sum(len(each.spectra) for each in drawn.draw(300, "learn", number)) == 300
    return seen


def marked(frames: int, first: int) -> NDArray[np.float64]:
    """Return spectrograms of which each frame has a bin profile of its own."""
    number = np.arange(first, first + frames)[:, None]
    return 5.0 + np.sin(number * (1 + np.arange(257)) * 0.37)


def test_no_frame_comes_twice_in_a_draw(tmp_path: Path) -> None:
    recordings = {
        f"r{n}": {"labels": labels(100, speech=slice(0, 50)), "spectrogram": marked(100, 100 * n)}
        for n in range(4)
    }
    archive = write_archive(tmp_path, recordings)
    sample = sampler(archive).sample(10_000)
    assert len(sample.spectra) == 400
    assert len(sample.spectra.unique(dim=0)) == 400


def test_a_draw_depends_on_seed_purpose_and_number_alone(
    two_corpora: tuple[Archive, Archive],
) -> None:
    def labels_of(seed: int, *draw: Any) -> torch.Tensor:
        parts = list(sampler(*two_corpora, seed=seed).draw(200, *draw))
        return torch.cat([part.labels for part in parts])

    base = labels_of(1, "learn", 3)
    assert torch.equal(base, labels_of(1, "learn", 3))
    for other in (labels_of(2, "learn", 3), labels_of(1, "learn", 4), labels_of(1, "report", 3)):
        assert not torch.equal(base, other)


def test_spectra_are_those_of_the_whole_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_sampling, "_EXCERPT", 30)
    spectrogram = marked(100, 0) * np.linspace(0.5, 1.5, 100)[:, None]
    archive = write_archive(tmp_path, {"a": {"labels": labels(100), "spectrogram": spectrogram}})
    network = student_config()
    stored = torch.from_numpy(archive.read(archive.entries[0])[0]).float()[None]
    whole = LevelNorm(network.level, network.spectrogram.fft_size)(stored)[0]
    drawn = sampler(archive).sample(100).spectra
    distance = torch.cdist(drawn.double(), whole.double())
    assert distance.min(dim=1).values.max() < 1e-3
    assert sorted(distance.argmin(dim=1).tolist()) == list(range(100))


# --- memory -------------------------------------------------------------------------------------


@pytest.mark.parametrize("recordings", [3, 30])
def test_frames_held_at_once_do_not_grow_with_the_draw(
    recordings: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_sampling, "BATCH", 50)
    monkeypatch.setattr(frame_sampling, "_POOL", 200)
    monkeypatch.setattr(frame_sampling, "_EXCERPT", 100)
    given = {f"r{n}": {"labels": labels(150)} for n in range(recordings)}
    drawn = sampler(write_archive(tmp_path, given))
    held: list[int] = []
    add = frame_sampling._Pool.add

    def noting(pool: frame_sampling._Pool, sample: FrameSample) -> None:
        add(pool, sample)
        held.append(pool.size)
        assert len(pool.parts.spectra) == 200 + 100  # the pool, and the excerpt that fills it

    monkeypatch.setattr(frame_sampling._Pool, "add", noting)
    sizes = [len(each.spectra) for each in drawn.draw(10_000)]
    assert sum(sizes) == 150 * recordings
    assert min(sizes) > 0 and max(sizes) == 50
    assert 200 <= max(held) <= 300


# --- what cannot be read ------------------------------------------------------------------------


def test_a_damaged_recording_is_told_and_the_others_are_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    archive = write_archive(tmp_path, {u: {"labels": labels(40)} for u in "abc"})
    (tmp_path / "b.h5").write_bytes(b"broken")
    assert len(sampler(archive).sample(1000).spectra) == 80
    assert any("b.h5" in record.getMessage() for record in caplog.records)


def test_archives_without_a_frame_are_refused(tmp_path: Path) -> None:
    archive = write_archive(tmp_path, {"a": {"labels": labels(0)}})
    with pytest.raises(TrainingError, match="no recording has frames"):
        sampler(archive)


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    spectrogram = np.ones((40, 257))
    spectrogram[7, 3] = np.inf
    given = {"a": {"labels": labels(40), "spectrogram": spectrogram}}
    with pytest.raises(ArchiveError, match=r"a\.h5: .*not finite"):
        sampler(write_archive(tmp_path, given)).sample(40)


@settings(max_examples=10, deadline=None)
@given(frames=st.integers(1, 400), seed=st.integers(0, 30))
def test_a_draw_has_as_many_frames_as_were_asked_for(
    frames: int, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    given_labels = {"a": labels(130, speech=slice(0, 30)), "b": labels(170, noise=slice(1, 5))}
    folder = tmp_path_factory.mktemp("draw")
    archive = write_archive(folder, {u: {"labels": each} for u, each in given_labels.items()})
    assert len(sampler(archive, seed=seed).sample(frames).spectra) == min(frames, 300)
