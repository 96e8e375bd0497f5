"""The page of the service in a real browser, before the real service with its network: by keyboard alone, as wide as a
phone and as a screen, with a camera that shows somebody."""

import contextlib
import io
import re
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from PIL import Image

from helpers.fixtures import School
from helpers.runs import config_of
from muster.pipeline.gallery.calibrate import calibrate
from muster.storage.gallery import gallery, keys
from muster.storage.library import LibraryFiles, open_library
from muster.web.door.page import HEADERS
from muster.web.live.serving import listening

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
httpx = pytest.importorskip("httpx", reason="httpx is not installed")

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --use-fake-device-for-media-stream --use-fake-ui-for-media-stream"
)
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
PHONE, SCREEN = 390, 1280
WAIT = 30_000  # milliseconds for an answer: the network is slow where others use the machine
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")
expect: Any = playwright.expect


@dataclass(frozen=True)
class Served:
    """`keys`: of each role. `people`: who is enrolled; the first of them stands before the camera."""

    url: str
    library: LibraryFiles
    keys: dict[str, str]
    people: list[str]
    school: School

    def probe(self, number: int) -> Path:
        return self.school.probes[self.people[number]]


def titled(person: str) -> str:
    return person.replace("_", " ")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, enrolled: Path, school: School) -> Iterator[Served]:
    """A calibrated school of two classes. Who is enrolled in a test is forgotten in it."""
    from muster.pipeline.gallery.door import Door
    from muster.web.door.app import app

    library = open_library(shutil.copytree(enrolled, tmp_path_factory.mktemp("door") / "library"))
    known = gallery.require(library)
    details = {who: {"name": titled(who), "group": f"3{'ab'[i % 2]}"} for i, who in enumerate(known.people)}
    gallery.write(library, known.with_details(details), "test", {})
    calibrate(library)
    made = {role: keys.made(library, f"the desk that {role}", role)[1] for role in keys.ROLES}
    door = Door(library, config_of(library.uri, "faces"), None)
    bound = listening("127.0.0.1", None)
    server = uvicorn.Server(uvicorn.Config(app(library, door, 1e6), log_level="error", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    try:
        yield Served(f"http://127.0.0.1:{bound.getsockname()[1]}/", library, made, known.people, school)
    finally:
        server.should_exit = True
        thread.join(10)
        bound.close()
        door.close()


@pytest.fixture(scope="module")
def browser(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Its camera shows the first of the people."""
    film = tmp_path_factory.mktemp("camera") / "somebody.mjpeg"
    frame = Image.new("RGB", (640, 480), "gray")
    frame.paste(Image.open(served.probe(0)).convert("RGB").resize((480, 480)), (80, 0))
    film.write_bytes(jpeg(frame) * 30)
    flags = [*FLAGS.split(), f"--use-file-for-fake-video-capture={film}"]
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


def jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


@contextlib.contextmanager
def visiting(browser: Any, served: Served, width: int = SCREEN, refusals: str = "^$", **settings: Any) -> Iterator[Any]:
    """A page before anybody has signed in. `refusals`: a pattern of what the browser may complain about."""
    context = browser.new_context(viewport={"width": width, "height": 900}, permissions=["camera"], **settings)
    context.set_default_timeout(WAIT)
    page, troubles = context.new_page(), []
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.goto(served.url)
    yield page
    context.close()
    assert [each for each in troubles if not re.search(refusals, each)] == []


@contextlib.contextmanager
def desk(
    browser: Any, served: Served, role: str = "administers", width: int = SCREEN, refusals: str = "^$", **settings: Any
) -> Iterator[Any]:
    """Where somebody has signed in."""
    with visiting(browser, served, width, refusals, **settings) as page:
        sign_in(page, served.keys[role])
        expect(page.locator("#verify")).to_be_visible()
        yield page


def sign_in(page: Any, key: str) -> None:
    page.get_by_label("Your key").fill(key)
    page.keyboard.press("Enter")


def part(page: Any, name: str) -> Any:
    """One of the parts that the bar on top leads to."""
    page.locator(f"nav a[href='#{name}']").click()
    expect(page.locator(f"nav a[href='#{name}']")).to_have_attribute("aria-current", "page")
    return page.locator(f"#{name}")


def give(section: Any, *files: Any) -> None:
    section.locator("input[type=file]").set_input_files(list(files))
    expect(section.locator(".taken li")).to_have_count(len(files))


def said(section: Any, *texts: str) -> None:
    for text in texts:
        expect(section.locator(".answer")).to_contain_text(text, timeout=WAIT)


def tab_to(page: Any, target: Any) -> None:
    """By keyboard: as often as it takes."""
    for _ in range(40):
        if target.evaluate("each => each === document.activeElement"):
            return
        page.keyboard.press("Tab")
    pytest.fail(f"{target} is not reached with Tab")


def loaded(picture: Any) -> None:
    expect(picture).to_be_visible()
    playwright.expect(picture).to_have_js_property("naturalWidth", 160, timeout=WAIT)


# ---- who may look ----------------------------------------------------------------------------------------------------


def test_a_wrong_key_is_refused_in_a_sentence_and_not_kept(served: Served, browser: Any) -> None:
    with visiting(browser, served, refusals="401") as page:
        sign_in(page, "muster_00000000_" + "x" * 43)
        said(page.locator("#sign-in"), "That is no key of this library: ask whoever administers it for one.")
        assert page.evaluate("sessionStorage.length + localStorage.length") == 0
        sign_in(page, "schlüssel")
        said(page.locator("#sign-in"), "That is no key")
        expect(page.locator("nav")).to_be_hidden()


def test_a_key_is_kept_until_somebody_signs_out(served: Served, browser: Any) -> None:
    with desk(browser, served) as page:
        page.reload()
        expect(page.locator("#signed")).to_contain_text("the desk that administers")
        assert served.keys["administers"] not in page.content()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("Your key")).to_be_focused()
        assert page.evaluate("sessionStorage.length + localStorage.length") == 0


def test_whose_key_is_revoked_is_told_so_at_the_next_question(served: Served, browser: Any) -> None:
    key, text = keys.made(served.library, "a visitor", "asks")
    with visiting(browser, served, refusals="401") as page:
        sign_in(page, text)
        section = page.locator("#verify")
        section.locator("#person").fill(served.people[0])
        give(section, served.probe(0))
        keys.revoked(served.library, key.id)
        section.get_by_role("button", name="Check").click()
        said(page.locator("#sign-in"), "This key was revoked on")


def test_who_may_only_ask_sees_nobody_and_types_an_id(served: Served, browser: Any) -> None:
    with desk(browser, served, "asks") as page:
        shown = page.locator("nav a:visible")
        expect(shown).to_have_text(["Is this the person?", "Who is this?"])
        page.goto(served.url + "#people")  # nor by its address
        page.reload()
        section = page.locator("#verify")
        section.get_by_label("Person").fill(served.people[1])
        expect(page.locator("#persons")).to_be_hidden()
        give(section, served.probe(1))
        section.get_by_role("button", name="Check").click()
        said(section, "Match", f"This is {titled(served.people[1])}.")
        expect(section.locator(".answer img")).to_have_count(0)
        section.get_by_label("Person").fill("nobody")
        expect(section.locator(".answer")).to_be_empty()


def test_only_who_administers_can_forget(served: Served, browser: Any) -> None:
    for role, there in (("enrols", 0), ("administers", 1)):
        with desk(browser, served, role) as page:
            part(page, "people").locator(".card").first.click()
            expect(page.locator("#details button:visible", has_text="Forget")).to_have_count(there)


# ---- is this the person? ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [PHONE, SCREEN])
def test_somebody_is_recognised_through_the_camera_by_keyboard_alone(width: int, served: Served, browser: Any) -> None:
    with visiting(browser, served, width) as page:
        page.keyboard.type(served.keys["enrols"])
        page.keyboard.press("Enter")
        section, name = page.locator("#verify"), titled(served.people[0])
        expect(section.get_by_role("heading", level=1)).to_be_focused()
        tab_to(page, page.locator("#person"))
        page.keyboard.type(name.split()[0].lower())
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        expect(page.locator("#person")).to_have_value(f"{name} ({served.people[0]})")
        tab_to(page, section.get_by_role("button", name="Take a photo"))
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Take the photo")).to_be_focused()
        page.keyboard.press("Enter")
        expect(section.locator(".taken canvas")).to_be_visible()
        assert page.evaluate("document.querySelector('video').srcObject") is None  # the camera is off
        tab_to(page, section.get_by_role("button", name="Check"))
        page.keyboard.press("Enter")
        said(section, "Match", f"This is {name}.", "Score")
        loaded(section.locator(".answer img"))
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_one_of_several_cameras_can_be_chosen(served: Served, browser: Any) -> None:
    script = """void (() => {
      const media = navigator.mediaDevices, on = media.getUserMedia.bind(media);
      window.asked = [];
      media.getUserMedia = ({ video }) => (asked.push(video.deviceId ?? video.facingMode), on({ video: true }));
      media.enumerateDevices = async () => ["Front", "Back"].map(
        (label) => ({ kind: "videoinput", label, deviceId: label }));
    })()"""
    with desk(browser, served) as page:
        page.evaluate(script)
        page.locator("#verify").get_by_role("button", name="Take a photo").click()
        shutter = page.get_by_role("button", name="Take the photo")
        expect(shutter).to_be_enabled()
        page.locator("#camera select").select_option("Back")
        expect(shutter).to_be_focused()
        assert page.evaluate("asked") == ["environment", {"exact": "Back"}]


@pytest.mark.parametrize(
    ("error", "text"),
    [("NotAllowedError", "allow it beside the address"), ("NotFoundError", "There is no camera here")],
)
def test_why_the_camera_does_not_start_is_said(error: str, text: str, served: Served, browser: Any) -> None:
    with desk(browser, served) as page:
        failing = f"() => Promise.reject(new DOMException('no', '{error}'))"
        page.evaluate(f"void (navigator.mediaDevices.getUserMedia = {failing})")
        page.locator("#verify").get_by_role("button", name="Take a photo").click()
        expect(page.locator("#camera .wrong")).to_contain_text(text)
        expect(page.get_by_role("button", name="Take the photo")).to_be_disabled()


def test_escape_closes_the_camera_and_takes_nothing(served: Served, browser: Any) -> None:
    with desk(browser, served) as page:
        take = page.locator("#verify").get_by_role("button", name="Take a photo")
        take.click()
        expect(page.get_by_role("button", name="Take the photo")).to_be_enabled()
        page.keyboard.press("Escape")
        expect(take).to_be_focused()
        assert page.evaluate("document.querySelector('video').srcObject") is None
        expect(page.locator("#verify .taken li")).to_have_count(0)


def test_somebody_else_is_no_match_and_both_faces_are_shown(served: Served, browser: Any) -> None:
    with desk(browser, served) as page:
        section = page.locator("#verify")
        section.get_by_label("Person").fill(titled(served.people[2]))
        give(section, served.probe(1))
        section.get_by_role("button", name="Check").click()
        said(section, "No match", f"This is not {titled(served.people[2])}.")
        loaded(section.locator(".answer img"))
        expect(section.locator(".answer canvas")).to_have_count(1)


def mixed(served: Served) -> bytes:
    """A photo of the first of the people and somebody else in one, of which the service is not sure."""
    one, other = (Image.open(path).convert("RGB") for path in (served.probe(0), served.school.strangers[0]))
    headers = {"authorization": f"Bearer {served.keys['asks']}", "content-type": "image/jpeg"}
    asking = f"{served.url}v1/verify?person_id={served.people[0]}"
    low, high = 0.0, 1.0  # how much of it is somebody else
    for _ in range(12):
        share = (low + high) / 2
        photo = jpeg(Image.blend(one, other.resize(one.size), share))
        answer = httpx.post(asking, content=photo, headers=headers).json()["answer"]
        if answer == "unsure":
            return photo
        low, high = (share, high) if answer == "match" else (low, share)
    pytest.fail("the service is sure of each")


def test_an_answer_that_is_unsure_says_why(served: Served, browser: Any) -> None:
    photo = {"name": "mixed.jpg", "mimeType": "image/jpeg", "buffer": mixed(served)}
    with desk(browser, served) as page:
        section = page.locator("#verify")
        section.get_by_label("Person").fill(titled(served.people[0]))
        give(section, photo)
        section.get_by_role("button", name="Check").click()
        said(section, "Unsure", "look yourself, or take another one.")
        expect(section.locator(".verdict p")).to_contain_text(["Unsure", "look yourself", re.compile("Alike|blurred")])
        section = part(page, "identify")
        give(section, photo)
        section.get_by_role("button", name="Check").click()
        expect(section.locator(".word")).to_have_text(re.compile("Unsure|Not recognised"), timeout=WAIT)


def test_what_is_missing_is_said_and_comes_into_focus(served: Served, browser: Any) -> None:
    with desk(browser, served) as page:
        section = page.locator("#verify")
        check = section.get_by_role("button", name="Check")
        section.get_by_label("Person").fill("nobody of this name")
        check.click()
        said(section, "Choose a person of the list.")
        expect(section.get_by_label("Person")).to_be_focused()
        section.get_by_label("Person").fill(titled(served.people[0]))
        check.click()
        said(section, "Take or choose a photo.")
        expect(section.get_by_role("button", name="Take a photo")).to_be_focused()


def test_nothing_is_sent_before_check_and_a_large_photo_not_as_it_is(
    served: Served, browser: Any, tmp_path: Path
) -> None:
    """Turned by its EXIF, so that the browser has to turn it."""
    large = Image.new("RGB", (3000, 2000), "gray")
    large.paste(Image.open(served.probe(0)).convert("RGB").resize((2000, 2000)))
    large = large.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned to the right
    large.save(tmp_path / "large.jpg", exif=exif)
    with desk(browser, served) as page:
        page.evaluate(
            "(() => { const ask = fetch; window.sent = [];"
            " window.fetch = (path, asked) => (asked.body && sent.push(asked.body), ask(path, asked)) })()"
        )
        section = part(page, "identify")
        give(section, tmp_path / "large.jpg")
        expect(section.locator(".taken canvas")).to_have_js_property("width", 1600)
        assert page.evaluate("sent.length") == 0
        section.get_by_role("button", name="Check").click()
        said(section, titled(served.people[0]))
        size = "createImageBitmap(sent[0]).then(picture => [sent[0].type, picture.width, picture.height])"
        assert page.evaluate("sent.length") == 1
        assert page.evaluate(size) == ["image/jpeg", 1600, 1067]


def test_a_double_click_asks_once_and_an_answer_about_an_earlier_photo_is_not_shown(
    served: Served, browser: Any
) -> None:
    with desk(browser, served) as page:
        asked: list[Any] = []
        page.route("**/v1/identify", lambda route: asked.append(route))  # and goes on when the test says so
        section = part(page, "identify")
        give(section, served.probe(0))
        section.get_by_role("button", name="Check").dblclick()
        said(section, "Looking")
        page.keyboard.press("Enter")
        section.get_by_role("button", name="Next photo").click()
        assert len(asked) == 1
        give(section, served.probe(1))
        with page.expect_response("**/v1/identify"):
            asked[0].continue_()
        expect(section.locator(".answer")).to_be_empty()
        expect(section.locator(".taken li")).to_have_count(1)


@pytest.mark.parametrize("broken", ["busy", "offline"])
def test_a_failure_is_said_and_can_be_tried_again(broken: str, served: Served, browser: Any) -> None:
    busy = {"status": 503, "headers": {"retry-after": "2"}, "json": {"error": {"code": "busy", "message": "in use"}}}
    refusals = "503" if broken == "busy" else "ERR_FAILED"
    with desk(browser, served, refusals=refusals) as page:
        page.route("**/v1/identify", lambda route: route.fulfill(**busy) if broken == "busy" else route.abort())
        section = part(page, "identify")
        give(section, served.probe(0))
        section.get_by_role("button", name="Check").click()
        said(section, "In use. It can be tried again in 2 s." if broken == "busy" else "Muster cannot be reached")
        page.unroute("**/v1/identify")
        section.get_by_role("button", name="Try again").press("Enter")
        said(section, titled(served.people[0]))
        assert page.evaluate("document.activeElement.className") == "answer"


def test_what_is_no_photo_is_refused_in_words(served: Served, browser: Any) -> None:
    with desk(browser, served, refusals="422") as page:
        section = part(page, "identify")
        give(section, {"name": "list.pdf", "mimeType": "image/heic", "buffer": b"%PDF-1.4 and no photo"})
        expect(section.locator(".taken")).to_contain_text("This browser cannot show list.pdf")
        section.get_by_role("button", name="Check").click()
        expect(section.locator(".answer .wrong")).to_be_visible()
        expect(section.get_by_role("button", name="Try again")).to_have_count(0)


# ---- who is this? ----------------------------------------------------------------------------------------------------


def group_of(*photos: Path) -> bytes:
    picture = Image.new("RGB", (600 * len(photos), 600), "gray")
    for place, photo in enumerate(photos):
        picture.paste(Image.open(photo).convert("RGB").resize((500, 500)), (50 + 600 * place, 50))
    return jpeg(picture)


@pytest.mark.parametrize("width", [PHONE, SCREEN])
def test_each_face_of_a_picture_from_disk_is_named_or_not_recognised(width: int, served: Served, browser: Any) -> None:
    picture = group_of(served.probe(3), served.school.strangers[0])
    with desk(browser, served, width=width) as page:
        section = part(page, "identify")
        give(section, {"name": "two.jpg", "mimeType": "image/jpeg", "buffer": picture})
        section.get_by_role("button", name="Check").click()
        said(section, "2 faces on the photo, from left to right.")
        expect(section.locator(".word")).to_contain_text([titled(served.people[3]), "Not recognised"])
        loaded(section.locator(".answer img"))
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("event", ["paste", "drop"])
def test_a_photo_can_be_pasted_and_dropped(event: str, served: Served, browser: Any) -> None:
    script = """([section, event, bytes]) => {
      const data = new DataTransfer();
      data.items.add(new File([new Uint8Array(bytes)], "somebody.jpg", { type: "image/jpeg" }));
      const [kind, name, place] = event === "paste" ? [ClipboardEvent, "clipboardData", document] :
        [DragEvent, "dataTransfer", document.querySelector(section)];
      place.dispatchEvent(new kind(event, { [name]: data, bubbles: true, cancelable: true }));
    }"""
    with desk(browser, served) as page:
        section = part(page, "identify")
        page.evaluate(script, ["#identify fieldset", event, list(served.probe(0).read_bytes())])
        expect(section.locator(".taken canvas")).to_be_visible()
        expect(page.locator("#verify .taken li")).to_have_count(0)


# ---- people ----------------------------------------------------------------------------------------------------------


def test_people_are_listed_by_class_and_their_faces_come_into_sight(served: Served, browser: Any) -> None:
    with desk(browser, served, width=PHONE) as page:
        fetched: list[str] = []
        page.on("request", lambda request: fetched.append(request.url) if request.url.endswith("/face") else None)
        section = part(page, "people")
        expect(section.get_by_role("heading", level=2)).to_have_text([re.compile("3a"), re.compile("3b")])
        loaded(section.locator(".card img").first)
        assert 0 < len(fetched) < len(served.people)
        section.get_by_label("Search people").fill(titled(served.people[0]).lower())
        expect(section.locator(".card")).to_have_count(1)
        expect(section.locator(".found")).to_have_text(f"1 of {len(served.people)}.")


def test_six_faces_are_fetched_at_once_and_again_when_the_service_says_so(served: Served, browser: Any) -> None:
    late = {"status": 429, "headers": {"retry-after": "1"}, "json": {"error": {"code": "rate_limited", "message": ""}}}
    with desk(browser, served, refusals="429") as page:
        held: list[Any] = []
        holding = [True]
        page.route("**/face", lambda route: held.append(route) if holding[0] else route.continue_())
        page.set_viewport_size({"width": SCREEN, "height": 3000})
        section = part(page, "people")
        expect(section.locator(".card")).to_have_count(len(served.people))
        page.wait_for_timeout(300)
        assert len(held) == 6
        refused = held[0].request.url
        holding[0] = False
        with page.expect_request(refused):
            held[0].fulfill(**late)
        for route in held[1:]:
            route.continue_()
        expect(section.locator(".card img[src]")).to_have_count(len(served.people), timeout=WAIT)


def test_a_class_list_prints_faces_names_ids_and_nothing_else(served: Served, browser: Any) -> None:
    with desk(browser, served) as page:
        page.evaluate("window.print = () => (window.printed = true)")
        section = part(page, "people")
        section.get_by_label("Search people").fill(titled(served.people[1]).lower())
        expect(section.locator(".found")).to_contain_text(" of ")  # and is printed all the same
        section.get_by_role("button", name="Print 3b").click()
        expect(page.locator("#people .busy")).to_have_count(0)
        page.wait_for_selector("#list img[src]", state="attached")
        assert page.evaluate("window.printed")
        page.emulate_media(media="print")
        shown = page.evaluate("document.body.innerText").split("\n")
        people = [who for who in sorted(served.people, key=titled) if served.people.index(who) % 2]
        heading, when, *others = [line for line in shown if line]
        assert (heading, when.partition(" · ")[2]) == ("3b", f"{len(people)} people")
        assert others == [text for who in people for text in (titled(who), who)]
        assert page.evaluate("[...document.querySelectorAll('#list img')].every(e => e.naturalWidth === 160)")
        page.evaluate("location.hash = '#verify'")
        expect(page.locator("#verify h1")).to_be_visible()  # what the browser's own menu prints


def test_somebody_is_checked_and_updated_from_their_card(served: Served, browser: Any) -> None:
    with desk(browser, served) as page:
        who = sorted(served.people, key=titled)[0]
        card = part(page, "people").locator(".card").first
        card.click()
        page.locator("#details").get_by_role("button", name="Is this the person?").click()
        expect(page.locator("#person")).to_have_value(f"{titled(who)} ({who})")
        part(page, "people")
        card.click()
        page.locator("#details").get_by_role("button", name="Update").click()
        section = page.locator("#enrol")
        expect(section.get_by_label("Name")).to_have_value(titled(who))
        section.get_by_label("Last day of the consent").fill("2099-07-31")
        section.get_by_role("button", name="Update").click()
        said(section, "Nobody is enrolled without consent")
        expect(section.get_by_role("checkbox")).to_be_focused()
        section.get_by_role("checkbox").check()
        section.get_by_role("button", name="Update").click()
        said(section, f"The details of {titled(who)} are saved.")
        expect(part(page, "people").locator(".card").first).to_contain_text("consent to 31 July 2099")


def forget(page: Any, who: str) -> None:
    section = part(page, "people")
    section.get_by_label("Search people").fill(who)
    expect(section.locator(".card")).to_have_count(1)
    section.locator(".card").click()
    page.locator("#details").get_by_role("button", name="Forget").click()
    sure = page.locator("#forget").get_by_role("button", name="Forget for good")
    expect(sure).to_be_disabled()
    page.locator("#forget input").fill("somebody else")
    expect(sure).to_be_disabled()
    page.locator("#forget input").fill(who)
    sure.click()
    said(section, f"{who} is forgotten.", "A search afterwards found nothing that was left.", "Receipt")
    expect(section.locator(".card")).to_have_count(0)


def test_who_is_enrolled_through_the_camera_is_named_and_forgotten_with_a_receipt(served: Served, browser: Any) -> None:
    """They are enrolled already: so the page shows the two side by side, and asks."""
    with desk(browser, served) as page:
        section = part(page, "enrol")
        section.get_by_label("Id").fill("N-1")
        section.get_by_label("Name").fill("Nora New")
        section.get_by_label("Class").fill("3a")
        section.get_by_role("button", name="Take a photo").click()
        page.get_by_role("button", name="Take the photo").click()
        section.get_by_role("checkbox").check()
        section.get_by_role("button", name="Enrol").click()
        said(section, "Nora New is not enrolled.", "Two people who look alike?", titled(served.people[0]))
        loaded(section.locator(".answer img"))
        assert violations(page) == []
        section.get_by_role("button", name="Enrol all the same").click()
        said(section, "Nora New is enrolled, by 1 photo.")
        people = part(page, "people")
        people.get_by_role("button", name="Who looks alike?").click()
        said(people, "1 pair of people who look alike", "Nora New", titled(served.people[0]))
        loaded(people.locator(".answer img").first)
        assert violations(page) == []
        forget(page, "N-1")
        assert violations(page) == []


def test_photos_that_are_refused_are_shown_with_the_reason(served: Served, browser: Any, tmp_path: Path) -> None:
    Image.new("RGB", (300, 300), "gray").save(tmp_path / "nobody.png")
    with desk(browser, served) as page:
        section = part(page, "enrol")
        section.get_by_label("Id").fill("N-2")
        give(section, tmp_path / "nobody.png", served.school.strangers[1], served.school.strangers[2])
        section.get_by_role("checkbox").check()
        section.get_by_role("button", name="Enrol").click()
        said(section, "N-2 is not enrolled.", "Not used: no face", "Not used: does not look like the other photos")
        expect(section.locator(".refused canvas")).to_have_count(3)
        assert violations(page) == []
        for _ in range(2):  # what does not fit is taken out
            section.get_by_role("button", name="Remove").first.press("Enter")
        expect(section.locator(".answer")).to_be_empty()
        section.get_by_role("button", name="Enrol").click()
        said(section, "N-2 is enrolled, by 1 photo.")
        expect(section.locator(".refused")).to_have_count(0)
        forget(page, "N-2")


# ---- for everybody ---------------------------------------------------------------------------------------------------


def violations(page: Any) -> list[tuple[str, str]]:
    found = axe.Axe().run(page, options=RULES).response["violations"]
    return [(each["id"], each["nodes"][0]["html"][:200]) for each in found]


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (SCREEN, "light")])
def test_axe_finds_nothing_in_any_part(width: int, scheme: str, served: Served, browser: Any) -> None:
    def steps(page: Any) -> Iterator[str]:
        sign_in(page, "ü")
        yield "refused"
        sign_in(page, served.keys["administers"])
        section = page.locator("#verify")
        section.get_by_label("Person").fill("a")
        page.keyboard.press("ArrowDown")
        yield "choosing"
        page.keyboard.press("Escape")
        section.get_by_role("button", name="Take a photo").click()
        expect(page.get_by_role("button", name="Take the photo")).to_be_enabled()
        yield "camera"
        page.keyboard.press("Enter")
        section.get_by_label("Person").fill(titled(served.people[0]))
        section.get_by_role("button", name="Check").click()
        said(section, "Match")
        yield "match"
        section = part(page, "identify")
        picture = group_of(served.probe(3), served.school.strangers[0])
        give(section, {"name": "two.jpg", "mimeType": "image/jpeg", "buffer": picture})
        section.get_by_role("button", name="Check").click()
        said(section, "Not recognised")
        yield "identify"
        part(page, "people").locator(".card").first.click()
        expect(page.locator("#details")).to_be_visible()
        yield "details"
        page.locator("#details").get_by_role("button", name="Forget").click()
        expect(page.locator("#forget")).to_be_visible()
        yield "forget"
        page.keyboard.press("Escape")
        yield "people"
        section = part(page, "enrol")
        give(section, served.probe(0))
        section.get_by_role("button", name="Enrol").click()
        said(section, "Give an id")
        yield "enrol"

    with visiting(browser, served, width, color_scheme=scheme) as page:
        for step in steps(page):
            assert violations(page) == [], step
            assert page.evaluate("document.documentElement.scrollWidth") <= width, step


def test_what_a_finger_touches_is_large_enough(served: Served, browser: Any) -> None:
    """24 pixels, WCAG 2.2, section 2.5.8."""
    small = """[...document.querySelectorAll("a[href], button, input:not([type=file]), .file")]
      .filter(e => e.checkVisibility() && !e.closest(".skip, .consent"))
      .map(e => [e.outerHTML.slice(0, 120), e.getBoundingClientRect()])
      .filter(([, b]) => b.width < 24 || b.height < 24).map(([html]) => html)"""
    with desk(browser, served, width=PHONE) as page:
        for name in ("verify", "identify", "people", "enrol"):
            part(page, name)
            assert page.evaluate(small) == [], name


def test_without_javascript_it_says_that_it_needs_it(served: Served, browser: Any) -> None:
    with visiting(browser, served, java_script_enabled=False) as page:
        expect(page.locator("noscript p")).to_be_visible()
        expect(page.locator("#sign-in")).to_be_hidden()


def test_the_page_runs_its_own_scripts_alone_and_names_its_files(served: Served) -> None:
    with httpx.Client(base_url=served.url) as client:
        page = client.get("/")
        assert {name: page.headers[name] for name in HEADERS} == HEADERS
        assert page.headers["cache-control"] == "no-store"
        assert not re.search(r"<style|style=|onclick|<script(?![^>]*src=)", page.text)
        for name in re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text):
            assert client.get(name).status_code == 200, name
        for name in ("live/live.js", "..%2ftemplates/door.html", "../app.py", "/etc/passwd", "door/none.js"):
            assert client.get(f"/static/{name}").status_code == 404, name


@pytest.mark.parametrize("role", keys.ROLES)
def test_a_key_is_told_what_it_may_do(role: str, served: Served) -> None:
    found = httpx.get(f"{served.url}v1/me", headers={"authorization": f"Bearer {served.keys[role]}"}).json()
    key = served.keys[role].split("_")[1]
    assert found == {"key": key, "name": f"the desk that {role}", "role": role, "ends": None}
