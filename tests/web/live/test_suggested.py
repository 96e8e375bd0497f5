"""Questions of a page, and their answers, which are one edit."""

import time
from typing import Any

import pytest

from helpers.live import ANNA, BERT, CARL, Visitor
from muster.storage import layout
from muster.storage.people import facts
from muster.storage.people.ledger import Ledger
from muster.web.live.columns import LiveSource


def last_edit(source: LiveSource) -> list[str]:
    edit = list(Ledger(source.library).edits.values())[-1]
    return [facts.kind_of(fact) for fact in edit.facts]


def answered(does: str, faces: list[str], *choices: list[str]) -> dict[str, Any]:
    return {"answer": does, "faces": faces, "choices": list(choices)}


def test_the_page_says_that_it_looks_and_then_what_it_found(visit: Visitor) -> None:
    deadline = time.monotonic() + 60
    while "No more questions" not in (text := visit.text("/suggestions.html")) and "question" not in text:
        assert "Looking…" in text
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_answers_of_a_page_are_one_edit(visit: Visitor, source: LiveSource) -> None:
    anna, bert, carl = (visit.faces(person) for person in (ANNA, BERT, CARL))
    sheet = [answered("yes", carl, anna), answered("no", bert, anna), answered("skip", bert, carl)]
    assert visit.done("answers", answers=sheet)["done"] == "3 questions answered."
    assert len(source.library.names(layout.FACTS)) == 1
    assert sorted(last_edit(source)) == ["different", "same", "shows", "shows", "shows"]
    assert "6 photos" in visit.text(f"/people/{ANNA}.html")
    visit.done("undo")
    assert "1 photo" in visit.text(f"/people/{CARL}.html")


def test_an_answer_that_contradicts_another_is_left_out_and_counted(visit: Visitor) -> None:
    anna, carl = visit.faces(ANNA), visit.faces(CARL)
    visit.done("differ", person=ANNA, other=CARL)
    said = visit.done("answers", answers=[answered("yes", carl, anna)])["done"]
    assert said == "1 question answered. 1 answer contradicted what was said, and was left out."
    assert "1 photo" in visit.text(f"/people/{CARL}.html")


def test_a_part_of_a_person_that_is_somebody_else_becomes_a_person(visit: Visitor, source: LiveSource) -> None:
    first, *others = visit.faces(ANNA)
    visit.done("answers", answers=[answered("no", [first], others)])
    assert {"is", "different"} <= set(last_edit(source))
    assert "4 photos" in visit.text(f"/people/{ANNA}.html")


@pytest.mark.parametrize(
    "sent", [None, [], "yes", [1], [{}], [{"answer": "perhaps", "faces": ["x"], "choices": [["x"]]}]]
)
def test_what_is_no_answer_is_refused(sent: Any, visit: Visitor, source: LiveSource) -> None:
    assert visit.edit("answers", answers=sent).status_code in (400, 410)
    assert source.library.names(layout.FACTS) == []


def test_nothing_is_written_where_all_is_skipped(visit: Visitor, source: LiveSource) -> None:
    visit.done("answers", answers=[answered("skip", visit.faces(CARL), visit.faces(ANNA))])
    assert source.library.names(layout.FACTS) == []
