import re
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest

from helpers.originals import Browser, Originals, picture
from muster.storage import duplicates, manifest
from muster.storage.tags import table

ANNA, BERT = "a" * 12, "b" * 12
HOSTILE = '"><script>alert(1)</script>.jpg'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Originals:
    made = Originals(tmp_path_factory.mktemp("photos") / "photos")
    facts = {"taken_at": datetime(2019, 5, 3, 14, 3), "latitude": 38.71, "longitude": -9.14, "camera": "Canon <EOS>"}
    made.photo("lake.jpg", picture((160, 120)), [ANNA, BERT, None], **facts)
    made.photo("folder/copy of lake.jpg", picture((160, 120)), [ANNA, BERT, None], **facts)
    made.photo("later.jpg", picture((100, 90)), [ANNA], taken_at=datetime(2020, 1, 1))
    made.photo("earlier.jpg", picture((101, 90)), [ANNA], taken_at=datetime(2018, 1, 1))
    made.photo(HOSTILE.replace("/", "∕"), picture((90, 90)))
    made.objects["lake.jpg"] = [("dog", 0.9), ("dog", 0.6), ("boat", 0.7), ("cat", 0.2)]
    made.errors["lake.jpg"] = "out of <paint>"
    return made


@pytest.fixture(scope="module")
def browser(made: Originals) -> Browser:
    return Browser(made.source())


def page(browser: Browser, made: Originals, name: str = "lake.jpg", query: str = "") -> str:
    answer = browser.get(f"/photo/{made.ids[name]}.html{query}")
    assert answer.status_code == 200
    return answer.text


def words(text: str) -> str:
    return " ".join(re.sub("<[^>]+>", " ", text[text.index("<main") : text.index("</main>")]).split())


def test_the_page_says_all_that_is_known(browser: Browser, made: Originals) -> None:
    said = words(page(browser, made))
    for each in (
        "3 May 2019, 14:03",
        "3 faces",
        "Person 1",
        "Person 2",
        "Nobody yet",
        "dog 2",
        "boat 70 %",
        "Lisbon, Portugal",
        "38.71000, -9.14000",
        "Canon &lt;EOS&gt;",
        "lake.jpg",
        str(made.folder),
        "160 × 120, 1 kB",
        "JPEG",
        "copy of lake.jpg",
        f"in {made.folder}/folder",
        "previews: out of &lt;paint&gt;",
    ):
        assert each in said
    assert "cat" not in said


def test_faces_are_marked_where_they_are_and_lead_to_people(browser: Browser, made: Originals) -> None:
    text = page(browser, made)
    assert f'id="f0" href="/people/{ANNA}.html"' in text
    assert f'id="f1" href="/people/{BERT}.html"' in text
    assert f'id="f2" href="#who-{made.ids["lake.jpg"]}-2" data-does="who"' in text
    assert "#f0{--x:9.38%;--y:14.58%;--bw:12.50%;--bh:20.83%}" in text  # [5, 5, 25, 30] of 160 × 120


def test_the_place_leads_to_the_map(browser: Browser, made: Originals) -> None:
    [address] = re.findall(r'<a href="(/map.html[^"]+)">', page(browser, made))
    assert browser.get(address.replace("&amp;", "&")).status_code == 200
    assert "/map.html?" not in page(browser, made, "later.jpg")


def test_the_page_before_and_after_are_those_of_where_one_came_from(browser: Browser, made: Originals) -> None:
    text = page(browser, made, query=f"?in=person.{ANNA}")
    before, after = (re.search(f'<a rel="{rel}" href="([^"]+)"', text)[1] for rel in ("prev", "next"))
    assert before == f"/photo/{made.ids['earlier.jpg']}.html?in=person.{ANNA}"
    assert after == f"/photo/{made.ids['later.jpg']}.html?in=person.{ANNA}"
    assert "Person 1 2 of 3" in words(text)
    text = page(browser, made)
    assert re.search('<a rel="prev" href="([^"]+)"', text)[1] == f"/photo/{made.ids['later.jpg']}.html?in=all"


@pytest.mark.parametrize("query", ["?in=none", "?in=person.nobody", "?in=without-faces", "?in=", "?in=%00"])
def test_of_a_list_that_it_is_not_in_it_stands_among_all(query: str, browser: Browser, made: Originals) -> None:
    assert "All photos 2 of 4" in words(page(browser, made, query=query))


def test_a_copy_stands_where_the_photo_does(browser: Browser, made: Originals) -> None:
    assert "All photos 2 of 4" in words(page(browser, made, "folder/copy of lake.jpg"))


def test_duplicates_stand_on_the_page_of_each(tmp_path: Path) -> None:
    made = Originals(tmp_path / "photos")
    for n, name in enumerate(("a.jpg", "a small.jpg", "burst.jpg", "other.jpg")):
        made.photo(name, picture((80 + n, 60)))
    made.photo("a copy.jpg", picture((80, 60)))
    browser = Browser(made.source())
    groups = {"picture": ["a.jpg", "a copy.jpg", "a small.jpg"], "moment": ["a.jpg", "burst.jpg"]}
    rows = [
        {"kind": kind, "group": 0, "image_id": made.ids[name], "best": not n, "exact": False, "orientation": 1}
        for kind, names in groups.items()
        for n, name in enumerate(names)
    ]
    duplicates.write(made.library, pa.Table.from_pylist(rows, duplicates.SCHEMA))
    said = words(page(browser, made, "a.jpg"))
    folder = made.folder
    assert (
        f"Copies a copy.jpg in {folder} Same picture a small.jpg in {folder} Same moment burst.jpg in {folder}" in said
    )
    said = words(page(browser, made, "a small.jpg"))
    assert "Same moment" not in said
    assert "Copies" not in said
    assert "Same" not in words(page(browser, made, "other.jpg"))


def test_tags_stand_on_the_page(tmp_path: Path) -> None:
    made = Originals(tmp_path / "photos")
    made.photo("a.jpg")
    made.photo("b.jpg", picture((50, 50)))
    browser = Browser(made.source())
    said = {
        "image_id": made.ids["a.jpg"],
        "files": ["a.jpg.xmp"],
        "regions": [],
        "keywords": ["lake", "<i>"],
        "people": ["Dora"],
        "title": "A title",
        "description": "What was seen",
        "taken_at": datetime(2011, 2, 3),
        "latitude": 38.71,
        "longitude": -9.14,
        "albums": ["Summer"],
        "rating": -1,
    }
    table.write(made.library, pa.Table.from_pylist([said], table.SCHEMA), table.READ.empty_table())
    browser = Browser(made.source())
    text = words(page(browser, made, "a.jpg"))
    for each in ("A title", "What was seen", "3 February 2011", "Lisbon, Portugal", "People Dora", "Albums Summer"):
        assert each in text
    assert "Keywords lake , &lt;i&gt; Rating rejected" in text
    assert "Keywords" not in words(page(browser, made, "b.jpg"))
    assert 'alt="Lisbon, 3 February 2011"' in browser.get("/photos.html").text


def test_names_do_no_harm(browser: Browser, made: Originals) -> None:
    name = HOSTILE.replace("/", "∕")
    text = page(browser, made, name)
    assert "<script>alert" not in text
    assert "alert(1)" in text
    browser.post("/api/name", {"person": BERT, "name": "<b>Bert</b>"})
    assert "<b>Bert" not in page(browser, made)
    assert "&lt;b&gt;Bert" in page(browser, made)


def test_a_name_shows_at_once(browser: Browser, made: Originals) -> None:
    assert browser.post("/api/name", {"person": ANNA, "name": "Anna"}).status_code == 200
    text = page(browser, made)
    assert "Not Anna" in words(text)
    assert re.search(r"<title>Anna.* in Lisbon, 3 May 2019", text)


def test_a_face_that_was_missed_is_marked(browser: Browser, made: Originals) -> None:
    sent = {"photo": made.ids["later.jpg"], "box": [50, 10, 80, 60], "name": "Dora"}
    assert browser.post("/api/draw", sent).status_code == 200
    text = page(browser, made, "later.jpg")
    assert "2 faces" in words(text)
    assert "Dora" in words(text)
    assert "#f1{--x:65.00%;--y:38.89%;--bw:30.00%;--bh:55.56%}" in text


@pytest.mark.parametrize("image_id", ["no", "../library.json", "%2e%2e", "a" * 32, "x" * 3000])
def test_a_photo_that_is_none(image_id: str, browser: Browser) -> None:
    assert browser.get(f"/photo/{image_id}.html").status_code == 404


def test_a_photo_that_is_forgotten_while_its_page_is_open(tmp_path: Path) -> None:
    made = Originals(tmp_path / "photos")
    made.photo("a.jpg", picture((50, 50)), [ANNA])
    made.photo("b.jpg", picture((60, 50)))
    browser = Browser(made.source())
    assert browser.get(f"/photo/{made.ids['a.jpg']}.html").status_code == 200
    manifest.forget(made.library, [made.ids["a.jpg"]])
    answer = browser.get(f"/photo/{made.ids['a.jpg']}.html")
    assert answer.status_code == 404
    assert "not in the library any more" in answer.text


def test_the_policy_allows_the_one_style_that_places_the_faces(browser: Browser, made: Originals) -> None:
    policy = browser.get(f"/photo/{made.ids['lake.jpg']}.html").headers["content-security-policy"]
    assert re.search(r"style-src 'self' 'sha256-[^']+';", policy)
    assert "unsafe" not in policy
