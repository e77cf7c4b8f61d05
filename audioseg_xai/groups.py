"""Groups of recordings, such as the domains of a corpus, that are scored on their own as well."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from audioseg_xai.errors import AudiosegError, ScoringError
from audioseg_xai.textfields import Source, field_lines

log = logging.getLogger(__name__)


def group_recordings(source: Source, uris: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Read which of the scored recordings belong to which group.

    Parameters
    ----------
    source : str, Path or file
        Lines ``<uri> <group>``; a recording may have several, or none.
    uris : iterable of str
        The scored recordings; the others of `source` are left out, with a warning.

    Returns
    -------
    dict of str to tuple of str
        Scored uris by group, in the order of the file.

    Raises
    ------
    ScoringError
        If a line is not understood, or a group has none of the scored recordings; names file
        and line.
    AnnotationError
        If the file cannot be read.
    """
    first, members = _read(source)
    scored = set(uris)
    for group, where in first.items():
        if scored.isdisjoint(members[group]):
            raise ScoringError(
                f"{where}: group {group!r} has none of the scored recordings: correct its uris, "
                "or remove its lines"
            )
    strangers = {uri for found in members.values() for uri in found} - scored
    if strangers:
        log.warning(f"recordings that have a group, but are not scored: {len(strangers)}")
    return {group: tuple(u for u in found if u in scored) for group, found in members.items()}


def read_pairs(source: Source, error: type[AudiosegError]) -> Iterator[tuple[str, str, str]]:
    """Yield where a line is, and the recording and the group that it names.

    Parameters
    ----------
    source : str, Path or file
        Lines ``<uri> <group>``.
    error : type
        What is raised for a line that is not understood; it names file and line.
    """
    for where, fields in field_lines(source):
        if len(fields) != 2:
            raise error(f"{where}: expected '<uri> <group>', found {' '.join(fields)!r}")
        yield where, fields[0], fields[1]


def _read(source: Source) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return where each group is named first, and its uris, each once."""
    first: dict[str, str] = {}
    members: dict[str, list[str]] = {}
    for where, uri, group in read_pairs(source, ScoringError):
        first.setdefault(group, where)
        if uri not in members.setdefault(group, []):
            members[group].append(uri)
    return first, members
