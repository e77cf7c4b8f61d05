"""Pages in a real browser: Chromium, offline, driven as a person would drive it."""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dummies import sound
from PIL import Image
from report_dummies import SEGMENTS, write_archive

from audioseg_xai.annotation import Segment, read_rttm, write_rttm
from audioseg_xai.audio import write_wav
from audioseg_xai.labels import CLASSES
from audioseg_xai.report.systems import Systems, read_systems
from audioseg_xai.report.writing import Plan, write_reports

playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt install chromium")

FLAGS = (
    "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update "
    "--disable-sync --no-first-run --autoplay-policy=no-user-gesture-required --mute-audio"
).split()

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Open]:
    """Return a function that opens a page and waits until it can be used.

    Whatever the test does: no error in the console, and nothing loaded but the page.
    """
    complaints: list[str] = []
    context = browser.new_context(viewport={"width": 1300, "height": 1000})

    def go(path: Path, fragment: str = "", loaded: tuple[str, ...] = ()) -> Any:
        page = context.new_page()
        allowed = ("data:", "blob:", path.as_uri(), *loaded)
        page.on("console", lambda entry: complaints.append(f"{entry.type}: {entry.text}"))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        page.on("request", lambda r: r.url.startswith(allowed) or complaints.append(r.url))
        page.goto(path.as_uri() + fragment)
        page.wait_for_selector("html[data-ready]")
        return page

    yield go
    context.close()
    assert complaints == []


@pytest.fixture(scope="module")
def page_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a page of 6 s with sound, a reference and another system."""
    folder = tmp_path_factory.mktemp("report")
    write_wav(folder / "rec.wav", sound(6.0))
    reference = [*SEGMENTS[:2], Segment(2.5, 3.0, "speech"), Segment(4.0, 6.0, "noise")]
    for name, segments in (("ref", reference), ("hyp", [Segment(5.5, 6.0, "overlap")])):
        write_rttm({"rec": segments}, folder / f"{name}.rttm")
    systems = read_systems(folder / "ref.rttm", {"other": folder / "hyp.rttm"}, ["rec"])
    return make(folder, audio={"rec": str(folder / "rec.wav")}, systems=systems)


def make(folder: Path, uri: str = "rec", name: str = "page.html", **plan: Any) -> Path:
    archive = folder / "x.h5"
    if not archive.exists():
        write_archive(archive, [uri])
    outcome = write_reports(archive, Plan(pages={uri: folder / name}, **plan))
    assert outcome.failed == []
    return folder / name


def now(page: Any) -> float:
    return float(page.evaluate("wavesurfer.getCurrentTime()"))


def plain(text: str) -> str:
    """Return a text with spaces and hyphens in place of finer characters."""
    return " ".join(text.replace("\u2013", "-").replace("\u2212", "-").split())


def until(page: Any, condition: str) -> None:
    """Wait for a condition; the page itself forbids what Playwright would wait with."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"never: {condition}")


def rows(page: Any) -> list[str]:
    return [plain(row.inner_text()) for row in page.locator(".row").all()]


def test_it_shows_what_was_found(visit: Open, page_path: Path) -> None:
    page = visit(page_path)
    assert page.title() == "rec: what sounds, and why"
    assert page.inner_text("#summary") == "0:06.0, 4 segments; speech, music, noise, overlap"
    assert rows(page) == [
        "0:00.5 - 0:02.0 speech confidence 0.90",
        "0:01.0 - 0:05.0 music confidence 0.60",
        "0:02.5 - 0:03.5 speech confidence 0.70",
        "0:04.0 - 0:06.0 noise confidence 0.80",
    ]
    names = page.locator("#lane-names > span").all_inner_texts()
    assert [name.strip() for name in names] == [
        "speech", "reference", "music", "reference", "noise", "reference", "overlap", "other"
    ]  # fmt: skip


def test_it_plays_and_seeks(visit: Open, page_path: Path) -> None:
    page = visit(page_path)
    page.click("#play")
    until(page, "wavesurfer.getCurrentTime() > 0.2")
    assert page.inner_text("#play") == "Pause"
    page.keyboard.press("Space")  # the focused button takes it
    until(page, "!wavesurfer.isPlaying()")
    page.click("#spectrogram")  # in the middle
    assert now(page) == pytest.approx(3.0, abs=0.05)
    page.locator("#position").fill("4.5")
    assert page.inner_text("#clock") == "0:04.5 / 0:06.0"


def test_a_segment_says_why(visit: Open, page_path: Path) -> None:
    page = visit(page_path)
    box = page.locator("#lanes").bounding_box()
    page.click("#lanes", position={"x": 1.5 / 6 * box["width"], "y": 10})
    assert plain(page.inner_text("#panel-title")) == "speech, 0:00.50 - 0:02.00"
    assert now(page) == pytest.approx(0.5, abs=0.01)
    found = [
        [plain(cell.inner_text()) for cell in row.locator("td").all()[:4]]
        for row in page.locator("#panel-components tr").all()
    ]
    values = {name: float(value) for name, _, value, _ in found}
    assert list(values)[-2:] == ["bias", "mean logit"]
    total = sum(value for name, value in values.items() if name != "mean logit")
    assert values["mean logit"] == pytest.approx(total, abs=4e-3)
    # Components 2 and 5 speak against speech; the others are above a tenth of the largest.
    assert sorted((name, centre, tick) for name, centre, _, tick in found[:6]) == [
        ("0", "312 Hz", "\u2713"), ("1", "1.56 kHz", "\u2713"), ("2", "2.81 kHz", ""),
        ("3", "4.06 kHz", "\u2713"), ("4", "5.31 kHz", "\u2713"), ("5", "6.56 kHz", ""),
    ]  # fmt: skip
    assert all((values[name] < 0) == (name in "25") for name in "012345")
    assert page.locator("#panel-sounds audio").count() == 2
    label = page.get_attribute("#panel-spectrum", "aria-label")
    assert re.match("Spectrum: half of the relevance lies from .* to .* kHz", label)


def test_the_relevance_lies_over_the_spectrogram_where_it_belongs(
    visit: Open, page_path: Path
) -> None:
    page = visit(page_path, "#segment=4")  # noise, from 4 to 6 s; component 0 is a band at 312 Hz
    until(page, "relief.segment !== null")
    picture = Image.open(io.BytesIO(page.locator("#spectrogram").screenshot())).convert("RGB")
    green = []  # how much greener than grey, and the colour of noise is a green
    for seconds, hertz in ((5, 340), (5, 1000), (2, 340)):
        at = (picture.width * seconds / 6, picture.height * (1 - hertz / 8000))
        r, g, b = picture.getpixel((int(at[0]), int(at[1])))
        green.append(g - (r + b) / 2)
    assert green[0] > 60
    assert max(abs(value) for value in green[1:]) < 10


def test_filters_and_what_is_exported(visit: Open, page_path: Path, tmp_path: Path) -> None:
    page = visit(page_path)
    page.uncheck("input[value=music]")
    page.locator("#filter-confidence").fill("0.75")
    assert page.inner_text("#status") == "2 of 4 shown"
    kept = [SEGMENTS[0], SEGMENTS[3]]
    assert read_rttm(fetch(page, "rttm", tmp_path)) == {"rec": kept}
    with open(fetch(page, "csv", tmp_path), newline="") as file:
        table = list(csv.DictReader(file))
    assert [(row["uri"], row["class"], float(row["offset"])) for row in table] == [
        ("rec", segment.label, segment.offset) for segment in kept
    ]
    labels = fetch(page, "audacity", tmp_path).read_text().splitlines()
    assert labels == ["0.500000\t2.000000\tspeech 0.90", "4.000000\t6.000000\tnoise 0.80"]


def fetch(page: Any, kind: str, folder: Path) -> Path:
    with page.expect_download() as started:
        page.click(f"#export-{kind}")
    path = folder / started.value.suggested_filename
    started.value.save_as(path)
    return path


def test_differences_can_be_reached(visit: Open, page_path: Path) -> None:
    page = visit(page_path)
    page.get_by_label("Differences (2)").check()
    assert rows(page) == [
        "0:03.0 - 0:03.5 speech false alarm (reference)",
        "0:05.5 - 0:06.0 overlap only there (other)",
    ]
    page.click(".row >> nth=1")
    assert now(page) == pytest.approx(5.5, abs=0.01)
    assert "only there (other)" in page.inner_text("#panel-hint")
    page.click("#lanes", position={"x": 300, "y": 60})  # a segment of music
    assert page.is_checked("#kind-segments")
    assert plain(page.inner_text("#panel-title")).startswith("music")


def test_keys(visit: Open, page_path: Path) -> None:
    page = visit(page_path)
    times = []
    for key in ("n", "n", "ArrowDown", "p", "ArrowRight", "Shift+ArrowLeft", "Home", "End"):
        page.keyboard.press(key)
        times.append(round(now(page), 1))
    assert times == [0.5, 1.0, 2.5, 1.0, 6.0, 5.0, 0.0, 6.0]
    page.keyboard.press("Home")
    page.keyboard.press("Space")
    until(page, "wavesurfer.isPlaying()")
    page.keyboard.press("Space")
    until(page, "!wavesurfer.isPlaying()")
    before = page.evaluate("timeline.view.scale")
    page.keyboard.press("+")
    assert page.evaluate("timeline.view.scale") == pytest.approx(2 * before, rel=0.01)
    page.keyboard.press("0")
    assert page.evaluate("timeline.view.scale") == pytest.approx(before, rel=0.01)
    page.keyboard.press("?")
    assert page.is_visible("#help")
    page.keyboard.press("Escape")
    assert not page.is_visible("#help")


def test_links_lead_to_a_time_and_to_a_segment(visit: Open, page_path: Path) -> None:
    page = visit(page_path, "#t=3.25")
    assert now(page) == pytest.approx(3.25)
    page.evaluate("location.hash = '#segment=3'")
    page.wait_for_selector(".row[aria-selected=true]")
    assert plain(page.inner_text("#panel-title")) == "speech, 0:02.50 - 0:03.50"
    page.keyboard.press("n")
    assert page.evaluate("location.hash") == "#segment=4"


def test_the_other_tabs(visit: Open, page_path: Path) -> None:
    page = visit(page_path)
    page.focus("#tab-recording")
    page.keyboard.press("ArrowRight")
    assert page.locator("#class-cards h3").all_inner_texts() == [
        "speech, 2 segments", "music, 1 segment", "noise, 1 segment", "overlap, 0 segments"
    ]  # fmt: skip
    page.keyboard.press("ArrowRight")
    assert '"decoding"' in page.inner_text("#provenance")
    assert page.inner_text("#about-tau") == "0.1"


def test_everything_that_can_be_focused_has_a_name(visit: Open, page_path: Path) -> None:
    page = visit(page_path, "#segment=1")
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, canvas[role], [tabindex]")]
        .filter((one) => !(one.ariaLabel || one.textContent.trim() || one.labels?.length
            || one.hasAttribute("aria-labelledby"))).map((one) => one.outerHTML)"""
    )
    assert nameless == []
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"


def test_names_are_harmless(visit: Open, tmp_path: Path) -> None:
    uri = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"
    write_rttm({"rec": [Segment(0, 1, "music")]}, tmp_path / "h.rttm")
    systems = read_systems(None, {"<svg onload=alert(3)>": tmp_path / "h.rttm"}, ["rec"])
    spoken = {uri: [Segment(0, 1, "music")]}
    (system,) = systems.systems
    renamed = Systems([type(system)(system.name, spoken, system.classes)])
    page = visit(make(tmp_path, uri, systems=renamed), "#segment=1")
    assert page.inner_text("h1") == uri
    assert page.locator("#lane-names .other").inner_text() == "<svg onload=alert(3)>"
    page.get_by_label(re.compile("Differences")).check()
    assert page.locator("img, svg").count() == 0
    with page.expect_download() as started:
        page.click("#export-csv")
    assert "/" not in started.value.suggested_filename


def test_a_file_that_is_linked_to_is_played(visit: Open, page_path: Path) -> None:
    folder = page_path.parent
    audio = {"rec": str(folder / "rec.wav")}
    page = visit(make(folder, name="linked.html", audio=audio, media="link"),
                 loaded=((folder / "rec.wav").as_uri(),))  # fmt: skip
    page.click("#play")
    until(page, "wavesurfer.getCurrentTime() > 0.1")


def test_without_sound_all_else_works(visit: Open, page_path: Path) -> None:
    page = visit(make(page_path.parent, name="silent.html"))
    assert page.is_disabled("#play")
    assert page.inner_text("#sound-note") == "This page has no sound: it was made without."
    page.click(".row >> nth=2")
    assert page.inner_text("#clock") == "0:02.5 / 0:06.0"
    assert page.locator("#panel-sounds audio").count() == 0


def test_three_hours(visit: Open, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    onsets = np.sort(rng.choice(10_790, 4000, replace=False))
    segments = [Segment(float(t), float(t + 2), CLASSES[t % 4], 0.5 + t % 50 / 100) for t in onsets]
    write_archive(tmp_path / "x.h5", segments=segments, num_samples=10_800 * 16_000)
    page = visit(make(tmp_path), f"#t={onsets[2000]}")
    assert page.inner_text("#summary").startswith("3:00:00.0, 4000 segments")
    assert page.locator(".row").count() < 60
    page.keyboard.press("0")
    page.keyboard.press("n")
    view = page.evaluate("timeline.view")
    assert view["start"] <= onsets[2000] <= view["end"]
    assert 2 * view["scale"] >= 16  # the chosen segment is wide enough to be seen
    assert max(page.evaluate("[...document.querySelectorAll('canvas')].map((c) => c.width)")) < 5000
    page.keyboard.press("Home")
    page.locator("#list").evaluate("(box) => { box.scrollTop = box.scrollHeight; }")
    until(page, "document.querySelector('#row-3999')")
    page.click("#row-3999")
    assert now(page) == pytest.approx(float(onsets[-1]), abs=0.01)
