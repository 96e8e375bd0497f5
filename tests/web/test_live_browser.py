"""The live page in a real browser, by keyboard alone, as wide as a phone and as a screen."""

import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from helpers.collection import Collection
from helpers.live import ANNA, BERT, CARL, DORA, source_of
from muster.web.live import serving
from muster.web.live.album import LiveAlbum
from muster.web.live.app import app
from muster.web.live.guard import Doors

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync"
)
WIDTHS = (375, 1300)
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield browser
        browser.close()


@contextlib.contextmanager
def serving_at(folder: Path) -> Iterator[str]:
    """The address, with the token, of a page of four people."""
    made = Collection()
    for n in range(6):
        who = [ANNA, BERT] if n < 3 else [ANNA, None] if n < 5 else [ANNA]
        made.photo(f"/photos/{n}.jpg", who, taken_at=datetime(2015 + n, 3, 1), camera="Canon")
    for n in range(3):
        made.photo(f"/photos/carl {n}.jpg", [CARL], size=(600, 800))
    made.photo("/photos/dora.jpg", [DORA, None])
    made.broken("/photos/bad.jpg", "truncated", "ends early")
    bound = serving.listening("127.0.0.1", None)
    doors = Doors(bound.getsockname()[1])
    page = app(LiveAlbum(source_of(made, folder / "library")), doors)
    server = uvicorn.Server(uvicorn.Config(page, log_level="error", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{doors.port}/?token={doors.token}"
    finally:
        server.should_exit = True
        thread.join(10)
        bound.close()


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A page on which nothing is changed but by a test that puts it back."""
    with serving_at(tmp_path_factory.mktemp("shown")) as url:
        yield url


@contextlib.contextmanager
def visiting(browser: Any, url: str, width: int, **settings: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": width, "height": 900}, **settings)
    page, troubles = context.new_page(), []
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.goto(url)
    yield page
    context.close()
    assert [each for each in troubles if "409" not in each and "404" not in each] == []


def until(page: Any, script: str, wanted: Callable[[Any], bool]) -> None:
    """Wait; playwright's own function for it needs what our content security policy forbids."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(playwright.Error):  # between two pages
            if wanted(found := page.evaluate(script)):
                return
        time.sleep(0.05)
    pytest.fail(f"{script}: {found!r}")


def told(page: Any, words: str) -> None:
    """Wait until a screen reader is told so."""
    until(page, "[...document.querySelectorAll('.told')].map(e => e.textContent).join()", lambda text: words in text)


def escape(page: Any) -> None:
    page.keyboard.press("Escape")
    until(page, "document.querySelector('dialog[open]') === null && !document.activeElement.closest('dialog')", bool)


def opened(page: Any, name: str) -> Any:
    page.wait_for_selector(f"#{name}[open]")
    return page.locator(f"#{name}")


def test_a_key_is_not_typed_into_what_it_opens(shown: str, browser: Any) -> None:
    with visiting(browser, shown, 1300) as page:
        page.goto(shown.partition("?")[0] + f"people/{ANNA}.html")
        for key in ("d", "m", "e"):
            page.keyboard.press(key)
            field = opened(page, "typed").locator("input")
            page.keyboard.type("1")
            assert field.input_value() == "1"
            escape(page)


@pytest.mark.parametrize("width", WIDTHS)
def test_name_merge_split_not_hide_undo_by_keyboard_alone(width: int, browser: Any, tmp_path: Path) -> None:
    with serving_at(tmp_path) as url, visiting(browser, url, width) as page:
        keys = page.keyboard
        keys.press("ArrowRight")
        keys.press("Enter")
        page.wait_for_url(f"**/people/{ANNA}.html")
        page.get_by_role("button", name="Name").focus()
        keys.press("Enter")
        opened(page, "typed")
        keys.type("Anna")
        keys.press("Enter")
        told(page, "is now called Anna")
        assert page.get_by_role("heading", level=1).inner_text() == "Anna"
        assert page.evaluate("document.activeElement.getAttribute('aria-keyshortcuts')") == "e"

        keys.press("n")  # the next person is called Anna too
        page.wait_for_url("**/people/*.html")
        until(page, "document.title", lambda title: not title.startswith("Anna"))
        page.wait_for_load_state("load")
        keys.press("e")
        opened(page, "typed")
        keys.type("anna")
        keys.press("Enter")
        assert "one person" in opened(page, "asked").inner_text()
        keys.press("Enter")  # yes
        page.wait_for_url(f"**/people/{ANNA}.html")
        told(page, "one person now")
        merged = page.locator(".lead").first.inner_text()

        keys.press("z")
        told(page, "Taken back")
        assert page.locator(".lead").first.inner_text() != merged

        keys.press("s")  # select two faces
        keys.press("Space")
        keys.press("ArrowRight")
        keys.press("Space")
        assert page.locator(".picks").inner_text() == "2 selected"
        keys.press("o")  # split off
        page.wait_for_url(lambda address: ANNA not in address)
        told(page, "split off from Anna")
        assert "2 photos" in page.locator(".lead").first.inner_text()

        page.goto(url.partition("?")[0] + f"people/{ANNA}.html")
        before = page.locator(".strip li").count()
        keys.press("s")
        keys.press("Space")
        keys.press("x")  # not Anna
        told(page, "not of Anna any more")
        assert page.locator(".strip li").count() == before - 1

        keys.press("h")
        told(page, "Anna is hidden")
        assert page.get_by_role("button", name="Show again").count() == 1
        keys.press("z")
        told(page, "Taken back")
        keys.press("z")
        until(page, "document.querySelectorAll('.strip li').length", lambda count: count == before)
        keys.press("y")
        told(page, "Done again")


def test_a_contradiction_can_be_taken_back_at_once(browser: Any, tmp_path: Path) -> None:
    with serving_at(tmp_path) as url, visiting(browser, url, 1300) as page:
        page.goto(url.partition("?")[0] + f"people/{BERT}.html")
        for left in (2, 1):
            page.keyboard.press("s")
            page.keyboard.press("Space")
            page.keyboard.press("g")
            opened(page, "typed")
            page.keyboard.type("Emil")
            page.keyboard.press("Enter")
            until(page, "document.querySelectorAll('.strip li').length", lambda count, left=left: count == left)
        told(page, "given to Emil")
        page.goto(url.partition("?")[0])
        page.get_by_role("link", name="Emil").press("Enter")
        page.wait_for_selector("h1:has-text('Emil')")
        page.wait_for_load_state("load")
        page.keyboard.press("s")
        page.keyboard.press("Space")
        page.keyboard.press("x")
        asked = opened(page, "asked")
        assert "contradicts" in asked.inner_text()
        page.keyboard.press("Enter")
        told(page, "not of Emil any more")


def test_escape_changes_nothing(shown: str, browser: Any) -> None:
    with visiting(browser, shown, 1300) as page:
        page.goto(shown.partition("?")[0] + f"people/{ANNA}.html")
        page.keyboard.press("e")
        opened(page, "typed")
        page.keyboard.type("Nobody")
        escape(page)
        page.keyboard.press("s")
        page.keyboard.press("Space")
        page.keyboard.press("Escape")
        assert page.locator(".pick:visible").count() == 0
        page.keyboard.press("?")
        assert "undo" in opened(page, "help").inner_text().lower()
        page.keyboard.press("Escape")
        assert page.get_by_role("heading", level=1).inner_text() == "Person 1"


def test_another_tab_notices(browser: Any, tmp_path: Path) -> None:
    with serving_at(tmp_path) as url, visiting(browser, url, 1300) as page:
        other = page.context.new_page()
        other.goto(url.partition("?")[0] + f"people/{ANNA}.html")
        other.keyboard.press("e")
        opened(other, "typed")
        other.keyboard.type("Anna")
        other.keyboard.press("Enter")
        told(other, "is now called Anna")
        page.bring_to_front()
        page.wait_for_selector("strong:has-text('Anna')", timeout=10_000)


def pages(page: Any, url: str) -> list[str]:
    """The addresses of all pages that links lead to, one of each kind."""
    kinds: dict[str, str] = {}
    seen, todo = set(), ["/"]
    while todo:
        path = todo.pop()
        seen.add(path)
        page.goto(url.partition("/?")[0] + path)
        kind = "".join("#" if len(part) > 10 and part.isalnum() else part for part in path.replace(".", "/").split("/"))
        kinds.setdefault(kind, path)
        links = page.evaluate(
            "[...document.querySelectorAll('a[href]')].map(a => new URL(a.getAttribute('href'), location).pathname)"
        )
        new = {link for link in links if link.endswith(".html")} - seen - set(todo)
        todo += sorted(new)[: 40 - len(seen)]
    return [*kinds.values(), "/nothing.html", "/hidden.html"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_axe_finds_nothing_on_any_page(width: int, scheme: str, shown: str, browser: Any) -> None:
    with visiting(browser, shown, width, color_scheme=scheme) as page:
        for path in pages(page, shown):
            page.goto(shown.partition("/?")[0] + path)
            found = axe.Axe().run(page, options=RULES)
            wrong = [
                (each["id"], [node["html"][:200] for node in each["nodes"]][:3])
                for each in found.response["violations"]
            ]
            assert wrong == [], path
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path


@pytest.mark.parametrize("width", WIDTHS)
def test_axe_finds_nothing_in_dialogs_and_while_selecting(width: int, shown: str, browser: Any) -> None:
    with visiting(browser, shown, width) as page:
        page.goto(shown.partition("?")[0] + f"people/{ANNA}.html")
        for key in ("e", "?", "m", "s"):
            page.keyboard.press(key)
            page.wait_for_selector("dialog[open]" if key != "s" else ".picking")
            found = axe.Axe().run(page, options=RULES)
            assert [(each["id"], each["nodes"][0]["html"]) for each in found.response["violations"]] == [], key
            escape(page)


def test_what_a_finger_touches_is_large_enough(shown: str, browser: Any) -> None:
    """24 pixels, WCAG 2.2, section 2.5.8, links within a sentence left out."""
    small = """[...document.querySelectorAll("a[href], button, input, summary")].filter(e => e.checkVisibility()
      && !e.closest("p.lead, .meta, svg, .skip")).map(e => [e.outerHTML.slice(0, 120), e.getBoundingClientRect()])
      .filter(([, b]) => b.width && (b.width < 24 || b.height < 24) ).map(([html, b]) => [html, b.width, b.height])"""
    with visiting(browser, shown, 375) as page:
        for path in pages(page, shown):
            page.goto(shown.partition("/?")[0] + path)
            found = [each for each in page.evaluate(small) if "checkbox" not in each[0]]
            assert found == [], path


def test_without_javascript_pages_can_be_read(shown: str, browser: Any) -> None:
    with visiting(browser, shown, 1300, java_script_enabled=False) as page:
        page.get_by_role("link", name="Person 1").first.click()
        assert page.get_by_role("heading", level=1).inner_text() == "Person 1"
        assert page.locator(".photos .frame img").count() == 6
