"""The processes of one training: who starts them, which one this is, and how they end together.

Three ways to several processes, each with one device: torchrun, srun with a task a device, or
this module, which runs the same command line once a process. What a process needs to know stands
in its environment, under the names that torchrun gives.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from audioseg_xai.console import FAILED, log
from audioseg_xai.errors import UsageError

PREEMPTED = os.EX_TEMPFAIL
"""Exit code (75) of a training that was told to stop and can go on: start it again."""

_FORWARDED = (signal.SIGUSR1, signal.SIGTERM)
_STARTED_BY = "AUDIOSEG_XAI_STARTED_BY"
_GRACE = 20.0
"""Seconds that the other processes get when one fails: they wait for it in vain."""


@dataclass(frozen=True)
class Processes:
    """All processes of a training, and which one this is.

    Attributes
    ----------
    rank : int
        This process, from 0 on.
    local_rank : int
        This process among those of its node.
    devices : int
        Processes of a node, each with a device.
    num_nodes : int
        Nodes.
    """

    rank: int = 0
    local_rank: int = 0
    devices: int = 1
    num_nodes: int = 1

    @property
    def total(self) -> int:
        """All processes."""
        return self.devices * self.num_nodes


def processes(environment: Mapping[str, str] = os.environ) -> Processes:
    """Return what the environment tells; one process where it tells nothing.

    Raises
    ------
    UsageError
        If nodes have different numbers of processes.
    """
    if "LOCAL_WORLD_SIZE" in environment and "LOCAL_RANK" in environment:
        names = ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "WORLD_SIZE")
        rank, local, devices, total = (int(environment[name]) for name in names)
    elif int(environment.get("SLURM_STEP_NUM_TASKS", 1)) > 1 and "SLURM_LOCALID" in environment:
        total = int(environment["SLURM_STEP_NUM_TASKS"])
        devices = total // int(environment.get("SLURM_STEP_NUM_NODES", 1))
        rank, local = int(environment["SLURM_PROCID"]), int(environment["SLURM_LOCALID"])
    else:
        return Processes()
    if total % devices or rank % devices != local:
        raise UsageError(
            f"{total} processes, of which this node has {devices}: start as many on each node "
            "(srun: --ntasks-per-node)"
        )
    return Processes(rank, local, devices, total // devices)


def run_processes(devices: int | None, num_nodes: int | None) -> int | None:
    """Run this command line in several processes if that is asked for, and this is none of them.

    Parameters
    ----------
    devices : int or None
        Processes of this node.
    num_nodes : int or None
        Nodes that the same command is given on; then MASTER_ADDR, MASTER_PORT and NODE_RANK must
        be in the environment.

    Returns
    -------
    int or None
        Their exit code: that of the first one that failed, else 75 if they were told to stop. None
        where the training is to go on in this process.

    Raises
    ------
    UsageError
        If torchrun or srun started other numbers, or there is no address to meet at.
    """
    found = processes()
    if found.total > 1 or _STARTED_BY in os.environ:
        _check_agreement(found, devices, num_nodes)
        return None
    if (devices or 1) == 1 and (num_nodes or 1) == 1:
        return None
    with _children(devices or 1, num_nodes or 1) as (running, logs), _forwarding(running):
        return _ended(running, logs)


def die_with_starter() -> None:
    """Let the kernel end this process when the one that started it ends, even by SIGKILL."""
    if _STARTED_BY not in os.environ or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != int(os.environ[_STARTED_BY]):  # it ended before
        os.kill(os.getpid(), signal.SIGKILL)


def _check_agreement(found: Processes, devices: int | None, num_nodes: int | None) -> None:
    for name, asked, started in (
        ("--devices", devices, found.devices),
        ("--num-nodes", num_nodes, found.num_nodes),
    ):
        if asked not in (None, started):
            raise UsageError(
                f"{name} {asked}: {started} were started: leave it out, torchrun and srun tell"
            )


def _environments(devices: int, num_nodes: int) -> Iterator[dict[str, str]]:
    """Yield the environment of each process of this node."""
    needed = [
        name for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK") if name not in os.environ
    ]
    if num_nodes > 1 and needed:
        raise UsageError(
            f"--num-nodes {num_nodes}: set {', '.join(needed)}, or start with torchrun or srun"
        )
    node = int(os.environ.get("NODE_RANK", 0))
    threads = max(1, len(os.sched_getaffinity(0)) // devices)
    shared = {"MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": str(threads)} | os.environ
    if num_nodes == 1:
        shared["MASTER_PORT"] = str(_free_port())
    for local in range(devices):
        yield shared | {
            "RANK": str(node * devices + local),
            "LOCAL_RANK": str(local),
            "LOCAL_WORLD_SIZE": str(devices),
            "WORLD_SIZE": str(devices * num_nodes),
            "NODE_RANK": str(node),
            _STARTED_BY: str(os.getpid()),
        }


@contextmanager
def _children(
    devices: int, num_nodes: int
) -> Iterator[tuple[list[subprocess.Popen[bytes]], list[IO[bytes] | None]]]:
    """Yield the processes of this node, and where all but the first one write their log."""
    running: list[subprocess.Popen[bytes]] = []
    logs: list[IO[bytes] | None] = []
    try:
        for number, environment in enumerate(list(_environments(devices, num_nodes))):
            # All say the same; the others are heard only if one of them fails alone.
            logs.append(tempfile.TemporaryFile() if number else None)  # noqa: SIM115
            command = [sys.executable, *sys.orig_argv[1:]]
            running.append(subprocess.Popen(command, env=environment, stderr=logs[-1]))
        yield running, logs
    finally:
        for child in running:
            child.kill()
            child.wait()
        for written in filter(None, logs):
            written.close()


@contextmanager
def _forwarding(running: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    def forward(number: int, frame: Any) -> None:
        for child in running:
            child.send_signal(number)

    before = {number: signal.signal(number, forward) for number in _FORWARDED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ended(running: list[subprocess.Popen[bytes]], logs: list[IO[bytes] | None]) -> int:
    deadline, failed = float("inf"), None
    while any(child.poll() is None for child in running) and time.monotonic() < deadline:
        time.sleep(0.1)
        if failed is None and (failed := _failed(running)) is not None:
            deadline = time.monotonic() + _GRACE
    failed = _failed(running) if failed is None else failed
    if failed is None:
        return max(child.wait() for child in running)
    code = running[failed].returncode
    if code < 0:
        how = f"was ended by {signal.Signals(-code).name}" + " (out of memory?)" * (code == -9)
        log.error(f"process {failed + 1} of {len(running)} {how}")
    elif (written := logs[failed]) is not None:
        written.seek(0)
        sys.stderr.write(written.read().decode("utf-8", "replace"))
    return code if code > 0 else FAILED


def _failed(running: list[subprocess.Popen[bytes]]) -> int | None:
    """Return the number of the first process that neither runs, nor is done, nor can go on."""
    fine = (None, 0, PREEMPTED)
    return next((n for n, child in enumerate(running) if child.returncode not in fine), None)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
