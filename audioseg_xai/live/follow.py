"""Print the segments of a live stream as they close."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from audioseg_xai.annotation import Segment, rttm_lines
from audioseg_xai.audio import AudioReader
from audioseg_xai.console import log
from audioseg_xai.devices import resolve_device
from audioseg_xai.errors import AudioError
from audioseg_xai.frames import HOP, SAMPLE_RATE
from audioseg_xai.live.lookahead import (
    Decide,
    gathered,
    numpy_network,
    process_live,
    torch_network,
)
from audioseg_xai.live.plan import BLOCK, CARRIED_HOP, LONGEST_HOP, Plan, plan, takes_latency
from audioseg_xai.live.source import InterruptibleInput
from audioseg_xai.pipeline import Pipeline, check_length
from audioseg_xai.segmenter import CHUNK, Chunk, StreamingSegmenter
from audioseg_xai.textfields import write_lines


def follow(
    pipeline: Pipeline, uri: str, latency: float | None = None, rttm: Path | None = None
) -> signal.Signals | None:
    """Print each segment that standard input holds, as soon as it is known.

    For input that ends, the segments are those of a file, in the order in which they close. When
    it breaks off, or a signal ends it, what was heard until then is decided as if it ended there.

    Parameters
    ----------
    pipeline : Pipeline
        What decides.
    uri : str
        Name of the stream.
    latency : float, optional
        Seconds from the end of a segment to its line; see `plan`.
    rttm : Path, optional
        Where to write the segments, sorted, once the input ends; by default they go to standard
        output, each as it closes.

    Returns
    -------
    signal.Signals or None
        The signal that ended it, if one did.

    Raises
    ------
    AudioError
        If the input cannot be read, not to its end, or is too short; what was decided is printed.
    UsageError
        If the model cannot keep to `latency`.
    BrokenPipeError
        If nobody reads standard output any more.
    """
    config = pipeline.model.config.network
    carries_state = isinstance(pipeline.segmenter, StreamingSegmenter)
    exact_hop = CARRIED_HOP if carries_state else LONGEST_HOP
    planned = plan(config, pipeline.decoding, latency, exact_hop)
    log.info(f"standard input: {planned}")
    watched = sys.stdout.fileno() if rttm is None else None
    with InterruptibleInput(sys.stdin.fileno(), watched) as source:
        try:
            _write(_segments(pipeline, source, planned), uri, rttm)
        except AudioError:
            if not source.stopped:  # a stream that was stopped may end anywhere
                raise
    if source.unread:
        raise BrokenPipeError
    return source.stopped_by


def _segments(pipeline: Pipeline, source: InterruptibleInput, planned: Plan) -> Iterator[Segment]:
    """Yield all segments; raise what was wrong with the sound when they are out."""
    wrong: list[AudioError] = []
    file, options = cast(BinaryIO, source), pipeline.settings.audio
    with AudioReader(file, block=BLOCK, live=True, **options) as reader:
        blocks = _until_wrong(reader, wrong)
        yield from pipeline.follow(reader, _chunks(pipeline, blocks, planned, source))
        if source.stopped_by is not None:
            heard = f"{reader.num_samples / SAMPLE_RATE:.3f} s"
            log.warning(f"standard input: stopped by {source.stopped_by.name} after {heard}")
        if source.stopped:
            return
        if wrong:
            raise wrong[0]
        check_length(reader)


def _chunks(
    pipeline: Pipeline,
    blocks: Iterator[NDArray[np.float32]],
    planned: Plan,
    source: InterruptibleInput,
) -> Iterator[Chunk]:
    segmenter, config = pipeline.segmenter, pipeline.model.config.network
    if planned.exact and isinstance(segmenter, StreamingSegmenter):
        segmenter.threads = 1  # a signal wakes the main thread, which has to be who waits for sound
        return segmenter.process(gathered(blocks, source.waiting, CHUNK * HOP))
    if isinstance(segmenter, StreamingSegmenter) or takes_latency(config):
        return process_live(config, _network(pipeline), blocks, planned, source.waiting)
    segmenter.chunk = min(segmenter.chunk, planned.hop)
    segmenter.windows = 1  # on a GPU too: several at once would be waited for
    return segmenter.process(blocks)


def _network(pipeline: Pipeline) -> Decide:
    if isinstance(pipeline.segmenter, StreamingSegmenter):
        return numpy_network(pipeline.model.config.network, pipeline.segmenter.weights)
    return torch_network(pipeline.model.network, resolve_device(pipeline.settings.device))


def _until_wrong(reader: AudioReader, wrong: list[AudioError]) -> Iterator[NDArray[np.float32]]:
    try:
        yield from reader
    except AudioError as error:
        wrong.append(error)


def _write(segments: Iterator[Segment], uri: str, rttm: Path | None) -> None:
    if rttm is not None:
        write_lines(rttm_lines(uri, segments), rttm)
        return
    for segment in segments:
        write_lines(rttm_lines(uri, [segment]), sys.stdout)
        sys.stdout.flush()
