import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.storage.places import KM, NOWHERE, Places, _arc_km, _chord, _units
from muster.storage.search.words import folded

SEEN = {  # where photos are often taken → nearest place, city around it, country
    (48.8584, 2.2945): ("Paris 16 Passy", "Paris", "France"),  # Eiffel Tower
    (48.8474, 2.4396): ("Vincennes", "Paris", "France"),
    (38.6916, -9.2160): ("Restelo", "Lisbon", "Portugal"),  # Belém Tower
    (48.1374, 11.5755): ("Munich", None, "Germany"),
    (47.5622, 13.6493): ("Hallstatt", None, "Austria"),
    (47.5576, 10.7498): ("Hohenschwangau", None, "Germany"),  # Neuschwanstein
    (52.3906, 13.0645): ("Potsdam", None, "Germany"),
    (51.5007, -0.1246): ("City of Westminster", "London", "United Kingdom"),
    (40.6892, -74.0445): ("Battery Park City", "New York City", "United States"),  # Statue of Liberty
    (27.1751, 78.0421): ("Agra", None, "India"),
    (-13.1631, -72.5450): ("Machupicchu", None, "Peru"),
    (-33.8568, 151.2153): ("The Rocks", "Sydney", "Australia"),
    (35.6595, 139.7005): ("Dōgenzaka", "Tokyo", "Japan"),
    (-25.3444, 131.0369): ("Yulara", None, "Australia"),  # Uluru
    (46.0207, 7.7491): ("Zermatt", None, "Switzerland"),
    (36.4618, 25.3753): ("Oía", None, "Greece"),
}
NONE = [(0, 0), (40, -40), (90, 0), (-90, 180), (91, 0), (0, 181), (np.nan, 0), (0, np.nan), (np.inf, -np.inf)]


@pytest.fixture(scope="module")
def places() -> Places:
    return Places()


def points(pairs: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.array(pairs, float).reshape(-1, 2).T)


def test_known_coordinates(places: Places) -> None:
    nearest, cities = places.find(*points(list(SEEN)))
    known = places.places([*nearest.tolist(), *cities.tolist()])
    for (place, city, country), near, around in zip(SEEN.values(), nearest.tolist(), cities.tolist(), strict=True):
        assert known[near].name == place
        assert known[near].country == country
        assert (known[around].name if around != NOWHERE else None) == city


def test_sea_poles_and_what_is_no_coordinate_are_nowhere(places: Places) -> None:
    for found in places.find(*points(NONE)):
        assert (found == NOWHERE).all()
        assert places.places(found.tolist()) == {}


def test_places_on_the_other_side_of_180_degrees_are_near(places: Places) -> None:
    [nearest], _ = places.find(*points([(66.32, 179.99)]))
    assert places.places([nearest])[nearest].name == "Egvekinot"  # at 179.1° west


def test_spellings_are_of_other_languages(places: Places) -> None:
    [[munich], _] = places.find(*points([(48.1374, 11.5755)]))
    found = places.places([munich])[munich]
    assert (found.name, found.region) == ("Munich", "Bavaria")
    spelled = set(map(folded, found.spellings))
    assert {folded(name) for name in ("München", "Monaco di Baviera", "Мюнхен", "慕尼黑")} <= spelled
    assert "muc" not in spelled


@given(st.lists(st.tuples(st.floats(-89.9, 89.9), st.floats(-180, 180)), min_size=1, max_size=5))
def test_no_place_is_nearer_than_the_one_found(places: Places, pairs: list[tuple[float, float]]) -> None:
    nearest, _ = places.find(*points(pairs))
    straight = np.linalg.norm(_units(*points(pairs))[:, None] - places._units[None], axis=2)
    km = _arc_km(straight)
    slack = 0.16  # photos within 100 m are one
    for row, found in enumerate(nearest.tolist()):
        if found == NOWHERE:
            assert km[row].min() > KM - slack
        else:
            assert km[row, found] <= km[row].min() + slack


def test_distances_on_the_sphere() -> None:
    assert _arc_km(np.array([_chord(50.0)]))[0] == pytest.approx(50)
    [lisbon, porto] = _units(np.array([38.7223, 41.1579]), np.array([-9.1393, -8.6291]))
    assert _arc_km(np.linalg.norm(lisbon - porto)[None])[0] == pytest.approx(274, abs=1)
