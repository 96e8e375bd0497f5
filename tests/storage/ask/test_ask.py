from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.asked import views_of
from muster.errors import InputError
from muster.storage.ask.ask import ask
from muster.storage.search.search import run

VIEWS = views_of(
    {"people": ["Anna", "李娜"], "objects": ["dog"], "taken_at": datetime(2019, 5, 3), "camera": "Pixel"},
    {"people": ["Anna", "محمد"], "scenes": ["night"], "taken_at": datetime(2020, 5, 3)},
    {"people": ["Émile O'Neil"], "latitude": 38.7223, "longitude": -9.1393},
)
WORDS = (
    *("how many", "photos", "who", "where", "when", "which", "year", "did I", "photograph", "is", "was", "most"),
    *("often", "Anna", "李娜", "محمد", "Émile", "dog", "Lisbon", "with", "without", "of", "in", "at night", "2019"),
    *(
        "May",
        "and",
        "or",
        "the",
        "first",
        "alone",
        "people",
        "two",
        "no",
        "per",
        "between",
        ",",
        "-",
        '"',
        "?",
        "Zorro",
    ),
)


def told(question: str) -> list[Any]:
    answer = ask(VIEWS, question)
    assert answer.table is not None, answer.problem
    return [list(row.values()) for row in answer.table.to_pylist()]


def test_an_answer_and_how_it_came_about() -> None:
    answer = ask(VIEWS, "who is with Anna?")
    assert answer.table is not None
    assert answer.table.to_pylist() == [{"person": "محمد", "photos": 1}, {"person": "李娜", "photos": 1}]
    assert answer.sql is not None
    assert answer.sql.startswith("WITH chosen")
    assert (answer.problem, answer.nearest, answer.lacking) == ("", (), 0)
    assert ask(VIEWS, "photos per year").lacking == 1


def test_what_is_not_understood_has_no_answer() -> None:
    answer = ask(VIEWS, "is Anna pretty?")
    assert answer.problem == "`pretty` is not understood here"
    assert answer.query is answer.sql is answer.table is None


@pytest.mark.parametrize("word", ["photos", "pictures", "images", "shots", "pics", "snaps", "photographs", "PHOTOS"])
def test_words_for_photos(word: str) -> None:
    assert told(f"how many {word} are there of Anna") == [[2]]


@pytest.mark.parametrize(
    "question", ["photos of Émile O'Neil", "PHOTOS OF EMILE O'NEIL?", "photos of emile?!", 'photos of "émile o’neil"']
)
def test_case_accents_and_the_last_sign_do_not_matter(question: str) -> None:
    assert [row[0] for row in told(question)] == ["2"]


@pytest.mark.parametrize("name", ["李娜", "محمد"])
def test_names_of_any_script(name: str) -> None:
    assert told(f"how many photos with Anna and {name} are there?") == [[1]]


@pytest.mark.parametrize("letters", [1001, 10_000, 1_000_000])
def test_too_long(letters: int) -> None:
    with pytest.raises(InputError, match="1,000"):
        ask(VIEWS, "a" * letters)


@settings(max_examples=300)
@given(st.one_of(st.text(max_size=80), st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)))
def test_whatever_is_asked_has_an_answer_or_a_reason(question: str) -> None:
    before = {name: table.to_pylist() for name, table in VIEWS.tables.items()}
    try:
        answer = ask(VIEWS, question)
    except InputError:
        assert not question.strip()
        return
    assert (answer.table is None) == bool(answer.problem) == (not answer.meant)
    assert {name: table.to_pylist() for name, table in VIEWS.tables.items()} == before


@settings(max_examples=60)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30))
def test_whoever_is_asked_for_the_tables_stay(name: str) -> None:
    for question in (f"photos of {name}", f'who is with "{name}"?', f'how many photos of "{name}"'):
        ask(VIEWS, question)
    assert told("how many photos are there") == [[3]]


@pytest.mark.parametrize("name", ["x'; DROP TABLE photos; --", "O'Neil", '"', "a\\'b", "{}", "%s", "$1", "A' OR 1=1"])
def test_names_that_are_sql(name: str) -> None:
    views = views_of({"people": [name]}, {"people": ["Anna"]})
    quoted = name.replace('"', "")
    answer = ask(views, f'how many photos with "{quoted}"')
    if answer.table is not None:
        assert answer.table.to_pylist() == [{"photos": 1}]
    who = ask(views, "who is on photos").table
    assert who is not None
    assert sorted(who["person"].to_pylist()) == sorted([name, "Anna"])


# ---- the same photos as search ---------------------------------------------------------------------------------------

ASKED = {  # what search is asked for, and how a question says it
    "anna": "with Anna",
    "-anna": "without Anna",
    "person:bob": "of Bob",
    "dogs": "with a dog",
    "-dog": "without dogs",
    "2019": "in 2019",
    "2019-02..2019-08": "between February 2019 and August 2019",
    "may": "in May",
    "summer 2019": "in summer 2019",
    "night": "at night",
    "favourite": "that are favourites",
    "lisbon": "in Lisbon",
    "portugal": "in Portugal",
    "camera:pixel": "with the Pixel",
}
PHOTOS = st.fixed_dictionaries(
    {
        "people": st.sets(st.sampled_from(["Anna", "Bob"])).map(sorted),
        "objects": st.sets(st.sampled_from(["dog", "cat"])).map(sorted),
        "scenes": st.sets(st.sampled_from(["day", "night"]), max_size=1).map(sorted),
        "taken_at": st.sampled_from([None, *(datetime(2018, 11, 30) + timedelta(days=55 * n) for n in range(12))]),
        "favourite": st.booleans(),
        "camera": st.sampled_from([None, "Pixel 6", "Canon"]),
    },
    optional={"latitude": st.just(38.7223), "longitude": st.just(-9.1393)},
)
EVERYTHING = {"people": ["Anna", "Bob"], "objects": ["dog", "cat"], "scenes": ["night"], "camera": "Pixel 6"}


@settings(max_examples=60)
@given(st.lists(PHOTOS, max_size=8), st.lists(st.sampled_from([*ASKED]), max_size=3, unique=True))
def test_a_question_is_of_the_photos_that_search_finds(photos: list[dict[str, Any]], words: list[str]) -> None:
    views = views_of({**EVERYTHING, "latitude": 38.7223, "longitude": -9.1393}, *photos)
    answer = ask(views, "how many photos " + " ".join(ASKED[word] for word in words))
    if answer.table is None:  # two dates
        assert "no photo is of both" in answer.problem
        return
    found = run(views.index, " ".join(words))
    assert not found.unknown
    assert answer.table["photos"][0].as_py() == len(found.rows)
    listed = ask(views, "photos " + " ".join(ASKED[word] for word in words)).table
    assert listed is not None
    assert listed["image_id"].to_pylist() == found.image_ids.to_pylist()
