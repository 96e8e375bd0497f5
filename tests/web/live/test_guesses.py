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


def asked(visit: Visitor) -> tuple[list[str], list[list[str]]]:
    """The faces of the first question, and those of each choice."""
    first = visit.get("/suggestions.html").text.partition("<fieldset")[2].partition("</fieldset>")[0]
    faces, *choices = (ids.split(" ") for ids in re.findall(r'data-faces="([^"]+)"', first))
    return faces, choices


@pytest.mark.parametrize("answer", ["yes", "no", "skip"])
def test_what_was_answered_is_not_asked_again(answer: str, visit: Visitor) -> None:
    faces, choices = asked(visit)
    visit.done("answers", answers=[{"answer": answer, "faces": faces, "choices": choices[:1]}])
    page = visit.get("/suggestions.html").text
    assert "<fieldset" not in page or asked(visit)[0] != faces


def test_yes_makes_two_clusters_one(visit: Visitor) -> None:
    faces, choices = asked(visit)
    visit.done("answers", answers=[{"answer": "yes", "faces": faces, "choices": choices[:1]}])
    assert "12 photos" in visit.text("/")
    visit.done("undo")
    assert "12 photos" not in visit.text("/")


def test_faces_that_are_nobodys_come_in_groups_by_whom_they_may_be(visit: Visitor) -> None:
    page = visit.get("/unclustered.html").text
    [person] = re.findall(r'<section class="group"[^>]*data-person="(\w+)"', page)
    assert person == BERT
    faces = re.findall(r'of-group" value="([^"]+)"', page)
    assert len(faces) == 3
    visit.done("give", faces=faces, person=BERT)
    assert "8 photos" in visit.text(f"/people/{BERT}.html")
    assert 'class="group"' not in visit.get("/unclustered.html").text
