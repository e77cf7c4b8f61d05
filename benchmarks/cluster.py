"""What a large archive takes on a cluster: bounds of each resource, and a simulation of the jobs.

The audio is cut into shards, each of which is a job on one core. Assumed:

- recordings have exponentially distributed lengths, and a recording is in one shard;
- nodes differ in speed by a log-normal factor, constant over the run;
- the shared file system has one bandwidth for reading, one for writing and one rate of opens; when
  more is asked of it, all jobs slow down alike;
- a job starts with importing: opens of Python's files and libraries on the shared file system,
  unless the environment lies on the nodes;
- a node fails at exponentially distributed intervals; its running shards are done again from their
  start, after a delay, by whoever is free, and the node comes back after a repair.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DAY = 86_400.0


@dataclass(frozen=True)
class Cluster:
    """Nodes and the file system that they share.

    Attributes
    ----------
    nodes, cores : int
        And cores of a node.
    read, write : float
        Of the file system, in GB/s, all nodes together.
    opens : float
        Files that it opens a second, all nodes together.
    start : float
        Seconds from a free core to the first line of a job: scheduler, container.
    spread : float
        Standard deviation of the logarithm of a node's speed.
    failures : float
        Of a node a day.
    repair, requeue : float
        Seconds that a failed node is away, and after which its shards are given to others.
    local_environment : bool
        Whether Python and libraries lie on the nodes.
    """

    nodes: int = 64
    cores: int = 32
    read: float = 20.0
    write: float = 10.0
    opens: float = 20_000.0
    start: float = 2.0
    spread: float = 0.1
    failures: float = 1 / 30
    repair: float = 600.0
    requeue: float = 60.0
    local_environment: bool = False

    @property
    def slots(self) -> int:
        """Jobs that run at once."""
        return self.nodes * self.cores


@dataclass(frozen=True)
class Work:
    """What there is to do, and what an hour of it costs.

    Attributes
    ----------
    hours : float
        Of audio.
    recording : float
        Mean length of a recording, in hours.
    cpu : float
        Seconds of a core for an hour of audio.
    startup : float
        Seconds of a core for starting a job: imports and model.
    read, written : float
        Megabytes for an hour of audio.
    startup_opens, recording_opens : float
        Files opened by a job when it starts, and for each recording.
    """

    hours: float
    recording: float
    cpu: float
    startup: float
    read: float
    written: float
    startup_opens: float
    recording_opens: float


@dataclass(frozen=True)
class Outcome:
    """How a simulated run went.

    Attributes
    ----------
    wall : float
        Seconds from the first start to the last end.
    idle : float
        Share of the cores' time in which they had nothing to do: the tail.
    lost : float
        Share of the cores' busy time that was done in vain, because of failures.
    requeued : int
        Shards that were done again.
    """

    wall: float
    idle: float
    lost: float
    requeued: int


def bounds(cluster: Cluster, work: Work, shards: int) -> dict[str, float]:
    """Return seconds that each resource alone would need, were it kept busy all the time."""
    recordings = work.hours / work.recording
    opens = work.recording_opens * recordings
    opens += 0 if cluster.local_environment else work.startup_opens * shards
    busy = work.hours * work.cpu + shards * (work.startup + cluster.start)
    return {
        "processors": busy / min(cluster.slots, shards),
        "reading": work.hours * work.read / 1e3 / cluster.read,
        "writing": work.hours * work.written / 1e3 / cluster.write,
        "opening files": opens / cluster.opens,
    }


def bottleneck(cluster: Cluster, work: Work, shards: int) -> str:
    """Return the resource that alone needs the longest."""
    needed = bounds(cluster, work, shards)
    return max(needed, key=lambda name: needed[name])


def simulate(cluster: Cluster, work: Work, shards: int, seed: int = 0) -> Outcome:
    """Run all shards on all cores, with failures; see the module for what is assumed."""
    rng = np.random.default_rng(seed)
    durations = _durations(cluster, work, shards, rng)
    speeds = rng.lognormal(0, cluster.spread, cluster.nodes)
    horizon = 4 * durations.sum() / cluster.slots + 4 * durations.max() + DAY
    failures = [_failures(cluster, horizon, rng) for _ in range(cluster.nodes)]
    free = [(0.0, slot) for slot in range(cluster.slots)]
    queue = deque((0.0, number) for number in range(shards))
    wall = busy = lost = 0.0
    requeued = 0
    while queue:
        ready, number = queue.popleft()
        moment, slot = heapq.heappop(free)
        node = slot % cluster.nodes
        begin = _up(failures[node], max(moment, ready), cluster.repair)
        end = begin + float(durations[number] / speeds[node])
        failure = next((time for time in failures[node] if begin <= time < end), None)
        if failure is not None:
            lost, requeued = lost + failure - begin, requeued + 1
            queue.append((failure + cluster.requeue, number))
            end = failure
        busy, wall = busy + end - begin, max(wall, end)
        heapq.heappush(free, (end, slot))
    idle = max(0.0, 1 - busy / (wall * cluster.slots))  # rounding
    return Outcome(wall, idle, lost / busy, requeued)


def _durations(cluster: Cluster, work: Work, shards: int, rng: np.random.Generator) -> np.ndarray:
    """Return seconds that each shard takes on a core of mean speed."""
    number = max(1.0, work.hours / work.recording / shards)
    hours = rng.gamma(number, 1 / number, shards)  # sums of exponentials
    hours *= work.hours / hours.sum()
    mean = work.hours * work.cpu / shards + work.startup + cluster.start
    shared = bounds(cluster, work, shards)
    del shared["processors"]
    # What all cores together ask of the file system stretches every job alike.
    needed = max(shared.values()) * min(cluster.slots, shards) / shards
    stretch = max(1.0, needed / mean)
    return stretch * (hours * work.cpu + work.startup + cluster.start)


def _failures(cluster: Cluster, horizon: float, rng: np.random.Generator) -> Sequence[float]:
    """Return the moments at which a node fails."""
    if cluster.failures == 0:
        return []
    mean = DAY / cluster.failures
    gaps = rng.exponential(mean, math.ceil(3 * horizon / mean) + 10)
    moments = np.cumsum(gaps + cluster.repair) - cluster.repair
    return [float(time) for time in moments if time < horizon]


def _up(failures: Sequence[float], moment: float, repair: float) -> float:
    """Return the first moment from `moment` on at which the node is not in repair."""
    down = [time for time in failures if time <= moment < time + repair]
    return down[0] + repair if down else moment
