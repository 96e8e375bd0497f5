from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.findings import commit, dog, scanned
from helpers.searched import an_index
from muster.pipeline.people.pages import label_tables
from muster.storage import manifest
from muster.storage.search.search import FOUND, Search, described, run

PHOTOS = st.fixed_dictionaries(
    {
        "people": st.sets(st.sampled_from(["Anna", "Bob", "May"])),
        "objects": st.sets(st.sampled_from(["dog", "cat"])),
        "taken_at": st.sampled_from([None, *(datetime(2018, 11, 30) + timedelta(days=90 * n) for n in range(8))]),
        "favourite": st.booleans(),
    }
)
WORDS = {
    "anna": lambda p: "Anna" in p["people"],
    "person:bob": lambda p: "Bob" in p["people"],
    "may": lambda p: "May" in p["people"] or bool(p["taken_at"] and p["taken_at"].month == 5),
    "dogs": lambda p: "dog" in p["objects"],
    "cat": lambda p: "cat" in p["objects"],
    "2019": lambda p: bool(p["taken_at"] and p["taken_at"].year == 2019),
    "2019-02..2019-08": lambda p: bool(p["taken_at"] and p["taken_at"].year == 2019 and 2 <= p["taken_at"].month <= 8),
    "favourite": lambda p: p["favourite"],
}


@settings(max_examples=60)
@given(
    st.lists(PHOTOS, min_size=1, max_size=8), st.lists(st.tuples(st.booleans(), st.sampled_from([*WORDS])), max_size=4)
)
def test_a_photo_is_found_where_all_words_hold(photos: list[dict[str, Any]], words: list[tuple[bool, str]]) -> None:
    everything = {"people": ["Anna", "Bob", "May"], "objects": ["dog", "cat"], "taken_at": None, "favourite": False}
    photos = [everything, *photos]
    text = " ".join(f"{'-' * negated}{word}" for negated, word in sorted(words, key=lambda each: each[1] != "may"))
    if "may 2019" in text.replace("-", " "):
        return  # a date of its own
    wanted = [n for n, photo in enumerate(photos) if all(WORDS[word](photo) != negated for negated, word in words)]
    wanted.sort(key=lambda n: (photos[n]["taken_at"] is None, photos[n]["taken_at"] or datetime.min, f"{n}.jpg"))
    assert run(an_index(*photos), text).image_ids.to_pylist() == [str(n) for n in wanted]


def test_the_longest_name_is_meant() -> None:
    index = an_index({"people": ["Anna Maria"]}, {"people": ["Anna"]}, {"people": ["Anna", "Maria"]})
    for text, photos in {
        "anna maria": ["0"],
        "anna  bob": [],
        "maria anna": ["2"],
        '"anna" maria': ["2"],
        "-anna maria": ["1", "2"],
    }.items():
        assert run(index, text).image_ids.to_pylist() == photos, text
    [words] = run(index, "anna maria").understood
    assert (words.text, words.terms, words.meanings, words.photos) == (
        "anna maria",
        (0, 2),
        (("person", "Anna Maria"),),
        1,
    )


def test_a_word_that_is_not_known_finds_nothing_and_says_what_is_near() -> None:
    index = an_index({"objects": ["dog"]}, {"scenes": ["night"]})
    found = run(index, "dgo night")
    assert len(found.rows) == 0
    [unknown] = found.unknown
    assert (unknown.text, unknown.suggestions, unknown.instead) == ("dgo", ("dog",), ("dog night",))
    assert run(index, "night -zebra").image_ids.to_pylist() == ["1"]
    assert run(index, "night -zebra").unknown[0].negated


def test_words_can_be_taken_out_of_a_query() -> None:
    found = run(an_index({"people": ["Anna Maria"]}), "2019 anna maria -zebra")
    assert [found.without(each) for each in found.understood] == ["anna maria -zebra", "2019 -zebra"]
    assert found.without(found.unknown[0]) == "2019 anna maria"


def test_signs_are_no_words() -> None:
    index = an_index({"people": ["Anna"]})
    for text in ("& anna -", "-& anna", "anna & -"):
        assert len(run(index, text).rows) == 1, text
    assert run(index, "-&").notes == ("& is no word, and left out",)


@pytest.mark.parametrize(
    "text",
    ["", "  ", "\x00", "‮abc", "<b>x</b>", "x" * 10_000, "similar:", "in:///", "date:..", "🐶", '"', "%' OR 1=1 --"],
)
def test_whatever_is_typed_has_a_result(text: str) -> None:
    for index in (an_index(), an_index({"people": ["Anna"]})):
        assert run(index, text).query == text


def test_what_is_shown_of_photos() -> None:
    index = an_index({"latitude": 38.6916, "longitude": -9.2160, "camera": "X"}, {})
    [one, other] = described(index, np.array([0, 1])).to_pylist()
    assert described(index, np.zeros(0, np.int64)).schema == FOUND
    assert {**one, "latitude": None, "longitude": None} == {
        **dict.fromkeys(FOUND.names),
        "image_id": "0",
        "uri": "/photos/0.jpg",
        "camera": "X",
        "place": "Restelo",
        "city": "Lisbon",
        "region": "Lisbon",
        "country": "Portugal",
    }
    assert other["place"] is None


# ---- a library -------------------------------------------------------------------------------------------------------

DESCRIPTION = {"task": "objects", "version": 1, "model": "x", "parameters": {}, "weights": {}}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.jpg").write_bytes(name.encode())
    return folder


def test_a_library_is_searched_and_read_again_where_it_has_changed(tmp_path: Path, photos: Path) -> None:
    library = scanned(tmp_path / "library", photos)
    first = manifest.read_manifest(library)["image_id"][0].as_py()
    commit(library, DESCRIPTION, lambda image_id: [dog()] if image_id == first else [])
    search = Search(library, label_tables(library))
    assert search.run("dog").image_ids.to_pylist() == [first]
    assert len(search.run("").rows) == 3
    faces = pa.table({"image_id": [first, first], "person_id": ["00a", None]})
    search.know(faces, {"00a": "Anna"}, [first])
    assert search.run("anna favourite").image_ids.to_pylist() == [first]
    assert not search.refresh()
    (photos / "d.jpg").write_bytes(b"d")
    scanned(tmp_path / "library", photos)
    assert search.refresh()
    assert len(search.run("").rows) == 4
    assert search.run("anna favourite").image_ids.to_pylist() == [first]
    search.know(faces, {"00a": "Anne"})
    assert search.run("anna").unknown[0].suggestions == ("anne",)


def test_a_library_without_photos_has_none(tmp_path: Path, photos: Path) -> None:
    library = scanned(tmp_path / "library", photos)
    library.remove_folder("_commits")
    assert len(Search(library).run("").rows) == 0
