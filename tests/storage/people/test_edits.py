import contextlib
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.people import A, B, C, face_ref, scene
from muster.errors import InputError
from muster.storage.library import LibraryFiles, open_library
from muster.storage.people import edits, facts
from muster.storage.people.ledger import ContradictionError, Ledger
from muster.storage.people.view import People, Scene


class Desk:
    """A user before a library."""

    def __init__(self, library: LibraryFiles, shown: Scene) -> None:
        self.ledger, self.shown = Ledger(library), shown

    @property
    def people(self) -> People:
        return self.shown.people(self.ledger.known)

    @property
    def who(self) -> list[str | None]:
        return self.people.faces["person_id"].to_pylist()

    def says(self, said: list[facts.Fact]) -> str:
        return self.ledger.record(said).edit_id


@pytest.fixture
def desk(library: LibraryFiles) -> Desk:
    return Desk(library, scene([A, A, A, B, B, C, None]))


def test_a_name_makes_a_cluster_a_person_that_is_found_again(desk: Desk) -> None:
    desk.says(edits.named(desk.people, A, " Anna "))
    [shows, named] = next(iter(desk.ledger.edits.values())).facts
    assert shows == facts.Shows(A, (face_ref(0), face_ref(1), face_ref(2)))  # most certain first
    assert named == facts.Named(A, "Anna")
    other = scene([C, C, C, B, B, A, None])  # of another model
    assert other.people(desk.ledger.known).faces["person_id"].to_pylist()[:3] == [A] * 3
    assert len(edits.named(desk.people, A, "Ann")) == 1  # known by now


def test_a_large_cluster_is_known_by_its_surest_faces(desk: Desk) -> None:
    people = scene([A] * 300).people(desk.ledger.known)
    assert edits.shows(people, A).faces == tuple(map(face_ref, range(edits.MOST)))


def test_merging_keeps_the_older_id_and_the_wanted_name(desk: Desk) -> None:
    desk.says(edits.named(desk.people, B, "Bea"))
    desk.says(edits.merged(desk.people, A, B))
    assert set(desk.who[:5]) == {B}
    assert desk.people.people[B].name == "Bea"
    desk.says(edits.named(desk.people, C, "Carl"))
    desk.says(edits.merged(desk.people, C, B))
    assert set(desk.who[:6]) == {B}
    assert desk.people.people[B].name == "Carl"
    assert set(desk.people.people[B].others) == {A, C}


def test_a_split_makes_a_new_person_and_its_merge_heals_it(desk: Desk) -> None:
    new = edits.new_person()
    desk.says(edits.moved(desk.people, ["i0-0", "i1-0"], new))
    assert desk.who[:3] == [new, new, A]
    desk.says(edits.merged(desk.people, A, new))
    assert set(desk.who[:3]) == {A}


def test_not_this_person(desk: Desk) -> None:
    desk.says(edits.named(desk.people, A, "Anna"))
    desk.says(edits.barred(desk.people, ["i0-0"], A))
    assert desk.who[:3] == [None, A, A]
    with pytest.raises(ContradictionError):
        desk.says(edits.moved(desk.people, ["i0-0", "i1-0"], A))
    desk.says(edits.in_spite(desk.ledger, edits.moved(desk.people, ["i0-0", "i1-0"], A)))
    assert desk.who[:3] == [A, A, A]


def test_in_spite_of_many_facts_only_what_is_meant_is_taken_back(desk: Desk) -> None:
    for face in ("i0-0", "i1-0", "i3-0"):
        desk.says(edits.moved(desk.people, [face], B))
    desk.says(edits.different(desk.people, A, B))
    desk.says(edits.in_spite(desk.ledger, edits.moved(desk.people, ["i0-0", "i1-0", "i2-0"], A)))
    assert desk.who[:5] == [A, A, A, B, B]
    desk.says(edits.in_spite(desk.ledger, edits.merged(desk.people, A, B)))
    assert set(desk.who[:5]) in ({A}, {B})


def test_who_is_hidden_with_others_is_shown_again_alone(desk: Desk) -> None:
    desk.says(edits.hidden(desk.people, [A, B, C]))
    desk.says(edits.hidden(desk.people, [B]))
    desk.says(edits.shown_again(desk.ledger, B))
    assert {each.person_id: each.hidden for each in desk.people.people.values()} == {A: True, B: False, C: True}
    assert edits.shown_again(desk.ledger, B) == []


def test_a_favourite_is_one_until_it_is_none(desk: Desk) -> None:
    photo = desk.people.photos.ref("i3")
    desk.says([facts.Favourite(photo)])
    assert list(desk.ledger.known.favourites) == [photo.sha256]
    desk.says(edits.no_favourite(desk.ledger, photo.sha256))
    assert not desk.ledger.known.favourites


def test_covers_and_births(desk: Desk) -> None:
    desk.says([*edits.cover(desk.people, A, "i2-0")])
    desk.says(edits.born(desk.people, A, "1990-05"))
    assert (desk.people.people[A].cover, desk.people.people[A].born) == ("i2-0", "1990-05")


def test_a_name_is_still_found_when_the_edit_that_introduced_the_person_is_taken_back(desk: Desk) -> None:
    other = scene([C, C, C, B, B, A, None])  # of another model
    first = desk.says(edits.named(desk.people, A, "Anna"))
    desk.says(edits.named(desk.people, A, "Anne"))
    back = desk.says(edits.undone(desk.ledger, first))
    people = other.people(desk.ledger.known)
    assert people.faces["person_id"].to_pylist()[:3] == [A] * 3
    assert people.people[A].name == "Anne"
    assert edits.to_redo(desk.ledger) == desk.ledger.edits[back]
    desk.says(edits.undone(desk.ledger, back))
    assert desk.ledger.known.counts(first)
    assert len(desk.ledger.edits[max(desk.ledger.edits)].facts) == 1


def test_a_name_is_still_found_when_a_merge_is_taken_back_in_spite(desk: Desk) -> None:
    desk.says(edits.merged(desk.people, A, B))
    desk.says([facts.Named(B, "Bea")])
    desk.says(edits.in_spite(desk.ledger, [facts.Different(A, B)]))
    people = scene([C, C, C, A, A, B, None]).people(desk.ledger.known)
    assert people.faces["person_id"].to_pylist()[:5] == [A, A, A, B, B]
    assert people.people[B].name == "Bea"


def test_undo_and_redo_go_back_and_forth(desk: Desk) -> None:
    for name in ("Anna", "Ann", "Annie"):
        desk.says(edits.named(desk.people, A, name))

    def name() -> str:
        return desk.people.people[A].name

    def undo() -> None:
        edit = edits.to_undo(desk.ledger)
        assert edit is not None
        desk.says(edits.undone(desk.ledger, edit.edit_id))

    def redo() -> bool:
        edit = edits.to_redo(desk.ledger)
        if edit is not None:
            desk.says(edits.undone(desk.ledger, edit.edit_id))
        return edit is not None

    assert not redo()
    undo(), undo()
    assert name() == "Anna"
    assert redo()
    assert name() == "Ann"
    undo()
    assert name() == "Anna"
    assert redo()
    assert redo()
    assert not redo()
    assert name() == "Annie"
    undo()
    desk.says(edits.named(desk.people, A, "Anke"))
    assert not redo()
    for _ in range(3):
        undo()
    assert edits.to_undo(desk.ledger) is None
    assert name() == ""


@pytest.mark.parametrize(
    "say",
    [
        lambda people: edits.named(people, "0" * 12, "Nobody"),
        lambda people: edits.named(people, A, "\x07"),
        lambda people: edits.merged(people, A, A),
        lambda people: edits.different(people, A, A),
        lambda people: edits.moved(people, ["gone"], A),
        lambda people: edits.cover(people, A, "gone"),
        lambda people: edits.born(people, A, "tomorrow"),
    ],
)
def test_what_makes_no_sense_is_refused(desk: Desk, say) -> None:
    with pytest.raises(InputError):
        say(desk.people)


steps = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 10**6), st.integers(0, 10**6)), max_size=12)


@settings(max_examples=25)
@given(steps)
@example([(6, 0, 1), (0, 0, 0), (1, 0, 1)])  # what an edit took back counts again, with whom it speaks of
def test_whatever_is_done_can_be_undone_to_the_beginning(tmp_path_factory: pytest.TempPathFactory, steps) -> None:
    library = open_library(Path(tmp_path_factory.mktemp("steps")) / "L", create=True)
    desk = Desk(library, scene([A, A, A, B, B, C, None]))
    before = desk.people
    for what, one, two in steps:
        people = desk.people
        ids = [each.person_id for each in people.people.values() if each.person_id in desk.who]
        faces = people.faces["face_id"].to_pylist()
        a, b, face = ids[one % len(ids)], ids[two % len(ids)], faces[two % len(faces)]
        kinds = (
            (edits.named, a, f"N{two}"),
            (edits.merged, a, b),
            (edits.moved, [face], a),
            (edits.barred, [face], a),
            (edits.hidden, [a]),
            (edits.moved, [face], edits.new_person()),
            (edits.different, a, b),
        )
        say, *given = kinds[what]
        with contextlib.suppress(InputError):
            desk.says(edits.in_spite(desk.ledger, say(people, *given)))  # type: ignore[operator]
        assert not desk.ledger.known.conflicts
    while edit := edits.to_undo(desk.ledger):
        desk.says(edits.undone(desk.ledger, edit.edit_id))
    assert desk.people.faces.equals(before.faces)
    assert desk.people.people == before.people
