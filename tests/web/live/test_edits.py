import json
import os
import re
from pathlib import Path

import pytest

from helpers.collection import Collection
from helpers.live import ANNA, BERT, CARL, Visitor, source_of, visitor
from muster.storage import layout
from muster.storage.people import facts
from muster.storage.people.ledger import Ledger, Problem
from muster.web.live import edits
from muster.web.live.columns import LiveSource
from muster.web.live.guard import HEADER


def files(source: LiveSource) -> list[str]:
    return source.library.names(layout.FACTS)


def said(source: LiveSource) -> list[str]:
    """The kinds of facts that are on the disk."""
    ledger = Ledger(source.library)
    return [facts.kind_of(fact) for edit in ledger.edits.values() for fact in edit.facts]


def test_a_name_shows_at_once_and_is_on_the_disk(visit: Visitor, source: LiveSource) -> None:
    answer = visit.done("name", person=ANNA, name="  Anna   Ström ")
    assert answer["done"] == "Person 1 is now called Anna Ström."
    assert said(source) == ["shows", "named"]
    assert "Anna Ström" in visit.text("/")
    assert "Anna Ström" in visit.text(f"/people/{ANNA}.html")
    assert visit.get("/api/version").json()["version"] == answer["version"]
    assert visit.get("/api/names").json()["names"] == [{"person": ANNA, "name": "Anna Ström", "photos": 5}]
    visit.done("name", person=ANNA, name="")
    assert "Person 1" in visit.text("/")


def test_an_existing_name_asks_before_it_merges(visit: Visitor, source: LiveSource) -> None:
    visit.done("name", person=ANNA, name="Anna")
    answer = visit.edit("name", person=CARL, name="ANNA")
    assert answer.status_code == 409
    assert answer.json()["merge"]["person"] == ANNA
    assert len(files(source)) == 1
    visit.done("name", person=ANNA, name="anna")  # her own name, in other letters
    visit.done("name", person=CARL, name="Anna", anyway=True)
    assert visit.text("/").count("Anna") == 1  # and anna
    assert said(source)[-1] == "named"


def test_merged_people_have_one_page_and_old_addresses_lead_there(visit: Visitor) -> None:
    visit.done("name", person=ANNA, name="Anna")
    answer = visit.done("merge", person=CARL, other=ANNA)
    assert answer["go"] == f"/people/{ANNA}.html"
    assert "6 photos" in visit.text(f"/people/{ANNA}.html")
    old = visit.get(f"/people/{CARL}.html")
    assert (old.status_code, old.headers["location"]) == (303, f"/people/{ANNA}.html")
    visit.done("undo")
    assert "1 photo" in visit.text(f"/people/{CARL}.html")


def test_faces_are_split_off_into_somebody_new(visit: Visitor) -> None:
    answer = visit.done("split", person=ANNA, faces=visit.faces(ANNA)[:2])
    assert "2 photos" in visit.text(answer["go"])
    assert "3 photos" in visit.text(f"/people/{ANNA}.html")
    again = visit.edit("merge", person=ANNA, other=answer["go"].removeprefix("/people/").removesuffix(".html"))
    assert again.status_code == 409
    assert again.json()["conflict"] in visit.get("/history.html").text


def test_all_faces_are_nobody_to_split_off(visit: Visitor) -> None:
    answer = visit.edit("split", person=BERT, faces=visit.faces(BERT))
    assert answer.status_code == 400
    assert "all faces" in answer.json()["error"]


def test_not_anna_leaves_a_face_to_nobody(visit: Visitor) -> None:
    face = visit.faces(ANNA)[0]
    visit.done("not", person=ANNA, faces=[face])
    assert "4 photos" in visit.text(f"/people/{ANNA}.html")
    assert face in visit.get("/unclustered.html").text
    visit.done("undo")
    assert "5 photos" in visit.text(f"/people/{ANNA}.html")


def test_a_face_that_is_given_takes_its_copies_along(visit: Visitor) -> None:
    lone = re.findall(r"/faces/../(\w+)\.jpg", visit.get("/unclustered.html").text)
    assert len(lone) == 2
    answer = visit.done("give", faces=lone[:1], name="Dora")
    assert "1 photo" in visit.text(f"/people/{answer['person']}.html")
    assert "0 unclustered" in visit.text("/unclustered.html")
    face = visit.faces(BERT)[0]
    visit.done("give", faces=[face], name="dora")
    assert "2 photos" in visit.text(f"/people/{answer['person']}.html")
    visit.done("give", faces=[face], person=CARL, in_spite=True)
    assert "2 photos" in visit.text(f"/people/{CARL}.html")
    assert visit.edit("give", faces=[face], name=" ").status_code == 400


def test_what_contradicts_is_refused_with_the_edit_that_it_contradicts(visit: Visitor, source: LiveSource) -> None:
    face = visit.faces(ANNA)[0]
    visit.done("not", person=ANNA, faces=[face])
    before = files(source)
    answer = visit.edit("give", person=ANNA, faces=[face])
    assert answer.status_code == 409
    conflict = answer.json()["conflict"]
    assert f"{conflict}.json" in before
    assert "contradicts" in answer.json()["error"]
    assert files(source) == before
    assert f'id="e-{conflict}"' in visit.get("/history.html").text
    visit.done("give", person=ANNA, faces=[face], in_spite=True)
    assert "5 photos" in visit.text(f"/people/{ANNA}.html")


def test_hidden_people_are_on_a_page_of_their_own(visit: Visitor) -> None:
    visit.done("hide", person=BERT)
    assert f"people/{BERT}.html" not in visit.get("/").text
    assert "1 hidden person" in visit.text("/")
    assert f"people/{BERT}.html" in visit.get("/hidden.html").text
    assert visit.get(f"/people/{BERT}.html").status_code == 200
    visit.done("show", person=BERT)
    assert f"people/{BERT}.html" in visit.get("/").text
    assert visit.edit("show", person=BERT).status_code == 400


def test_cover_and_birth_date(visit: Visitor) -> None:
    face = visit.faces(ANNA)[3]
    visit.done("cover", person=ANNA, faces=[face])
    assert re.search(r"/faces/../(\w+)\.jpg", visit.get("/").text)[1] == face
    visit.done("born", person=ANNA, date="1990-05")
    assert "Born 1990-05" in visit.text(f"/people/{ANNA}.html")
    answer = visit.edit("born", person=ANNA, date="yesterday")
    assert answer.status_code == 400
    assert "1990" in answer.json()["error"]


def test_a_missed_face_is_drawn_named_and_pictured(visit: Visitor, collection: Collection) -> None:
    photo = collection.images[7]["image_id"]
    visit.done("draw", photo=photo, box=[-5, 10, 300, 200], name="Emil")
    page = visit.get("/").text
    assert "Emil" in page
    person = re.search(r"people/(\w+)\.html\"[^>]*>(?:(?!</a>).)*Emil", page, re.DOTALL)[1]
    shown = visit.get(f"/people/{person}.html").text
    assert 'x="0.0" y="10.0" width="300.0" height="190.0"' in shown
    [face] = set(re.findall(r"/faces/../[\w-]+\.jpg", shown.partition("hero")[2].partition("photos-heading")[0]))
    assert visit.get(face).content.startswith(b"\xff\xd8")
    visit.done("undo")
    assert "Emil" not in visit.get("/").text


@pytest.mark.parametrize(
    "box", [None, [], [1, 2, 3], ["a"] * 4, [0, 0, 2, 2], [0, 0, 10**400, 9], [9, 9, 1, 1], [5e3, 5e3, 6e3, 6e3]]
)
def test_what_is_no_box_is_refused(box: object, visit: Visitor, collection: Collection, source: LiveSource) -> None:
    photo = collection.images[7]["image_id"]
    assert visit.edit("draw", photo=photo, box=box).status_code == 400
    assert files(source) == []


def test_favourites_come_and_go(visit: Visitor, collection: Collection) -> None:
    photo = collection.images[0]["image_id"]
    pressed = re.compile(rf'data-photo="{photo}" data-on="(1?)" aria-pressed="(true|false)"')
    assert pressed.search(visit.get(f"/people/{ANNA}.html").text).groups() == ("1", "false")
    visit.done("favourite", photo=photo)
    assert pressed.search(visit.get(f"/people/{ANNA}.html").text).groups() == ("", "true")
    visit.done("favourite", photo=photo, on=False)
    assert pressed.search(visit.get(f"/people/{ANNA}.html").text).groups() == ("1", "false")
    assert visit.edit("favourite", photo="nothing").status_code == 410


def test_undo_and_redo_go_back_and_forth(visit: Visitor) -> None:
    names = ["Person 1"]
    for name in ("Anna", "Anne", "Annika"):
        visit.done("name", person=ANNA, name=name)
        names.append(name)
    for name in names[-2::-1]:
        visit.done("undo")
        assert f"{name} 5 photos" in visit.text("/")
    assert visit.edit("undo").status_code == 400
    for name in names[1:]:
        visit.done("redo")
        assert f"{name} 5 photos" in visit.text("/")
    assert visit.edit("redo").status_code == 400
    visit.done("undo")
    visit.done("hide", person=CARL)
    assert visit.edit("redo").status_code == 400


def test_an_edit_from_the_middle_is_taken_back(visit: Visitor, source: LiveSource) -> None:
    visit.done("name", person=ANNA, name="Anna")
    [first] = files(source)
    visit.done("name", person=BERT, name="Bert")
    assert "named Anna" in visit.done("take_back", edit=first.removesuffix(".json"))["done"]
    assert "Bert" in visit.text("/")
    assert "Anna" not in visit.text("/")
    assert visit.edit("take_back", edit="nothing").status_code == 400


def test_two_tabs_see_what_the_other_does(source: LiveSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muster.web.live.album.LEDGER_EVERY", 0)
    one, other = visitor(source).enter(), visitor(source).enter()  # two processes, for all they know
    before = other.get("/api/version").json()["version"]
    one.done("name", person=ANNA, name="Anna")
    assert other.get("/api/version").json()["version"] != before
    assert "Anna" in other.text("/")
    other.done("name", person=BERT, name="Bert")
    assert {"Anna", "Bert"} <= set(one.text("/").split())
    gone = other.done("merge", person=BERT, other=ANNA)["go"]
    assert one.edit("name", person=CARL, name="Anna").json()["merge"]["person"] in gone


def test_who_and_what_is_gone_is_said(visit: Visitor, source: LiveSource) -> None:
    for what, sent in {
        "name": {"person": "0" * 12, "name": "x"},
        "not": {"person": ANNA, "faces": ["nothing"]},
        "draw": {"photo": "nothing", "box": [0, 0, 100, 100]},
    }.items():
        answer = visit.edit(what, **sent)
        assert answer.status_code == 410, what
        assert "not there any more" in answer.json()["error"]
    assert files(source) == []


HOSTILE = [
    "<script>alert(1)</script>",
    "'\"><img src=x onerror=alert(1)>",
    "محمد",
    "ישראל",
    "李 小龍",
    "नेहा",
    "👩‍👧 Mama",
    "e\u0301",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_of_any_script_and_markup_do_no_harm(name: str, visit: Visitor) -> None:
    visit.done("name", person=ANNA, name=name)
    visit.done("give", faces=visit.faces(BERT)[:1], name=name + "!")
    for path in ("/", f"/people/{ANNA}.html", "/history.html", "/unclustered.html"):
        page = visit.get(path).text
        assert "<script>alert" not in page
        assert "<img src=x" not in page
    assert visit.edit("name", person=CARL, name=name).status_code == 409


@pytest.mark.parametrize("name", ["x" * 10_000, "a\x00b", "a\nb\x1b[31m", 7, None, ["Anna"], "\ud800"])
def test_what_can_be_no_name_is_refused(name: object, visit: Visitor, source: LiveSource) -> None:
    answer = visit.client.post(
        "/api/name",
        content=json.dumps({"person": ANNA, "name": name}),
        headers={"x-muster": "edit", "content-type": "application/json"},
    )
    assert answer.status_code == 400, answer.json()
    assert files(source) == []


def test_a_library_that_may_not_be_written_is_shown_and_says_why(source: LiveSource) -> None:
    visit = visitor(source, readonly="Nothing can be changed here: the disk is read-only.").enter()
    page = visit.get(f"/people/{ANNA}.html").text
    assert "the disk is read-only" in page
    assert "data-edit" not in page
    assert "data-asks" not in page
    answer = visit.edit("name", person=ANNA, name="Anna")
    assert answer.status_code == 503
    assert "read-only" in answer.json()["error"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_an_answer(visit: Visitor, source: LiveSource) -> None:
    assert source.library.local is not None
    os.chmod(source.library.local, 0o500)
    try:
        assert visit.edit("name", person=ANNA, name="Anna").status_code == 503
    finally:
        os.chmod(source.library.local, 0o700)


def test_a_disk_that_is_full_is_an_answer(visit: Visitor, source: LiveSource, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(source.library), "create", full)
    answer = visit.edit("name", person=ANNA, name="Anna")
    assert answer.status_code == 503
    assert "No space left" in answer.json()["error"]
    assert "Anna" not in visit.text("/")


def test_a_ledger_of_a_newer_muster_is_not_written_to(visit: Visitor, source: LiveSource) -> None:
    name = "20200101T000000000000-00000000"
    source.library.write(layout.fact(name), json.dumps({"version": 99, "edit": name}).encode())
    source.library.write(layout.fact(name.replace("00000000", "11111111")), b"{")
    answer = visit.edit("name", person=ANNA, name="Anna")
    assert answer.status_code == 503
    assert "newer Muster" in answer.json()["error"]
    assert "damaged" in visit.text("/history.html")
    assert isinstance(next(iter(Ledger(source.library).problems.values())), Problem)


def test_a_forgotten_photo_leaves_the_pages(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("muster.web.live.album.TABLES_EVERY", 0)
    source = source_of(collection, tmp_path / "library", shard_size=1)
    visit = visitor(source).enter()
    image_id = collection.images[0]["image_id"]
    face = visit.faces(ANNA)[0]
    picture = f"/photos/{image_id[:2]}/{image_id}.jpg"
    assert visit.get(picture).status_code == 200
    source.library.remove(layout.manifest_shard("00000000"))
    assert visit.get(picture).status_code == 404
    assert visit.get(f"/faces/{face[:2]}/{face}.jpg").status_code == 404
    assert "4 photos" in visit.text(f"/people/{ANNA}.html")
    assert visit.edit("not", person=ANNA, faces=[face]).status_code == 410
    assert visit.edit("favourite", photo=image_id).status_code == 410


@pytest.mark.parametrize("what", ["name", "give", "favourite", "merge"])
def test_half_a_letter_is_refused(what: str, visit: Visitor, source: LiveSource) -> None:
    half = "\ud83d"
    sent = json.dumps({"person": ANNA, "other": half, "name": half, "faces": [half], "photo": half}).encode()
    headers = {HEADER: "edit", "content-type": "application/json"}
    assert visit.client.post(f"/api/{what}", content=sent, headers=headers).status_code == 400
    assert not files(source)


def test_nothing_is_said_of_whom_is_being_forgotten_or_was(visit: Visitor, source: LiveSource, tmp_path: Path) -> None:
    """However long ago the tables were read."""
    assert visit.faces(ANNA)
    source.library.write(layout.FORGETTING, b"{}")
    answer = visit.edit("name", person=ANNA, name="Anna")
    assert answer.status_code == 503
    assert "being forgotten" in answer.json()["error"]
    left = Collection()
    left.photo("/photos/carl.jpg", [CARL])
    emptied = source_of(left, tmp_path / "left").library
    for name in source.library.files():
        if name != layout.MARKER:
            source.library.remove(name)
    for name in emptied.files():
        if name != layout.MARKER:
            source.library.write(name, emptied.read_any(name))
    source.library.write(layout.receipt("0" * 32), b"{}")
    assert visit.edit("name", person=ANNA, name="Anna").status_code == 410
    assert not files(source)
    assert visit.done("name", person=CARL, name="Carl")


def test_the_page_of_a_photo_does_not_show_who_is_hidden(visit: Visitor, collection: Collection) -> None:
    page = f"/photo/{collection.images[0]['image_id']}.html"
    assert f"/people/{BERT}.html" in visit.get(page).text
    visit.done("hide", person=BERT)
    assert visit.get(page).status_code == 200
    assert f"/people/{BERT}.html" not in visit.get(page).text
    assert f"/people/{ANNA}.html" in visit.get(page).text


def test_every_edit_has_a_route() -> None:
    routes = {route.path for route in edits.ROUTES}
    assert {f"/api/{edit.__name__}" for edit in edits.EDITS} | {"/api/not"} <= routes
