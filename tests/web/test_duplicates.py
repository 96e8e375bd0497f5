from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pytest

from helpers.collection import Collection
from muster.storage import duplicates
from muster.web.album import Photo
from muster.web.duplicates import GROUPS_PER_PAGE, SHOWN, Groups, of_bytes
from muster.web.people import write_pages

WHEN = datetime(2019, 5, 4, 12, 30, 5)


def photo(image_id: str, **facts: object) -> Photo:
    known = {"width": 1200, "height": 800, "taken_at": WHEN, "camera": "Canon", "sha256": image_id, "shard": "0"}
    return Photo(image_id=image_id, uri=f"/album/{image_id}.jpg", **{**known, **facts})


def row(group: int, image_id: str, best: bool = False, kind: str = "picture", **facts: object) -> dict[str, object]:
    known = {"reason": "largest" if best else None, "exact": best, "orientation": 1, "likeness": 1.0}
    return (
        {"kind": kind, "group": group, "image_id": image_id, "best": best, "format": "jpeg", "size": 2**20}
        | known
        | facts
    )


def groups(rows: list[dict[str, object]], photos: dict[str, Photo]) -> Groups:
    return Groups(pa.Table.from_pylist(rows, duplicates.SCHEMA), pa.array(photos, pa.string()))


PHOTOS = {name: photo(name) for name in "abcdef"}
ROWS = [
    *(row(1, "a", True), row(1, "b"), row(1, "c")),
    *(row(2, "d", True), row(2, "e")),
    *(row(1, "a", True, "moment"), row(1, "f", kind="moment")),
]


def test_groups_are_cut_into_pages_by_kind() -> None:
    found = groups(ROWS, PHOTOS)
    assert (found.count("picture"), found.count("moment")) == (2, 1)
    assert found.images() == list("abcdef")
    first, second = found.page("picture", slice(0, 9), PHOTOS.get)
    assert [copy.photo.image_id for copy in first.copies] == ["a", "b", "c"]
    assert (first.number, first.reason, second.number) == (1, "largest", 2)
    assert found.page("picture", slice(1, 2), PHOTOS.get) == [second]
    assert [copy.photo.image_id for copy in found.page("moment", slice(0, 1), PHOTOS.get)[0].copies] == ["a", "f"]


@pytest.mark.parametrize(("gone", "left"), [("c", 2), ("a", 1), ("e", 1), ("f", 2)])
def test_photos_that_are_gone_are_left_out_with_what_they_explain(gone: str, left: int) -> None:
    there = {name: each for name, each in PHOTOS.items() if name != gone}
    found = groups(ROWS, there)
    assert found.count("picture") == left
    assert gone not in found.images()


def test_a_photo_that_goes_while_the_page_is_made_takes_its_group_with_it() -> None:
    found = groups(ROWS, PHOTOS)
    assert len(found.page("picture", slice(0, 9), lambda name: None if name == "a" else PHOTOS[name])) == 1
    assert found.page("picture", slice(0, 9), lambda name: None) == []


def test_no_groups() -> None:
    found = groups([], {})
    assert (found.count("picture"), found.images(), found.page("moment", slice(0, 9), PHOTOS.get)) == (0, [], [])


@pytest.mark.parametrize(
    ("facts", "columns", "said"),
    [
        ({}, {}, []),
        ({}, {"exact": True}, ["exact copy"]),
        ({"width": 600, "height": 400}, {}, ["smaller"]),
        ({"width": 1300}, {}, ["larger"]),
        ({"width": 1199}, {}, []),
        ({}, {"format": "webp"}, ["other format"]),
        ({}, {"size": 2**19}, ["more compressed"]),
        ({"taken_at": None, "camera": None}, {}, ["no date", "no camera"]),
        ({}, {"orientation": 2}, ["mirrored"]),
        ({"width": 800, "height": 1200}, {"orientation": 6}, ["turned to the right"]),
    ],
)
def test_in_what_a_copy_differs(facts: dict[str, object], columns: dict[str, object], said: list[str]) -> None:
    photos = {"a": photo("a"), "b": photo("b", **facts)}
    [group] = groups([row(1, "a", True), row(1, "b", **columns)], photos).page("picture", slice(0, 1), photos.get)
    assert group.copies[0].differences == []
    assert group.copies[1].differences == said


def test_photos_of_a_moment_differ_in_time() -> None:
    photos = {"a": photo("a"), "b": photo("b", taken_at=WHEN.replace(second=8)), "c": photo("c", taken_at=WHEN)}
    rows = [row(1, "a", True, "moment"), row(1, "b", kind="moment"), row(1, "c", kind="moment")]
    [group] = groups(rows, photos).page("moment", slice(0, 1), photos.get)
    assert [copy.differences for copy in group.copies] == [[], ["3 s later"], ["in the same second"]]


def test_what_a_photo_is() -> None:
    photos = {"a": photo("a"), "b": photo("b", taken_at=None, camera=None)}
    rows = [row(1, "a", True), row(1, "b", size=None, format=None)]
    [group] = groups(rows, photos).page("picture", slice(0, 1), photos.get)
    assert group.copies[0].facts == ["1,200 × 800", "JPEG 1.0 MB", "4 May 2019, 12:30:05", "Canon"]
    assert group.copies[1].facts == ["1,200 × 800", "", "no date"]


def test_bytes_in_words() -> None:
    assert [of_bytes(n) for n in (5, 2_000, 3 << 20, 5 << 30)] == ["5 bytes", "2.0 kB", "3.0 MB", "5.0 GB"]


# ---- the static pages ------------------------------------------------------------------------------------------------


class Parsed(HTMLParser):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data + " "


Site = Callable[[int], Path]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    def made(pairs: int, name: str = "<b>.jpg") -> Path:
        collection = Collection()
        ids = [collection.photo(f"/photos/{n}{name}", size=(1200, 800)) for n in range(2 * pairs)]
        rows = [row(n // 2 + 1, image, n % 2 == 0) for n, image in enumerate(ids)]
        table = pa.Table.from_pylist(rows, duplicates.SCHEMA)
        write_pages(replace(collection.source(tmp_path / "L"), duplicates=table), tmp_path / "site")
        return tmp_path / "site"

    return made


def test_the_page_shows_groups_side_by_side(site: Site) -> None:
    folder = site(1)
    page = Parsed(folder / "duplicates.html")
    words = " ".join(page.text.split())
    assert "1 picture with copies" in words
    assert "Keep: largest 0<b>.jpg /photos 1,200 × 800 JPEG 1.0 MB no date" in words
    pictures = [each for tag, each in page.elements if tag == "img" and "photos/" in (each["src"] or "")]
    assert len(pictures) == 2
    assert all((folder / str(each["src"])).is_file() for each in pictures)
    assert not [each for _, each in page.elements if "style" in each or any(name.startswith("on") for name in each)]
    assert "0 moments with several photos" in " ".join(Parsed(folder / "moments.html").text.split())
    assert 'href="duplicates.html">Duplicates <span class="tally">1<' in (folder / "index.html").read_text()


def test_many_groups_are_on_several_pages(site: Site) -> None:
    folder = site(GROUPS_PER_PAGE + 1)
    assert Parsed(folder / "duplicates.html").text.count("Keep: largest") == GROUPS_PER_PAGE
    assert Parsed(folder / "duplicates-2.html").text.count("Keep: largest") == 1


def test_where_nobody_has_looked_there_is_no_page(tmp_path: Path) -> None:
    collection = Collection()
    collection.photo("/photos/a.jpg")
    write_pages(collection.source(tmp_path / "L"), tmp_path / "site")
    assert not (tmp_path / "site/duplicates.html").exists()
    assert "duplicates.html" not in (tmp_path / "site/index.html").read_text()


def test_of_a_group_of_thousands_the_first_are_shown() -> None:
    photos = {f"{n:04d}": photo(f"{n:04d}") for n in range(SHOWN + 5)}
    found = groups([row(1, name, name == "0000") for name in photos], photos)
    [group] = found.page("picture", slice(0, 1), photos.get)
    assert (group.size, len(group.copies), len(found.images())) == (SHOWN + 5, SHOWN, SHOWN)
