"""The matrix products of NumPy: which instructions they use, and on how many threads."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_CHOICE = "OPENBLAS_CORETYPE"
_WIDE = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
"""What OpenBLAS needs for the kernels that it calls SkylakeX."""


def use_wide_kernels(cpuinfo: Path = Path("/proc/cpuinfo")) -> None:
    """Let OpenBLAS use the AVX-512 instructions of processors that it does not know to have them.

    OpenBLAS 0.3.31, as wheels of NumPy bring it, takes an AMD Zen 5 for a Haswell, and multiplies
    half as fast as with the kernels that it chooses for an Intel processor with the same
    instructions. It looks at the environment when NumPy is imported: call this before. A choice
    that is there already stays, and programs started from this one make the same.

    Parameters
    ----------
    cpuinfo : Path, optional
        What Linux says of the processor; elsewhere it does not exist, and nothing happens.
    """
    if _CHOICE in os.environ or "numpy" in sys.modules or not cpuinfo.exists():
        return
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    pairs = [line.partition(":") for line in lines]
    described = {name.strip(): value.strip() for name, _, value in pairs}
    amd = described.get("vendor_id") == "AuthenticAMD"
    if amd and set(described.get("flags", "").split()) >= _WIDE:
        os.environ[_CHOICE] = "SkylakeX"


def use_one_thread() -> None:
    """Let each matrix product use one thread, from now on.

    Products of the size of a block gain nothing from more: OpenBLAS keeps these waiting for each
    other, at several times the cost.
    """
    from threadpoolctl import threadpool_limits

    threadpool_limits(limits=1, user_api="blas")
