"""Which recordings of an archive are shown, and where their sound lies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from audioseg_xai.errors import ArchiveError, UsageError
from audioseg_xai.explanation_archive import ExplanationArchive
from audioseg_xai.recordings import STDIN, Recording


def choose_uris(archive_path: Path, wanted: Sequence[str] = ()) -> list[str]:
    """Return the recordings of an archive, or those that are `wanted`.

    Raises
    ------
    ArchiveError
        If the archive cannot be read, has no recording, or lacks one that is wanted.
    """
    with ExplanationArchive(archive_path) as archive:
        uris = archive.uris
    unknown = [uri for uri in wanted if uri not in uris]
    if unknown or not uris:
        what = f"no recording {unknown[0]!r}" if unknown else "no recording"
        raise ArchiveError(f"{archive_path}: has {what}; it has {', '.join(uris[:5]) or 'none'}")
    return [uri for uri in uris if uri in wanted] if wanted else uris


def match_audio(uris: Sequence[str], recordings: Sequence[Recording]) -> dict[str, str]:
    """Return the file of each recording, by uri; a single file may have any name.

    Recordings without a file are left out, and files that belong to none.

    Raises
    ------
    UsageError
        If no file belongs to any recording, or one is standard input.
    """
    if any(recording.path == STDIN for recording in recordings):
        raise UsageError("standard input: is gone once it was read: name a file")
    if len(uris) == len(recordings) == 1:
        return {uris[0]: recordings[0].path}
    found = {recording.uri: recording.path for recording in recordings if recording.uri in uris}
    if recordings and not found:
        raise UsageError(
            f"{recordings[0].path}: is none of the explained recordings, such as {uris[0]}: a file "
            "must be named as its recording"
        )
    return found
