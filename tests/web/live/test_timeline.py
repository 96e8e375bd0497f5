import re
from datetime import datetime
from pathlib import Path

import pytest

from helpers.originals import Browser, Originals, picture
from muster.web.live import lists

ANNA, BERT = "a" * 12, "b" * 12


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Originals:
    made = Originals(tmp_path_factory.mktemp("timeline") / "photos")
    for n in range(9):
        month, faces = 1 + n // 3, [[ANNA], [ANNA, BERT], []][n % 3]
        made.photo(f"{n}.jpg", picture((60 + n, 40)), faces, taken_at=datetime(2019 + n // 6, month, 3, n))
    made.photo("undated<script>.jpg", picture((80, 40)), [BERT])
    return made


@pytest.fixture(scope="module")
def browser(made: Originals) -> Browser:
    return Browser(made.source())


def shown(text: str, made: Originals) -> list[str]:
    """Names of the photos on a page, in their order."""
    names = {image_id: name.removesuffix(".jpg") for name, image_id in made.ids.items()}
    return [names[image_id] for image_id in re.findall(r'class="tile" id="p-([0-9a-f]+)"', text)]


def test_all_photos_stand_by_month_newest_first(browser: Browser, made: Originals) -> None:
    answer = browser.get("/photos.html")
    assert answer.status_code == 200
    assert shown(answer.text, made) == ["8", "7", "6", "5", "4", "3", "2", "1", "0", "undated<script>"]
    months = re.findall(r'<h2 id="m([^"]+)" tabindex="-1">([^<]+) <', answer.text)
    assert months == [
        ("2020-03", "March 2020"),
        ("2019-02", "February 2019"),
        ("2019-01", "January 2019"),
        ("undated", "Undated"),
    ]
    assert re.findall(r'<a href="#y([^"]+)">', answer.text) == ["2020", "2019", "undated"]
    assert "<script>.jpg" not in answer.text


def test_a_photo_says_who_is_on_it_and_when(browser: Browser) -> None:
    text = browser.get("/photos.html").text
    assert 'alt="2 people, 3 March 2020"' in text
    assert 'alt="5.jpg, 3 February 2019"' in text


def test_photos_without_a_face_and_favourites(browser: Browser, made: Originals) -> None:
    assert shown(browser.get("/photos-without-faces.html").text, made) == ["8", "5", "2"]
    assert "No favourites yet" in browser.get("/favourites.html").text
    assert browser.post("/api/favourite", {"photo": made.ids["4.jpg"]}).status_code == 200
    answer = browser.get("/favourites.html").text
    assert shown(answer, made) == ["4"]
    assert "favourite" in re.search(r'alt="([^"]*)"', answer[answer.index("tiles") :])[1]
    assert browser.post("/api/favourite", {"photo": made.ids["4.jpg"], "on": False}).status_code == 200
    assert shown(browser.get("/favourites.html").text, made) == []


def test_an_album_has_the_photos_of_a_person_and_who_is_on_them_too(browser: Browser, made: Originals) -> None:
    text = browser.get(f"/albums/{ANNA}.html").text
    assert shown(text, made) == ["0", "1", "3", "4", "6", "7"]
    [both] = re.findall(r'href="(/albums/[^"]+)"', text)
    assert both == f"/albums/{ANNA}.{BERT}.html"
    assert shown(browser.get(both).text, made) == ["1", "4", "7"]


@pytest.mark.parametrize("address", ["/albums/nobody.html", "/albums/.html", "/albums/" + "a." * 500 + "html"])
def test_an_album_of_nobody_is_not_there(address: str, browser: Browser) -> None:
    assert browser.get(address).status_code == 404


def test_long_lists_come_part_by_part(browser: Browser, made: Originals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "PART", 2)
    monkeypatch.setattr("muster.web.live.timeline.AT_ONCE", 2)
    text = browser.get("/photos.html").text
    assert shown(text, made) == ["8", "7"]
    later = re.findall(r'data-part="([^"]+)" data-count="(\d)" data-later', text)
    assert later == [
        ("2020-03.1", "1"),
        *((f"2019-0{m}.{n}", str(2 - n)) for m in (2, 1) for n in (0, 1)),
        ("undated.0", "1"),
    ]
    assert 'href="/photos.html?from=2019-02.0#m2019-02">Show 2 photos' in text
    fetched = [shown(browser.get(f"/photos/part?in=all&part={part}").text, made) for part, _ in later]
    assert fetched == [["6"], ["5", "4"], ["3"], ["2", "1"], ["0"], ["undated<script>"]]
    assert shown(browser.get("/photos.html?from=2019-02.0").text, made) == ["6", "5", "4"], "with what is above it"
    assert "3" in shown(browser.get(f"/photos.html?at={made.ids['3.jpg']}").text, made)


@pytest.mark.parametrize("asked", ["in=all&part=1999-01.0", "in=none&part=2019-02.0", "", "in=all&part=%00", "in=all"])
def test_a_part_that_is_none(asked: str, browser: Browser) -> None:
    assert browser.get(f"/photos/part?{asked}").status_code == 404


def test_the_large_view_hears_of_photos_around_one(browser: Browser, made: Originals) -> None:
    found = browser.get(f"/api/list?in=all&at={made.ids['5.jpg']}&count=3").json()
    assert (found["total"], found["start"], found["place"]) == (10, 2, 3)
    assert [photo["id"] for photo in found["photos"]] == [made.ids[f"{n}.jpg"] for n in (6, 5, 4)]
    photo = found["photos"][2]
    assert photo["people"] == [{"name": f"Person {n}", "href": f"/people/{p}.html"} for n, p in ((1, ANNA), (2, BERT))]
    assert (photo["when"], photo["file"], photo["favourite"]) == ("3 February 2019, 04:00", "4.jpg", False)
    assert browser.get(photo["preview"]).headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize(
    ("asked", "start", "number"),
    [
        ("place=9&count=4", 6, 4),
        ("place=0&count=4", 0, 4),
        ("place=99999", 0, 10),
        ("place=-1&count=x", 0, 10),
        ("count=0", 0, 0),
    ],
)
def test_any_place_in_a_list(asked: str, start: int, number: int, browser: Browser) -> None:
    found = browser.get(f"/api/list?in=all&{asked}").json()
    assert (found["start"], len(found["photos"])) == (start, number)
    assert browser.get(f"/api/list?in=none&{asked}").status_code == 404


def test_links_lead_to_photos_and_back(browser: Browser, made: Originals) -> None:
    text = browser.get(f"/albums/{ANNA}.html").text
    address = re.search(r'class="tile" id="[^"]+" href="([^"]+)"', text)[1]
    page = browser.get(address)
    assert page.status_code == 200
    back = re.search(r'<a href="([^"]+)" id="back">', page.text)[1].replace("&amp;", "&")
    assert back == f"/albums/{ANNA}.html?at={made.ids['0.jpg']}#p-{made.ids['0.jpg']}"


def test_a_library_without_photos(tmp_path: Path) -> None:
    made = Originals(tmp_path / "photos")
    made.photo("broken.jpg", picture()[:200])
    text = Browser(made.source()).get("/photos.html").text
    assert "No photos" in text
    assert shown(text, made) == []
