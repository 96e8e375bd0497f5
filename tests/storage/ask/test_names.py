import pytest

from helpers.asked import views_of
from muster.storage.ask.names import Names
from muster.storage.ask.query import Field

LISBON = {"latitude": 38.7223, "longitude": -9.1393}
SINTRA = {"latitude": 38.8029, "longitude": -9.3817}
FLORENCE = {"latitude": 43.7696, "longitude": 11.2558}
NAMES = Names(
    views_of(
        {"people": ["Anna", "Tom Berg"], "objects": ["dog"], "camera": "Google Pixel 6", **LISBON},
        {"people": ["Tom Ford", "Anna Maria"], "objects": ["dog"], "scenes": ["night", "dog"], **LISBON},
        {"people": ["Florence"], "camera": "Google Pixel 7", **FLORENCE},
    )
)


@pytest.mark.parametrize(
    ("word", "among", "texts"),
    [
        ("anna", ("person",), ["person Anna"]),  # the whole name goes before a part of another
        ("maria", ("person",), ["person Anna Maria"]),
        ("tom", ("person",), ["person Tom Berg", "person Tom Ford"]),
        ("florence", ("person", "place"), ["person Florence", "town Florence, Italy"]),
        ("dogs", ("person", "thing"), ["thing dog"]),  # in two tables
        ("pixel", ("camera",), ["camera Google Pixel 6 or Google Pixel 7"]),
        ("lissabon", ("place",), ["town Lisbon, Portugal"]),
        ("zorro", ("person", "thing", "place", "camera", "keyword", "album", "folder"), []),
        ("", ("person",), []),
    ],
)
def test_what_a_name_means(word: str, among: tuple[Field, ...], texts: list[str]) -> None:
    assert sorted(each.text for each in NAMES.find(word, among)) == texts


def test_two_people_of_one_name() -> None:
    names = Names(
        views_of({"people": ["00a", "00b"]}, {"people": ["00c"]}, names={"00a": "Ann", "00b": "ANN", "00c": "Bo"})
    )
    assert len(names.find("ann", ("person",))) == 2  # so that a question asks back
    assert len(names.find("bo", ("person",))) == 1


def test_a_town_and_its_region_are_one_where_all_photos_are_the_same() -> None:
    [reading] = NAMES.find("lisbon", ("place",))
    assert reading.condition.kinds == ("town", "region")
    with_sintra = Names(views_of(LISBON, SINTRA))
    assert [each.text for each in with_sintra.find("lisbon", ("place",))] == [
        "town Lisbon, Portugal",
        "region Lisbon, Portugal",
    ]
    [town] = with_sintra.find("lisbon", ("place",), "town")
    assert town.said == 'in the town "Lisbon, Portugal"'


def test_what_is_near_to_a_wrong_name() -> None:
    assert NAMES.near("ana", ("person",)) == ["anna"]
    assert NAMES.near("florenc", ("thing",)) == []


def test_who_is_on_most_photos() -> None:
    assert Names(views_of({"people": ["Bob"]}, {"people": ["Anna", "Bob"]})).most_photographed() == ["Bob", "Anna"]
    assert NAMES.called("maria") == ["Anna Maria"]
    assert NAMES.called("tom") == []


def test_what_is_known_at_all() -> None:
    assert (NAMES.people(), NAMES.things(), NAMES.scene("night"), NAMES.scene("day")) == (True, True, True, False)
    nothing = Names(views_of({}))
    assert (nothing.people(), nothing.things()) == (False, False)
