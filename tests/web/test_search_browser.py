"""Search and map in a real browser, by keyboard, as wide as a phone and as a screen."""

import shutil
import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
import uvicorn

from helpers.live import ANNA, BERT
from helpers.searched import live_source
from muster.web.live import serving
from muster.web.live.album import LiveAlbum
from muster.web.live.app import app
from muster.web.live.guard import Doors

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
LISBON, SYDNEY = {"latitude": 38.7223, "longitude": -9.1393}, {"latitude": -33.8568, "longitude": 151.2153}
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    photos = {
        "a.jpg": {"people": [ANNA, BERT], "taken_at": datetime(2019, 5, 3), **LISBON},
        "b.jpg": {"people": [ANNA], "taken_at": datetime(2020, 5, 3), **SYDNEY},
        "c.jpg": {"people": [BERT]},
    }
    bound = serving.listening("127.0.0.1", None)
    doors = Doors(bound.getsockname()[1])
    page = app(LiveAlbum(live_source(tmp_path_factory.mktemp("search"), photos)), doors)
    server = uvicorn.Server(uvicorn.Config(page, log_level="error", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{doors.port}/?token={doors.token}"
    server.should_exit = True
    thread.join(10)
    bound.close()


@pytest.fixture(params=[375, 1300])
def page(request: pytest.FixtureRequest, browser: Any, address: str) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": request.param, "height": 800}, color_scheme="dark")
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if "Content Security" in message.text else None)
    page.goto(address)
    yield page
    context.close()
    assert wrong == []


def violations(page: Any) -> list[str]:
    found = axe.Axe().run(page, options=RULES).response["violations"]
    return [f"{each['id']}: {node['html'][:90]}" for each in found for node in each["nodes"]]


def view(page: Any) -> list[float]:
    return [float(each) for each in page.get_attribute(".world", "viewBox").split()]


def test_search_by_keyboard(page: Any) -> None:
    page.keyboard.press("/")
    page.keyboard.type("lisbon -2020 2019")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=*")
    assert page.inner_text(".lead").startswith("1 photo")
    assert page.locator(".word").count() == 3
    assert violations(page) == []
    page.locator(".word a").nth(0).focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/search/-2020%202019.html")
    page.keyboard.press("/")
    page.keyboard.press("Control+a")
    page.keyboard.type("lisbom")
    page.keyboard.press("Enter")
    page.locator(".unknown a").first.wait_for()
    page.locator(".unknown a").first.press("Enter")
    page.wait_for_url("**/search/lisbon.html")


def test_the_map_by_keyboard(page: Any) -> None:
    page.goto(page.url.split("?")[0].rstrip("/") + "/map.html")
    page.wait_for_url("**/map.html?x=*")
    assert page.locator(".clusters circle").count() == 2
    assert violations(page) == []
    circles = page.locator(".clusters circle")
    assert all(circles.nth(n).bounding_box()["width"] >= 24 for n in range(2))
    before = view(page)
    page.locator(".world").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("+")
    after = view(page)
    assert after[0] + after[2] / 2 > before[0] + before[2] / 2
    assert after[2] < before[2]
    page.locator(".listed a", has_text="Lisbon").first.press("Enter")
    page.wait_for_url("**/area/**")
    assert page.inner_text("h1") == "Near Lisbon, Portugal"
