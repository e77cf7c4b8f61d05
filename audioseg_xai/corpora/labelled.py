"""Recordings as a corpus describes them, and what remains of that beside their audio."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from audioseg_xai.annotation import Region, Segment, crop, merge_regions
from audioseg_xai.console import progress
from audioseg_xai.corpora.lengths import audio_duration
from audioseg_xai.corpora.report import Report
from audioseg_xai.errors import AudioError

CLIP = 0.5
"""Seconds that labels may reach beyond the end of the audio: they are clipped, with a warning."""


@dataclass(frozen=True)
class Labelled:
    """A recording and its labels, before anybody looked at the audio.

    Attributes
    ----------
    audio : Path
        The recording.
    segments : list of Segment
        What sounds.
    uem : list of (onset, offset) or None
        What was annotated, in seconds; None for all of the recording.
    source : Path
        Where the labels come from, for messages.
    uem_source : Path or None
        Where `uem` comes from, if that is another file.
    groups : tuple of str
        Subsets that it belongs to.
    """

    audio: Path
    segments: list[Segment]
    uem: list[Region] | None
    source: Path
    uem_source: Path | None = None
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finished:
    """A recording whose labels fit its audio; attributes as in `DataDir`."""

    audio: Path
    duration: float
    segments: list[Segment]
    uem: list[Region]
    groups: tuple[str, ...] = ()


@dataclass
class Corpus:
    """What a corpus holds.

    Attributes
    ----------
    recordings : dict of str to Labelled
        By uri; those whose files are missing or malformed are not there, but in the report.
    sets : dict of str to list of str
        Uris by name of the set, as released.
    classes : dict of str to tuple of str
        What is annotated in each set.
    """

    recordings: dict[str, Labelled] = field(default_factory=dict)
    sets: dict[str, list[str]] = field(default_factory=dict)
    classes: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def add_set(self, name: str, uris: Sequence[str], classes: tuple[str, ...]) -> None:
        """Add a set of recordings."""
        self.sets[name], self.classes[name] = list(uris), classes


def finish_all(
    recordings: Mapping[str, Labelled], report: Report, *, decode: bool = False
) -> dict[str, Finished]:
    """Compare labels with audio; what does not fit becomes a problem, and the others go on.

    Parameters
    ----------
    recordings : mapping of str to Labelled
        By uri.
    report : Report
        Takes problems and repairs.
    decode : bool
        Decode all audio: see `lengths.audio_duration`.

    Returns
    -------
    dict of str to Finished
        By uri.
    """
    finished = {}
    for uri in progress(sorted(set(recordings) - report.left_out), description="audio"):
        try:
            duration = audio_duration(recordings[uri].audio, decode=decode)
        except AudioError as error:
            report.error(recordings[uri].audio, error, uri=uri)
            continue
        fitted = fit(uri, recordings[uri], duration, report)
        if fitted is not None:
            finished[uri] = fitted
    return finished


def fit(uri: str, recording: Labelled, duration: float, report: Report) -> Finished | None:
    """Return a recording with labels inside its audio; None, with a problem, if they are not.

    Parameters
    ----------
    uri : str
        Its name.
    recording : Labelled
        Its labels.
    duration : float
        Length of its audio, in seconds.
    report : Report
        Takes problems and repairs.
    """
    uem = [(0.0, duration)] if recording.uem is None else recording.uem
    regions = [(segment.onset, segment.offset) for segment in recording.segments]
    uem_source = recording.uem_source or recording.source
    checks = ((regions, recording.source), (uem, uem_source))
    if not all([_within(uri, *check, recording.audio, duration, report) for check in checks]):
        return None
    uem = merge_regions((on, min(off, duration)) for on, off in uem if on < duration)
    if not uem:
        what = f"no part of {uri} is annotated (audio {duration:.3f} s)"
        report.problem(uem_source, what, "correct its UEM, or leave it out", uri=uri)
        return None
    segments = crop(recording.segments, 0.0, duration)
    return Finished(recording.audio, duration, segments, uem, recording.groups)


def _within(
    uri: str, regions: list[Region], source: Path, audio: Path, duration: float, report: Report
) -> bool:
    """Return whether `regions` fit into `duration` seconds; up to `CLIP` more is a repair."""
    late = max((offset for _, offset in regions), default=0.0)
    if late > duration + CLIP:
        what = f"labels of {uri} reach to {late:.3f} s, its audio only to {duration:.3f} s"
        remedy = f"check that {audio.name} is whole and that the labels are its own"
        report.problem(source, what, remedy, uri=uri)
    elif late > duration:
        what = f"labels reach up to {CLIP:g} s beyond the audio and were clipped"
        report.repair(source, what)
    return late <= duration + CLIP


def keep_classes(segments: Iterable[Segment], classes: Iterable[str]) -> list[Segment]:
    """Return the segments of some classes."""
    wanted = set(classes)
    return [segment for segment in segments if segment.label in wanted]
