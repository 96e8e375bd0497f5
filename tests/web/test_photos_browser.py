"""The photo pages in a real browser, by keyboard alone, on a phone and a desk."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from helpers.originals import Originals, picture, served
from muster.web.live import lists

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync"
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")
ANNA, BERT = "a" * 12, "b" * 12
PHONE, DESK = (375, 740), (1300, 900)
RULES = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page in the browser, with everything that went wrong on it. `expected`: complaints that are meant to come."""

    page: Any
    address: str
    made: Originals
    troubles: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()

    def listen(self) -> None:
        self.page.on("console", lambda message: self.troubles.append(message.text))
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))

    def go(self, path: str) -> None:
        self.page.goto(self.address.partition("/?")[0] + path)

    def photo(self, name: str, query: str = "") -> None:
        self.go(f"/photo/{self.made.ids[name]}.html{query}")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def answer(self, text: str) -> None:
        """In the dialog that asks for a text."""
        playwright.expect(self.page.locator("#typed")).to_be_visible()
        self.page.keyboard.type(text)
        self.page.keyboard.press("Enter")

    def told(self, text: str) -> None:
        playwright.expect(self.page.locator(".told:not(.wrong)")).to_have_text(text)

    def tab_to(self, name: str) -> None:
        """By the tab key, as somebody without a pointer would."""
        for _ in range(80):
            self.page.keyboard.press("Tab")
            if name in self.page.evaluate("document.activeElement.textContent"):
                return
        raise AssertionError(f"no way to {name} by the tab key")

    def at(self, name: str) -> None:
        """That the page of this photo is shown."""
        self.page.wait_for_url(f"**/photo/{self.made.ids[name]}.html*")


def collection(folder: Path) -> Originals:
    made = Originals(folder / "photos")
    for n, faces in enumerate([[ANNA], [ANNA, BERT], [ANNA, BERT, None], []]):
        made.photo(f"{n}.jpg", picture((900 + n, 600)), faces, taken_at=datetime(2019, 5, 1 + n, 12))
    made.photo("phone.heic", picture((900, 600), "HEIF"), taken_at=datetime(2018, 1, 1))
    made.photo('name"><b>.jpg', picture((600, 900)), [BERT])
    made.objects["1.jpg"] = [("dog", 0.9), ("dog", 0.8), ("boat", 0.6)]
    made.errors["1.jpg"] = "went wrong"
    return made


@pytest.fixture
def visits(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """`with visits(size) as visit`: a library of its own."""

    @contextmanager
    def open_at(size: tuple[int, int] = DESK, made: Originals | None = None, **options: Any) -> Iterator[Visit]:
        made = made or collection(tmp_path)
        with served(made.source()) as address:
            context = browser.new_context(viewport=dict(zip(("width", "height"), size, strict=True)), **options)
            visit = Visit(context.new_page(), address, made)
            visit.page.goto(address)
            visit.listen()
            yield visit
            context.close()
            assert [each for each in visit.troubles if not any(known in each for known in visit.expected)] == []

    return open_at


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_from_the_timeline_through_photos_and_back_by_keyboard(size: tuple[int, int], visits: Any) -> None:
    with visits(size) as visit:
        visit.go("/photos.html")
        visit.press("ArrowRight", "ArrowRight")
        assert visit.page.evaluate("document.activeElement.id") == f"p-{visit.made.ids['2.jpg']}"
        visit.press("Enter")
        visit.at("2.jpg")
        visit.press("ArrowRight")
        visit.at("1.jpg")
        visit.press("ArrowLeft")
        visit.at("2.jpg")
        visit.press("Escape")
        visit.page.wait_for_url("**/photos.html*")
        assert visit.page.evaluate("document.activeElement.id") == f"p-{visit.made.ids['2.jpg']}"
        assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_who_is_on_a_photo_is_said_right_there(size: tuple[int, int], visits: Any) -> None:
    with visits(size) as visit:
        visit.photo("2.jpg")
        visit.tab_to("Who is this?")
        visit.press("Enter")
        visit.answer("Dora")
        playwright.expect(visit.page.locator(".who")).to_contain_text("Not Dora")
        visit.tab_to("Name")
        visit.press("Enter")
        visit.answer("Anna")
        playwright.expect(visit.page.locator(".who")).to_contain_text("Not Anna")
        assert visit.page.locator("#stage img").get_attribute("alt") == "Anna, Dora and 1 other, 3 May 2019"
        visit.tab_to("Not Anna")
        visit.press("Enter")
        playwright.expect(visit.page.locator(".who")).not_to_contain_text("Anna")


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_a_face_that_was_missed_is_drawn_by_keyboard(size: tuple[int, int], visits: Any) -> None:
    with visits(size) as visit:
        visit.photo("3.jpg")
        visit.press("d", "ArrowRight", "ArrowRight", "Shift+ArrowDown", "Shift+ArrowRight", "Escape")
        assert visit.page.locator(".draft").count() == 0
        visit.at("3.jpg")  # Escape has left the box alone
        visit.press("d", "ArrowLeft", "Shift+ArrowRight", "Enter")
        visit.answer("Emil")
        playwright.expect(visit.page.locator(".who")).to_contain_text("Emil")
        box = visit.page.locator("#f0").evaluate("mark => getComputedStyle(mark).getPropertyValue('--x')")
        assert float(box.removesuffix("%")) == pytest.approx(49, abs=0.2)


def test_a_face_that_was_missed_is_drawn_with_a_pointer(visits: Any) -> None:
    with visits() as visit:
        visit.photo("3.jpg")
        visit.page.get_by_role("button", name="Add a face").click()
        stage = visit.page.locator("#stage").bounding_box()
        visit.page.mouse.move(stage["x"] + stage["width"] / 4, stage["y"] + stage["height"] / 4)
        visit.page.mouse.down()
        visit.page.mouse.move(stage["x"] + stage["width"] / 2, stage["y"] + stage["height"] / 2)
        visit.page.mouse.up()
        visit.page.get_by_role("button", name="Take this box").click()
        visit.answer("")  # nobody knows
        playwright.expect(visit.page.locator(".who")).to_contain_text("Nobody yet")
        mark = visit.page.locator("#f0").bounding_box()
        assert mark["x"] == pytest.approx(stage["x"] + stage["width"] / 4, abs=3)
        assert mark["width"] == pytest.approx(stage["width"] / 4, abs=3)
        assert mark["height"] == pytest.approx(stage["height"] / 4, abs=3)


def test_a_favourite_by_one_key_is_among_the_favourites(visits: Any) -> None:
    with visits() as visit:
        visit.photo("1.jpg")
        visit.press("f")
        playwright.expect(visit.page.get_by_role("button", name="Favourite")).to_have_attribute("aria-pressed", "true")
        visit.go("/photos.html")
        visit.press("ArrowRight", "f")
        visit.told("A favourite now.")
        playwright.expect(visit.page.locator(".heart")).to_have_count(2)
        assert visit.page.evaluate("document.activeElement.className") == "tile", "focus stays where it was"
        visit.go("/favourites.html")
        assert visit.page.locator(".tile").count() == 2
        visit.press("ArrowRight", "f")
        playwright.expect(visit.page.locator(".tile")).to_have_count(1)


def test_the_original_takes_the_place_of_its_small_copy_a_heic_too(visits: Any) -> None:
    with visits() as visit:
        visit.photo("phone.heic")
        playwright.expect(visit.page.locator("#stage img")).to_have_attribute("src", re.compile("/original/"))
        assert visit.page.evaluate("document.querySelector('#stage img').naturalWidth") == 900


def test_an_original_that_is_gone_is_said_and_a_small_copy_is_shown(visits: Any) -> None:
    with visits() as visit:
        visit.expected = ("404",)
        (visit.made.folder / "1.jpg").unlink()
        visit.photo("1.jpg")
        playwright.expect(visit.page.locator("#note")).to_contain_text("not there any more")
        playwright.expect(visit.page.locator("#note")).to_contain_text("This is a small copy.")
        assert visit.page.evaluate("document.querySelector('#stage img').naturalWidth") == 512
        visit.press("l")
        playwright.expect(visit.page.locator(".large .what")).to_contain_text("not there any more")


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_the_large_view_goes_through_the_list_that_one_came_from(size: tuple[int, int], visits: Any) -> None:
    with visits(size) as visit:
        visit.photo("0.jpg", f"?in=person.{ANNA}")
        visit.press("l")
        count = visit.page.locator(".large .count")
        playwright.expect(count).to_have_text("1 of 3")
        visit.press("ArrowLeft", "ArrowRight", "ArrowRight")
        playwright.expect(count).to_have_text("3 of 3")
        visit.press("ArrowRight")
        visit.press("i")
        playwright.expect(visit.page.locator(".large .info")).to_contain_text("3 May 2019, 12:00")
        visit.press("f")
        playwright.expect(visit.page.locator(".large [data-do=favourite]")).to_have_attribute("aria-pressed", "true")
        playwright.expect(visit.page.locator(".slide.now")).to_have_attribute("src", re.compile("/original/"))
        visit.press("Escape")
        visit.at("2.jpg")
        assert f"in=person.{ANNA}" in visit.page.url
        playwright.expect(visit.page.get_by_role("button", name="Favourite")).to_have_attribute("aria-pressed", "true")


def test_back_closes_the_large_view_as_on_a_phone(visits: Any) -> None:
    with visits(PHONE) as visit:
        visit.photo("0.jpg")
        visit.press("l")
        playwright.expect(visit.page.locator(".large .count")).to_have_text("4 of 6")
        visit.page.go_back()
        playwright.expect(visit.page.locator(".large")).to_have_count(0)
        visit.at("0.jpg")


def test_a_swipe_goes_on(visits: Any) -> None:
    with visits(PHONE, has_touch=True) as visit:
        visit.photo("0.jpg")
        visit.press("l")
        count = visit.page.locator(".large .count")
        playwright.expect(count).to_have_text("4 of 6")
        visit.page.evaluate(
            """() => {
              const at = (type, x) => document.querySelector(".large").dispatchEvent(
                new PointerEvent(type, { pointerType: "touch", clientX: x, clientY: 300, bubbles: true }));
              at("pointerdown", 300); at("pointerup", 200);
            }"""
        )
        playwright.expect(count).to_have_text("5 of 6")


@pytest.mark.parametrize("keys", [["ArrowRight"] * 2, ["ArrowRight", "ArrowLeft"], ["ArrowRight", "ArrowLeft"] * 3])
def test_one_photo_is_seen_however_quick_the_keys(keys: list[str], visits: Any) -> None:
    with visits() as visit:
        visit.photo("0.jpg", f"?in=person.{ANNA}")
        visit.press("l")
        playwright.expect(visit.page.locator(".large .count")).to_have_text("1 of 3")
        playwright.expect(visit.page.locator(".slide.now")).to_have_attribute("src", re.compile("/original/"))
        pressed = "key => document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}))"
        visit.page.evaluate(f"keys => keys.forEach({pressed})", keys)
        visit.page.wait_for_timeout(1000)  # longer than a photo takes to fade
        at = 1 + keys.count("ArrowRight") - keys.count("ArrowLeft")
        playwright.expect(visit.page.locator(".large .count")).to_have_text(f"{at} of 3")
        assert visit.page.locator(".slide").count() == visit.page.locator(".slide.now").count() == 1


def test_the_slideshow_starts_and_stops_by_the_space_bar_and_goes_round(visits: Any) -> None:
    with visits() as visit:
        visit.page.clock.install()
        visit.photo('name"><b>.jpg')
        visit.press("l")
        count = visit.page.locator(".large .count")
        playwright.expect(count).to_have_text("6 of 6")
        visit.press("Space")
        visit.page.clock.run_for(6000)
        playwright.expect(count).to_have_text("1 of 6")
        visit.page.locator(".large select").select_option("2")
        visit.page.clock.run_for(3000)
        playwright.expect(count).to_have_text("2 of 6")
        visit.page.locator(".large").focus()
        visit.press("Space")
        visit.page.clock.run_for(60_000)
        playwright.expect(count).to_have_text("2 of 6")
        assert visit.page.evaluate("localStorage.getItem('muster.seconds')") == "2"


def test_what_is_pointed_at_in_a_list_lights_up(visits: Any) -> None:
    with visits() as visit:
        visit.photo("1.jpg")
        assert not visit.page.locator("#t0").is_visible()
        visit.page.get_by_role("button", name="dog").focus()
        assert visit.page.locator("#t0").is_visible()
        assert visit.page.locator("#t1").is_visible()
        assert not visit.page.locator("#t2").is_visible()
        visit.page.get_by_role("button", name="boat").focus()
        assert not visit.page.locator("#t0").is_visible()
        visit.press("b")
        assert not visit.page.locator("#f0").is_visible()


def test_months_come_into_sight_without_a_jump(visits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "PART", 20)
    monkeypatch.setattr("muster.web.live.timeline.AT_ONCE", 10)
    made = Originals(tmp_path / "many" / "photos")
    for n in range(150):
        made.photo(f"{n}.jpg", picture((30 + n, 40)), taken_at=datetime(2015 + n // 40, 1 + n % 3, 1))
    with visits(PHONE, made) as visit:
        visit.go("/photos.html")
        page = visit.page
        before, height = page.locator(".tile").count(), page.evaluate("document.documentElement.scrollHeight")
        assert before < 150
        page.evaluate("document.querySelector('#y2016').scrollIntoView()")
        top = page.evaluate("document.querySelector('#y2016').getBoundingClientRect().top")
        playwright.expect(page.locator("#y2016 .tile").first).to_be_attached()
        for step in range(0, height, 400):
            page.evaluate(f"scrollTo(0, {step})")
            page.wait_for_timeout(30)
        playwright.expect(page.locator(".tile")).to_have_count(150)
        assert page.evaluate("document.documentElement.scrollHeight") == height
        page.evaluate("document.querySelector('#y2016').scrollIntoView()")
        assert page.evaluate("document.querySelector('#y2016').getBoundingClientRect().top") == pytest.approx(
            top, abs=1
        )


def test_arrows_go_on_to_months_that_are_not_there_yet(
    visits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "PART", 4)
    monkeypatch.setattr("muster.web.live.timeline.AT_ONCE", 2)
    made = Originals(tmp_path / "few" / "photos")
    for n in range(12):
        made.photo(f"{n:02}.jpg", picture((30 + n, 40)), taken_at=datetime(2015, 1 + n // 6, 1, n))
    with visits(PHONE, made) as visit:
        visit.go("/photos.html")
        seen = []
        for _ in range(12):
            visit.press("ArrowRight")
            visit.page.wait_for_timeout(60)
            seen.append(visit.page.evaluate("document.activeElement.id.slice(2)"))
        assert seen == [made.ids[f"{n:02}.jpg"] for n in reversed(range(12))]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_axe_finds_nothing_on_any_page(size: tuple[int, int], scheme: str, visits: Any) -> None:
    with visits(size, color_scheme=scheme, reduced_motion="reduce") as visit:
        visit.page.request.post(
            visit.address.partition("/?")[0] + "/api/favourite",
            data={"photo": visit.made.ids["1.jpg"]},
            headers={"x-muster": "1", "content-type": "application/json"},
        )
        pages = ["/photos.html", "/favourites.html", "/photos-without-faces.html", f"/albums/{ANNA}.html"]
        for path in [*pages, *(f"/photo/{visit.made.ids[name]}.html" for name in ("1.jpg", "phone.heic"))]:
            visit.go(path)
            assert clean(visit), path
            assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        visit.photo("2.jpg")
        visit.press("d")
        assert clean(visit), "drawing"
        visit.press("Escape", "l", "i")
        playwright.expect(visit.page.locator(".large .info")).to_contain_text("All about this photo")
        assert clean(visit), "large"


def clean(visit: Visit) -> bool:
    found = axe.Axe().run(visit.page, options=RULES).response["violations"]
    assert [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in found] == []
    return True
