"""What networks hear: stored features, or those of an upstream that runs along."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from upstream_dummies import load, upstream_config, write, write_datadir

from audioseg_xai import cli
from audioseg_xai.archive import Archive, write_index
from audioseg_xai.config import dump_yaml
from audioseg_xai.datadir import DataDir
from audioseg_xai.errors import ArchiveError, ConfigError, ModelError
from audioseg_xai.extract import extractions
from audioseg_xai.features import SpectrogramConfig
from audioseg_xai.frames import HOP, WINDOW
from audioseg_xai.models.directory import load_model
from audioseg_xai.models.networks import Teacher
from audioseg_xai.training.corpora import Corpora, choose_signal
from audioseg_xai.training.data import Batch, CropDataset, CropSource, DataConfig
from audioseg_xai.training.listening import Listener
from audioseg_xai.training.student import distill
from audioseg_xai.training.teacher import train_teacher
from audioseg_xai.training.validation import recording_logits
from audioseg_xai.upstream import UpstreamConfig
from tests.training_dummies import (
    CPU,
    METRICS,
    corpora,
    labels,
    some_dictionary,
    student_run,
    teacher_run,
    write_archive,
)

LENGTHS = {"a": 2.0, "b": 3.1}
CROP = {"crop": 60, "batch_size": 2}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("wavlm") / "tiny.pt")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    return DataDir.read(write_datadir(tmp_path_factory.mktemp("data"), LENGTHS))


def make(folder: Path, data: DataDir, upstream: UpstreamConfig | None, **options: Any) -> Archive:
    work = extractions(data, folder, SpectrogramConfig(), upstream=upstream, **options)
    write_index(folder, [item.run() for item in work])
    return Archive(folder)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, data: DataDir, checkpoint: Path) -> Archive:
    return make(tmp_path_factory.mktemp("features"), data, upstream_config(checkpoint))


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory, data: DataDir) -> Archive:
    return make(tmp_path_factory.mktemp("audio"), data, None, store="audio")


def front_end(**changes: object) -> dict[str, Any]:
    """Settings of a network that listens to all hidden states of the tiny WavLM."""
    return {"front_end": {"kind": "features", "dimension": 32, "layers": 4} | changes}


def settings_of(upstream: UpstreamConfig) -> dict[str, Any]:
    return upstream.model_dump(mode="json")


def test_the_model_knows_what_its_features_were_computed_with(
    stored: Archive, checkpoint: Path, tmp_path: Path
) -> None:
    run = teacher_run(2, front_end(), data=CROP)
    model = train_teacher(corpora(stored), run, tmp_path, **CPU)
    upstream = model.config.network.front_end.upstream
    assert upstream == load(checkpoint).config and upstream.digest
    assert list(model.config.metrics[METRICS]) == ["speech"]


@pytest.mark.parametrize("kind", ["teacher", "student"])
def test_training_on_samples_computes_features_on_the_way(
    sampled: Archive, stored: Archive, checkpoint: Path, tmp_path: Path, kind: str
) -> None:
    heard = front_end(upstream=settings_of(upstream_config(checkpoint)))
    spectrogram: dict[str, Any] = {}
    run = teacher_run(2, heard, data=CROP)
    teacher = train_teacher(Corpora([sampled], [stored]), run, tmp_path / "t", **CPU)
    weights = teacher.network.front_end.layer_weights
    assert weights.sum().item() == pytest.approx(1) and weights.std() > 0
    values = student_run(2, heard if kind == "student" else spectrogram, alpha=1.0, delta=1.0)
    training = values.training.model_copy(update={"data": DataConfig(**CROP)})
    student = distill(
        corpora(sampled),
        values.model_copy(update={"training": training}),
        some_dictionary(),
        tmp_path / "s",
        teachers=[teacher],
        **CPU,
    )
    assert list(student.config.decoding) == ["speech"]
    assert teacher.config.network.front_end.upstream == load(checkpoint).config


def test_stored_and_computed_features_give_the_same_logits(
    stored: Archive, sampled: Archive, checkpoint: Path
) -> None:
    listener = Listener("cpu")
    config = listener.settle(teacher_run(1, front_end()).network, [stored])
    torch.manual_seed(1)
    network = Teacher(config).eval()
    for entry in stored.entries:
        one, other = (recording_logits(network, listener, x, entry) for x in (stored, sampled))
        assert len(one) == entry.num_frames
        assert torch.allclose(one, other, atol=0.02)  # 16-bit features
        assert one.std() > 0.05


def test_an_upstream_that_two_networks_hear_runs_once(checkpoint: Path) -> None:
    listener = Listener("cpu")
    upstream = listener.upstream(upstream_config(checkpoint))
    network = Teacher(teacher_run(1, front_end(upstream=settings_of(upstream.config))).network)
    batch = Batch(*[torch.zeros(0)] * 3, samples=torch.randn(2, HOP * 9 + WINDOW))
    first = listener.inputs(network, batch)
    assert first.shape == (2, 10, 4, 32)
    assert torch.equal(first, upstream.hidden_states(batch.samples))
    assert listener.inputs(network, batch) is first
    again = batch._replace(samples=batch.samples + 1)
    assert not torch.equal(listener.inputs(network, again), first)


def test_crops_of_samples_are_what_is_heard_there(sampled: Archive) -> None:
    plain = DataConfig(crop=40, batch_size=3, gain=(0.0, 0.0), equaliser=0.0)
    source = CropSource(corpora(sampled), plain, ("speech",), signal="samples")
    batch = CropDataset(source, seed=0, first=0, steps=1)[0]
    whole = torch.from_numpy(sampled.read_samples(sampled.entries[1])) / 32768
    starts = [
        start
        for start in range(sampled.entries[1].num_frames - 39)
        for crop in batch.samples
        if torch.allclose(whole[start * HOP :][: crop.numel()], crop, atol=1e-5)
    ]
    assert starts  # one crop at least is from the longer recording
    stored_there = sampled.read(sampled.entries[1], starts[0], starts[0] + 40)[0].astype(np.float32)
    found = min((each - torch.from_numpy(stored_there)).abs()[1:-1].max() for each in batch[0])
    assert found < 0.1  # frames at the ends of a crop see less, and 16 bits round


# --- what does not fit together -----------------------------------------------------------------


def test_features_of_another_size_are_refused(stored: Archive, tmp_path: Path) -> None:
    run = teacher_run(1, front_end(layers=25, dimension=1024), data=CROP)
    with pytest.raises(ArchiveError, match=r"are 4 x 32 .*listens to 25 x 1024 .*layers to 4 and"):
        train_teacher(corpora(stored), run, tmp_path, **CPU)


def test_features_of_another_upstream_are_refused(
    stored: Archive, checkpoint: Path, tmp_path: Path
) -> None:
    upstream = settings_of(upstream_config(checkpoint, chunk=5.0, precision="bf16"))
    run = teacher_run(1, front_end(upstream=upstream), data=CROP)
    with pytest.raises(ArchiveError, match=r"another upstream .* \(chunk, precision\)"):
        train_teacher(corpora(stored), run, tmp_path, **CPU)


def test_two_corpora_need_features_of_one_upstream(
    stored: Archive, data: DataDir, tmp_path: Path
) -> None:
    other = upstream_config(write(tmp_path / "other.pt", seed=9))
    archive = make(tmp_path / "archive", data, other)
    run = teacher_run(1, front_end(), data=CROP)
    with pytest.raises(ArchiveError, match=r"archive: .*another upstream .* \(digest\)"):
        train_teacher(corpora(stored, archive), run, tmp_path, **CPU)


def test_samples_need_the_name_of_an_upstream(sampled: Archive, tmp_path: Path) -> None:
    run = teacher_run(1, front_end(), data=CROP)
    with pytest.raises(ConfigError, match=r"holds samples, .*set network\.front_end\.upstream"):
        train_teacher(corpora(sampled), run, tmp_path, **CPU)


def test_an_upstream_of_another_size_is_refused(
    sampled: Archive, checkpoint: Path, tmp_path: Path
) -> None:
    upstream = settings_of(upstream_config(checkpoint, layers=2))
    run = teacher_run(1, front_end(upstream=upstream), data=CROP)
    with pytest.raises(ConfigError, match=r"expects 4 x 32 .* gives 1 x 32 .*set layers to 1"):
        train_teacher(corpora(sampled), run, tmp_path, **CPU)


def test_an_archive_without_anything_to_listen_to_is_refused(tmp_path: Path) -> None:
    archive = write_archive(tmp_path, {"a": {"labels": labels(100, speech=slice(0, 50))}})
    run = teacher_run(1, front_end(), data=CROP)
    with pytest.raises(ArchiveError, match=r"holds neither .*--upstream or --store audio"):
        train_teacher(corpora(archive), run, tmp_path, **CPU)


def test_features_and_samples_do_not_go_together(stored: Archive, sampled: Archive) -> None:
    network = teacher_run(1, front_end()).network
    with pytest.raises(ArchiveError, match="some hold features, others samples"):
        choose_signal(corpora(stored, sampled), [network], mixes=False)


def test_a_network_that_does_not_say_what_it_hears_gets_no_samples() -> None:
    network = Teacher(teacher_run(1, front_end()).network)
    batch = Batch(*[torch.zeros(0)] * 3, samples=torch.randn(2, 3600))
    with pytest.raises(ModelError, match="does not say which upstream"):
        Listener("cpu").inputs(network, batch)


def test_weights_that_lie_elsewhere_now_are_named(
    sampled: Archive, checkpoint: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved.pt"
    moved.write_bytes(checkpoint.read_bytes())
    upstream = upstream_config(tmp_path / "gone.pt")
    config = tmp_path / "teacher.yaml"
    dump_yaml(teacher_run(1, front_end(upstream=settings_of(upstream)), data=CROP), config)
    command = ["train-teacher", "--train", sampled.folder, "--valid", sampled.folder,
               "--config", config, "--output", tmp_path / "model", "--device", "cpu",
               "--num-workers", 0]  # fmt: skip
    done = CliRunner().invoke(cli.main, [str(word) for word in command])
    assert done.exit_code == 1 and "gone.pt: no such checkpoint" in done.stderr
    more = [*command, "--upstream-checkpoint", moved]
    done = CliRunner().invoke(cli.main, [str(word) for word in more])
    assert done.exit_code == 0, done.stderr
    front = load_model(tmp_path / "model").config.network.front_end
    assert front.upstream.checkpoint == str(moved)
    back = [*command, "--upstream-checkpoint", checkpoint]  # it goes on, wherever they lie
    assert CliRunner().invoke(cli.main, [str(word) for word in back]).exit_code == 0
