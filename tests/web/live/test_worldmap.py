import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from helpers.live import ANNA, Visitor, visitor
from helpers.searched import live_source

LISBON, BELEM = {"latitude": 38.7223, "longitude": -9.1393}, {"latitude": 38.6916, "longitude": -9.2160}
SYDNEY = {"latitude": -33.8568, "longitude": 151.2153}


@pytest.fixture
def visit(tmp_path: Path) -> Visitor:
    places = {"a.jpg": LISBON, "b.jpg": BELEM, "c.jpg": SYDNEY, "nowhere.jpg": {}}
    photos = {name: {"people": [ANNA] if name == "a.jpg" else [], **place} for name, place in places.items()}
    return visitor(live_source(tmp_path, photos)).enter()


def clusters(page: str) -> list[str]:
    return re.findall(r'<a href="[^"]*" aria-label="([^"]*)"><circle', page)


def test_photos_of_near_places_are_together_and_are_listed(visit: Visitor) -> None:
    page = visit.get("/map.html").text
    assert sorted(clusters(page)) == ["Lisbon, Portugal, 2 photos: closer", "Sydney, Australia, 1 photo: closer"]
    assert "3 photos; of 1 other it is not known" in visit.text("/map.html")
    assert 'class="land"' in page
    assert "Natural Earth" in page
    assert "CC BY 4.0" in page


def test_closer_they_come_apart(visit: Visitor) -> None:
    page = visit.get("/map.html").text
    link = re.findall(r'<a href="([^"]*)" aria-label="Lisbon', page)[0].replace("&amp;", "&")
    closer = visit.get(link).text
    assert len(clusters(closer)) == 2
    part = visit.get("/map/part?" + urlsplit(link).query).text
    assert clusters(part) == clusters(closer)
    assert 'class="land"' not in part


def test_the_photos_of_a_part_are_a_list(visit: Visitor) -> None:
    page = visit.get("/map.html").text
    [near] = re.findall(r'<li><a href="([^"]*)"><bdi>Lisbon, Portugal', page)
    assert visit.text(near).startswith("Near Lisbon, Portugal 2 photos")
    assert "?in=area." in visit.get(near).text


def test_a_query_narrows_it_down(visit: Visitor) -> None:
    visit.done("name", person=ANNA, name="Anna")
    assert clusters(visit.get("/map.html?q=anna").text)[0].startswith("Lisbon, Portugal, 1 photo")
    assert "No photo of these says where" in visit.text("/map.html?q=nowhere.jpg")


@pytest.mark.parametrize(
    "query", ["x=nan&y=0&w=5", "x=1e99&y=-5&w=0", "x=1&y=1&w=1e9&h=1e-9&px=0", "x=a&y=b&w=c", "q=" + "x+" * 99, "w=1"]
)
def test_any_view_is_answered(visit: Visitor, query: str) -> None:
    assert visit.get(f"/map.html?{query}").status_code == 200
    assert visit.get(f"/map/part?{query}").status_code == 200


@pytest.mark.parametrize("box", ["x", "1_2_3", "1_2_3_x", "1_2_3_9999999", "-1_0_0_0"])
def test_parts_that_are_none(visit: Visitor, box: str) -> None:
    assert visit.get(f"/area/{box}/.html").status_code == 404
