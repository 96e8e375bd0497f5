from dataclasses import replace
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pytest

from helpers.live import ANNA, BERT, Visitor, visitor
from helpers.searched import live_source
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
