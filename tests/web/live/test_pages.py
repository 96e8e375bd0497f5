import re
from pathlib import Path

import pytest

from helpers.collection import Collection
from helpers.live import ANNA, BERT, Visitor, source_of, visitor
from muster.web.album import load_album
from muster.web.people import write_pages


def test_people_come_with_most_photos_first(visit: Visitor) -> None:
    page = visit.get("/").text
    assert re.findall(r'<strong>(.*?)</strong>\s*<span class="meta">(.*?)<br>', page) == [
        ("Person 1", "5 photos"),
        ("Person 2", "2 photos"),
    ]
    assert "11 faces in 7 photos; 1 photo without a face." in visit.text("/")


def test_the_live_page_shows_what_the_static_one_does(collection: Collection, tmp_path: Path) -> None:
    pages = collection.source(tmp_path / "static")
    write_pages(pages, tmp_path / "site")
    visit = visitor(source_of(collection, tmp_path / "library")).enter()
    for name in ("index.html", f"people/{ANNA}.html", f"people/{BERT}.html", "errors.html"):
        old = (tmp_path / "site" / name).read_text().partition("<main")[2]
        pictures = re.compile(r'(?:faces|photos)/../[^"]+\.jpg')
        assert set(pictures.findall(visit.get(f"/{name}").text)) == set(pictures.findall(old)), name
    album = load_album(pages)
    shown = [(person.cluster_id, len(person.photos), len(person.faces)) for person in album.people]
    moment = visit.client.app._app.state.album.now()
    assert [(card.cluster_id, len(card.photos), len(card.faces)) for card in moment.people()] == shown
    assert [[p.image_id for p in moment.photos(moment.photos_of(card))] for card in moment.people()] == [
        [photo.image_id for photo in person.photos] for person in album.people
    ]
    assert [face.face_id for face in map(moment.face, moment.unclustered)] == [f.face_id for f in album.unclustered]


@pytest.mark.parametrize("path", ["/people/000000000000.html", "/people/x.html", f"/people/{ANNA}.9.html"])
def test_who_is_not_there_has_a_page_that_says_so(path: str, visit: Visitor) -> None:
    answer = visit.get(path)
    assert answer.status_code == 404
    assert "any more" in answer.text


@pytest.mark.parametrize(
    "path", ["/index-7.html", "/unclustered-2.html", "/errors-3.html", "/nothing", "/hidden-2.html"]
)
def test_a_page_that_there_is_not(path: str, visit: Visitor) -> None:
    assert visit.get(path).status_code == 404


def test_pictures_come_from_the_tables(visit: Visitor) -> None:
    page = visit.get(f"/people/{ANNA}.html").text
    [face, *_] = re.findall(r"/faces/../[^\"]+\.jpg", page)
    [photo, *_] = re.findall(r"/photos/../[^\"]+\.jpg", page)
    for path in (face, photo):
        answer = visit.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
        assert answer.content.startswith(b"\xff\xd8")


@pytest.mark.parametrize(
    "path",
    [
        "/faces/aa/nobody.jpg",
        "/photos/../../etc/passwd",
        "/photos/aa/..%2f..%2f..%2fetc%2fpasswd.jpg",
        "/static/../album.py",
        "/static/..%2falbum.py",
        "/static//etc/passwd",
    ],
)
def test_nothing_else_is_served(path: str, visit: Visitor) -> None:
    assert visit.get(path).status_code == 404


def test_errors_are_listed(visit: Visitor) -> None:
    assert "bad.jpg /photos truncated ends after 12 bytes images" in visit.text("/errors.html")


def test_a_photo_without_a_preview_is_no_failure(collection: Collection, tmp_path: Path) -> None:
    image_id = collection.photo("/photos/bare.jpg", [ANNA], preview=False)
    visit = visitor(source_of(collection, tmp_path / "library")).enter()
    assert visit.get(f"/photos/{image_id[:2]}/{image_id}.jpg").status_code == 404
    assert visit.get(f"/people/{ANNA}.html").status_code == 200


def test_an_empty_library_has_pages(tmp_path: Path) -> None:
    made = Collection()
    made.broken("/photos/bad.jpg", "truncated", "ends early")
    visit = visitor(source_of(made, tmp_path / "library")).enter()
    assert "0 people" in visit.text("/")
    assert "0 unclustered faces" in visit.text("/unclustered.html")
    assert visit.get("/hidden.html").status_code == 200
    assert visit.get("/history.html").status_code == 200


def test_many_people_are_paged(tmp_path: Path) -> None:
    made = Collection()
    for n in range(205):
        made.photo(f"/{n}.jpg", [f"{n:012x}"], preview=False)
    visit = visitor(source_of(made, tmp_path / "library", 50)).enter()
    assert visit.get("/").text.count('class="card"') == 200
    assert visit.get("/index-2.html").text.count('class="card"') == 5
    last = re.findall(r"people/(\w+)\.html", visit.get("/index-2.html").text)[-1]
    page = visit.get(f"/people/{last}.html").text
    assert 'href="/index-2.html#c-' in page
    assert "Person 204" in page
