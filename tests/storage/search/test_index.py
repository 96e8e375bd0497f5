import numpy as np

from helpers.searched import an_index

LISBON = {"latitude": 38.7223, "longitude": -9.1393}
BELEM = {"latitude": 38.6916, "longitude": -9.2160}
SEA = {"latitude": 40.0, "longitude": -40.0}


def photos(index, field: str, text: str) -> set[str]:
    [found] = index.fields[field]
    marked = np.zeros(len(index.columns), bool)
    found.mark(found.find(text), marked)
    return set(index.columns.table["image_id"].filter(marked).to_pylist())


def test_a_photo_is_found_by_its_place_the_city_around_it_region_and_country_in_any_spelling() -> None:
    index = an_index(BELEM, SEA, {})
    for text in ("restelo", "lisbon", "lissabon", "lisboa", "лиссабон", "lisbon portugal", "portugal"):
        assert photos(index, "place", text) == {"0"}, text
    assert photos(index, "place", "porto") == set()
    assert str(index.where.of(0)) == "Lisbon, Portugal"
    assert index.where.of(1) is None


def test_without_coordinates_no_places_are_read() -> None:
    assert an_index({}).where.known == {}


def test_where_all_photos_were_taken_at_sea_there_is_no_place() -> None:
    assert photos(an_index(SEA), "place", "lisbon") == set()


def test_people_are_found_by_whole_names_first_and_by_their_ids() -> None:
    names = {"00a": "Anna", "00b": "Anna Maria Schmidt", "00c": ""}
    index = an_index({"people": ["00a"]}, {"people": ["00b", "00c"]}, names=names)
    assert photos(index, "person", "anna") == {"0"}
    assert photos(index, "person", "schmidt") == {"1"}
    assert photos(index, "person", "00c") == {"1"}


def test_cameras_and_folders_by_some_words() -> None:
    index = an_index({"camera": "Google Pixel 6", "uri": "/photos/2019/Lisbon trip/a.jpg"}, {"camera": None})
    assert photos(index, "camera", "pixel 6") == {"0"}
    assert photos(index, "folder", "lisbon") == photos(index, "folder", "2019") == {"0"}


def test_what_is_known_is_said_for_wrong_words() -> None:
    known = an_index({"people": ["Anna"], "objects": ["dog"], **LISBON}).vocabulary
    assert "anna" in known["person"]
    assert {"dog", "dogs"} <= known["object"]
    assert {"lisbon", "lissabon", "portugal"} <= known["place"]
