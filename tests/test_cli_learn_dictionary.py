"""`xai-segment learn-dictionary` as its users meet it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from audioseg_xai.archive import Archive
from audioseg_xai.bin.learn_dictionary import cli
from audioseg_xai.features import SpectrogramConfig
from audioseg_xai.training.dictionary import load_dictionary
from tests.training_dummies import labels, make_archive, write_archive


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return make_archive(tmp_path_factory.mktemp("corpus"))


def learn(output: Path, *options: object) -> Result:
    fixed = ["--components", 4, "--output", output, "--sparsity", 0.1]
    return CliRunner().invoke(cli, [str(option) for option in (*options, *fixed)])


def test_in_memory_with_the_options_of_the_recipes(archive: Archive, tmp_path: Path) -> None:
    output = tmp_path / "w.safetensors"
    options = ("-v", "--archive", archive.folder, "--frames", 500, "--iterations", 10)
    done = learn(output, *options)
    assert done.exit_code == 0, done.output
    learned = load_dictionary(output)
    assert learned.atoms.shape == (257, 4)
    assert learned.facts["frames"] == 500 and len(learned.objective) <= 10
    classes = {row["class"]: row for row in learned.facts["errors"]["rows"]}
    assert set(classes) == {"all", "none", "music", "noise"}
    assert 0 < classes["music"]["relative_error"] < 1
    assert len(classes["music"]["band_errors"]) == len(learned.facts["errors"]["bands"]) == 8
    assert done.stdout == ""
    assert "sweep 0:" in done.stderr and "relative error, by band in kHz" in done.stderr


def test_a_stream_of_two_corpora(archive: Archive, tmp_path: Path) -> None:
    talks = write_archive(tmp_path / "talks", {"t": {"labels": labels(100, speech=slice(0, 30))}})
    output = tmp_path / "w.safetensors"
    sources = ("--archive", archive.folder, "--archive", talks.folder)
    options = ("--passes", 2, "--frames-per-pass", 300, "--loss", "kl", "--resume")
    done = learn(output, *sources, *options)
    assert done.exit_code == 0, done.output
    assert "no checkpoint, so learning begins at the beginning" in done.stderr
    assert "pass 2 of 2: objective" in done.stderr
    learned = load_dictionary(output)
    assert learned.loss == "kl"
    assert learned.facts["passes"] == 2 and learned.facts["frames"] == 2 * 300
    rows = learned.facts["errors"]["rows"]
    assert {row["corpus"] for row in rows} == {"all", "archive", "talks"}
    assert ("talks", "speech") in {(row["corpus"], row["class"]) for row in rows}


def test_a_small_corpus_counts_as_much_as_a_large_one(tmp_path: Path) -> None:
    # Each corpus has one spectrum; the small one's is 1 in 40 frames, but has an atom of its own.
    shapes = torch.eye(257)[[40, 200]].numpy() * 8
    sources = []
    for name, frames, shape in (("large", 4000, shapes[0]), ("small", 100, shapes[1])):
        given = {"labels": labels(frames), "spectrogram": np.tile(shape, (frames, 1))}
        sources += ["--archive", write_archive(tmp_path / name, {"r": given}).folder]
    done = learn(tmp_path / "w", *sources, "--frames", 200, "--iterations", 20)
    assert done.exit_code == 0, done.output
    rows = load_dictionary(tmp_path / "w").facts["errors"]["rows"]
    found = {row["corpus"]: row for row in rows if row["class"] == "all"}
    assert found["large"]["frames"] == found["small"]["frames"] == 100
    assert found["small"]["relative_error"] < 0.1


def test_other_fft_sizes_need_no_option_but_the_student(tmp_path: Path) -> None:
    bins = SpectrogramConfig(fft_size=1024).num_bins
    spectrogram = np.random.default_rng(0).random((60, bins))
    given = {"labels": labels(60), "spectrogram": spectrogram}
    source = write_archive(tmp_path / "a", {"r": given}).folder
    done = learn(tmp_path / "w", "--archive", source, "--frames", 50)
    assert done.exit_code == 1
    assert "set network.spectrogram.fft_size to 1024" in done.stderr
    student = tmp_path / "student.yaml"
    student.write_text(
        "network:\n  spectrogram:\n    fft_size: 1024\n  analysis: false\n"
        "  front_end:\n    kind: features\n    dimension: 8\n"
    )
    done = learn(tmp_path / "w", "--archive", source, "--frames", 50, "--student", student)
    assert done.exit_code == 0, done.output
    assert load_dictionary(tmp_path / "w").atoms.shape == (513, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--passes", 2, "--frames", 9], "--passes takes the place of --frames"),
        (["--resume"], "--passes is needed for --resume"),
        (["--max-minutes", 3], "--passes is needed for --max-minutes"),
    ],
)
def test_options_that_contradict_each_other(
    options: list[object], message: str, archive: Archive, tmp_path: Path
) -> None:
    done = learn(tmp_path / "w", "--archive", archive.folder, *options)
    assert done.exit_code == 2
    assert message in done.stderr


def test_settings_out_of_range_are_told_in_one_line(archive: Archive, tmp_path: Path) -> None:
    options = ("--archive", archive.folder, "--passes", 0, "--frames-per-pass", -1)
    done = learn(tmp_path / "w", *options)
    assert done.exit_code == 1
    assert "options: passes: Input should be greater" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_damaged_recording_leaves_the_others(tmp_path: Path) -> None:
    source = write_archive(tmp_path / "a", {u: {"labels": labels(40)} for u in "ab"}).folder
    (source / "b.h5").write_bytes(b"broken")
    done = learn(tmp_path / "w", "--archive", source, "--frames", 50)
    assert done.exit_code == 3
    assert "b.h5: cannot be read" in done.stderr
    assert load_dictionary(tmp_path / "w").facts["frames"] == 40
