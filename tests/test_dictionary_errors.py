"""Reconstruction errors by corpus, class and band, on spectra whose errors are known."""

import logging
from typing import Any

import pytest
import torch

from audioseg_xai.nmf import Dictionary
from audioseg_xai.training.dictionary_errors import class_errors, log_errors
from audioseg_xai.training.frame_sampling import FrameSample

# Of four bins the first two can be reconstructed, bin by bin, and the other two not at all.
ATOMS = torch.eye(4)[:, :2]
DICTIONARY = Dictionary(ATOMS, torch.ones(2), relative_error=0.0, sparsity=0.0)

SPECTRA = torch.tensor([[3.0, 0, 0, 0], [0, 0, 4.0, 0], [1.0, 0, 1.0, 0], [0, 0, 0, 0]])
LABELS = torch.tensor([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [-1, -1, -1, -1]])
SAMPLE = FrameSample(SPECTRA, LABELS.to(torch.int8), torch.tensor([0, 1, 1, 0]))


def rows(errors: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["corpus"], row["class"]): row for row in errors["rows"]}


def test_errors_are_those_of_the_frames_of_a_class() -> None:
    errors = class_errors([SAMPLE], DICTIONARY, ["radio"], bands=2)
    found = rows(errors)
    assert set(found) == {("all", name) for name in ("all", "none", "speech", "music")}
    frames = {label: row["frames"] for (_, label), row in found.items()}
    assert frames == {"all": 4, "none": 1, "speech": 2, "music": 1}
    assert found["all", "speech"]["relative_error"] == pytest.approx((16 / 25) ** 0.5)
    assert found["all", "speech"]["band_errors"] == pytest.approx([0.0, 1.0])
    # Silent in the lower band: nothing to be relative to. "None" is a frame known to be so.
    assert found["all", "music"]["band_errors"] == [None, 1.0]
    assert found["all", "none"]["relative_error"] == pytest.approx(0.5**0.5)
    assert errors["bands"] == [[0.0, 8000 / 3], [16000 / 3, 8000.0]]


def test_several_corpora_have_rows_of_their_own() -> None:
    found = rows(class_errors([SAMPLE], DICTIONARY, ["radio", "talks"], bands=1))
    assert found["radio", "all"]["frames"] == found["talks", "all"]["frames"] == 2
    assert found["radio", "speech"]["relative_error"] == 0.0
    assert found["talks", "all"]["relative_error"] == pytest.approx((17 / 18) ** 0.5)
    assert ("radio", "music") not in found  # no frame of it there


def test_parts_add_up() -> None:
    parts = [FrameSample(*(part[rows] for part in SAMPLE)) for rows in (slice(1), slice(1, None))]
    whole = class_errors([SAMPLE], DICTIONARY, ["radio", "talks"])
    assert class_errors(parts, DICTIONARY, ["radio", "talks"]) == whole


def test_errors_are_told_as_lines_or_as_a_table(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    errors = class_errors([SAMPLE], DICTIONARY, ["radio"], bands=2)
    with caplog.at_level(logging.INFO, "audioseg_xai"):
        log_errors(errors)
    assert "speech: relative error 0.800, 2 frames" in caplog.messages
    with caplog.at_level(logging.DEBUG, "audioseg_xai"):
        log_errors(errors)
    written = capsys.readouterr()
    assert written.out == ""
    (line,) = (line for line in written.err.splitlines() if " music " in line)
    assert line.split() == ["all", "music", "1", "1.000", "-", "1.000"]
