"""The doctor: what works is tried, what is missing is named with its remedy."""

from __future__ import annotations

import builtins
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from audioseg_xai import doctor
from audioseg_xai.bin.doctor import cli
from audioseg_xai.doctor import Check


def run_with(monkeypatch: pytest.MonkeyPatch, *checks: Check) -> Result:
    monkeypatch.setattr("audioseg_xai.bin.doctor.examine", lambda: iter(checks))
    return CliRunner().invoke(cli, [])


def declare(monkeypatch: pytest.MonkeyPatch, *lines: str, **installed: str) -> None:
    def version(name: str) -> str:
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(doctor.metadata, "requires", lambda name: list(lines))
    monkeypatch.setattr(doctor.metadata, "version", version)


def test_exit_code_and_report_follow_what_the_main_job_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fine = Check("model", "default", True, "loads", needed=True)
    optional = Check("devices", "cuda", False, "no usable GPU")
    done = run_with(monkeypatch, fine, optional)
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "model",
        "  ok default              loads",
        "devices",
        "  -- cuda                 no usable GPU",
        "",
        "Segmenting and explaining work.",
    ]
    broken = run_with(monkeypatch, Check("model", "default", False, "gone", needed=True), optional)
    assert broken.exit_code == 1
    assert "cannot work: default\n" in broken.stderr


def test_packages_are_compared_with_what_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    declare(
        monkeypatch,
        "numpy>=2.2",
        "torch>=2.6",
        'matplotlib>=3.9; extra == "report"',
        "scipy>=1.15 ; extra == 'train'",
        numpy="2.10.0",
        torch="2.5.1+cpu",
        scipy="1.15",
    )
    checks = {check.name: check for check in doctor.check_packages()}
    assert checks["numpy"] == Check("packages", "numpy", True, "2.10.0", needed=True)
    assert not checks["torch"].ok and checks["torch"].needed
    assert "2.5.1+cpu is older than 2.6" in checks["torch"].detail
    assert not checks["matplotlib"].ok and not checks["matplotlib"].needed
    assert "pip install 'audioseg-xai[report]'" in checks["matplotlib"].detail
    assert checks["scipy"].ok
    assert doctor.missing_extras(list(checks.values())) == {"report": "figures of explain"}


def test_a_package_that_is_only_on_the_path_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    def requires(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, "requires", requires)
    (check,) = doctor.check_packages()
    assert not check.ok and "not installed" in check.detail


@pytest.mark.parametrize(
    ("older", "newer"), [("2.9", "2.10"), ("1.0.post1", "1.0.1"), ("", "0.1"), ("2.13.0+cpu", "3")]
)
def test_order_of_releases(older: str, newer: str) -> None:
    assert doctor.release(older) < doctor.release(newer)


def test_every_format_is_encoded_and_read_back() -> None:
    checks = list(doctor.check_formats())
    assert [c.name for c in checks] == ["wav", "flac", "ogg", "opus", "mp3", "m4a", "mp4", "mkv"]
    assert [(c.name, c.detail) for c in checks if not c.ok] == []


def test_a_library_that_cannot_be_imported_is_a_finding_and_no_crash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real_import = builtins.__import__

    def without_torch(name: str, *args: Any, **options: Any) -> Any:
        if name == "torch":
            raise OSError("libcudart.so.13: cannot open shared object file")
        return real_import(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without_torch)
    (check,) = doctor.check_devices()
    assert not check.ok and check.needed
    assert "libcudart.so.13" in check.detail


def test_a_model_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from audioseg_xai.models import directory

    monkeypatch.setattr(directory, "default_model_folder", lambda: tmp_path)
    check = doctor.check_model()
    assert (check.ok, check.needed) == (False, True)
    assert str(tmp_path / "config.json") in check.detail


def test_it_passes_on_the_installation_that_runs_the_tests() -> None:
    done = CliRunner().invoke(cli, [])
    assert done.exit_code == 0, done.output
    assert "Segmenting and explaining work." in done.stdout


def test_it_knows_what_each_extra_is_for() -> None:
    declared = {extra for _, _, extra in doctor.requirements()}
    assert declared == set(doctor.EXTRAS)
