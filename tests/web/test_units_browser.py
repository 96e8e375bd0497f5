"""The pages of units in a real browser, opened from disk: nothing is refused by their policy, nothing is missing."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from muster.pipeline.run import pending
from muster.pipeline.units import Network, write_pages, write_stages
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.machine import Machine
from muster.pipeline.work.worker import ShardWorker
from muster.storage import manifest, tables
from muster.storage.library import open_library

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")

NETWORK = Network("daynight", None, Machine(device="cpu"))
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pages of ten photos, and in `stages` of one."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(10):
        noise = np.random.default_rng(number).integers(0, 256, (7, 9, 3), np.uint8)
        Image.fromarray(noise).resize((160, 120), Image.Resampling.BICUBIC).save(photos / f"{number} <b>.png")
    library, choices = open_library(tmp_path / "L", create=True), [TaskChoice(name="units", model="daynight")]
    manifest.scan(library, [str(photos)])
    worker = ShardWorker(library.uri, choices, "cpu", None)
    for order in pending(library, choices):
        worker.process(order)
    tables.describe(library, choices[0].description)
    write_pages(library, NETWORK, (), tmp_path / "pages")
    write_stages(photos / "1 <b>.png", NETWORK, tmp_path / "stages")
    return tmp_path


@pytest.mark.parametrize("width", [1280, 360])
def test_pages_open_from_disk(folder: Path, width: int) -> None:
    troubles: list[str] = []

    def failed(request: Any) -> None:
        if request.failure != "net::ERR_ABORTED":  # we went on before a picture was there
            troubles.append(f"{request.url}: {request.failure}")

    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.on("console", lambda message: troubles.append(message.text))
        page.on("requestfailed", failed)
        page.goto((folder / "pages" / "index.html").as_uri())
        page.get_by_role("link", name="features.3 ").click()
        page.get_by_role("link", name="0", exact=False).first.click()
        assert page.locator("h1").inner_text().startswith("Unit ")
        assert page.locator(".whole rect").count() <= 9
        shown = (
            "[...document.images].filter(each => each.loading != 'lazy' || each.complete).every(e => e.naturalWidth)"
        )
        page.wait_for_function(shown)
        assert page.evaluate(OVERFLOW) <= 0
        page.goto((folder / "stages" / "index.html").as_uri())
        assert page.locator(".stages img").count() > 10
        assert page.evaluate(OVERFLOW) <= 0
        browser.close()
    assert not troubles
