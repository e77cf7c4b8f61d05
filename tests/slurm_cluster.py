"""A SLURM of one machine that touches nothing of the system: own folder, ports, key and socket.

For tests, and to try a recipe under SLURM where there is no cluster:

    python tests/slurm_cluster.py ./run.sh --cmd slurm

starts munged, slurmctld and slurmd, runs the command with SLURM_CONF set, and stops them. Jobs of
partition ``urgent`` preempt those of ``main``, which get the signal of their --signal, and have 20
seconds.
"""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "munge", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel")
CPUS = 4  # of the node, whatever the machine has: jobs of tests mostly wait
NODE = "node1"

_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,batch_sched_delay=0,bf_interval=1,sched_min_interval=100000
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
ReturnToService=2
KillWait=5
MinJobAge=300
NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES State=UP PriorityTier=1 GraceTime=20
PartitionName=urgent Nodes=ALL State=UP PriorityTier=10 PreemptMode=OFF
"""


def missing_programs() -> list[str]:
    """Return the programs of SLURM and munge that this machine lacks."""
    return [name for name in PROGRAMS if _program(name) is None]


@contextmanager
def slurm_cluster() -> Iterator[dict[str, str]]:
    """Start a cluster, and yield the environment that its clients need; stop it in the end.

    Raises
    ------
    RuntimeError
        If a daemon does not come up; with the last lines of its log.
    """
    # Not below a folder of pytest: a socket's path may have a hundred characters.
    folder = Path(tempfile.mkdtemp(prefix="slurm."))
    folder.chmod(0o755)  # munged wants clients to reach its socket
    environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        _configure(folder)
        _start(stack, folder, environment)
        # Before the daemons end: slurmd leaves the processes of its jobs alone.
        stack.callback(_cancel_all, environment)
        yield {"SLURM_CONF": environment["SLURM_CONF"]}


def _configure(folder: Path) -> None:
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o600)
    controller_port, node_port = _free_ports(2)
    text = _CONF.format(
        folder=folder, user=getpass.getuser(), host=socket.gethostname().split(".")[0],
        node=NODE, cpus=CPUS, controller_port=controller_port, node_port=node_port,
    )  # fmt: skip
    (folder / "slurm.conf").write_text(text)


def _start(stack: ExitStack, folder: Path, environment: dict[str, str]) -> None:
    munge = [
        "munged", "--foreground", "--force", "--num-threads=2",
        *(f"--{what}-file={folder}/munge.{what}" for what in ("key", "log", "pid", "seed")),
        f"--socket={folder}/munge.socket",
    ]  # fmt: skip
    munged = _daemon(stack, folder, environment, munge)
    _await(folder, munged, lambda: (folder / "munge.socket").exists())
    slurmctld = _daemon(stack, folder, environment, ["slurmctld", "-D"])
    _await(folder, slurmctld, lambda: "UP" in _ask(environment, "scontrol", "ping"))
    slurmd = _daemon(stack, folder, environment, ["slurmd", "-D", "-N", NODE])
    states = ("sinfo", "--noheader", "--partition=main", "--format=%T")
    _await(folder, slurmd, lambda: _ask(environment, *states).strip() == "idle")


def _daemon(
    stack: ExitStack, folder: Path, environment: dict[str, str], command: list[str]
) -> subprocess.Popen[bytes]:
    program = _program(command[0])
    if program is None:
        raise RuntimeError(f"{command[0]}: is not installed")
    output = stack.enter_context((folder / f"{command[0]}.out").open("wb"))
    process = subprocess.Popen(
        [program, *command[1:]],
        env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        start_new_session=True,  # Ctrl-C is for the command, which may still need its cluster
    )  # fmt: skip
    stack.callback(_stop, process)
    return process


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _cancel_all(environment: dict[str, str]) -> None:
    if _ask(environment, "squeue", "--noheader"):
        _ask(environment, "scancel", f"--user={getpass.getuser()}")
        deadline = time.monotonic() + 15
        while _ask(environment, "squeue", "--noheader") and time.monotonic() < deadline:
            time.sleep(0.2)


def _ask(environment: dict[str, str], *command: str) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.stdout


def _await(folder: Path, daemon: subprocess.Popen[bytes], condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        if daemon.poll() is not None or time.monotonic() > deadline:
            said = [
                line
                for path in sorted(folder.glob("*.out")) + sorted(folder.glob("*.log"))
                for line in path.read_text(errors="replace").splitlines()[-5:]
            ]
            raise RuntimeError("\n".join([f"{daemon.args!r} did not come up:", *said]))
        time.sleep(0.1)


def _free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def main() -> int:
    """Run the command of the command line on a cluster of its own."""
    if missing_programs():
        print(f"error: not installed: {', '.join(missing_programs())}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with slurm_cluster() as environment:
        return subprocess.run(sys.argv[1:], env=os.environ | environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
