import json
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.asked import asked_library
from helpers.fixtures import Outcome

Muster = Callable[..., Outcome]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    return asked_library(tmp_path_factory.mktemp("asked")).uri


def test_a_number_and_what_was_understood_beside(muster: Muster, library: str) -> None:
    outcome = muster("ask", "how many photos with Anna and a dog in 2019?", "-l", library)
    assert (outcome.code, outcome.out) == (0, "2 photos\n"), outcome.err
    assert outcome.err == "muster: how many photos; person Anna and thing dog; date 2019\n"


def test_a_line_for_each_group_or_photo(muster: Muster, library: str) -> None:
    assert muster("ask", "where", "was", "Anna", "in", "May", "2019", "-l", library).out == (
        "Lisbon, Portugal\t2\nParis, France\t1\n"
    )
    [line] = muster("ask", "the oldest photo of Clara", "-l", library).out.splitlines()
    assert line.split("\t")[1:] == ["2017-12-24 20:00", "Berlin, Germany"]
    assert Path(line.split("\t")[0]).name == "04.jpg"


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("was Bob ever in Paris?", "yes: 1 photo"),
        ("when did I first photograph Bob?", "10 June 2017, 15:00"),
        ("photos with a cat and a dog", "0 photos"),
        ("who was in Paris in 2017?", "nobody"),
    ],
)
def test_an_answer_that_is_no_or_none_is_one(muster: Muster, library: str, question: str, text: str) -> None:
    outcome = muster("ask", question, "-l", library)
    assert (outcome.code, outcome.out) == (0, f"{text}\n")


def test_what_is_not_understood_is_said_with_what_is(muster: Muster, library: str) -> None:
    outcome = muster("ask", "how many photos with Anna and Zorro?", "-l", library)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith(
        "muster: not understood: no `Zorro` is known here\nmuster: you can ask: how many photos with Anna?\n"
    )


def test_explained(muster: Muster, library: str) -> None:
    outcome = muster("ask", "photos per year at night", "--explain", "-l", library)
    assert outcome.out.splitlines()[0] == "2017\t2"
    assert "muster: `at night`: scene night\n" in outcome.err
    assert "label = 'night'" in outcome.err
    assert "GROUP BY strftime(taken_at, '%Y')" in outcome.err


def test_as_json(muster: Muster, library: str) -> None:
    facts = muster("ask", "who is most often with Anna?", "-l", library, "--json").facts
    assert (facts["answer"], facts["results"]) == ("Bob: 4 photos", [{"person": "Bob", "photos": 4}])
    assert facts["sql"].startswith("WITH chosen")
    assert facts["understood"][-1] == {"words": "with Anna", "meaning": "person Anna"}
    outcome = muster("ask", "is Anna pretty?", "-l", library, "--json")
    assert outcome.code == 1
    facts = json.loads(outcome.out)
    assert (facts["answer"], facts["results"], facts["sql"]) == ("", None, None)
    assert facts["problem"] == "`pretty` is not understood here"
    assert facts["nearest"]


def test_bad_input(muster: Muster, library: str, tmp_path: Path) -> None:
    for arguments, text in {
        ("-l", library): "say what to ask: QUESTION",
        ("", "-l", library): "say what to ask",
        ("x" * 10_000, "-l", library): "a question of 10,000 letters: ask in at most 1,000",
        ("how many photos?", "-l", tmp_path / "none"): "`muster scan",
    }.items():
        outcome = muster("ask", *arguments)
        assert (outcome.code, outcome.out) == (2, "")
        assert text in outcome.error
