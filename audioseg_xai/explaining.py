"""Explain recordings and write all that was asked for: RTTM, archive, figures, pages, a table."""

from __future__ import annotations

import importlib
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from audioseg_xai.annotation import Segment, rttm_lines
from audioseg_xai.cli import log, run_items
from audioseg_xai.closed_segments import ClassSpectra, Closed, gather, in_order
from audioseg_xai.explain import Explanation
from audioseg_xai.explanation_archive import (
    ExplanationWriter,
    RecordingWriter,
    write_explanations,
    write_part,
)
from audioseg_xai.pipeline import Pipeline, Settings, Sink, Taker, load_pipeline
from audioseg_xai.provenance import provenance
from audioseg_xai.recordings import Recording
from audioseg_xai.report.summary import Row, print_table, summarise
from audioseg_xai.segmenter import Chunk
from audioseg_xai.shards import Shard
from audioseg_xai.textfields import write_lines

if TYPE_CHECKING:
    from audioseg_xai.report.page import Media
    from audioseg_xai.report.paths import Scale


Finish = Callable[[Explanation], None]
"""Something that is done once a recording is explained."""


@dataclass(frozen=True)
class Outputs:
    """What to write, and where.

    Attributes
    ----------
    rttm : Path or None
        Segments; None is stdout.
    hdf5 : Path or None
        Explanation archive; None is none.
    figures : dict of str to Path
        Figure of each recording, by uri; empty for none.
    scale : {'hz', 'mel'}
        Of frequency, in figures.
    compress : bool
        Whether the archive is compressed.
    listen : Path or None
        Folder for the sounds that decisions rest on, see `listening_files`; None is none.
    reports : dict of str to Path
        HTML page of each recording, by uri; empty for none.
    media : str
        How pages get the sound: ``embed``, ``link`` or ``none``.
    """

    rttm: Path | None = None
    hdf5: Path | None = None
    figures: dict[str, Path] = field(default_factory=dict)
    scale: Scale = "hz"
    compress: bool = False
    listen: Path | None = None
    reports: dict[str, Path] = field(default_factory=dict)
    media: Media = "embed"


@dataclass(frozen=True)
class _Explained:
    """What is remembered of a recording once its outputs are written.

    Its part of the archive may lie in a file of its own, and wait there for its turn.
    """

    uri: str
    segments: list[Segment]
    rows: list[Row]
    part: Path | None = None


def explain_recordings(
    recordings: list[Recording],
    settings: Settings,
    outputs: Outputs,
    *,
    threshold: float | None = None,
    shard: Shard | None = None,
) -> None:
    """Explain `recordings`; one that fails is logged, and nothing of it is in any output.

    Parameters
    ----------
    recordings : list of Recording
        With distinct uris.
    settings : Settings
        Model, device, classes. As many recordings as it has workers are explained at once: in a
        process each on a CPU, in threads, which share it, on a GPU.
    outputs : Outputs
        What to write.
    threshold : float, optional
        tau; by default that of the model.
    shard : Shard, optional
        The share that `recordings` are; RTTM and archive become shards, also when nothing is in
        them.
    """
    if outputs.listen is not None:
        from audioseg_xai.listening_files import check_listening

        check_listening(outputs.listen, recordings)
    if outputs.reports:
        importlib.import_module("audioseg_xai.report.writing")  # what is missing is said at once
    with _with_archive(outputs) as needed:
        explained = _explain(recordings, settings, needed, threshold, shard is not None)
        lines = (line for found in explained for line in rttm_lines(found.uri, found.segments))
        write_lines(lines, outputs.rttm or sys.stdout)
        sys.stdout.flush()
        print_table([row for found in explained for row in found.rows])
        uris = [found.uri for found in explained]
        _say_where(uris, outputs)
        _write_reports([r for r in recordings if r.uri in uris], settings, needed)
    if shard is not None:
        pipeline = load_pipeline(settings)
        tau = pipeline.model.config.relevance_threshold if threshold is None else threshold
        shard.finish([outputs.rttm, outputs.hdf5], uris, pipeline.describe() | {"tau": tau})


def _explain(
    recordings: list[Recording],
    settings: Settings,
    outputs: Outputs,
    threshold: float | None,
    may_be_empty: bool,
) -> list[_Explained]:
    pipeline = load_pipeline(settings)
    tau = pipeline.model.config.relevance_threshold if threshold is None else threshold
    with (
        _archive(pipeline, outputs, tau) as archive,
        _worker(pipeline, outputs, tau, archive, len(recordings)) as work,
    ):
        outcome = run_items(
            recordings,
            work,
            describe=lambda recording: recording.source,
            num_workers=settings.num_workers,
            threads=pipeline.on_gpu,
            collect=lambda found: _take_part(archive, found),
        )
        if not outcome.done and not may_be_empty:
            # Leaves no archive behind; run_items has said what went wrong.
            raise click.exceptions.Exit(outcome.exit_code)
    return outcome.done


@contextmanager
def _with_archive(outputs: Outputs) -> Iterator[Outputs]:
    """Yield outputs with an archive if pages are wanted, which are made of one."""
    if not outputs.reports or outputs.hdf5 is not None:
        yield outputs
        return
    page = next(iter(outputs.reports.values()))
    page.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=page.parent, prefix=".", suffix=".tmp") as folder:
        yield replace(outputs, hdf5=Path(folder) / "explanations.h5")


def _write_reports(recordings: list[Recording], settings: Settings, outputs: Outputs) -> None:
    if not outputs.reports or outputs.hdf5 is None:
        return
    from audioseg_xai.report.writing import Plan, write_reports

    plan = Plan(
        pages={r.uri: outputs.reports[r.uri] for r in recordings},
        audio={r.uri: r.path for r in recordings},
        media=outputs.media,
        on_truncated="warn" if settings.allow_truncated else "error",
    )
    write_reports(outputs.hdf5, plan)


@dataclass
class _Work:
    """Explains recordings, one after the other, into an open archive."""

    pipeline: Pipeline
    outputs: Outputs
    threshold: float
    archive: ExplanationWriter | None = None

    def __call__(self, recording: Recording) -> _Explained:
        readout = self.pipeline.readout
        segments: list[Segment] = []
        spectra = ClassSpectra(readout, self.threshold)
        takers: list[Taker] = [lambda closed: segments.extend(closed.segments), spectra.add]
        sinks: list[Sink] = []
        with ExitStack() as stack:
            writer = self._writer(recording, stack)
            if writer is not None:
                sinks.append(_archive_sink(writer))
                takers.append(writer.add)
            finishers = [*self._listening(recording, sinks, stack), *self._figure(recording, sinks)]
            parts: list[Closed] = []
            if finishers:  # they need all segments at once
                takers.append(parts.append)
            outline = self.pipeline.explain_closed(recording, takers, sinks, self.threshold)
            if writer is not None:
                writer.finish_added(outline)
            if finishers:
                explanation = gather(parts, readout, outline)
                for finish in finishers:
                    finish(explanation)
        segments = in_order(segments)
        shown = list(self.pipeline.decoding)
        rows = summarise(outline, segments, spectra.spectra(), readout.frequencies, shown)
        return _Explained(recording.uri, segments, rows)

    def _writer(self, recording: Recording, stack: ExitStack) -> RecordingWriter | None:
        if self.archive is None:
            return None
        return stack.enter_context(self.archive.recording(recording.uri))

    def _listening(
        self, recording: Recording, sinks: list[Sink], stack: ExitStack
    ) -> Iterator[Finish]:
        if self.outputs.listen is None:
            return
        from audioseg_xai.listening_files import listening

        settings = {"model_digest": self.pipeline.model.digest}
        listener = stack.enter_context(
            listening(self.outputs.listen, recording, self.pipeline.readout, settings)
        )
        sinks.append(lambda chunk: listener.push(chunk.activations))
        yield listener.finish

    def _figure(self, recording: Recording, sinks: list[Sink]) -> Iterator[Finish]:
        if not self.outputs.figures:
            return
        from audioseg_xai.report.figure import draw_recording, save_figure
        from audioseg_xai.report.overview import Overview

        overview = Overview()
        sinks.append(lambda chunk: overview.push(chunk.spectrogram, chunk.probabilities))
        shown = tuple(self.pipeline.decoding)

        def finish(explanation: Explanation) -> None:
            readout, scale = self.pipeline.readout, self.outputs.scale
            figure = draw_recording(explanation, readout, overview, shown, scale)
            save_figure(figure, self.outputs.figures[recording.uri])

        yield finish


@dataclass(frozen=True)
class _WorkApart:
    """Explains each recording into a file of its own in `folder`; goes to other processes.

    Without a folder there is no archive to be made.
    """

    settings: Settings
    outputs: Outputs
    threshold: float
    folder: Path | None

    def __call__(self, recording: Recording) -> _Explained:
        pipeline = load_pipeline(self.settings)
        work = _Work(pipeline, self.outputs, self.threshold)
        if self.folder is None:
            return work(recording)
        part = self.folder / f"{uuid.uuid4().hex}.h5"
        layout = _layout(pipeline, self.outputs)
        with write_part(part, pipeline.readout, **layout) as work.archive:
            found = work(recording)
        return replace(found, part=part)


@contextmanager
def _worker(
    pipeline: Pipeline,
    outputs: Outputs,
    threshold: float,
    archive: ExplanationWriter | None,
    num_recordings: int,
) -> Iterator[Callable[[Recording], _Explained]]:
    """Yield what explains a recording, one after the other or several at once."""
    if min(pipeline.settings.num_workers, num_recordings) <= 1:
        yield _Work(pipeline, outputs, threshold, archive)
        return
    # Pages are made of the archive afterwards: workers need not hear of them, again and again.
    work = _WorkApart(pipeline.settings, replace(outputs, reports={}), threshold, None)
    if outputs.hdf5 is None:
        yield work
        return
    with TemporaryDirectory(dir=outputs.hdf5.parent, prefix=".", suffix=".tmp") as folder:
        yield replace(work, folder=Path(folder))


def _take_part(archive: ExplanationWriter | None, found: _Explained) -> None:
    if archive is not None and found.part is not None:
        archive.take(found.part, found.uri)


def _archive_sink(writer: RecordingWriter) -> Sink:
    def push(chunk: Chunk) -> None:
        writer.push(chunk.probabilities, chunk.activations)

    return push


@contextmanager
def _archive(
    pipeline: Pipeline, outputs: Outputs, threshold: float
) -> Iterator[ExplanationWriter | None]:
    if outputs.hdf5 is None:
        yield None
        return
    config = {
        "model_digest": pipeline.model.digest,
        "network": pipeline.model.config.network.model_dump(mode="json"),
        "decoding": {name: rule.model_dump() for name, rule in pipeline.decoding.items()},
        "relevance_threshold": threshold,
    }
    with write_explanations(
        outputs.hdf5,
        pipeline.readout,
        provenance(config),
        **_layout(pipeline, outputs),
    ) as writer:
        yield writer


def _layout(pipeline: Pipeline, outputs: Outputs) -> dict[str, Any]:
    return {
        "compression": "gzip" if outputs.compress else None,
        "thresholds": {name: rule.offset for name, rule in pipeline.decoding.items()},
    }


def _say_where(uris: list[str], outputs: Outputs) -> None:
    written = (outputs.rttm, outputs.hdf5, outputs.listen)
    for what, path in zip(("segments", "explanation", "sounds"), written, strict=True):
        if path is not None:
            log.info(f"{what}: {path}")
    for uri in uris if outputs.figures else []:
        log.info(f"figure: {outputs.figures[uri]}")
