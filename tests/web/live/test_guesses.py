import re
import time
from pathlib import Path

import pytest

from helpers.collection import Collection
from helpers.live import ANNA, BERT, Visitor, source_of, visitor
from muster.web.live import guesses

NONE = "-" * 12


@pytest.fixture
def visit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Visitor:
    """Anna in two clusters, Bert in one, and faces of Bert that are nobody's; questions are there."""
    monkeypatch.setattr(guesses, "WAIT", 0)
    made = Collection()
    for n in range(12):
        made.photo(f"/photos/{n}.jpg", [ANNA if n < 6 else NONE])
    for n in range(5):
        made.photo(f"/photos/bert {n}.jpg", [BERT])
    for n in range(3):
        made.photo(f"/photos/lone {n}.jpg", [None])
    alike = {NONE: made.faces[0]["embedding"], None: made.faces[12]["embedding"]}
    for face, cluster in zip(made.faces, made.clusters, strict=True):
        face["embedding"] = alike.get(cluster["cluster_id"], face["embedding"])
    for cluster in made.clusters:
        cluster["cluster_id"] = "e" * 12 if cluster["cluster_id"] == NONE else cluster["cluster_id"]
    visit = visitor(source_of(made, tmp_path / "library")).enter()
    deadline = time.monotonic() + 60
    while "data-wait" in visit.get("/suggestions.html").text:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return visit


def asked(visit: Visitor) -> list[list[str]]:
    """The faces of the first question, and those of each choice."""
    first, *_ = re.findall(r"<fieldset.*?</fieldset>", visit.get("/suggestions.html").text, re.DOTALL) or [""]
    return [ids.split(" ") for ids in re.findall(r'data-faces="([^"]+)"', first)]


def answered(does: str, faces: list[str], choices: list[list[str]]) -> list[dict[str, object]]:
    return [{"answer": does, "faces": faces, "choices": choices}]


def test_yes_makes_two_clusters_one(visit: Visitor) -> None:
    faces, *choices = asked(visit)
    visit.done("answers", answers=answered("yes", faces, choices[:1]))
    assert "12 photos" in visit.text("/")
    visit.done("undo")
    assert "12 photos" not in visit.text("/")


def test_no_is_not_asked_again(visit: Visitor) -> None:
    first = asked(visit)
    visit.done("answers", answers=answered("no", first[0], first[1:]))
    assert asked(visit) != first
    people = visit.text("/history.html")
    assert "are two people" in people


def test_skipped_is_not_asked_again_and_says_nothing(visit: Visitor) -> None:
    first = asked(visit)
    visit.done("answers", answers=answered("skip", first[0], first[1:]))
    assert asked(visit) != first
    assert "Nothing was said" in visit.text("/history.html")


@pytest.mark.parametrize(
    "sent", [{}, {"answer": "maybe"}, {"answer": "yes", "choices": [[]]}, {"answer": "yes", "choices": 7}]
)
def test_what_is_no_answer_is_refused(sent: dict[str, object], visit: Visitor) -> None:
    faces, *choices = asked(visit)
    answer = visit.edit("answers", answers=[{"faces": faces, "choices": choices, **sent}])
    assert answer.status_code == 400


def test_faces_that_are_nobodys_come_in_groups_by_whom_they_may_be(visit: Visitor) -> None:
    page = visit.get("/unclustered.html").text
    [person] = re.findall(r'<section class="group"[^>]*data-person="(\w+)"', page)
    assert person == BERT
    faces = re.findall(r'of-group" value="([^"]+)"', page)
    assert len(faces) == 3
    visit.done("give", faces=faces, person=BERT)
    assert "8 photos" in visit.text(f"/people/{BERT}.html")
    assert 'class="group"' not in visit.get("/unclustered.html").text
