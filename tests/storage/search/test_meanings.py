from datetime import datetime

import numpy as np
import pytest

from helpers.searched import an_index
from muster.storage.search.meanings import ALIKE_BITS, meanings, suggestions
from muster.storage.search.query import parsed
from muster.storage.search.search import run

INDEX = an_index(
    {"uri": "/photos/Paris/a.jpg", "people": ["Paris"], "phash": 1, "taken_at": datetime(2019, 5, 3)},
    {
        "uri": "/photos/Paris/2019/paris dog.jpg",
        "objects": ["dog"],
        "latitude": 48.8584,
        "longitude": 2.2945,
        "phash": 3,
    },
    {"uri": "/photos/b.jpg", "scenes": ["night"], "favourite": True, "phash": -1, "people": ["Paris", "Bob"]},
    {"uri": "/photos/anna dog.jpg", "camera": "SONY ILCE-7M3", "taken_at": datetime(2020, 1, 1), "phash": 0},
)


def meant(text: str) -> tuple[set[str], set[str]]:
    """Fields, and photos, of what a whole query means as one name."""
    found = meanings(INDEX, parsed(text))
    marked = np.zeros(len(INDEX.columns), bool)
    for each in found:
        each.mark(marked)
    return {each.field for each in found}, set(INDEX.columns.table["image_id"].filter(marked).to_pylist())


@pytest.mark.parametrize(
    ("text", "fields", "photos"),
    [
        ("paris", {"person", "place", "folder", "file"}, {"0", "1", "2"}),
        ("person:paris", {"person"}, {"0", "2"}),
        ("place:paris", {"place"}, {"1"}),
        ("in:paris", {"folder"}, {"0", "1"}),
        ("in:paris/2019", {"folder"}, {"1"}),
        ("in:/photos/Paris", {"folder"}, {"0", "1"}),
        ("2019", {"date"}, {"0"}),  # a year is no folder
        ('"2019"', {"folder"}, {"1"}),  # what is quoted is a name
        ('date:"may 2019"', {"date"}, {"0"}),
        ("may 2019", {"date"}, {"0"}),
        ("january", {"date"}, {"3"}),
        ("..2019", {"date"}, {"0"}),
        ("dog", {"object", "file"}, {"1", "3"}),
        ("object:dogs", {"object"}, {"1"}),
        ("anna dog", set(), set()),  # two words are two words, and no file
        ('"anna dog"', {"file"}, {"3"}),
        ("file:nna", {"file"}, {"3"}),
        ("sony", {"camera"}, {"3"}),
        ("favourite", {"is"}, {"2"}),
        ("is:favorite", {"is"}, {"2"}),
        ("night", {"scene"}, {"2"}),
        ("similar:0", {"similar"}, {"0", "1", "2"}),  # the hash of 1 is near, and 2 shows Paris too
        ("similar:b.jpg", {"similar"}, {"2"}),  # nobody else shows both
        ("similar:/photos/anna dog.jpg", set(), set()),
        ('similar:"/photos/anna dog.jpg"', {"similar"}, {"3"}),  # without a hash, itself alone
        ("similar:nothing", set(), set()),
        ("in:/", {"folder"}, {"0", "1", "2", "3"}),
        ("tag:x", set(), set()),
    ],
)
def test_what_words_mean(text: str, fields: set[str], photos: set[str]) -> None:
    assert meant(text) == (fields, photos)


def test_photos_look_alike_up_to_so_many_bits() -> None:
    hashes = [(1 << bits) - 1 for bits in (1, ALIKE_BITS + 1, ALIKE_BITS + 2)]
    index = an_index(*({"phash": each} for each in hashes))
    marked = np.zeros(3, bool)
    [alike] = meanings(index, parsed("similar:0"))
    alike.mark(marked)
    assert marked.tolist() == [True, True, False]


def test_wrong_words_are_near_to_right_ones() -> None:
    assert suggestions(INDEX, *parsed("nihgt")) == ["night"]
    assert suggestions(INDEX, *parsed("person:pari")) == ["paris"]
    assert suggestions(INDEX, *parsed("object:paris")) == []
    assert suggestions(INDEX, *parsed("febuary")) == ["february"]


def test_of_spellings_of_one_place_the_one_that_is_shown_is_proposed() -> None:
    index = an_index({"latitude": 38.7223, "longitude": -9.1393})
    assert suggestions(index, *parsed("lisbom")) == ["lisbon"]


def test_of_very_many_photos_of_one_name_the_oldest_are_compared() -> None:
    many = [{"uri": f"/photos/{n:03}/image.jpg", "phash": 0x5DEECE66D * (n + 1)} for n in range(200)]
    found = run(an_index(*many), "similar:image.jpg")
    assert 64 <= len(found.rows) < 200
