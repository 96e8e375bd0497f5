import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pytest

from helpers.live import ANNA, BERT, Visitor, visitor
from helpers.searched import live_source
from helpers.vectors import embeddings_of
from muster.errors import InputError
from muster.storage import manifest, tables
from muster.web.album import LabelTable
from muster.web.live import searching

LISBON = {"latitude": 38.7223, "longitude": -9.1393}


@pytest.fixture
def visit(tmp_path: Path) -> Visitor:
    """Anna and Bert in Lisbon; Anna's photo again as a copy in another folder; Bert alone."""
    both = {"people": [ANNA, BERT], "taken_at": datetime(2019, 5, 3), "sha256": "same", **LISBON}
    photos = {"a.jpg": both, "Copies/<b>a.jpg": both, "beach.jpg": {"people": [BERT]}}
    seen = visitor(live_source(tmp_path, photos)).enter()
    seen.done("name", person=ANNA, name="Anna Ström")
    return seen


def test_photos_are_found_and_the_words_understood_are_shown(visit: Visitor) -> None:
    text = visit.text("/search.html?q=strom+-beach+2019")
    assert text.startswith("strom -beach 2019 1 photo · May 2019 person Anna Ström 2")
    assert "not file beach 1 × date 2019 2 ×" in text
    page = visit.get("/search.html?q=strom+-beach+2019").text
    assert '<a href="/search/strom%202019.html" aria-label="Search without beach">' in page
    assert 'value="strom -beach 2019"' in page


def test_an_edit_is_found_at_once(visit: Visitor) -> None:
    assert "There is no bert here" in visit.text("/search.html?q=bert")
    visit.done("name", person=BERT, name="Bert")
    assert "2 photos" in visit.text("/search.html?q=bert")
    image_id = visit.get("/search.html?q=beach").text.partition('id="p-')[2].partition('"')[0]
    assert "No photo fits" in visit.text("/search.html?q=favourite")
    visit.done("favourite", photo=image_id, on=True)
    assert "1 photo" in visit.text("/search.html?q=favourite")


def test_who_is_hidden_is_neither_found_nor_proposed(visit: Visitor) -> None:
    visit.done("hide", person=ANNA)
    assert "There is no strom here" in visit.text("/search.html?q=strom")
    assert visit.get("/api/complete?q=ann").json() == {"queries": []}
    assert "Anna" not in visit.text("/search.html?q=similar:a.jpg")


def test_a_wrong_word_is_told_what_is_near(visit: Visitor) -> None:
    page = visit.get("/search.html?q=lisbom").text
    assert '<a href="/search/lisbon.html"><bdi>lisbon</bdi></a>' in page
    assert "0 photos" in page


def test_words_of_logic_are_said_not_to_be_understood(visit: Visitor) -> None:
    text = visit.text("/search.html?q=strom or lisbon")
    assert "is not understood: search for each by itself." in text
    assert "0 photos" in text


def test_of_copies_one_is_shown_whichever_was_found(visit: Visitor) -> None:
    assert "1 photo" in visit.text("/search.html?q=in:copies")


def test_a_photo_is_gone_through_in_the_order_of_what_was_found(visit: Visitor) -> None:
    page = visit.get(f"/search/{quote('2019 in:copies', safe='')}.html").text
    assert "?in=search.2019%20in%3Acopies" in page
    image_id = page.partition('id="p-')[2].partition('"')[0]
    found = visit.get(f"/photo/{image_id}.html?in=search.2019%20in%3Acopies")
    assert found.status_code == 200
    assert "/search/2019%20in%3Acopies.html?at=" in found.text


@pytest.mark.parametrize("text", ["", '"', "<script>", "../..", "a/b?c#d%", "\x00", "\u202e", "x " * 100, "x" * 2000])
def test_whatever_is_typed_is_answered(visit: Visitor, text: str) -> None:
    for path in (f"/search.html?q={quote(text, safe='')}", f"/search/{quote(text, safe='')}.html"):
        answer = visit.get(path)
        assert answer.status_code == 200
        assert "<script>" not in answer.text
    assert visit.get(f"/api/complete?q={quote(text, safe='')}").status_code == 200


def test_who_is_hidden_is_not_proposed_and_not_found_by_name(visit: Visitor) -> None:
    visit.done("hide", person=ANNA)
    assert visit.get("/api/complete?q=2019 ann").json() == {"queries": []}
    assert "person Anna" not in visit.text("/search.html?q=strom")


def test_things_found_while_the_page_is_open_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "EVERY", 0)
    source, labels = live_source(tmp_path, {"a.jpg": {"people": [ANNA]}}), list[LabelTable]()
    visit = visitor(replace(source, labels=lambda: labels)).enter()
    assert "There is no dog here" in visit.text("/search.html?q=dog")
    for shard in source.shards("images"):
        rows = pa.table({"image_id": manifest.read_shard(source.library, shard)["image_id"], "label": ["dog"]})
        tables.write_shard(source.library, "0b" * 8, shard, {"objects": rows})
    labels.append(LabelTable(table="objects", fingerprint="0b" * 8, placed=True))
    assert "1 photo" in visit.text("/search.html?q=dog")
    visit.done("name", person=ANNA, name="Anna")
    assert "1 photo" in visit.text("/search.html?q=anna dog")


def test_names_are_proposed(visit: Visitor) -> None:
    assert visit.get("/api/complete?q=2019 ann").json() == {"queries": ['2019 "Anna Ström"']}
    assert visit.get("/api/complete?q=lis").json()["queries"][0] == '"Lisbon, Portugal"'
    assert visit.get("/api/complete?q=ann ").json() == {"queries": []}


# ---- what photos look like -------------------------------------------------------------------------------------------


@pytest.fixture
def described(tmp_path: Path) -> Visitor:
    """Six photos of six years, 0.jpg the likest to any words; 9.jpg is a copy of 3.jpg."""
    photos = {f"{n}.jpg": {"people": [ANNA], "taken_at": datetime(2015 + n, 5, 3)} for n in range(6)}
    photos["9.jpg"] = {"sha256": "same"}
    photos["3.jpg"]["sha256"] = "same"
    source = live_source(tmp_path, photos)
    embeddings_of(
        source.library, lambda name: np.array([np.cos(int(name[0]) / 9), np.sin(int(name[0]) / 9)], np.float32)
    )
    texts = lambda given: np.array([[1, 0, 0, 0]] * len(given), np.float32)  # noqa: E731
    visit = visitor(replace(source, texts_of=lambda library, fingerprint: texts)).enter()
    visit.done("name", person=ANNA, name="Anna")
    return visit


def years(page: str) -> list[str]:
    """Of the photos on a page, in their order."""
    return re.findall(r'<img src="[^"]*" alt="[^"]* (\d{4})"', page)


def test_photos_are_ranked_by_what_they_look_like(described: Visitor) -> None:
    text = described.text("/search.html?q=children in the snow")
    assert text.startswith("children in the snow 6 photos")
    assert "looks like children in the snow 7 ×" in text
    assert "Best first 6" in text
    page = described.get("/search.html?q=children in the snow").text
    assert years(page) == ["2015", "2016", "2017", "2018", "2019", "2020"]
    assert years(described.get("/search.html?q=anna snow -2016").text) == ["2015", "2017", "2018", "2019", "2020"]
    assert "Best first" not in described.text("/search.html?q=anna")
    assert years(described.get("/search.html?q=anna").text)[0] == "2020"


def test_a_ranked_list_is_gone_through_in_its_order(described: Visitor) -> None:
    listing = described.get("/api/list?in=search.snow").json()
    assert [each["file"] for each in listing["photos"]] == [f"{n}.jpg" for n in range(6)]
    assert years(described.get("/photos/part?in=search.snow&part=ranked.0").text) == [str(2015 + n) for n in range(6)]
    assert described.get("/photos/part?in=search.snow&part=2015-05.0").status_code == 404
    assert described.get("/map.html?q=snow").status_code == 200


def test_a_slip_is_named_beside_what_is_ranked(described: Visitor) -> None:
    page = described.get("/search.html?q=anma").text
    assert "Nothing here is called <strong><bdi>anma</bdi></strong>" in page
    assert '<a href="/search/anna.html"><bdi>anna</bdi></a>' in page


def test_without_a_model_of_words_the_page_says_what_one_would_add(visit: Visitor) -> None:
    page = visit.text("/search.html?q=children in the snow")
    assert "muster run --tasks features --model features=siglip2-b16 , or features=hf:FOLDER" in page
    assert "There is no children here" in page
    assert "hf:FOLDER" not in visit.text("/search.html?q=strom")


def test_a_model_that_is_gone_is_a_note(tmp_path: Path) -> None:
    source = live_source(tmp_path, {"0.jpg": {}})
    embeddings_of(source.library, lambda name: np.array([1], np.float32))

    def gone(given: object) -> np.ndarray:
        raise InputError("/models/clip: no such folder")

    visit = visitor(replace(source, texts_of=lambda library, fingerprint: gone)).enter()
    text = visit.text("/search.html?q=snow")
    assert "Words cannot be compared with photos: /models/clip: no such folder." in text
    assert "hf:FOLDER" not in text
    assert "/models/clip" not in visit.text("/search.html?q=0")
    assert "-looks: there is not" in visit.text("/search.html?q=-looks:snow")
