"""Files that are either whole or absent: temporary name, fsync, rename."""

from __future__ import annotations

import hashlib
import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STATUS = Path("/proc/self/status")
_ASKING_UMASK = threading.Lock()


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that becomes `path` when the block succeeds.

    A reader never sees half a file, and a file that was there stays as it was when the block
    fails. The temporary name keeps the suffix, because some writers choose a format by it.

    Parameters
    ----------
    path : str or Path
        Where the finished file shall be; missing folders are made.

    Yields
    ------
    Path
        The temporary file to write.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".{final.stem}.{uuid.uuid4().hex[:8]}.tmp{final.suffix}")
    try:
        yield temporary
        _allow_as_umask_says(temporary)
        _flush_to_disk(temporary)
        os.replace(temporary, final)
    except OSError as error:
        error.filename = error.filename or str(final)  # a full disk does not say where it is full
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_text_atomic(path: str | Path, text: str) -> None:
    """Write `text` to `path` in UTF-8, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256_file(path: str | Path) -> str:
    """Return the SHA-256 digest of a file's bytes, in hexadecimal."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _allow_as_umask_says(path: Path) -> None:
    # Some writers make private files; what a recipe makes is for the whole group to read.
    path.chmod(0o666 & ~_umask())


def _umask() -> int:
    # One for all threads, and elsewhere asked for by setting it: Linux tells.
    if _STATUS.exists():
        (told,) = [line for line in _STATUS.read_text().splitlines() if line.startswith("Umask:")]
        return int(told.split()[1], 8)
    with _ASKING_UMASK:
        mask = os.umask(0)
        os.umask(mask)
    return mask


def _flush_to_disk(path: Path) -> None:
    with open(path, "rb") as handle:
        os.fsync(handle.fileno())
