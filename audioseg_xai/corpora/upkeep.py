"""Validating and fixing data directories, as Kaldi's validate_data_dir.sh and fix_data_dir.sh do.

What is only out of order, missing, or does not fit the audio is fixed. A line that cannot be
understood needs a person: neither dropping it nor guessing would keep the labels right.
"""

from __future__ import annotations

from pathlib import Path

from audioseg_xai.annotation import Region, Segment, crop
from audioseg_xai.console import progress
from audioseg_xai.corpora.draft import SORT, Draft, read_draft
from audioseg_xai.corpora.lengths import audio_duration
from audioseg_xai.corpora.report import Report
from audioseg_xai.datadir import TOLERANCE, DataDir
from audioseg_xai.errors import AudioError, DataDirError

_CHANGE = 1e-3
"""Seconds by which a duration in reco2dur may differ from the audio before it is worth a line."""


def validate(folder: Path, *, check_audio: bool = True, decode: bool = False) -> Report:
    """Check a data directory: each line, whether files agree, and whether the audio fits.

    Parameters
    ----------
    folder : Path
        The directory.
    check_audio : bool
        Whether audio files must be there and as long as ``reco2dur`` says.
    decode : bool
        Decode all audio: see `lengths.audio_duration`.

    Returns
    -------
    Report
        Without problems when `DataDir.read` reads it.

    Raises
    ------
    DataDirError
        If there is no such directory, or no ``wav.scp`` in it.
    """
    report = Report()
    draft = read_draft(folder, report)
    if draft.absent:
        remedy = "make it; 'datadir fix' can make reco2dur and all.uem"
        report.problem(folder, f"{', '.join(draft.absent)} missing", remedy)
    for path, line, what in draft.misplaced:
        report.problem(path, what, SORT, line=line)
    if not report.problems:
        for what in draft.data_dir().problems():
            report.problem(folder, what, "correct it, or use 'datadir fix'")
    if check_audio:
        _check_audio(draft, report, decode)
    if not report.problems:  # what is accepted here must be read there, Latin-1 for one
        _check_readable(folder, report)
    return report


def _check_readable(folder: Path, report: Report) -> None:
    try:
        DataDir.read(folder)
    except DataDirError as error:
        report.error(folder, error)


def _check_audio(draft: Draft, report: Report, decode: bool) -> None:
    for uri, path in progress(draft.wav.items(), total=len(draft.wav), description="audio"):
        try:
            found = audio_duration(path, decode=decode)
        except AudioError as error:
            report.error(path, error, uri=uri)
            continue
        expected = draft.duration.get(uri, found)
        if abs(found - expected) > TOLERANCE:
            what = f"lasts {found:.3f} s, but reco2dur says {expected:.3f} s for {uri}"
            report.problem(path, what, "use 'datadir fix'", uri=uri)


def fix(folder: Path, output: Path, *, decode: bool = False) -> list[str]:
    """Write a valid copy of a data directory, and say what was changed.

    Lists are sorted; recordings whose audio is not there, cannot be read or is ambiguous are
    dropped, as is what is said about recordings that ``wav.scp`` lacks; durations are those of
    the audio; segments and scored regions are clipped to it; a recording without scored regions
    is scored as a whole.

    Parameters
    ----------
    folder : Path
        The directory; it is not changed.
    output : Path
        The directory to write.
    decode : bool
        Decode all audio: see `lengths.audio_duration`.

    Returns
    -------
    list of str
        Each change, a line.

    Raises
    ------
    DataDirError
        If a line is not understood, ``ref.rttm`` or ``classes`` is missing, labels are not in
        ``classes``, or no recording is left: these need a person.
    """
    report = Report()
    draft = read_draft(folder, report)
    for name in ("ref.rttm", "classes"):
        if name in draft.absent:
            report.problem(folder, f"{name} missing", "write it: it cannot be made up")
    if report.problems:
        more = f" (and {len(report.problems) - 1} more)" if len(report.problems) > 1 else ""
        raise DataDirError(f"{report.problems[0]}{more}; 'datadir validate' lists all")
    done = [f"{path}:{n}: {what}: sorted, one line each" for path, n, what in draft.misplaced]
    done += list(report.repair_lines())
    durations = _durations(draft, decode, done)
    if not durations:
        raise DataDirError(f"{folder}: no recording is left; first: {done[0]}")
    _fitted(draft, durations, done).write(output)
    return done


def _durations(draft: Draft, decode: bool, done: list[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for uri in progress(sorted(draft.wav), description="audio"):
        if uri in draft.ambiguous:
            done.append(f"{uri}: dropped: it has several audio files or durations")
            continue
        try:
            found[uri] = audio_duration(draft.wav[uri], decode=decode)
        except AudioError as error:
            done.append(f"{uri}: dropped: {error}")
            continue
        before = draft.duration.get(uri)
        if before is None or abs(before - found[uri]) > _CHANGE:
            said = "not there" if before is None else f"{before:.3f} s"
            done.append(f"{uri}: duration {found[uri]:.3f} s, was {said}")
    return found


def _fitted(draft: Draft, durations: dict[str, float], done: list[str]) -> DataDir:
    parts = (("ref.rttm", draft.reference), ("all.uem", draft.uem), ("groups", draft.groups))
    for name, part in parts:
        unknown = sorted(part.keys() - draft.wav.keys())
        done += [f"{uri}: dropped from {name}: wav.scp lacks it" for uri in unknown]
    uem = {u: _clipped_uem(u, draft.uem.get(u, []), durations[u], done) for u in durations}
    kept = [uri for uri in durations if uem[uri]]
    return DataDir(
        wav={uri: draft.wav[uri] for uri in kept},
        duration={uri: durations[uri] for uri in kept},
        reference={
            uri: _clipped(uri, draft.reference.get(uri, []), durations[uri], done) for uri in kept
        },
        uem={uri: uem[uri] for uri in kept},
        classes=draft.classes,
        groups={uri: names for uri, names in draft.groups.items() if uri in kept},
    )


def _clipped(uri: str, segments: list[Segment], duration: float, done: list[str]) -> list[Segment]:
    beyond = sum(segment.offset > duration + _CHANGE for segment in segments)
    if beyond:
        done.append(f"{uri}: {beyond} segments clipped at {duration:.3f} s")
    return crop(segments, 0.0, duration)


def _clipped_uem(uri: str, regions: list[Region], duration: float, done: list[str]) -> list[Region]:
    if not regions:
        done.append(f"{uri}: scored as a whole: all.uem lacked it")
        return [(0.0, duration)]
    inside = [(onset, min(offset, duration)) for onset, offset in regions if onset < duration]
    if not inside:
        done.append(f"{uri}: dropped: all that all.uem scores lies beyond {duration:.3f} s")
    elif regions[-1][1] > duration + _CHANGE:
        done.append(f"{uri}: all.uem clipped at {duration:.3f} s")
    return inside
