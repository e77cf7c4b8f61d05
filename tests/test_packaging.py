"""What a stranger's clone lives on: metadata, pinned versions, the Makefile, import rules."""

from __future__ import annotations

import ast
import configparser
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from audioseg_xai.doctor import release

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(REPOSITORY / "setup.cfg")
    return parser


@pytest.fixture(scope="module")
def pins() -> dict[str, str]:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {normalised(name): version for name, version in pairs}


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(setup: configparser.ConfigParser) -> Iterator[tuple[str, str]]:
    lines = setup["options"]["install_requires"].split()
    for extra in setup["options.extras_require"].values():
        lines += extra.split()
    for line in lines:
        name, _, lowest = line.partition(">=")
        yield normalised(name), lowest


# --- metadata -----------------------------------------------------------------------------------


def test_every_folder_with_modules_is_a_listed_package(setup: configparser.ConfigParser) -> None:
    folders = {path.parent for path in (REPOSITORY / "audioseg_xai").rglob("*.py")}
    expected = {".".join(folder.relative_to(REPOSITORY).parts) for folder in folders}
    assert set(setup["options"]["packages"].split()) == expected | {"audioseg_xai.bin"}
    assert all((folder / "__init__.py").exists() for folder in folders)


def test_every_asset_is_package_data(setup: configparser.ConfigParser) -> None:
    package = REPOSITORY / "audioseg_xai"
    patterns = setup["options.package_data"]["audioseg_xai"].split()
    packed = {path for pattern in patterns for path in package.glob(pattern) if path.is_file()}
    others = {p for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    assert {p for p in others if p.suffix != ".py"} == packed


def test_pyproject_holds_the_build_backend_and_ruff_alone() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    assert set(project) == {"build-system", "tool"}
    assert set(project["tool"]) == {"ruff"}


def test_the_console_script_is_the_command_group() -> None:
    (script,) = metadata.entry_points(group="console_scripts", name="xai-segment")
    from audioseg_xai.cli import main

    assert script.load() is main


# --- versions -----------------------------------------------------------------------------------


def test_everything_declared_is_pinned_high_enough(
    setup: configparser.ConfigParser, pins: dict[str, str]
) -> None:
    for name, lowest in declared(setup):
        assert release(pins[name]) >= release(lowest), name


def test_pins_need_no_registry_of_their_own(pins: dict[str, str]) -> None:
    assert pins["torch"] == "2.13.0"
    assert all(re.fullmatch(r"[0-9][0-9a-z.]*", version) for version in pins.values())
    for name in ("constraints.txt", "setup.cfg", "pyproject.toml", "Makefile", ".ci/run"):
        assert not re.search(r"://|--(extra-)?index-url|--find-links", read(name)), name


def read(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def test_every_library_that_is_imported_is_declared(setup: configparser.ConfigParser) -> None:
    known = {name for name, _ in declared(setup)}
    distributions = metadata.packages_distributions()
    for path in python_files("audioseg_xai", "bin"):
        for module in imported(path) - set(sys.stdlib_module_names) - {"audioseg_xai"}:
            names = {normalised(name) for name in distributions.get(module, [module])}
            assert names & known, f"{path} imports {module}, which setup.cfg does not declare"


def python_files(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from (REPOSITORY / folder).rglob("*.py")


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
    return found


# --- import rules that need a running interpreter -----------------------------------------------


@pytest.mark.parametrize("module", ["annotation", "audio", "datadir", "scoring", "cli", "doctor"])
def test_light_modules_do_not_load_torch(module: str) -> None:
    code = f"import sys, audioseg_xai.{module}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# --- the Makefile -------------------------------------------------------------------------------


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(REPOSITORY / "Makefile", folder)
    return subprocess.run(
        ["make", "--no-print-directory", *arguments], cwd=folder, capture_output=True, text=True
    )


def test_make_alone_shows_the_targets(tmp_path: Path) -> None:
    done = make(tmp_path)
    assert done.returncode == 0
    assert [line.split()[1] for line in done.stdout.splitlines()] == [
        "help", "demo", "test", "lint", "clean"
    ]  # fmt: skip


def test_make_without_a_python_says_what_to_install(tmp_path: Path) -> None:
    for name in ("setup.cfg", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    done = make(tmp_path, "demo", "PYTHON=")
    assert done.returncode != 0
    assert "error: no Python 3.11 or later found: install python3.11" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_make_with_a_python_without_venv_says_what_to_install(tmp_path: Path) -> None:
    for name in ("setup.cfg", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    done = make(tmp_path, "demo", "PYTHON=false")
    assert done.returncode != 0
    assert "error: false cannot make virtual environments" in done.stderr
