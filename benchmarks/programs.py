"""Run a program on one thread and say what it took."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audioseg_xai.errors import AudiosegError

LAUNCHER = Path(__file__).resolve().parent / "launch.py"
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}


class ProgramError(AudiosegError):
    """A program that did not end well."""


@dataclass(frozen=True)
class Run:
    """What a program took.

    Attributes
    ----------
    wall, cpu : float
        Seconds on the clock, and of all processors.
    peak : float
        Largest resident memory, in MB.
    output : str
        What it wrote to stdout.
    """

    wall: float
    cpu: float
    peak: float
    output: str = ""


def run_program(command: Sequence[str | Path], *, threads: bool = False) -> Run:
    """Run a program to its end, on one thread unless `threads`.

    Raises
    ------
    ProgramError
        If it cannot be started or fails: with the last line that it wrote to stderr.
    """
    if shutil.which(command[0]) is None:
        raise ProgramError(f"{command[0]}: no such program")
    environment = {**os.environ} if threads else {**os.environ, **ONE_THREAD}
    with tempfile.TemporaryDirectory() as name:
        usage = Path(name) / "usage.json"
        done = subprocess.run(
            [sys.executable, "-I", "-S", LAUNCHER, usage, *command],
            env=environment, capture_output=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise ProgramError(_failure(command, done.returncode, done.stderr))
        taken = json.loads(usage.read_text(encoding="utf-8"))
    return Run(**taken, output=done.stdout.decode("utf-8", "replace"))


def _failure(command: Sequence[str | Path], code: int, errors: bytes) -> str:
    lines = errors.decode("utf-8", "replace").strip().splitlines()
    name = " ".join(Path(part).name for part in command[:3])
    return f"{name}: exit code {code}: {lines[-1].strip() if lines else 'nothing on stderr'}"
