"""What the C library does with memory that arrays leave behind."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # what glibc's mallopt calls them
_KEPT = 32 << 20


def keep_freed() -> None:
    """Keep up to 32 MiB of freed memory in the process, where the C library is glibc.

    Arrays of a megabyte come and go with each chunk. Handing them back to the system and asking
    again costs more than what is computed in them.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, _KEPT)
        mallopt(_MMAP_THRESHOLD, _KEPT)


def release_freed() -> None:
    """Hand memory back that is kept, where the C library is glibc; for now and then.

    Small things that stay (segments, HDF5's tables) lie between the large arrays of a chunk that
    go: glibc would keep the holes, 60 MB more each hour. Other C libraries have no such call.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
