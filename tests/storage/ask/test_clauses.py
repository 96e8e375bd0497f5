from datetime import datetime

import pytest

from helpers.asked import STRANGER, views_of
from muster.storage.ask.ask import ask

LISBON, PARIS = {"latitude": 38.7223, "longitude": -9.1393}, {"latitude": 48.8584, "longitude": 2.2945}
VIEWS = views_of(
    {"people": ["Anna"], "objects": ["dog"], "taken_at": datetime(2018, 5, 1), "camera": "Canon", **LISBON},
    {"people": ["Anna", "Bob"], "taken_at": datetime(2019, 5, 1), "camera": "Pixel", "favourite": True, **PARIS},
    {"people": ["Bob", STRANGER], "scenes": ["night"], "taken_at": datetime(2019, 12, 31, 23)},
    {"people": ["May"], "scenes": ["day"], "objects": ["cat"], "taken_at": datetime(2020, 1, 1)},
    {"scenes": ["person"]},  # by a table of labels, which sees more than faces
    {},
)


def found(clause: str) -> str:
    """The photos of which a clause is, as "013"; or why it is not understood."""
    answer = ask(VIEWS, f"photos {clause}")
    return answer.problem if answer.table is None else "".join(answer.table.sort_by("image_id")["image_id"].to_pylist())


@pytest.mark.parametrize(
    ("clause", "photos"),
    [
        ("of Anna", "01"),
        ("with Anna and Bob", "1"),
        ("showing Anna, Bob", "1"),
        ("of both Anna and Bob", "1"),
        ("of Anna or Bob", "012"),
        ("of either Anna, May or Bob", "0123"),
        ("with Anna and a dog", "0"),
        ("of Anna and without Bob", "0"),
        ("of Anna but not Bob", "0"),
        ("without Anna or Bob", "345"),
        ("without Anna and Bob", "345"),
        ("that don't show Anna", "2345"),
        ("of Bob that do not show Anna", "2"),
        ("that don't show Anna or Bob", "345"),
        ("with May with Anna or Bob", ""),
        ("in Paris and with Anna", "1"),
        ("of Anna alone", "0"),
        ("of only Anna", "0"),
        ("of just Anna and Bob", "1"),
        ("of Bob alone", ""),  # a stranger is beside him
        ("of people", "01234"),
        ("of nobody", "5"),
        ("without people", "5"),
        ("without faces", "45"),
        ("with a face", "0123"),
        ("with two people", "12"),
        ("with at least two people", "12"),
        ("with fewer than two people", "0345"),
        ("with 1 face", "03"),
        ("without a date", "45"),
        ("with a place", "01"),
        ("that have no camera", "2345"),
        ("with the Pixel", "1"),
        ("taken with the camera Canon", "0"),
        ("that are favourites", "1"),
        ("at night", "2"),
        ("during the day", "3"),
        ("in 2019", "12"),
        ("from 2018 to 2019", "012"),
        ("from May 2018 until May 2019", "01"),
        ("between May 2019 and 2020", "123"),
        ("between 2019 and 2020", "123"),
        ("before 2019", "0"),
        ("after 2018", "123"),
        ("since 2019", "123"),
        ("until 2019", "012"),
        ("after 2018 and before 2020", "12"),
        ("in 2018 or 2020", "03"),
        ("in May", "01"),
        ("in May in 2019", "1"),
        ("with May", "3"),
        ("in Lisbon or Paris", "01"),
        ("in Lisbon, Portugal", "0"),
        ("in Paris in France in 2019", "1"),
        ("of Paris", "1"),
        ("in my library, please", "012345"),
        ("taken in Lisbon", "0"),
    ],
)
def test_of_which_photos(clause: str, photos: str) -> None:
    assert found(clause) == photos


@pytest.mark.parametrize(
    ("clause", "problem"),
    [
        ("of Anna and Bob or May", "may mean two things"),
        ("of Anna or Bob alone", "needs a name before it"),
        ("of Anna or Bob together", "needs two people"),
        ("of Anna together", "needs two people"),
        ("of Anna alone with Bob", "who is alone, and with whom"),
        ("of Anna with two people", "count among the people is not clear"),
        ("of Anna without people", "count among the people is not clear"),
        ("of Anna taken", "`taken` is not understood"),  # by whom nobody knows
        ("taken by Anna", "`by` is not understood"),
        ("with two dogs", "no `two`"),
        ("of May", "may be date any May or person May"),
        ("in Lisbon and Paris", "no photo is of two places"),
        ("in Lisbon and in Paris", "no photo is of both"),
        ("in 2018 and in 2019", "no photo is of both"),
        ("in May 2018 until 2019", "no photo is of both"),
        ("in May or June 2019", "say the year of each"),
        ("before 2018 and after 2019", "no photo is of both"),
        ("at night and during the day", "no photo is of both"),
        ("with the Pixel and the Canon", "no photo is of both"),
        ("between 2019 and 2018", "ends before it begins"),
        ("since May", "needs a date with its year"),
        ("not in Paris", "no `in`"),
        ("without the Pixel", "is not understood here"),
        ("with Anna and Zorro", "no `Zorro`"),
        ("in Atlantis", "no `Atlantis`"),
        ("of Anna or at night", "`or` is not understood"),
        ("with Anna and", "ends too early"),
        ("of", "ends too early"),
        ("by day", "`by` is not understood"),  # in groups of days, or not at night
        ("without people and dogs", "`dogs` is not understood"),
        ("most often", "are of who, where"),
        ("of Anna and which show Bob", "one question at a time"),
    ],
)
def test_what_may_mean_two_things_is_refused(clause: str, problem: str) -> None:
    assert problem in found(clause)


def test_somebody_who_is_called_like_another_thing() -> None:
    views = views_of({"people": ["Place"]}, {"people": ["Anna"]})
    assert "may be a place or person Place" in ask(views, "photos with Place").problem
    answer = ask(views, 'photos with "Place"')
    assert answer.table is not None
    assert answer.table["image_id"].to_pylist() == ["0"]


@pytest.mark.parametrize("name", ["Nobody", "People", "Faces", "One"])
def test_somebody_who_is_called_like_a_word_of_the_grammar(name: str) -> None:
    views = views_of({"people": [name]}, {"people": ["Anna"]})
    clauses = {"Nobody": "with nobody", "People": "without people", "Faces": "with no faces", "One": "without one"}
    assert f"or person {name}" in ask(views, f"photos {clauses[name]}").problem
    answer = ask(views, f'photos without "{name}"')
    assert answer.table is not None
    assert answer.table["image_id"].to_pylist() == ["1"]


@pytest.mark.parametrize(
    ("clause", "meaning"),
    [
        ("exactly one person", "exactly 1 person, by faces and tags"),
        ("at most 1 face", "at most 1 face"),
        ("at least 1 person", "1 or more people, by faces and tags"),
        ("two faces", "exactly 2 faces"),
    ],
)
def test_numbers_in_words(clause: str, meaning: str) -> None:
    assert ask(VIEWS, f"photos with {clause}").meant[-1].meaning == meaning


def test_of_photos_of_one_moment_the_first_is_one() -> None:
    moment = datetime(2019, 5, 1)
    views = views_of(*({"people": ["Anna"], "taken_at": moment, "uri": f"/photos/{name}.jpg"} for name in "bac"))
    first, last = ask(views, "the first two photos").table, ask(views, "the last photo").table
    assert first is not None
    assert last is not None
    assert [uri[-5] for uri in first["uri"].to_pylist()] == ["a", "b"]
    assert [uri[-5] for uri in last["uri"].to_pylist()] == ["c"]


def test_without_faces_nothing_is_said_of_people() -> None:
    nobody = views_of({"objects": ["dog"]})
    for question in ("photos without people", "photos with two people", "photos of somebody", "photos with no faces"):
        assert "no faces were found" in ask(nobody, question).problem, question
    assert "no people are known" in ask(nobody, "who is on the most photos?").problem
