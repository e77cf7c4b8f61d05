"""Reports of explained recordings: a page each, and lists of regions worth a look."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from audioseg_xai.audio.reader import OnTruncated
from audioseg_xai.console import Outcome, log, run_items
from audioseg_xai.errors import ArchiveError, AudioError
from audioseg_xai.explain import Explanation, prototypes
from audioseg_xai.explanation_archive import ExplanationArchive, read_prototypes
from audioseg_xai.files import write_text_atomic
from audioseg_xai.report.colours import colour_of
from audioseg_xai.report.evidence import prototypes_json, readout_json, segments_json
from audioseg_xai.report.hearing import BIT_RATE, Heard, hear, reconstruct
from audioseg_xai.report.packing import encode_lines
from audioseg_xai.report.page import Media, render_page
from audioseg_xai.report.picture import curves_json, spectrogram_json
from audioseg_xai.report.regions import WORST, Finding, Lane, audacity_labels, least_certain
from audioseg_xai.report.systems import Systems, all_disagreements, lanes_json
from audioseg_xai.textfields import write_lines

LARGEST_AUDIO = 64 << 20
"""Bytes of sound that a page may embed: 6 hours."""

LISTED = 2000
"""Disagreements that a page lists, at most, the longest first."""


@dataclass(frozen=True)
class Plan:
    """What to write, and of what.

    Attributes
    ----------
    pages : dict of str to Path
        The page of each recording, by uri.
    audio : dict of str to str
        Path of each recording, by uri; empty when no sound is at hand.
    media : str
        How a page gets the sound: ``embed`` it, ``link`` to it, or ``none``.
    sounds : int
        Segments of each class of which a page has the relevant part as sound.
    systems : Systems
        What the decisions are compared with.
    worst : dict of str to Path
        Where Audacity labels of the worst regions of each recording go; empty for none.
    prototypes : Path or None
        Prototype file to show; else prototypes of the archive's recordings are computed.
    on_truncated : str
        As for `AudioReader`.
    """

    pages: Mapping[str, Path]
    audio: Mapping[str, str] = field(default_factory=dict)
    media: Media = "embed"
    sounds: int = 5
    systems: Systems = field(default_factory=Systems)
    worst: Mapping[str, Path] = field(default_factory=dict)
    prototypes: Path | None = None
    on_truncated: OnTruncated = "error"


def write_reports(archive_path: Path, plan: Plan) -> Outcome[str]:
    """Write the page of each recording; one that fails is logged, and the others go on.

    Parameters
    ----------
    archive_path : Path
        Explanation archive that has all recordings of the plan.
    plan : Plan
        What to write.

    Returns
    -------
    Outcome
        The uris whose pages are done.

    Raises
    ------
    ArchiveError
        If the archive, or the prototype file, cannot be read, or was made with another model.
    """
    with ExplanationArchive(archive_path) as archive:
        work = _Work(archive, plan, _prototypes(archive, plan.prototypes))
        return run_items(list(plan.pages), work)


def thresholds(archive: ExplanationArchive) -> dict[str, tuple[float, float]]:
    """Return where segments of each class that was decided begin and end, as probabilities.

    Raises
    ------
    ArchiveError
        If the archive does not say.
    """
    decoding = archive.provenance.get("config", {}).get("decoding")
    if not decoding:
        raise ArchiveError(
            f"{archive.path}: does not say with which thresholds it was made: explain the "
            "recordings again, with xai-segment explain --hdf5"
        )
    return {name: (rule["onset"], rule["offset"]) for name, rule in decoding.items()}


class _Work:
    """Writes the page of one recording after the other."""

    def __init__(self, archive: ExplanationArchive, plan: Plan, prototypes: dict[str, Any]) -> None:
        self._archive, self._plan, self._prototypes = archive, plan, prototypes
        self._thresholds = thresholds(archive)
        self._readout = readout_json(archive.readout)

    def __call__(self, uri: str) -> str:
        explanation = self._archive.explanation(uri)
        heard = self._hear(explanation)
        lanes = self._plan.systems.lanes(uri, explanation.duration)
        differing = self._differing(explanation, lanes)
        uncertain = least_certain(
            self._archive.probabilities(uri),
            self._archive.readout.classes,
            self._thresholds,
            explanation.duration,
        )
        report = self._report(explanation, heard)
        report |= {
            "lanes": lanes_json(lanes),
            "differing": [asdict(finding) for finding in differing[:LISTED]],
            "unlisted": max(len(differing) - LISTED, 0),
            "uncertain": [asdict(finding) for finding in uncertain],
        }
        self._write(uri, report, heard)
        self._write_worst(uri, differing, uncertain, lanes)
        return uri

    def _hear(self, explanation: Explanation) -> Heard | None:
        if not self._plan.audio:
            return None
        path = self._plan.audio.get(explanation.uri)
        if path is None:
            raise AudioError(
                f"{explanation.uri}: its audio is not among the files given: add it, or choose the "
                "recordings with --uri"
            )
        embed = self._plan.media == "embed"
        if embed and explanation.duration * BIT_RATE / 8 > LARGEST_AUDIO:
            raise AudioError(
                f"{explanation.uri}: {explanation.duration / 3600:.1f} h of sound are too much for "
                "a page: say --media link or --media none"
            )
        return hear(
            path,
            self._archive,
            explanation,
            embed=embed,
            sounds=0 if self._plan.media == "none" else self._plan.sounds,
            on_truncated=self._plan.on_truncated,
        )

    def _differing(self, explanation: Explanation, lanes: Sequence[Lane]) -> list[Finding]:
        compared = self._plan.systems.regions(explanation.uri, explanation.duration)
        return all_disagreements(explanation.segments, lanes, list(self._thresholds), compared)

    def _report(self, explanation: Explanation, heard: Heard | None) -> dict[str, Any]:
        overview = heard.overview if heard else reconstruct(self._archive, explanation)
        kind = "sound" if heard else "reconstruction"
        return {
            "uri": explanation.uri,
            "duration": explanation.duration,
            "classes": self._classes(),
            "readout": self._readout,
            "segments": segments_json(self._archive, explanation),
            "waveform": heard.waveform if heard else None,
            "spectrogram": spectrogram_json(overview, kind),
            "curves": curves_json(overview),
            "media": self._media(explanation.uri, heard),
            "prototypes": self._prototypes,
            "provenance": self._archive.provenance,
        }

    def _classes(self) -> list[dict[str, Any]]:
        limits = self._thresholds
        return [
            {
                "name": name,
                "colour": colour_of(name),
                "decided": name in limits,
                "threshold": limits[name][0] if name in limits else None,
            }
            for name in self._archive.readout.classes
        ]

    def _media(self, uri: str, heard: Heard | None) -> dict[str, Any]:
        kind = self._plan.media if heard else "none"
        link = _link(self._plan.audio[uri], self._plan.pages[uri]) if kind == "link" else None
        return {"kind": kind, "link": link}

    def _write(self, uri: str, report: dict[str, Any], heard: Heard | None) -> None:
        audio = encode_lines(heard.audio) if heard and heard.audio else ""
        sounds = heard.sounds if heard else []
        page = render_page(report, media=report["media"]["kind"], audio=audio, sounds=sounds)
        write_text_atomic(self._plan.pages[uri], page)
        log.info(f"report: {self._plan.pages[uri]}")

    def _write_worst(
        self, uri: str, differing: list[Finding], uncertain: list[Finding], lanes: Sequence[Lane]
    ) -> None:
        if uri not in self._plan.worst:
            return
        errors = {lane.name for lane in lanes if lane.reference}
        found = [f for f in differing if f.lane in errors][:WORST] if errors else uncertain
        write_lines(audacity_labels(found), self._plan.worst[uri])
        log.info(f"worst regions: {self._plan.worst[uri]}")


def _prototypes(archive: ExplanationArchive, path: Path | None) -> dict[str, Any]:
    if path is None:
        count = len(archive.uris)
        source = f"{count} recordings" if count > 1 else "this recording"
        return prototypes_json(prototypes(archive, archive.readout), archive.readout, source)
    readout, found = read_prototypes(path)
    if not readout.same_as(archive.readout):
        raise ArchiveError(
            f"{path}: was made with another model than {archive.path}: make both with one model"
        )
    return prototypes_json(found, readout, path.name)


def _link(audio: str, page: Path) -> str:
    """Return the address of a file as seen from a page."""
    return quote(Path(os.path.relpath(audio, page.parent)).as_posix())
