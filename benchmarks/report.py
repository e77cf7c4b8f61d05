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

import numpy as np
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from report_dummies import write_archive

from audioseg_xai.annotation import Segment
from audioseg_xai.audio import write_audio
from audioseg_xai.frames import SAMPLE_RATE
from audioseg_xai.labels import CLASSES
from audioseg_xai.report.writing import Plan, write_reports

SECONDS, SEGMENTS = 3 * 3600, 5000

WATCH = """new MutationObserver(() => {
  if (document.documentElement?.dataset.ready) window.readyAt ??= performance.now();
}).observe(document, { attributes: true, subtree: true, attributeFilter: ["data-ready"] });"""


def prepare(folder: Path) -> None:
    """Write a recording of noise and its archive."""
    rng = np.random.default_rng(0)
    onsets = np.sort(rng.choice(SECONDS - 10, SEGMENTS, replace=False))
    segments = [Segment(float(t), float(t + 2), CLASSES[t % 4], 0.5 + t % 50 / 100) for t in onsets]
    write_archive(folder / "x.h5", segments=segments, num_samples=SECONDS * SAMPLE_RATE)
    minute = 0.1 * rng.standard_normal(60 * SAMPLE_RATE)
    write_audio(folder / "rec.flac", (minute for _ in range(SECONDS // 60)))


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


def main() -> None:
    """Make a page, open it, and print how long both took."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        started = time.perf_counter()
        plan = Plan(pages={"rec": folder / "x.html"}, audio={"rec": str(folder / "rec.flac")})
        write_reports(folder / "x.h5", plan)
        made = time.perf_counter() - started
        paint, ready = opened(folder / "x.html")
        size = (folder / "x.html").stat().st_size / 1e6
    print(f"made in {made:.1f} s, {SECONDS / made:.0f}x real time; {size:.0f} MB")
    print(f"first picture after {paint:.0f} ms, ready after {ready:.0f} ms")


if __name__ == "__main__":
    main()
