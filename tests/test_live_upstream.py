"""Live streams for models that listen to an upstream: how late they are, and what they print."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from dummies import student_config
from test_cli_segment_live import SAMPLES, SECOND, Start, of_file, pipe, send, start
from test_live import Fake, lateness
from upstream_dummies import load, student_of, write

from audioseg_xai import cli
from audioseg_xai.decode import ClassDecoding
from audioseg_xai.errors import UsageError
from audioseg_xai.inference import Segmenter
from audioseg_xai.labels import CLASSES
from audioseg_xai.live import plan
from audioseg_xai.models.configs import FeatureFrontEndConfig, LevelConfig, StudentConfig
from audioseg_xai.models.directory import Model, ModelConfig, save_model
from audioseg_xai.models.networks import Student
from audioseg_xai.pipeline import Pipeline
from audioseg_xai.upstream import Upstream

__all__ = ["start"]

RULES = {name: ClassDecoding(onset=0.6, offset=0.4, min_gap=0.1) for name in CLASSES}


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Upstream:
    """Return a WavLM that gives 30 frames at once and sees 16 more on each side."""
    return load(write(tmp_path_factory.mktemp("upstream") / "tiny.pt"), layers=2)


@pytest.fixture(scope="module")
def network(upstream: Upstream) -> Student:
    return student_of(upstream)


@pytest.fixture(scope="module")
def model(network: Student, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    metrics = {"dummy": {"speech": {"f1": 0.5}}}
    config = ModelConfig(network=network.config, decoding=RULES, metrics=metrics)
    save_model(Model(network, config), folder)
    return folder


def listening(upstream: Upstream, **changes: object) -> StudentConfig:
    norm = "window" if "window" in changes else "frame"
    front_end = FeatureFrontEndConfig(
        kind="features", dimension=upstream.dimension, norm=norm, upstream=upstream.config
    )
    return student_config(front_end=front_end, **changes)


@pytest.mark.parametrize(
    ("changes", "ahead"),
    [
        ({}, 3 + 30 + 16),  # the context of the network, a window of the upstream, its margin
        ({"level": LevelConfig(context=70)}, 70),
        ({"window": 100}, 99 + 30 + 16),
        ({"window": 100, "level": LevelConfig(context=400)}, 9 + 400),
    ],
)
def test_what_a_frame_waits_for_by_hand(
    upstream: Upstream, changes: dict[str, object], ahead: int
) -> None:
    found = plan(listening(upstream, **changes), RULES)
    assert found.exact
    assert found.latency == pytest.approx((5 + 50 + ahead - 2) * 0.02 + (456 + 1600) / 16_000)


def test_a_latency_below_that_of_the_windows_is_refused(upstream: Upstream) -> None:
    config = listening(upstream)
    assert plan(config, RULES, 2.17) == plan(config, RULES)
    with pytest.raises(UsageError, match=r"--latency 1: .* only 2.17 s after: leave out --latency"):
        plan(config, RULES, 1.0)


@pytest.mark.parametrize(
    "changes", [{}, {"window": 60}, {"window": 40, "level": LevelConfig(context=120)}]
)
def test_promises_are_kept(upstream: Upstream, model: Path, changes: dict[str, object]) -> None:
    from audioseg_xai.models.directory import load_model

    network = Student(listening(upstream, **changes), student_of(upstream).dictionary).eval()
    network.classifier.weight.data = student_of(upstream).classifier.weight.data
    planned = plan(network.config, RULES)
    reader = Fake([1600] * 79)
    chunks = Segmenter(network, chunk=planned.hop).process(reader)
    late = lateness(Pipeline(load_model(model)), reader, chunks)
    assert planned.latency / 3 < max(late) <= planned.latency


def test_lines_come_while_the_stream_goes_on_and_are_those_of_the_file(
    start: Start, model: Path, tmp_path: Path
) -> None:
    words = ("--device", "cpu", "--threads", "1")
    process = start("--raw", "s16le", *words)
    send(process, SAMPLES[: 12 * SECOND])
    first = pipe(process, "stdout").readline()  # the stream is still open
    send(process, SAMPLES[12 * SECOND :])
    pipe(process, "stdin").close()
    process.stdin = None  # or it would be flushed in the end
    lines = b"".join([first, *pipe(process, "stdout")]).decode().splitlines()
    assert process.wait(60) == 0
    assert sorted(lines) == of_file(model, tmp_path, SAMPLES, *words)
    assert pipe(process, "stderr").read().decode() == (
        "standard input: a segment is printed at most 2.17 s after its end, decided as in a file\n"
    )


def test_too_short_a_latency_is_one_line(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audioseg_xai.live.is_live", lambda recordings: True)
    words = ["segment", "-", "--model", str(model), "--latency", "1", "--device", "cpu"]
    done = CliRunner().invoke(cli.main, words)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "only 2.17 s after: leave out --latency, or take a model" in done.stderr
