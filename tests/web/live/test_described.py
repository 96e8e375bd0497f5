from datetime import datetime

import pytest

from helpers.originals import Browser, Originals, picture

ANNA, BERT, CARL = "a" * 12, "b" * 12, "c" * 12


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Photo → how it is described. Anna and Bert have names, Carl is hidden."""
    made = Originals(tmp_path_factory.mktemp("described") / "photos")
    may = {"taken_at": datetime(2019, 5, 3), "latitude": 38.71, "longitude": -9.14}
    photos = {
        "both": ([ANNA, BERT], may),
        "anna": ([ANNA], {}),
        "others": ([BERT, None, CARL], {"taken_at": datetime(2019, 5, 3)}),
        "unknown": ([None, CARL], may),
        "nobody": ([], may),
        "nothing": ([], {}),
    }
    for n, (name, (faces, facts)) in enumerate(photos.items()):
        made.photo(f"{name}.jpg", picture((60 + n, 50)), faces, **facts)
    browser = Browser(made.source())
    for person, name in ((ANNA, "Anna"), (BERT, "Bert")):
        browser.post("/api/name", {"person": person, "name": name})
    browser.post("/api/hide", {"person": CARL})
    names = {image_id: name.removesuffix(".jpg") for name, image_id in made.ids.items()}
    browser.get(f"/photo/{made.ids['both.jpg']}.html")  # which waits for the table of places
    return {names[photo["id"]]: photo["alt"] for photo in browser.get("/api/list?in=all").json()["photos"]}


def test_who_where_and_when(said: dict[str, str]) -> None:
    assert said == {
        "both": "Anna and Bert in Lisbon, 3 May 2019",
        "anna": "Anna",
        "others": "Bert and 2 others, 3 May 2019",
        "unknown": "2 people in Lisbon, 3 May 2019",
        "nobody": "Lisbon, 3 May 2019",
        "nothing": "nothing.jpg",
    }
