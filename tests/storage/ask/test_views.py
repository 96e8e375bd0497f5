from datetime import datetime
from pathlib import Path

import pytest

from helpers.asked import PHOTOS, STRANGER, asked_library, views_of
from muster.pipeline.people.searching import opened_with_people
from muster.storage.ask.views import FACES, PEOPLE, PLACES, TAGS, THINGS, Views, views

LISBON = {"latitude": 38.7223, "longitude": -9.1393}
HALLSTATT = {"latitude": 47.5622, "longitude": 13.6493}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Views:
    search, faces, names = opened_with_people(asked_library(tmp_path_factory.mktemp("asked")), None)
    return views(search.index, faces.select(FACES.names), names, search.labels)


def test_a_row_for_each_photo() -> None:
    found = views_of(
        {"people": ["Anna", STRANGER], "taken_at": datetime(2019, 5, 3), "camera": "X", "favourite": True, **LISBON},
        {**HALLSTATT, "uri": "/photos/trip/a.jpg"},
    )
    one, other = found.tables["photos"].to_pylist()
    assert one == {
        "image_id": "0",
        "uri": "/photos/0.jpg",
        "folder": "/photos",
        "taken_at": datetime(2019, 5, 3),
        "place": "Intendente",
        "city": "Lisbon",
        "region": "Lisbon",
        "country": "Portugal",
        "town": "Lisbon, Portugal",
        "camera": "X",
        "favourite": True,
        "faces": 2,
        "persons": 2,
    }
    assert (other["folder"], other["city"], other["town"]) == ("/photos/trip", None, "Hallstatt, Austria")
    assert (other["faces"], other["persons"], other["favourite"]) == (0, 0, False)


def test_a_row_for_each_face_thing_and_name_of_a_place() -> None:
    found = views_of(
        {"people": ["00a", STRANGER], "objects": ["dog"], "scenes": ["night"], **LISBON}, names={"00a": "Ann"}
    )
    assert found.tables["people"].to_pylist() == [
        {"image_id": "0", "face": "0-0", "person": "00a", "name": "Ann"},
        {"image_id": "0", "face": "0-1", "person": None, "name": None},
    ]
    assert found.tables["things"].to_pylist() == [
        {"image_id": "0", "label": "dog", "kind": "objects"},
        {"image_id": "0", "label": "night", "kind": "scenes"},
    ]
    assert {(row["name"], row["kind"]) for row in found.tables["places"].to_pylist()} == {
        ("Intendente, Portugal", "town"),
        ("Lisbon, Portugal", "town"),
        ("Lisbon, Portugal", "region"),
        ("Portugal", "country"),
    }


def test_without_anything() -> None:
    found = views_of()
    schemas = {"people": PEOPLE, "things": THINGS, "places": PLACES, "tags": TAGS}
    assert {name: found.tables[name].schema for name in schemas} == schemas
    assert not found.faces


def test_towns_of_one_name_are_told_apart() -> None:
    springfields = ({"latitude": 39.8017, "longitude": -89.6437}, {"latitude": 37.2153, "longitude": -93.2982})
    names = views_of(*springfields).tables["photos"]["town"].to_pylist()
    assert names == ["Springfield, Illinois, United States", "Springfield, Missouri, United States"]


def test_who_is_tagged_without_a_face_is_on_the_photo(library: Views) -> None:
    people = library.tables["people"].to_pylist()
    [tagged] = [row for row in people if row["face"] is None]
    ids = {row["person"] for row in people if row["name"] == "Clara"}
    assert tagged["name"] == "Clara"
    assert ids == {tagged["person"]}  # the one who has faces elsewhere
    [photo] = [row for row in library.tables["photos"].to_pylist() if row["image_id"] == tagged["image_id"]]
    assert (Path(photo["uri"]).stem, photo["faces"], photo["persons"]) == ("26", 0, 1)


def test_a_library_has_all_its_tags(library: Views) -> None:
    tags = library.tables["tags"].to_pylist()
    assert sorted((row["tag"], row["kind"]) for row in tags) == [
        *[("Italy trip", "album")] * 3,
        *[("christmas", "keyword")] * 3,
        ("family", "keyword"),
    ]
    assert library.tables["photos"].num_rows == len(PHOTOS)
