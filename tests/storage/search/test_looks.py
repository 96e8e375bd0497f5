from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.searched import an_index, described_by
from muster.errors import InputError
from muster.storage.search.index import Index
from muster.storage.search.search import Result, run

PHOTOS = [
    {"people": ["Anna"], "objects": ["dog"], "taken_at": datetime(2019, 5, 3)},
    {"people": ["Anna"], "taken_at": datetime(2019, 6, 3)},
    {"people": ["Bob"], "scenes": ["night"], "taken_at": datetime(2020, 1, 3)},
    {"people": ["Anna", "Bob"], "objects": ["dog"], "scenes": ["night"], "uri": "/photos/beach.jpg"},
]


@pytest.fixture
def asked() -> list[str]:
    """The texts that were embedded."""
    return []


@pytest.fixture
def index(asked: list[str]) -> Index:
    """The likest are the last."""
    found = an_index(*PHOTOS)

    def texts(given: Any) -> Any:
        asked.extend(given)
        return np.tile(np.array([[0, 1]], np.float32), (len(given), 1))

    angles = np.linspace(0.1, 1.2, len(PHOTOS))
    return replace(found, alike=described_by(found, np.stack([np.cos(angles), np.sin(angles)], 1), texts))


def said(found: Result) -> list[tuple[str, str]]:
    return [meaning for each in found.understood for meaning in each.meanings]


@pytest.mark.parametrize(
    ("query", "described", "photos"),
    [
        ("children in the snow", "children in the snow", "3210"),
        ("anna children in the snow 2019", "children in the snow", "10"),
        ("children in the snow -bob", "children in the snow", "10"),
        ("dog in the snow", "dog in the snow", "3210"),
        ("snow and dogs at night", "snow and dogs at night", "3210"),
        ("dog anna snow", "snow", "30"),  # a thing that stands apart is one that has to be there
        ("snow in 2019", "snow", "10"),
        ("in the snow", "in the snow", "3210"),
        ("children anna in the snow", "children in the snow", "310"),
        ("object:dog snow", "snow", "30"),
        ('"dog" snow', "snow", "30"),
        ("snow beach", "snow", "3"),
        ("looks:dog", "dog", "3210"),
        ('looks:"a dog, in the Snow!" anna', "a dog, in the Snow!", "310"),
        ("LOOKS:🐶 2019", "🐶", "10"),
        ("雪の中の子供", "雪の中の子供", "3210"),
    ],
)
def test_words_that_name_nothing_and_those_beside_them_describe(
    index: Index, asked: list[str], query: str, described: str, photos: str
) -> None:
    found = run(index, query)
    assert asked == [described]
    assert "".join(found.image_ids.to_pylist()) == photos
    assert found.similarities is not None
    assert (np.diff(found.similarities) < 0).all()
    assert " ".join(text for field, text in said(found) if field == "looks") == described
    assert not any(each for each in found.unknown if not each.described)


@pytest.mark.parametrize(
    "query", ["", "anna", "dog night", "anna 2019", "-zebra anna", "anna -zebra", "dog", "favourite"]
)
def test_where_every_word_is_known_nothing_is_ranked(index: Index, asked: list[str], query: str) -> None:
    found, without = run(index, query), run(replace(index, alike=None), query)
    assert (asked, found.similarities) == ([], None)
    assert found.image_ids.equals(without.image_ids)
    assert (found.understood, found.unknown, found.notes) == (without.understood, without.unknown, without.notes)
    assert not found.textless


def test_a_name_in_quotes_is_no_description(index: Index, asked: list[str]) -> None:
    found = run(index, '"no such name" 2019')
    assert (len(found.rows), asked, [each.text for each in found.unknown]) == (0, [], ["no such name"])
    found = run(index, 'snow "no such name"')
    assert (len(found.rows), [each.text for each in found.unknown]) == (0, ["no such name"])


def test_a_single_word_may_be_a_slip(index: Index) -> None:
    found = run(index, "amna 2019")
    [unknown] = found.unknown
    assert (unknown.described, unknown.suggestions, unknown.instead) == (True, ("anna",), ("anna 2019",))
    assert found.image_ids.to_pylist() == ["1", "0"]
    assert run(index, "amni in the snow").unknown == ()


def test_the_name_of_a_person_may_have_a_slip_in_a_description(index: Index) -> None:
    found = run(index, "ana in the snow with bop")
    assert [(each.text, each.suggestions, each.instead) for each in found.unknown] == [
        ("ana", ("anna",), ("anna in the snow with bop",)),
        ("bop", ("bob",), ("ana in the snow with bob",)),
    ]
    assert (all(each.described for each in found.unknown), len(found.rows)) == (True, 4)
    assert run(index, "dgo in the snow").unknown == (), "things are said so seldom that it is more often no slip"


@pytest.mark.parametrize(
    ("query", "words", "instead"),
    [
        ("anna without bob", "without", "-word leaves photos out"),
        ("anna not bob", "not", "-word leaves photos out"),
        ("anna but no dog", "but no", "-word leaves photos out"),
        ("No dog", "No", "-word leaves photos out"),
        ("children not in the snow", "not", "-word leaves photos out"),
        ("anna except snow", "except", "-word leaves photos out"),
        ("anna before 2019", "before", "..2018, 2018..2019 and 2019.. are times"),
        ("snow since 2019", "since", "..2018, 2018..2019 and 2019.. are times"),
        ("after 2018 until 2020", "after until", "..2018, 2018..2019 and 2019.. are times"),
        ("anna 2019 to 2020", "to", "..2018, 2018..2019 and 2019.. are times"),
        ("between 2019 and 2020", "between", "..2018, 2018..2019 and 2019.. are times"),
        ("anna to bob", "to", "..2018, 2018..2019 and 2019.. are times"),
        ("anna or bob", "or", "search for each by itself"),
        ("dog or snow", "or", "search for each by itself"),
    ],
)
def test_words_that_turn_a_query_round_find_nothing_and_it_is_said(
    index: Index, query: str, words: str, instead: str
) -> None:
    for found in (run(index, query), run(replace(index, alike=None), query)):
        assert len(found.rows) == 0
        assert found.notes[: len(words.split())] == tuple(
            f'"{word}" is not understood: {instead}' for word in words.split()
        )
        assert not {each.text for each in found.unknown} & set(words.split())
        assert not any(set(text.split()) & set(words.split()) for field, text in said(found) if field == "looks")


def test_a_word_of_logic_that_names_a_person_or_is_described_is_none(index: Index, asked: list[str]) -> None:
    found = run(index, 'looks:"no dog" bob')
    assert (asked, found.image_ids.to_pylist(), found.notes) == (["no dog"], ["3", "2"], ())
    assert run(index, "the way to the snow between trees").notes == ()
    assert run(index, "the way to bob").image_ids.to_pylist() == ["3", "2"]
    no = an_index({"people": ["No"]}, {"uri": "/photos/no.jpg"}, {"people": ["Or and Until"]})
    assert run(no, "no").image_ids.to_pylist() == ["0", "1"]
    assert run(no, "or and until").image_ids.to_pylist() == ["2"]
    called = an_index({"people": ["Anna"], "objects": ["dog"], "uri": "/photos/no dog.jpg"}, {"people": ["Anna"]})
    assert len(run(called, "anna no dog").rows) == 0
    assert run(called, "anna file:no dog").image_ids.to_pylist() == ["0"]


def test_what_is_known_and_does_not_filter_is_said(index: Index) -> None:
    assert run(index, "night dog in the snow 2019").notes == ("these describe, and filter only in quotes: night, dog",)
    assert run(index, '"night" snow anna dog').notes == ()
    assert run(index, "looks:dog").notes == ()


def test_looks_with_nothing_behind_it(index: Index, asked: list[str]) -> None:
    for query in ("looks:", "anna Looks:"):
        with pytest.raises(InputError, match="`looks:` has nothing behind it"):
            run(index, query)
    assert asked == []


def test_small_words_that_are_in_no_description_are_left_out(index: Index, asked: list[str]) -> None:
    found = run(index, "anna in the 2019")
    assert (found.image_ids.to_pylist(), asked) == (["0", "1"], [])
    assert found.notes == ("small words are left out: in, the",)


def test_as_many_as_are_asked_for(index: Index) -> None:
    assert run(index, "snow", 2).image_ids.to_pylist() == ["3", "2"]


def test_not_what_it_looks_like(index: Index) -> None:
    with pytest.raises(InputError, match="`-looks:`"):
        run(index, "anna -looks:snow")


def test_without_a_model_of_words_and_where_it_fails(index: Index) -> None:
    def broken(given: Any) -> Any:
        raise InputError("its folder is gone")

    assert index.alike is not None
    for alike in (None, described_by(index, np.eye(4), None), described_by(index, np.eye(4), broken)):
        fails = alike is not None and alike.texts is not None
        for query in ("children in the snow", "looks:children"):
            found = run(replace(index, alike=alike), query)
            assert (len(found.rows), found.similarities, found.textless) == (0, None, not fails)
            assert [each.text for each in found.unknown] == (["children", "snow"] if " " in query else ["children"])
            assert ("words cannot be compared with photos: its folder is gone" in found.notes) == fails
    assert run(replace(index, alike=None), "dog night").image_ids.to_pylist() == ["3"]


def test_words_are_taken_out_of_a_query(index: Index) -> None:
    found = run(index, "children anna in the snow 2019")
    assert [found.without(each) for each in found.understood] == [
        "anna in the snow 2019",
        "children in the snow 2019",
        "children anna 2019",
        "children anna in the snow",
    ]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(["anna", "bob", "dog", "night", "2019", "in", "the", "snow", "-dog", "&", "looks:red"]))
)
def test_what_is_ranked_is_what_all_other_words_find(words: list[str]) -> None:
    plain = an_index(*PHOTOS)
    vectors = np.random.default_rng(len(words)).normal(size=(len(PHOTOS), 3))
    index = replace(plain, alike=described_by(plain, vectors, lambda given: np.ones((1, 3), np.float32)))
    found = run(index, " ".join(words))
    others = [each for each in found.understood if each.meanings[0][0] != "looks"]
    wanted = run(plain, " ".join(f"{'-' * each.negated}{each.text}" for each in others))
    assert sorted(found.image_ids.to_pylist()) == sorted(wanted.image_ids.to_pylist())
    assert (found.similarities is None) == (len(others) == len(found.understood))
    assert (found.similarities is not None) == ("snow" in words or "looks:red" in words)
