"""The people pages in a real browser, opened from disk."""

import io
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers.collection import RED, Collection
from muster.web.people import write_pages

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync"
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")


@dataclass
class Visit:
    """A page in the browser, with everything that went wrong on it and every file it loaded."""

    page: Any
    troubles: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)

    def listen(self) -> None:
        self.page.on("console", lambda message: self.troubles.append(message.text))
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("requestfailed", self._failed)
        self.page.on("requestfinished", lambda request: self.loaded.append(request.url))

    def _failed(self, request: Any) -> None:
        if request.failure != "net::ERR_ABORTED":  # we went on before a picture was there
            self.troubles.append(f"{request.url}: {request.failure}")

    def focused(self) -> str:
        return self.page.evaluate("document.activeElement.id")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    visit = Visit(context.new_page())
    visit.listen()
    yield visit
    context.close()
    assert visit.troubles == []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four people, photos of several shapes, companions, a stranger, hostile names, an error."""
    folder = tmp_path_factory.mktemp("album")
    made = Collection()
    for n, size in enumerate([(1200, 800), (800, 1200), (3000, 600), (900, 900), (1200, 800)]):
        path = folder / f"IMG {n:02}<img src=x onerror=alert(1)>.jpg"
        path.write_bytes(b"original")
        taken = datetime(2015 + n // 2, 1 + n, 3) if n < 4 else None
        made.photo(path, ["anna", "bert"] if n else ["anna"], size=size, taken_at=taken, camera="Canon")
    made.photo(folder / "gone.jpg", ["carl", None])
    made.photo(folder / ("very-long-name-" * 9), ["dora"], preview=False)
    made.broken("/pictures/" + "long" * 40, "truncated", "ends early " * 20)
    write_pages(made.source(folder / "library"), folder / "site")
    return folder / "site"


@pytest.fixture(scope="module")
def filtered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Anna on 206 photos of two pages, with a dog on two of each, by night on one of these; Bert with her on three.

    13 more people, each on a photo with another thing.
    """
    folder = tmp_path_factory.mktemp("filtered")
    made = Collection()
    for n in range(206):
        dog = {0: ["dog"], 1: ["dog", "night"], 204: ["dog"], 205: ["dog"]}.get(n, ["day"])
        with_bert = ["bert"] if n in (0, 5, 6) else []
        taken = datetime(2000 + n // 3 % 2 + n // 100, 1, 1) if n else datetime(1999, 1, 1)
        made.photo(folder / f"{n}.jpg", ["anna", *with_bert], taken_at=taken, shows=["person", *dog])
    for thing in ("cat", "cow", "cup", "bed", "bus", "car", "boat", "bear", "bird", "book", "bowl", "cake", "oven"):
        made.photo(folder / f"{thing}.jpg", [thing], shows=[thing])
    write_pages(made.source(folder / "library"), folder / "site")
    return folder / "site"


def every_page(site: Path) -> list[str]:
    return [path.as_uri() for path in sorted(site.rglob("*.html"))]


def test_every_page_loads_with_its_pictures_and_no_complaint(site: Path, visit: Visit) -> None:
    for url in every_page(site):
        visit.page.goto(url)
        visit.page.evaluate("document.querySelectorAll('img').forEach(img => { img.loading = 'eager' })")
        visit.page.wait_for_function("[...document.images].every(img => img.complete)")
        assert visit.page.evaluate("[...document.images].every(img => img.naturalWidth > 0)"), url
        assert visit.page.locator(".skip").evaluate("link => getComputedStyle(link).position") == "absolute"
    assert any(url.endswith("people.js") for url in visit.loaded)


def test_clicks_lead_from_index_to_person_to_companion_and_back(site: Path, visit: Visit) -> None:
    visit.page.goto((site / "index.html").as_uri())
    visit.page.get_by_role("link", name="Person 2").click()
    assert visit.page.get_by_role("heading", level=1).inner_text() == "Person 2"
    visit.page.locator("figcaption").get_by_role("link", name="Person 1").first.click()
    assert visit.page.get_by_role("heading", level=1).inner_text() == "Person 1"
    visit.page.get_by_role("link", name="All people").click()
    assert visit.page.url.endswith("index.html#c-anna")


@pytest.mark.parametrize("width", [360, 700, 1200])
def test_the_box_lies_over_the_face(width: int, site: Path, visit: Visit) -> None:
    """The faces were drawn as red squares: what is red in a screenshot is where a box must be."""
    visit.page.set_viewport_size({"width": width, "height": 900})
    visit.page.goto((site / "people" / "bert.html").as_uri())
    for frame in visit.page.locator(".frame").all():
        frame.scroll_into_view_if_needed()
        visit.page.wait_for_function(
            "[...document.images].every(img => img.complete || img.getBoundingClientRect().top > 900)"
        )
        outer = frame.bounding_box()
        boxes = [rect.bounding_box() for rect in frame.locator("rect").all()]
        visit.page.locator("#marks").evaluate("box => { box.checked = false }")
        picture = np.asarray(Image.open(io.BytesIO(frame.screenshot(animations="disabled"))).convert("RGB")).astype(int)
        visit.page.locator("#marks").evaluate("box => { box.checked = true }")
        ys, xs = np.nonzero(np.abs(picture - RED).max(axis=2) < 60)
        assert len(boxes) == 2
        assert xs.min() == pytest.approx(min(b["x"] for b in boxes) - outer["x"], abs=3)
        assert xs.max() == pytest.approx(max(b["x"] + b["width"] for b in boxes) - outer["x"], abs=3)
        assert ys.min() == pytest.approx(min(b["y"] for b in boxes) - outer["y"], abs=3)
        assert ys.max() == pytest.approx(max(b["y"] + b["height"] for b in boxes) - outer["y"], abs=3)


def test_arrow_keys_move_between_people_and_enter_opens(site: Path, visit: Visit) -> None:
    visit.page.set_viewport_size({"width": 360, "height": 800})
    visit.page.goto((site / "index.html").as_uri())
    columns = visit.page.evaluate("getComputedStyle(document.querySelector('.people')).gridTemplateColumns").split()
    assert len(columns) == 3
    for key, expected in [
        ("ArrowRight", "c-anna"),
        ("ArrowRight", "c-bert"),
        ("ArrowLeft", "c-anna"),
        ("ArrowDown", "c-dora"),
        ("ArrowUp", "c-anna"),
        ("ArrowLeft", "c-anna"),
    ]:
        visit.page.keyboard.press(key)
        assert visit.focused() == expected, key
    assert visit.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_url("**/people/anna.html")


def test_keys_mark_faces_and_turn_to_the_next_person(site: Path, visit: Visit) -> None:
    visit.page.goto((site / "people" / "anna.html").as_uri())
    marks = visit.page.locator(".marks").first
    assert marks.evaluate("svg => getComputedStyle(svg).visibility") == "visible"
    visit.page.keyboard.press("b")
    visit.page.wait_for_function("getComputedStyle(document.querySelector('.marks')).visibility == 'hidden'")
    visit.page.keyboard.press("Control+b")  # the browser's own keys stay the browser's
    assert not visit.page.locator("#marks").is_checked()
    visit.page.keyboard.press("n")
    visit.page.wait_for_url("**/people/bert.html")
    visit.page.keyboard.press("p")
    visit.page.wait_for_url("**/people/anna.html")
    visit.page.keyboard.press("ArrowRight")
    assert visit.focused().startswith("p-0000")
    visit.page.keyboard.press("Enter")  # opens the original
    visit.page.wait_for_url("**/IMG%2000*.jpg")


def test_skip_link_comes_first(site: Path, visit: Visit) -> None:
    visit.page.goto((site / "index.html").as_uri())
    visit.page.keyboard.press("Tab")
    skip = visit.page.get_by_role("link", name="Skip to content")
    assert skip.evaluate("link => link === document.activeElement")
    assert skip.bounding_box()["y"] >= 0
    visit.page.keyboard.press("Enter")
    assert visit.focused() == "main"


def test_nothing_scrolls_sideways(site: Path, filtered: Path, visit: Visit) -> None:
    for url in every_page(site) + every_page(filtered)[:4]:
        visit.page.goto(url)
        for width in (320, 360, 820, 2560):
            visit.page.set_viewport_size({"width": width, "height": 800})
            assert visit.page.evaluate("document.documentElement.scrollWidth") <= width, (url, width)


def chip(visit: Visit, words: str) -> Any:
    return visit.page.get_by_role("button", name=re.compile(f"^{words} [0-9]+$"))


def shown(visit: Visit) -> list[str]:
    """The people or photos that are left, by their ids."""
    ids = visit.page.evaluate(
        "[...document.querySelectorAll('[data-item]')].filter(e => e.checkVisibility()).map(e => e.id)"
    )
    return [each.partition("-")[2].lstrip("0") or "0" for each in ids]


def test_filters_leave_those_with_a_photo_that_shows_all_chosen(filtered: Path, visit: Visit) -> None:
    visit.page.goto((filtered / "index.html").as_uri())
    assert [each.inner_text() for each in visit.page.locator(".chip:visible").all()][:3] == [
        "by day 202",
        "with a dog 4",
        "at night 1",
    ]
    chip(visit, "with a dog").click()
    assert shown(visit) == ["anna", "bert"]
    assert [each.inner_text() for each in visit.page.locator(".hits:visible").all()] == ["4 match", "1 matches"]
    status = visit.page.get_by_role("status")
    assert status.inner_text() == "4 photos with a dog: 2 people"
    assert chip(visit, "by day").is_disabled()
    chip(visit, "at night").click()
    assert shown(visit) == ["anna"]
    assert status.inner_text() == "1 photo with a dog, at night: 1 person"
    assert visit.page.url.endswith("index.html#show=with+a+dog&show=at+night")
    visit.page.keyboard.press("ArrowRight")  # from the chip: into what is left
    assert visit.focused() == "c-anna"
    visit.page.keyboard.press("ArrowRight")
    assert visit.focused() == "c-anna"
    visit.page.go_back()
    visit.page.wait_for_function("document.querySelectorAll('[data-item]:not([hidden] *)').length === 2")
    visit.page.get_by_role("button", name="Show all").click()
    assert len(shown(visit)) == 15
    assert status.inner_text() == ""
    assert visit.page.evaluate("document.activeElement.className") == "chip"


def test_filters_go_along_to_a_person_and_over_the_pages(filtered: Path, visit: Visit) -> None:
    visit.page.goto((filtered / "index.html").as_uri() + "#show=with+a+dog")
    visit.page.get_by_role("link", name="Person 1").click()
    visit.page.wait_for_url("**/people/anna.html#show=with+a+dog")
    assert shown(visit) == ["0", "1"]
    assert visit.page.get_by_role("status").inner_text() == "4 photos with a dog: 2 photos on this page"
    assert [h.inner_text() for h in visit.page.locator("h3:visible").all()] == ["1999", "2000"]
    visit.page.locator(".faces").evaluate("details => { details.open = true }")
    assert visit.page.locator(".strip a:visible").count() == 2
    visit.page.locator(".strip a:visible").last.click()
    assert visit.focused().endswith("1")
    assert visit.page.url.endswith("people/anna.html#show=with+a+dog")
    visit.page.get_by_role("link", name="Page 2").click()
    visit.page.wait_for_url("**/people/anna.2.html#show=with+a+dog")
    assert shown(visit) == ["cc", "cd"]  # 204, 205
    chip(visit, "at night").click()
    assert visit.page.get_by_role("status").inner_text() == "1 photo with a dog, at night: 0 photos on this page"
    assert [a.inner_text() for a in visit.page.locator(".pager:visible a").all()] == ["1", "2"]
    chip(visit, "with a dog").click()
    chip(visit, "at night").click()
    assert len(shown(visit)) == 6
    assert visit.page.locator(".pager:visible").get_by_role("link", name="Previous").count() == 1


def test_a_filter_that_fits_nothing_says_so(filtered: Path, visit: Visit) -> None:
    visit.page.goto((filtered / "people" / "cat.html").as_uri() + "#show=with+<img src=x>")
    assert shown(visit) == []
    assert visit.page.get_by_role("status").inner_text() == "No photos with <img src=x>"
    visit.page.locator('.chip[aria-pressed="true"]').click()
    assert shown(visit) == ["ce"]  # 206


def test_filters_by_keyboard_and_the_rest_behind_more(filtered: Path, visit: Visit) -> None:
    visit.page.goto((filtered / "index.html").as_uri())
    assert visit.page.locator(".chip:visible").count() == 12
    visit.page.get_by_role("button", name="more…").focus()
    visit.page.keyboard.press("Enter")
    assert visit.page.locator(".chip:visible").count() == 16
    chip(visit, "with an oven").focus()
    visit.page.keyboard.press("Space")
    assert shown(visit) == ["oven"]
    assert visit.page.get_by_role("button", name="with an oven 1", pressed=True).count() == 1
    visit.page.get_by_role("button", name="less").click()
    assert visit.page.locator(".chip:visible").count() == 13  # what is chosen stays


def test_without_javascript_there_are_no_filters(filtered: Path, browser: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((filtered / "index.html").as_uri() + "#show=with+a+dog")
    assert page.locator(".card").first.is_visible()
    assert not page.locator(".filters").is_visible()
    context.close()


def contrast(visit: Visit, selector: str) -> float:
    """Contrast of an element's text to the page, WCAG 2.2, section 1.4.3."""
    ink = visit.page.locator(selector).first.evaluate("e => getComputedStyle(e).color")
    ground = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
    light = []
    for colour in (ink, ground):
        rgb = np.array([int(v) for v in colour[4:-1].split(",")]) / 255
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        light.append(float(linear @ [0.2126, 0.7152, 0.0722]))
    return (max(light) + 0.05) / (min(light) + 0.05)


def test_dark_and_light_follow_the_system_and_can_be_read(site: Path, visit: Visit) -> None:
    grounds = []
    for scheme in ("light", "dark"):
        visit.page.emulate_media(color_scheme=scheme)
        visit.page.goto((site / "people" / "anna.html").as_uri())
        grounds.append(visit.page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert contrast(visit, "h1") > 12
        assert contrast(visit, ".meta") > 4.5
        assert contrast(visit, ".lead") > 4.5
    assert grounds == ["rgb(250, 249, 247)", "rgb(19, 19, 21)"]


def test_works_without_javascript(site: Path, browser: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((site / "people" / "anna.html").as_uri())
    page.get_by_label("Mark faces").uncheck()
    assert not page.locator(".marks").first.is_visible()
    page.get_by_role("link", name="Person 2").first.click()
    assert page.url.endswith("people/bert.html")
    context.close()


def test_nothing_jumps_while_pictures_load(site: Path, filtered: Path, visit: Visit) -> None:
    visit.page.add_init_script(
        "window.shift = 0; new PerformanceObserver(list => list.getEntries().forEach(e => { shift += e.value }))"
        ".observe({ type: 'layout-shift', buffered: true })"
    )
    for url in every_page(site) + every_page(filtered)[:4]:
        visit.page.goto(url)
        visit.page.wait_for_load_state("load")
        assert visit.page.evaluate("shift") < 0.01, url


def test_ten_thousand_faces_open_light(tmp_path: Path, visit: Visit) -> None:
    made = Collection()
    for n in range(10_000):
        made.photo(f"/{n}.jpg", [f"p{n % 2500 if n < 9000 else 0}"], size=(300, 200))
    summary = write_pages(made.source(tmp_path / "library"), tmp_path / "site")
    assert (summary.people, summary.faces) == (2500, 10_000)
    heaviest = max((tmp_path / "site").rglob("*.html"), key=lambda path: path.stat().st_size)
    for path in (tmp_path / "site" / "index.html", heaviest):
        assert path.stat().st_size < 300_000
        visit.loaded.clear()
        visit.page.goto(path.as_uri(), wait_until="load")
        assert len(visit.loaded) < 350  # of 1,000 pictures on the index, those near the window
        assert visit.page.evaluate("document.querySelectorAll('*').length") < 5_000
