"""The page of `scale.py`: measured costs, and what follows from them for a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cluster import DAY, Cluster, Work, bottleneck, bounds, simulate
from machine import one_line
from parts import NETWORK
from results import Cell, Limit, Result, number, table, to_markdown

RECORDING = 0.5
JOBS_A_CORE = (0.25, 1, 2, 4, 16, 64)

REMEDIES = {
    "processors": "More nodes help in proportion; nothing else is short.",
    "reading": "Every byte is read once: more cores do not help. Keep archives in FLAC or MP3 and "
    "not in WAV, spread them over more storage servers, or start fewer jobs at once, which costs "
    "no time.",
    "writing": "The activations are nearly all of it. Write them with `--compress`, or write RTTM "
    "first and explain only what somebody asks about: explaining costs little more than "
    "segmenting, and can be done again at any time.",
    "opening files": "Starting Python opens many small files. Put the environment on the nodes "
    "(one squashfs or container image), and give each job more recordings.",
}


@dataclass(frozen=True)
class Costs:
    """What was measured, for an hour of audio on one thread.

    Attributes
    ----------
    decoding : dict of str to float
        Processor seconds by format.
    computing : dict of str to float
        Processor seconds by part.
    programs : dict of str to float
        Processor seconds by command, on FLAC, without its start.
    feature_cpu : float
        Processor seconds of `cache-features`, without its start.
    start : float
        Processor seconds of a command on a second of audio.
    audio_mb, stored_mb : dict of str to float
        Megabytes of audio by format, and of what is written.
    start_opens, recording_opens : float
        Files opened by a command, and for each further recording.
    calls : dict of str to dict of str to float
        Reads and writes by command, on FLAC.
    segments : float
        Segments of the recording.
    operations : float
        Floating-point operations of the network, in GFLOP.
    """

    decoding: Mapping[str, float]
    computing: Mapping[str, float]
    programs: Mapping[str, float]
    feature_cpu: float
    start: float
    audio_mb: Mapping[str, float]
    stored_mb: Mapping[str, float]
    start_opens: float
    recording_opens: float
    calls: Mapping[str, Mapping[str, float]]
    segments: float
    operations: float

    def rows(self) -> list[dict[str, Cell]]:
        """Return the tables of parts and of what is stored."""
        times = {f"decode {name}": value for name, value in self.decoding.items()}
        times |= self.computing
        times |= {f"{name}, all (flac)": value for name, value in self.programs.items()}
        times["cache-features, all (flac)"] = self.feature_cpu
        sizes = {f"audio, {name}": value for name, value in self.audio_mb.items()}
        sizes |= self.stored_mb
        timed: list[dict[str, Cell]] = [
            {"part": name, "CPU s an hour": value, "x real time": 3600 / max(value, 1e-3)}
            for name, value in times.items()
        ]
        stored: list[dict[str, Cell]] = [
            {"what": name, "MB an hour": value, "GB for 100,000 h": 100 * value}
            for name, value in sizes.items()
        ]
        asked: list[dict[str, Cell]] = [
            {"command": name, "read calls an hour": found["reads"],
             "write calls an hour": found["writes"], "opens to start": self.start_opens,
             "opens a recording": self.recording_opens, "CPU s to start": self.start}
            for name, found in self.calls.items()
        ]  # fmt: skip
        return [*timed, *stored, *asked]

    def limit(self, peak: float) -> Limit:
        """Return how far the network is from `peak`, the rate of matrix products in GFLOP/s."""
        reached = self.operations / self.computing[NETWORK]
        return Limit("network, against matrix products on one thread", reached, peak, "GFLOP/s")

    def work(self, command: str, audio: str, written: str, hours: float) -> Work:
        """Return what there is to do when `hours` of `audio` are given to `command`."""
        extra = self.decoding[audio] - self.decoding["flac, 16 kHz mono"]
        stored = self.stored_mb["RTTM"] + (self.stored_mb[written] if written else 0.0)
        return Work(
            hours=hours, recording=RECORDING, cpu=self.programs[command] + extra,
            startup=self.start, read=self.audio_mb[audio], written=stored,
            startup_opens=self.start_opens, recording_opens=self.recording_opens,
        )  # fmt: skip


def works(costs: Costs, hours: float) -> dict[str, Work]:
    """Return what can be done with an archive, by name."""
    archive = "explanation archive"
    mono, mp3 = "flac, 16 kHz mono", "mp3, 44.1 kHz stereo"
    return {
        "segment, flac 16 kHz": costs.work("segment", mono, "", hours),
        "segment, mp3 44.1 kHz stereo": costs.work("segment", mp3, "", hours),
        "explain, flac 16 kHz": costs.work("explain", mono, archive, hours),
        "explain --compress, flac 16 kHz": costs.work(
            "explain --compress", mono, f"{archive}, --compress", hours
        ),
    }


def plan_rows(plans: Mapping[str, Work], cluster: Cluster) -> list[dict[str, Cell]]:
    """Return for each plan what each resource alone needs, and the first bottleneck."""
    rows: list[dict[str, Cell]] = []
    for name, work in plans.items():
        shards = 4 * cluster.slots
        needed = bounds(cluster, work, shards)
        run = simulate(cluster, work, shards)
        rows.append(
            {"what": name, **{f"{part}, s": value for part, value in needed.items()},
             "wall min": run.wall / 60, "first bottleneck": bottleneck(cluster, work, shards)}
        )  # fmt: skip
    return rows


def demand_rows(plans: Mapping[str, Work], costs: Costs, cluster: Cluster) -> list[dict[str, Cell]]:
    """Return for each plan what it asks of the file system a second, and what it leaves there."""
    rows: list[dict[str, Cell]] = []
    for name, work in plans.items():
        shards = 4 * cluster.slots
        wall = simulate(cluster, work, shards).wall
        calls = costs.calls["segment" if name.startswith("segment") else "explain"]
        opens = work.startup_opens * shards + work.recording_opens * work.hours / work.recording
        rows.append(
            {"what": name, "core hours": work.hours * work.cpu / 3600,
             "read GB/s": work.hours * work.read / 1e3 / wall,
             "written GB/s": work.hours * work.written / 1e3 / wall,
             "calls a second": work.hours * sum(calls.values()) / wall,
             "opens a second": opens / wall, "stored TB": work.hours * work.written / 1e6}
        )  # fmt: skip
    return rows


def shard_rows(work: Work, cluster: Cluster) -> list[dict[str, Cell]]:
    """Return how the number of jobs changes the time, with nodes that fail and that do not."""
    rows: list[dict[str, Cell]] = []
    frail = replace(cluster, failures=24.0)
    for factor in JOBS_A_CORE:
        shards = round(factor * cluster.slots)
        usual, bad = simulate(cluster, work, shards), simulate(frail, work, shards)
        rows.append(
            {"jobs": shards, "jobs a core": factor, "hours of audio a job": work.hours / shards,
             "wall min": usual.wall / 60, "cores idle %": 100 * usual.idle,
             "wall min, a failure a node an hour": bad.wall / 60,
             "jobs done again": bad.requeued, "work lost %": 100 * bad.lost}
        )  # fmt: skip
    return rows


def assumptions(cluster: Cluster) -> list[str]:
    """Return the values of what is assumed, a line each."""
    place = "on the nodes" if cluster.local_environment else "on the shared file system"
    return [
        f"{cluster.nodes} nodes of {cluster.cores} cores, a job a core",
        "a core is as fast as the one that was measured; nodes differ by a factor of log-normal "
        f"distribution, {cluster.spread:g} in the logarithm",
        f"the file system reads {cluster.read:g} GB/s, writes {cluster.write:g} GB/s and opens "
        f"{cluster.opens:,.0f} files a second, for all nodes together; asked for more, all jobs "
        "slow down alike",
        f"recordings last {RECORDING:g} h in the mean, exponentially distributed, each in one job",
        f"from a free core to the first line of a job: {cluster.start:g} s; Python lies {place}",
        f"a node fails every {1 / cluster.failures:g} days in the mean, is away for "
        f"{cluster.repair / 60:g} min, and its jobs start again from nothing elsewhere after "
        f"{cluster.requeue:g} s",
        "page caches, other users and contention for memory within a node are left out",
    ]


def plan_page(result: Result, costs: Costs, cluster: Cluster, hours: float) -> str:
    """Return the page, in Markdown."""
    plans = works(costs, hours)
    local = replace(cluster, local_environment=True)
    explain = plans["explain, flac 16 kHz"]
    found = {name: bottleneck(cluster, work, 4 * cluster.slots) for name, work in plans.items()}
    remedies = [f"- **{name}**: {REMEDIES[name]}" for name in dict.fromkeys(found.values())]
    after = {name: bottleneck(local, work, 4 * cluster.slots) for name, work in plans.items()}
    return (
        "\n\n".join(
            [
                "# From an hour to an archive",
                "Written by `python benchmarks/scale.py` from what it measured; change the cluster "
                "with its options.",
                f"{result.date}, {one_line(result.machine)}",
                "## Measured, on one thread",
                "The recording is the bundled demo, repeated: "
                f"{number(costs.segments)} segments an hour.",
                to_markdown(result),
                f"## {hours:,.0f} hours on {cluster.nodes} nodes",
                "Simulated. Assumed:",
                "\n".join(f"- {line}" for line in assumptions(cluster)),
                "Seconds that each resource alone would need with 4 jobs a core, and the minutes "
                "of the simulated run:",
                table(plan_rows(plans, cluster)),
                "What that asks of the file system:",
                table(demand_rows(plans, costs, cluster)),
                "What is short first, and what to do about it:",
                "\n".join(remedies),
                "The same with the environment on the nodes, where the first bottleneck becomes "
                f"{', '.join(f'{name} ({what})' for what, name in after.items())}:",
                table(plan_rows(plans, local)),
                "## How many jobs",
                "`explain` on FLAC, with the environment on the nodes. Too few jobs, and the last "
                "are waited for; too many, and starting them costs more than it saves. A failure "
                "costs half a job in the mean, so that smaller jobs lose less:",
                table(shard_rows(explain, local)),
                "Failures that a run of that length meets, at one a node in "
                f"{1 / cluster.failures:g} days: {number(_expected_failures(explain, local))}.",
            ]
        )
        + "\n"
    )


def _expected_failures(work: Work, cluster: Cluster) -> float:
    wall = simulate(cluster, work, 4 * cluster.slots).wall
    return cluster.nodes * cluster.failures * wall / DAY
