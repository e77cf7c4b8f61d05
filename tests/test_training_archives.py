"""Archives: what they hold, and when a file of theirs is made again."""

import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pytest

from audioseg_xai.annotation import Segment
from audioseg_xai.archive import Archive
from audioseg_xai.datadir import DataDir
from audioseg_xai.errors import ArchiveError
from audioseg_xai.extract import extractions
from audioseg_xai.features import SpectrogramConfig
from tests.training_dummies import make_archive


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return make_archive(tmp_path_factory.mktemp("corpus"))


def test_archive_holds_what_the_data_directory_says(archive: Archive) -> None:
    spectrogram, labels, _ = archive.read(archive.entries[1])
    assert spectrogram.shape == (archive.entries[1].num_frames, 257)
    # Centres 320 t + 200 between 32000 and 64000 samples: frames 100 to 199.
    assert np.flatnonzero(labels[:, 1]).tolist() == list(range(100, 200))
    assert (labels[:, [0, 2, 3]] == 0).all()


def test_a_whole_file_is_kept_and_a_damaged_one_made_again(tmp_path: Path) -> None:
    archive = make_archive(tmp_path)
    path = archive.folder / archive.entries[0].file
    made = path.stat().st_mtime_ns
    work = extractions(DataDir.read(tmp_path / "data"), archive.folder, SpectrogramConfig())
    assert work[0].run() == archive.entries[0]
    assert path.stat().st_mtime_ns == made
    path.write_bytes(path.read_bytes()[:2000])
    assert work[0].run() == archive.entries[0]
    assert path.stat().st_size > 2000


def test_new_labels_make_the_file_again(tmp_path: Path) -> None:
    archive = make_archive(tmp_path)
    data = DataDir.read(tmp_path / "data")
    data.reference["r1"] = [Segment(0.0, 1.0, "speech")]
    work = extractions(data, archive.folder, SpectrogramConfig())
    for item in work:
        item.run()
    labels = Archive(archive.folder).read(archive.entries[1])[1]
    assert labels[:49, 0].all() and not labels[:, 1].any()


def test_a_missing_index_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="cache-features"):
        Archive(tmp_path)


def test_an_archive_goes_to_other_processes(archive: Archive) -> None:
    """By fork, with files open, and by pickle; the positions of readers do not mix."""
    expected = [archive.read(entry)[0].astype(float).sum() for entry in archive.entries]
    reader = multiprocessing.get_context("fork").Queue()

    def read(source: Archive) -> None:
        for _ in range(20):
            reader.put([source.read(entry)[0].astype(float).sum() for entry in source.entries])

    child = multiprocessing.get_context("fork").Process(target=read, args=(archive,))
    child.start()
    for _ in range(20):
        assert [archive.read(entry)[0].astype(float).sum() for entry in archive.entries] == expected
        assert reader.get(timeout=60) == expected
    child.join()
    other = pickle.loads(pickle.dumps(archive))
    assert other.read(other.entries[0])[0].astype(float).sum() == expected[0]
