"""Segments that are explained as they close: the same archive, and memory that stays flat."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from dummies import COMPONENTS, load_student, save_student, write_sound
from hypothesis import given, settings
from hypothesis import strategies as st

from audioseg_xai import cli, closed_segments, explaining
from audioseg_xai.annotation import Segment, read_rttm
from audioseg_xai.closed_segments import ClassSpectra, Closed, Outline, gather, in_order
from audioseg_xai.decode import ClassDecoding
from audioseg_xai.explain import Readout, class_spectra
from audioseg_xai.explanation_archive import ExplanationArchive, write_explanations
from audioseg_xai.frames import HOP
from audioseg_xai.pipeline import Pipeline, Settings
from audioseg_xai.recordings import Recording
from audioseg_xai.segmenter import CHUNK, Chunk

CLASSES = ("speech", "music", "noise")
RNG = np.random.default_rng(7)
READOUT = Readout(
    CLASSES,
    RNG.random((9, 5), np.float32),
    RNG.normal(size=(3, 5)).astype(np.float32),
    RNG.random(3, np.float32),
    np.linspace(0, 8000, 9, dtype=np.float32),
)
THRESHOLDS = {"speech": 0.5, "music": 0.4, "noise": 0.6}
OUTLINE = Outline("a/b", duration=4000.0, num_frames=199_999, threshold=0.2)


def closed(segments: Sequence[Segment], seed: int = 0) -> Closed:
    """Return random evidence for segments."""
    rng = np.random.default_rng(seed)
    relevances = rng.normal(size=(len(segments), 5)).astype(np.float32)
    return Closed(tuple(segments), relevances, rng.normal(size=len(segments)).astype(np.float32))


def part(whole: Closed, rows: Sequence[int]) -> Closed:
    """Return some segments."""
    places = np.array(rows, dtype=np.intp)
    segments = tuple(whole.segments[row] for row in rows)
    return Closed(segments, whole.relevance[places], whole.mean_logit[places])


def contents(path: Path) -> dict[str, tuple[object, ...]]:
    """Return type and bytes of every dataset of the recording, and its attributes."""
    with h5py.File(path) as file:
        (group,) = (item for item in file.values() if isinstance(item, h5py.Group))
        found = {n: (d.shape, d.dtype, d.chunks, d[()].tobytes()) for n, d in group.items()}
        return found | {name: (type(value), value) for name, value in group.attrs.items()}


def archive(path: Path, parts: Sequence[Closed], at_once: bool) -> dict[str, tuple[object, ...]]:
    """Write segments as they close, or all of them at once; return what is in the archive."""
    with (
        write_explanations(path, READOUT, {}, thresholds=THRESHOLDS) as writer,
        writer.recording(OUTLINE.uri) as recording,
    ):
        if at_once:
            recording.finish(gather(parts, READOUT, OUTLINE))
        else:
            for some in parts:
                recording.add(some)
            recording.finish_added(OUTLINE)
    return contents(path)


SEGMENTS = st.lists(
    st.tuples(st.integers(0, 30), st.integers(1, 20), st.sampled_from(CLASSES), st.floats(0, 1)),
    max_size=12,
    unique_by=lambda item: (item[0], item[2]),  # a class does not begin twice at once
).map(lambda items: [Segment(a * 0.02, (a + n) * 0.02, c, p) for a, n, c, p in items])


@settings(deadline=None, max_examples=25)
@given(SEGMENTS, st.data())
def test_batches_and_their_order_make_no_difference(
    segments: list[Segment], data: st.DataObject
) -> None:
    whole = closed(segments)
    rows = data.draw(st.permutations(range(len(segments))))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=5)))
    batches = [rows[a:b] for a, b in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    with TemporaryDirectory() as name:
        folder = Path(name)
        expected = archive(folder / "x.h5", [whole], at_once=True)
        parts = [part(whole, batch) for batch in batches]
        assert archive(folder / "y.h5", parts, at_once=False) == expected
        with ExplanationArchive(folder / "y.h5") as found:
            stored = found.explanation("a/b").segments
    assert [(s.onset, s.label) for s in stored] == sorted((s.onset, s.label) for s in segments)


def test_a_long_segment_that_closes_last_comes_first(tmp_path: Path) -> None:
    short = [Segment(t + 0.5, t + 1.0, "speech", 0.75) for t in range(1300)]
    music = Segment(0.02, 1300.0, "music", 0.5)
    whole = closed([*short, music])
    parts = [part(whole, range(a, min(a + 70, 1301))) for a in range(0, 1301, 70)]
    made = archive(tmp_path / "x.h5", parts, at_once=False)
    assert made == archive(tmp_path / "y.h5", [whole], at_once=True)
    with ExplanationArchive(tmp_path / "x.h5") as found:
        explanation = found.explanation("a/b")
    assert explanation.segments == (music, *short)
    np.testing.assert_array_equal(explanation.relevance[0], whole.relevance[-1])
    np.testing.assert_array_equal(explanation.relevance[1:], whole.relevance[:-1])
    np.testing.assert_array_equal(explanation.mean_logit[1:], whole.mean_logit[:-1])


def test_class_spectra_add_up() -> None:
    segments = [Segment(t, t + 0.1 * (1 + t % 5), CLASSES[t % 2], 0.5) for t in range(40)]
    whole, adding = closed(segments), ClassSpectra(READOUT, OUTLINE.threshold)
    for rows in (range(17), range(17, 18), range(18, 40)):
        adding.add(part(whole, rows))
    expected = class_spectra(gather([whole], READOUT, OUTLINE))
    assert set(adding.spectra()) == set(expected) == {"speech", "music"}
    for name, spectrum in expected.items():
        np.testing.assert_allclose(adding.spectra()[name], spectrum, rtol=1e-5)


def test_segments_in_order_are_by_onset_then_label() -> None:
    late, second, first = (
        Segment(1, 2, "music"),
        Segment(0, 1, "speech"),
        Segment(0, 3, "music"),
    )
    assert in_order([late, second, first]) == [first, second, late]


# --- whole recordings ---------------------------------------------------------------------------


class Ticking:
    """Hears speech in every other tenth of a second, and noise all the time."""

    def process(self, blocks: Iterator[np.ndarray]) -> Iterator[Chunk]:
        """Yield a chunk a block of samples."""
        for block in blocks:
            count = len(block) // HOP
            logits = np.full((count, 4), -9, np.float32)
            logits[:, 0] = np.where(np.arange(count) % 10 < 5, 2, -2)
            logits[:, 2] = 3
            hidden = np.tile(np.linspace(0, 1, COMPONENTS, dtype=np.float32), (count, 1))
            spectrogram = np.zeros((count, 257), np.float32)
            yield Chunk(spectrogram, logits, 1 / (1 + np.exp(-logits)), hidden)


@pytest.fixture
def ticking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    model = load_student(tmp_path / "model")
    rules = {"decoding": {"speech": ClassDecoding(), "noise": ClassDecoding()}}
    model.config = model.config.model_copy(update=rules)
    pipeline = Pipeline(model, Settings(device="cpu"))
    monkeypatch.setattr(pipeline, "segmenter", Ticking())
    monkeypatch.setattr(explaining, "load_pipeline", lambda settings: pipeline)
    return pipeline


def silence(path: Path, chunks: int) -> Recording:
    soundfile.write(path, np.zeros(chunks * CHUNK * HOP, np.int16), 16_000)
    return Recording(path.stem, str(path))


def traced(recording: Recording, folder: Path) -> int:
    """Return the most bytes that explaining takes at a time."""
    outputs = explaining.Outputs(rttm=folder / "o.rttm", hdf5=folder / "o.h5")
    tracemalloc.start()
    try:
        explaining.explain_recordings([recording], Settings(device="cpu"), outputs)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_hardly_grows_with_the_recording(
    ticking: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recordings = [silence(tmp_path / f"{count}.wav", count) for count in (1, 8, 30)]
    _, short, long = (traced(recording, tmp_path) for recording in recordings)
    segments = read_rttm(tmp_path / "o.rttm")["30"]
    assert len(segments) == 30 * 100 + 1
    # Relevance and spectrum alone are (8 + 257) x 4 bytes.
    assert long - short < 22 * 100 * 400
    with ExplanationArchive(tmp_path / "o.h5") as archive:
        found = archive.explanation("30")
    assert found.segments[0] == Segment(0.0, 600.0, "noise", found.segments[0].confidence)
    assert found.spectra.shape == (3001, 257)


def test_what_is_explained_as_it_closes_is_what_is_explained_at_once(
    ticking: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = silence(tmp_path / "a.wav", 7)
    traced(recording, tmp_path)
    whole = ticking.explain(recording)
    with ExplanationArchive(tmp_path / "o.h5") as archive:
        found = archive.explanation("a")
    assert [(s.onset, s.offset, s.label) for s in found.segments] == [
        (s.onset, s.offset, s.label) for s in whole.segments
    ]
    assert (found.duration, found.num_frames) == (whole.duration, whole.num_frames) == (140, 7000)
    for name in ("relevance", "spectra", "mean_logit"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))
    assert ticking.segment(recording).segments == whole.segments


def test_a_full_disk_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = partial(open, "/dev/full", "r+b", 0)
    monkeypatch.setattr(closed_segments.tempfile, "TemporaryFile", lambda **options: full())
    model, sound = save_student(tmp_path / "model"), write_sound(tmp_path / "good.wav")
    target = tmp_path / "out" / "o.h5"
    words = ["explain", "--model", str(model), "--device", "cpu", str(sound), "--hdf5", str(target)]
    done = CliRunner().invoke(cli.main, words)
    assert (done.exit_code, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.endswith(f"{sound}: {target.parent}: No space left on device")
    assert list(target.parent.iterdir()) == []
