"""Toy recipes to test the runner with, and waiting for what they do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
COMMON = REPOSITORY / "recipes" / "common"

HEAD = """\
#!/usr/bin/env bash
# A toy recipe.
# It has two lines.

hours=2               # hours of audio
my_name="two words"   # a name
nj=3                  # jobs

. "$(dirname "$0")/../common/runner.sh"
"""

PART = """\
import os, sys, time
from pathlib import Path
from audioseg_xai.files import write_text_atomic
from audioseg_xai.shards import Job, Shard

option = dict(zip(sys.argv[1::2], sys.argv[2::2]))
output, job = Path(option["--rttm"]), Job.parse(option["--job"])
with open("ran", "a") as ran:
    ran.write(f"{job.number}\\n")
Path(f"pid.{job.number}").write_text(str(os.getpid()))
while Path("hold").exists():
    time.sleep(0.05)
if Path(f"broken.{job.number}").exists():
    sys.exit(f"recording {job.number} cannot be read")
shard = Shard(list("abcde"), job)
mine = [shard.uris[place] for place in shard.places]
shard.begin([output])
lines = [f"SPEAKER {uri} 1 0 1 <NA> <NA> speech 1 <NA>\\n" for uri in mine]
write_text_atomic(output, "".join(lines))
shard.finish([output], mine, {"model": Path("model").read_text()})
"""
"""A program that makes a shard of the recordings a to e, but not where there is a file broken.I.

It says in ``ran`` and ``pid.I`` that it runs, and waits while there is a file ``hold``.
"""

SHARDS = """
stage_0() { # model
  echo "$my_name" > model
}

stage_1() { # shards
  in_shards part --rttm exp/all.rttm -- "$python" part.py
}
run_recipe "$@"
"""

ALL = "".join(f"SPEAKER {uri} 1 0 1 <NA> <NA> speech 1 <NA>\n" for uri in "abcde")
"""What the shards make together."""


def write_sharing_recipe(folder: Path) -> Path:
    """Write a toy recipe whose stage 1 makes `ALL` in $nj shards; return its script."""
    script = write_recipe(folder, SHARDS)
    (script.parent / "part.py").write_text(PART)
    return script


def ran(script: Path) -> list[str]:
    """Return which parts ran since the last call, sorted."""
    path = script.parent / "ran"
    numbers = sorted(path.read_text().split()) if path.exists() else []
    path.unlink(missing_ok=True)
    return numbers


def write_recipe(folder: Path, stages: str, head: str = HEAD) -> Path:
    """Write a toy recipe in a folder with a space in its name; return its script."""
    toy = folder / "recipes of mine" / "toy"
    toy.mkdir(parents=True)
    (toy.parent / "common").symlink_to(COMMON)
    script = toy / "run.sh"
    script.write_text(head + stages)
    script.chmod(0o755)
    return script


def settings(more: dict[str, str]) -> dict[str, str]:
    """Return an environment in which python is that of the tests, and finds the package."""
    own = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "OMP_NUM_THREADS": "1",
    }
    return os.environ | own | more


def call(script: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Call a recipe from the folder above."""
    return subprocess.run(
        [script, *options],
        capture_output=True,
        text=True,
        cwd=script.parents[1],
        env=settings(environment),
        check=False,
    )


def run(script: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Call a recipe with the Python of the tests."""
    return call(script, "--python", sys.executable, *options, **environment)


def wait_for_number(path: Path) -> int:
    """Return the number that a job writes to `path`, as soon as it has."""
    assert wait_until(lambda: path.exists() and path.read_text().strip() != "")
    return int(path.read_text())


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> bool:
    """Return whether `condition` comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def is_running(pid: int) -> bool:
    """Return whether a process is there and no zombie."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"
