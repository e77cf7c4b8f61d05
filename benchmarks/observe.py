"""Run a module as a program, and count what it asks of the file system.

    python observe.py COUNTS.json MODULE ARGUMENTS...

Opens are those that Python makes and the shared libraries that get loaded; reads and writes are
system calls, as the kernel counts them.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

_IO = {"syscr": "reads", "syscw": "writes", "rchar": "bytes read", "wchar": "bytes written"}


def main(target: str, module: str, arguments: list[str]) -> None:
    """Count while the module runs, and write the counts also when it exits."""
    counts = {"opens": 0}

    def note(event: str, details: tuple[Any, ...]) -> None:
        if event == "open":
            counts["opens"] += 1

    sys.addaudithook(note)
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        found = {"opens": counts["opens"] + len(_libraries())} | _kernel_counts()
        Path(target).write_text(json.dumps(found), encoding="utf-8")


def _libraries() -> set[str]:
    maps = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    return {fields[5] for line in maps if len(fields := line.split()) > 5 and ".so" in fields[5]}


def _kernel_counts() -> dict[str, int]:
    lines = Path("/proc/self/io").read_text(encoding="utf-8").splitlines()
    pairs = (line.split(": ") for line in lines)
    return {_IO[name]: int(value) for name, value in pairs if name in _IO}


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
