"""Extraction: features and audio into an archive, once, and again only where something changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from upstream_dummies import load, upstream_config, write, write_datadir

from audioseg_xai import extract, h5arrays
from audioseg_xai.archive import Archive, write_index
from audioseg_xai.audio import read_audio
from audioseg_xai.datadir import DataDir
from audioseg_xai.errors import ArchiveError, UsageError
from audioseg_xai.extract import Extraction, extractions, recording_features, shard, to_int16
from audioseg_xai.features import SpectrogramConfig, log_spectrogram
from audioseg_xai.frames import num_frames
from audioseg_xai.upstream import Upstream, UpstreamConfig, load_upstream

LENGTHS = {"a": 1.5, "b": 0.5, "c": 2.01}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    return DataDir.read(write_datadir(tmp_path_factory.mktemp("data"), LENGTHS))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("upstream") / "tiny.pt")


def plan(
    data: DataDir, folder: Path, upstream: UpstreamConfig | None, **more: object
) -> list[Extraction]:
    config = SpectrogramConfig()
    return extractions(data, folder, config, upstream=upstream, **more)  # type: ignore[arg-type]


def make(data: DataDir, folder: Path, upstream: UpstreamConfig | None, **more: object) -> Archive:
    write_index(folder, [work.run() for work in plan(data, folder, upstream, **more)])
    return Archive(folder)


def whole(upstream: Upstream, data: DataDir, uri: str) -> np.ndarray:
    return np.concatenate(list(recording_features(upstream, read_audio(data.wav[uri]))))


# --- what is stored -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "shape"), [("all", (4, 32)), (2, (32,)), ((0.5, 0, 0, 0.5), (32,))]
)
def test_features_of_the_upstream_are_stored(
    data: DataDir, checkpoint: Path, tmp_path: Path, layers: object, shape: tuple[int, ...]
) -> None:
    config = upstream_config(checkpoint, layers=layers)
    archive = make(data, tmp_path, config)
    assert archive.feature_shape == shape and not archive.has_samples
    for entry in archive.entries:
        _, labels, features = archive.read(entry, features=True)
        assert features is not None
        assert features.shape == (num_frames(round(LENGTHS[entry.uri] * 16_000)), *shape)
        assert len(labels) == len(features)
        expected = whole(load_upstream(config, "cpu"), data, entry.uri)
        np.testing.assert_array_equal(features, expected.astype(np.float16))


def test_audio_is_stored_bit_for_bit_and_gives_the_same_features(
    data: DataDir, checkpoint: Path, tmp_path: Path
) -> None:
    archive = make(data, tmp_path, upstream_config(checkpoint), store="audio")
    assert archive.feature_shape is None and archive.has_samples
    assert archive.upstream is not None
    upstream = load_upstream(UpstreamConfig.model_validate_json(archive.upstream), "cpu")
    entry = archive.entries[1]  # b, shorter than a window
    samples = torch.from_numpy(archive.read_samples(entry)).float() / 32_768
    read = torch.from_numpy(read_audio(data.wav["b"]))
    assert torch.equal(samples, read[: len(samples)])
    states = upstream.hidden_states(samples[None])[0].numpy()
    expected = upstream.hidden_states(read[None, : len(samples)])[0].numpy()
    np.testing.assert_array_equal(states, expected)


@pytest.mark.parametrize("upstream", [False, True])
def test_a_recording_in_blocks_gives_what_the_whole_gives(
    data: DataDir,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    upstream: bool,
) -> None:
    monkeypatch.setattr(extract, "_BLOCK", 1_234)
    monkeypatch.setattr(h5arrays, "_IN_MEMORY", 1_000)
    config = upstream_config(checkpoint) if upstream else None
    archive = make(data, tmp_path, config, store=None if upstream else "audio")
    for entry in archive.entries:
        samples = torch.from_numpy(read_audio(data.wav[entry.uri]))
        spectrogram, _, features = archive.read(entry, features=upstream)
        expected = log_spectrogram(samples, SpectrogramConfig()).half().numpy()
        np.testing.assert_array_equal(spectrogram, expected)
        if features is not None:
            made = whole(load(checkpoint), data, entry.uri).astype(np.float16)
            np.testing.assert_array_equal(features, made)
        else:
            stored = archive.read_samples(entry)
            np.testing.assert_array_equal(stored, to_int16(samples.numpy())[: len(stored)])
            with h5py.File(tmp_path / entry.file) as handle:
                assert len(handle["samples"]) == len(samples)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "b.h5", "c.h5", "index.h5"]


def test_audio_needs_no_upstream(data: DataDir, tmp_path: Path) -> None:
    archive = make(data, tmp_path, None, store="audio")
    assert archive.has_samples and archive.upstream is None


def test_an_archive_without_an_upstream_is_what_it_always_was(
    data: DataDir, tmp_path: Path
) -> None:
    archive = make(data, tmp_path, None)
    assert (archive.upstream, archive.feature_shape, archive.has_samples) == (None, None, False)
    (work, *_) = plan(data, tmp_path, None)
    assert work._attributes()["upstream"] == "spectrogram"
    assert "store" not in str(work._attributes()["config"])


def test_samples_beyond_one_are_clipped_and_the_others_exact() -> None:
    samples = np.array([-2, -1, -1 / 32_768, 0, 0.5, 32_767 / 32_768, 1, 3], np.float32)
    assert to_int16(samples).tolist() == [-32_768, -32_768, -1, 0, 16_384, 32_767, 32_767, 32_767]


def test_features_of_no_model_are_a_contradiction(data: DataDir, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--store features"):
        plan(data, tmp_path, None, store="features")


def test_values_beyond_sixteen_bits_are_refused_and_leave_no_file(
    data: DataDir, checkpoint: Path, tmp_path: Path
) -> None:
    config = upstream_config(checkpoint, layers=(0.0, 0.0, 1e6, 0.0))
    (work, *_) = plan(data, tmp_path, config)
    with pytest.raises(ArchiveError, match=r"a: features reach \S+e\+06, .* --store audio"):
        work.run()
    assert list(tmp_path.iterdir()) == []


# --- what is made again -------------------------------------------------------------------------


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("?.h5")}


def changed(before: dict[str, int], folder: Path) -> list[str]:
    return sorted(name for name, time in times(folder).items() if before[name] != time)


def test_only_a_damaged_file_is_made_again(data: DataDir, checkpoint: Path, tmp_path: Path) -> None:
    config = upstream_config(checkpoint)
    make(data, tmp_path, config)
    content, before = (tmp_path / "b.h5").read_bytes(), times(tmp_path)
    (tmp_path / "b.h5").write_bytes(content[: len(content) // 2])
    archive = make(data, tmp_path, config)
    assert changed(before, tmp_path) == ["b.h5"]
    found = archive.read(archive.entries[1], features=True)[2]
    np.testing.assert_array_equal(found, whole(load(checkpoint), data, "b").astype(np.float16))


@pytest.mark.parametrize(
    "change",
    [
        {"layers": 1},
        {"chunk": 1.0},
        {"margin": 0.1},
        {"precision": "bf16"},
        {"seed": 1},
        {"store": "audio"},
    ],
)
def test_what_shapes_the_features_makes_them_again(
    data: DataDir, checkpoint: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    make(data, tmp_path, upstream_config(checkpoint))
    before, change = times(tmp_path), dict(change)
    store = change.pop("store", None)
    if "seed" in change:
        checkpoint = write(tmp_path / "other.pt", seed=change.pop("seed"))  # type: ignore[arg-type]
    make(data, tmp_path, upstream_config(checkpoint, **change), store=store)
    assert changed(before, tmp_path) == ["a.h5", "b.h5", "c.h5"]


def test_a_checkpoint_that_was_moved_makes_nothing_again(
    data: DataDir, checkpoint: Path, tmp_path: Path
) -> None:
    make(data, tmp_path, upstream_config(checkpoint))
    before = times(tmp_path)
    moved = shutil.copy(checkpoint, tmp_path / "moved.pt")
    make(data, tmp_path, upstream_config(Path(moved)))
    assert changed(before, tmp_path) == []


def test_another_checkpoint_than_that_of_the_digest_is_refused(
    data: DataDir, checkpoint: Path, tmp_path: Path
) -> None:
    digest = load(checkpoint).config.digest
    other = write(tmp_path / "other.pt", seed=1)
    with pytest.raises(ArchiveError, match=r"other\.pt: has changed"):
        plan(data, tmp_path, upstream_config(other, digest=digest))


# --- shares of the work -------------------------------------------------------------------------


@given(st.integers(0, 30), st.integers(1, 9))
def test_shards_are_the_work(number: int, total: int) -> None:
    work: list[Extraction] = list(range(number))  # type: ignore[arg-type]
    parts = [shard(work, f"{job}/{total}") for job in range(1, total + 1)]
    assert sorted(item for part in parts for item in part) == work  # type: ignore[type-var]
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("job", ["0/2", "3/2", "2", "a/b", "1/0", "-1/2", ""])
def test_a_share_that_is_none_is_refused(job: str) -> None:
    with pytest.raises(UsageError, match="such as 2/8"):
        shard([], job)
