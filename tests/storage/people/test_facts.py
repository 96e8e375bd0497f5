import json
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.people import BOX, A, face_ref, photo_ref
from muster.errors import InputError
from muster.storage.people import facts
from muster.storage.people.facts import (
    MOST_LETTERS,
    FaceRef,
    Fact,
    PhotoRef,
    checked_date,
    checked_name,
    faces_of,
    from_json,
    kind_of,
    people_of,
    photos_of,
    to_json,
)

people = st.text("0123456789abcdef", min_size=12, max_size=12)
names = st.text(max_size=60).filter(lambda text: _fits(checked_name, text)).map(checked_name)
dates = st.sampled_from(["", "1990", "1990-05", "1990-05-31", "0001-01-01", "9999-12-31"])
photos = st.builds(
    PhotoRef,
    st.text("0123456789abcdef", min_size=64, max_size=64),
    st.tuples(st.integers(1, 60000), st.integers(1, 60000)),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.text(max_size=30),
)
corners = st.tuples(st.integers(-99, 9999), st.integers(-99, 9999), st.integers(1, 999), st.integers(1, 999))
boxes = corners.map(lambda c: (c[0] / 4, c[1] / 4, c[0] / 4 + c[2] / 4, c[1] / 4 + c[3] / 4))
faces = st.builds(FaceRef, photos, boxes)
several = st.lists(faces, min_size=1, max_size=4).map(tuple)
edits = st.text("0123456789T-", min_size=1, max_size=30)
any_fact = st.one_of(
    *(st.builds(kind, people, several) for kind in (facts.Is, facts.IsNot, facts.Shows)),
    *(st.builds(kind, people, people) for kind in (facts.Same, facts.Different)),
    st.builds(facts.Named, people, names),
    st.builds(facts.Hidden, people),
    st.builds(facts.Cover, people, faces),
    st.builds(facts.Born, people, dates),
    st.builds(facts.Missed, faces),
    st.builds(facts.Favourite, photos),
    st.builds(facts.TakeBack, edits, st.lists(faces, max_size=2).map(tuple)),
)


def _fits(check, text: str) -> bool:
    try:
        check(text)
    except InputError:
        return False
    return True


@settings(max_examples=30)
@given(st.lists(any_fact, max_size=6))
def test_facts_come_back_from_json_as_they_were(said: list[Fact]) -> None:
    assert from_json(json.loads(json.dumps(to_json(said)))) == tuple(said)


def test_each_photo_is_written_once() -> None:
    content = to_json([facts.Is(A, (face_ref(1), face_ref(1, (60, 60, 90, 90)), face_ref(2)))])
    assert len(content["photos"]) == 2
    assert [face["photo"] for face in content["facts"][0]["faces"]] == [0, 0, 1]


def test_every_kind_has_a_name_of_its_own() -> None:
    assert {kind_of(each) for each in EXAMPLES} == EXAMPLE_KINDS
    assert {type(each) for each in EXAMPLES} == set(get_args(Fact))


EXAMPLES: list[Fact] = [
    facts.Is(A, (face_ref(1),)),
    facts.IsNot(A, (face_ref(1),)),
    facts.Shows(A, (face_ref(1),)),
    facts.Same(A, "b" * 12),
    facts.Different(A, "b" * 12),
    facts.Named(A, "Anna"),
    facts.Hidden(A),
    facts.Cover(A, face_ref(1)),
    facts.Born(A, "1990"),
    facts.Missed(face_ref(1)),
    facts.Favourite(photo_ref(1)),
    facts.TakeBack("20260101T000000000000-00000000"),
]
EXAMPLE_KINDS = {
    *("is", "is_not", "shows", "same", "different", "named"),
    *("hidden", "cover", "born", "missed", "favourite", "take_back"),
}


@pytest.mark.parametrize("fact", EXAMPLES)
def test_what_a_fact_names_is_found_in_it(fact: Fact) -> None:
    text = json.dumps(to_json([fact]))
    assert all(person in text for person in people_of(fact))
    assert [photo.sha256 in text for photo in photos_of(fact)] == [True] * len(photos_of(fact))
    assert all(face.photo in photos_of(fact) for face in faces_of(fact))
    assert bool(people_of(fact)) is (fact.__class__.__name__ not in ("Missed", "Favourite", "TakeBack"))


def broken(**changes: object) -> dict:
    content = to_json([facts.Is(A, (face_ref(1),))])
    content["facts"][0] |= changes
    return content


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "was"},
        {"kind": None},
        {"person": "Anna"},
        {"person": 7},
        {"person": A + "\n"},
        {"faces": 3},
        {"faces": [{"photo": 1, "box": list(BOX)}]},
        {"faces": [{"photo": -1, "box": list(BOX)}]},
        {"faces": [{"photo": True, "box": list(BOX)}]},
        {"faces": [{"photo": 0, "box": [0, 0, 0, 9]}]},
        {"faces": [{"photo": 0, "box": [0, 0, float("nan"), 9]}]},
        {"faces": [{"photo": 0, "box": [0, 0, 1e300, 9]}]},
        {"faces": [{"photo": 0, "box": [0, 0, 9]}]},
        {"more": 1},
        {"kind": "named", "faces": None},
    ],
)
def test_what_is_no_fact_is_refused(changes: dict) -> None:
    with pytest.raises((ValueError, TypeError, LookupError)):
        from_json(broken(**changes))


@pytest.mark.parametrize(
    "photo",
    [
        {"sha256": 1},
        {"size": [1]},
        {"size": [1.5, 2]},
        {"size": [10**30, 2]},
        {"phash": "a"},
        {"phash": 10**40},
        {"name": None},
        {"more": 1},
    ],
)
def test_what_is_no_photo_is_refused(photo: dict) -> None:
    content = broken()
    content["photos"][0] |= photo
    with pytest.raises((ValueError, TypeError, LookupError)):
        from_json(content)


def test_a_name_that_no_command_gives_is_refused_in_a_file_too() -> None:
    content = to_json([facts.Named(A, "Anna")])
    for name in ("A" * 10_000, "a\x1b[31m", " Anna", "e\u0301", 5):
        content["facts"][0]["name"] = name
        with pytest.raises((ValueError, TypeError)):
            from_json(content)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("  Anna   Maria ", "Anna Maria"),
        ("Zoe\u0308", "Zoë"),
        ("أحمد", "أحمد"),
        ("\u200fدينا\u200e", "دينا"),  # as messengers paste it
        ("می\u200cخواهم", "می\u200cخواهم"),
        ('<b>Bob</b> & "co"', '<b>Bob</b> & "co"'),
        ("👩\u200d👧", "👩\u200d👧"),
        ("=1+2", "=1+2"),
        ("a\nb\tc", "a b c"),
        ("", ""),
        ("  ", ""),
    ],
)
def test_names_of_any_script_are_kept(given: str, kept: str) -> None:
    assert checked_name(given) == kept
    assert checked_name(kept) == kept


@pytest.mark.parametrize(
    "name", ["a\x00b", "\x1b]0;x\x07", "\ud800", "x" * (MOST_LETTERS + 1), "x" * 10_000, "\u202e", "\u0301"]
)
def test_names_that_do_harm_or_are_none_are_refused(name: str) -> None:
    with pytest.raises(InputError) as raised:
        checked_name(name)
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize("date", ["1990", "1990-05", "1990-02-28", "", " 1990 "])
def test_dates_are_as_exact_as_one_knows_them(date: str) -> None:
    assert checked_date(date) == date.strip()


@pytest.mark.parametrize(
    "date", ["90", "1990-13", "1990-02-30", "31.5.1990", "0000", "1990-5", "١٩٩٠", "1990-05-31T00:00"]
)
def test_what_is_no_date_is_refused(date: str) -> None:
    with pytest.raises(InputError, match="no date of birth"):
        checked_date(date)
