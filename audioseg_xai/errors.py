"""Errors a user can do something about: one root, one class a room.

Every message is one line that says what is wrong, in which file, and what to do.
"""

from __future__ import annotations


class AudiosegError(Exception):
    """Root of all errors that this package raises on purpose."""


class LabelError(AudiosegError):
    """A class name that is not one of the four classes nor an alias."""


class ConfigError(AudiosegError):
    """A configuration that does not hold: unknown key, wrong type, impossible value."""


class AudioError(AudiosegError):
    """A recording that cannot be read, or not to its end."""


class AnnotationError(AudiosegError):
    """An annotation file (RTTM, UEM) that cannot be understood."""


class DataDirError(AudiosegError):
    """A data directory whose files disagree or are missing."""


class ArchiveError(AudiosegError):
    """An HDF5 archive that is missing, incomplete or of another layout."""


class ModelError(AudiosegError):
    """A model directory that cannot be loaded, or does not fit what is asked of it."""


class ScoringError(AudiosegError):
    """A reference and a hypothesis that cannot be compared."""


class CorpusError(AudiosegError):
    """A corpus or a source of audio that is not laid out as expected."""


class TrainingError(AudiosegError):
    """A training run that cannot start, resume or go on."""


class ShardError(AudiosegError):
    """Shards of some work that are missing, not whole, or not of one work."""


class UsageError(AudiosegError):
    """Options that contradict each other."""
