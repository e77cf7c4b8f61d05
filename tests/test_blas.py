"""Which instructions matrix products use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

WIDE = "fpu avx2 avx512f avx512dq avx512cd avx512bw avx512vl avx512_bf16"
CODE = """
import os, sys
from pathlib import Path
from audioseg_xai.blas import use_wide_kernels
use_wide_kernels(Path(sys.argv[1]))
print(os.environ.get("OPENBLAS_CORETYPE"))
"""


def chosen(path: Path, cpuinfo: str | None, code: str = CODE, **environment: str) -> str:
    if cpuinfo is not None:
        path.write_text(cpuinfo)
    inherited = {name: value for name, value in os.environ.items() if "OPENBLAS" not in name}
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(
        command, env=inherited | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def processor(vendor: str, flags: str) -> str:
    one = f"processor\t: 0\nvendor_id\t: {vendor}\nflags\t\t: {flags}\nbugs\t\t:\n\n"
    return one + one.replace(": 0", ": 1")


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        (processor("AuthenticAMD", WIDE), "SkylakeX"),
        (processor("AuthenticAMD", "fpu avx2"), "None"),
        (processor("GenuineIntel", WIDE), "None"),  # which OpenBLAS knows
        ("Processor : AArch64\n", "None"),
        (None, "None"),
    ],
)
def test_what_is_chosen_for_a_processor(tmp_path: Path, cpuinfo: str | None, expected: str) -> None:
    assert chosen(tmp_path / "cpuinfo", cpuinfo) == expected


def test_a_choice_that_is_there_stays(tmp_path: Path) -> None:
    info = processor("AuthenticAMD", WIDE)
    assert chosen(tmp_path / "cpuinfo", info, OPENBLAS_CORETYPE="Haswell") == "Haswell"


def test_nothing_is_chosen_once_it_is_too_late(tmp_path: Path) -> None:
    info = processor("AuthenticAMD", WIDE)
    assert chosen(tmp_path / "cpuinfo", info, "import numpy\n" + CODE) == "None"
