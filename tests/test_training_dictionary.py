"""Dictionary files, and the frames that dictionaries are learned from."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from audioseg_xai.archive import Archive
from audioseg_xai.errors import ArchiveError, ModelError
from audioseg_xai.features import SpectrogramConfig
from audioseg_xai.nmf import NMFConfig, learn_dictionary
from audioseg_xai.training.dictionary import balanced_frames, load_dictionary, save_dictionary
from tests.dummies import student_config
from tests.training_dummies import make_archive


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return make_archive(tmp_path_factory.mktemp("corpus"))


def test_frames_of_another_fft_size_are_refused(archive: Archive) -> None:
    network = student_config(spectrogram=SpectrogramConfig(fft_size=1024))
    with pytest.raises(ArchiveError, match=r"257 bins.*513.*--fft-size 1024"):
        balanced_frames(archive, network, 100, seed=0)


def test_a_dictionary_file_tells_how_it_was_made(tmp_path: Path) -> None:
    config = NMFConfig(components=8, iterations=1, sparsity=0.25)
    learned = learn_dictionary(torch.rand(50, 257), config)
    path = tmp_path / "w.safetensors"
    save_dictionary(learned, path, {"frames": 50}, {"archive": "abc"})
    loaded = load_dictionary(path)
    assert loaded.sparsity == 0.25 and loaded.relative_error == learned.relative_error
    with safe_open(path, framework="pt") as handle:
        origin = json.loads(handle.metadata()["provenance"])
    assert origin["config"] == {"frames": 50} and origin["inputs"] == {"archive": "abc"}


def test_a_dictionary_file_that_tells_no_sparsity_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"atoms": torch.eye(3), "mean": torch.ones(3)}, path)
    with pytest.raises(ModelError, match="learn-dictionary"):
        load_dictionary(path)


def test_a_dictionary_of_no_components_is_refused_in_one_line(
    archive: Archive, tmp_path: Path
) -> None:
    from click.testing import CliRunner

    from audioseg_xai.bin.learn_dictionary import cli

    options = ["--archive", str(archive.folder), "--output", str(tmp_path / "w.safetensors")]
    done = CliRunner().invoke(cli, [*options, "--components", "0"])
    assert done.exit_code == 1
    assert "components: Input should be greater than or equal to 1" in done.output
    assert "pydantic" not in done.output
