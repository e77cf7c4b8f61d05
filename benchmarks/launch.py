"""Start a program, wait for it, and write what it took: a small process on purpose.

    python -I -S launch.py USAGE.json PROGRAM ARGUMENTS...

The kernel counts the memory of whoever starts a program to the peak of that program, so that a
benchmark that has loaded a model itself would measure itself.
"""

import json
import os
import subprocess
import sys
import time


def main(target: str, command: list[str]) -> int:
    """Run the command; write wall and CPU seconds and peak memory in MB; return its exit code."""
    started = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    cpu, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    with open(target, "w", encoding="utf-8") as handle:
        json.dump({"wall": wall, "cpu": cpu, "peak": peak}, handle)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
