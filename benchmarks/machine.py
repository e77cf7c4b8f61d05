"""The machine: what it is, and what it allows at most (products, memory, disk), on one thread."""

from __future__ import annotations

import functools
import os
import platform
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

_LIBRARIES = ("numpy", "torch", "onnxruntime", "h5py", "av", "soundfile")


def describe_machine() -> dict[str, str]:
    """Return processor, cores, memory, system and versions of what computes."""
    installed = {
        found.metadata["Name"].lower(): found.version for found in metadata.distributions()
    }
    versions = [f"{name} {installed[name]}" for name in _LIBRARIES if name in installed]
    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}",
        "versions": ", ".join([f"Python {platform.python_version()}", *versions]),
    }


def one_line(machine: Mapping[str, str]) -> str:
    """Return what `describe_machine` says, as one line."""
    facts = dict(machine)
    first = [facts.pop("processor", ""), f"{facts.pop('cores', '?')} cores", *facts.values()]
    return ", ".join(part for part in first if part)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def gemm_peak(sizes: Sequence[int] = (1024, 3072), repeats: int = 8) -> float:
    """Return the rate of the best of some float32 matrix products on one thread, in GFLOP/s."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rates = []
    for size in sizes:
        matrix = torch.rand(size, size)
        least = _least_seconds(functools.partial(torch.mm, matrix, matrix), repeats)
        rates.append(2 * size**3 / least / 1e9)
    torch.set_num_threads(threads)
    return max(rates)


def memory_bandwidth(megabytes: int = 256, repeats: int = 5) -> float:
    """Return the rate of the best of some copies in memory on one thread, in GB/s.

    Every byte counts twice, once read and once written.
    """
    import numpy as np

    source = np.ones(megabytes * 10**6 // 8)
    target = np.empty_like(source)
    return 2 * source.nbytes / _least_seconds(lambda: np.copyto(target, source), repeats) / 1e9


def disk_write(folder: Path | None = None, megabytes: int = 256) -> float:
    """Return the rate of writing a file in sequence, fsync included, in MB/s."""
    block = os.urandom(1 << 20)
    with tempfile.NamedTemporaryFile(dir=folder) as handle:
        started = time.perf_counter()
        for _ in range(megabytes):
            handle.write(block)
        handle.flush()
        os.fsync(handle.fileno())
        return megabytes * len(block) / (time.perf_counter() - started) / 1e6


def _least_seconds(action: Callable[[], object], repeats: int) -> float:
    """Return the seconds of the fastest of `repeats` calls, after one that is not counted.

    Seconds of this thread's processor, so that others who use the machine do not count.
    """
    action()
    taken = []
    for _ in range(repeats):
        started = time.thread_time()
        action()
        taken.append(time.thread_time() - started)
    return min(taken)
