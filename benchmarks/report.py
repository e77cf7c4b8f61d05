"""How long a page of 3 hours takes to make, and to open in Chromium.

Prints the seconds of a recording that a second of making is worth, and milliseconds from opening
the file to the first picture and to the moment at which the page answers to keys.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
from machine import disk_write
from playwright.sync_api import sync_playwright
from results import Limit, Result, options, publish

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from report_dummies import write_archive

from audioseg_xai.annotation import Segment
from audioseg_xai.audio import write_audio
from audioseg_xai.frames import SAMPLE_RATE
from audioseg_xai.labels import CLASSES
from audioseg_xai.report.writing import Plan, write_reports

SEGMENTS_AN_HOUR = 5000 / 3

WATCH = """new MutationObserver(() => {
  if (document.documentElement?.dataset.ready) window.readyAt ??= performance.now();
}).observe(document, { attributes: true, subtree: true, attributeFilter: ["data-ready"] });"""


def prepare(folder: Path, seconds: int) -> None:
    """Write a recording of noise and its archive."""
    rng = np.random.default_rng(0)
    onsets = np.sort(
        rng.choice(seconds - 10, round(SEGMENTS_AN_HOUR * seconds / 3600), replace=False)
    )
    segments = [Segment(float(t), float(t + 2), CLASSES[t % 4], 0.5 + t % 50 / 100) for t in onsets]
    write_archive(folder / "x.h5", segments=segments, num_samples=seconds * SAMPLE_RATE)
    minute = 0.1 * rng.standard_normal(60 * SAMPLE_RATE)
    write_audio(folder / "rec.flac", (minute for _ in range(seconds // 60)))


def opened(path: Path) -> tuple[float, float]:
    """Return milliseconds to the first picture and to readiness."""
    with sync_playwright() as driver:
        flags = ["--no-sandbox", "--disable-gpu"]
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        page = browser.new_page()
        page.add_init_script(WATCH)
        page.goto(path.as_uri(), wait_until="commit")
        page.wait_for_selector("html[data-ready]")
        paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        return paint, page.evaluate("readyAt")


@click.command()
@click.option("--hours", default=3.0, show_default=True, help="Of the recording.")
@options
def main(hours: float, quick: bool, json_path: Path | None) -> None:
    """Make a page, open it, and say how long both took."""
    seconds = round(3600 * (0.25 if quick else hours))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, seconds)
        started = time.perf_counter()
        plan = Plan(pages={"rec": folder / "x.html"}, audio={"rec": str(folder / "rec.flac")})
        write_reports(folder / "x.h5", plan)
        made = time.perf_counter() - started
        paint, ready = opened(folder / "x.html")
        size = (folder / "x.html").stat().st_size / 1e6
        bound = Limit("making, against writing the page", size / made, disk_write(folder), "MB/s")
    row = {
        "hours": seconds / 3600, "made in s": made, "MB": size,
        "first picture after ms": paint, "ready after ms": ready,
    }  # fmt: skip
    publish(Result("report", [row], {"hours made an hour": seconds / made}, [bound]), json_path)


if __name__ == "__main__":
    main()
