import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.people import A, B, C, D, edit_id, face_ref, is_, is_not, photo_ref, said, shows
from muster.storage.people import facts
from muster.storage.people.facts import Fact
from muster.storage.people.known import Known

EDITS = [edit_id(number) for number in range(40)]


def test_people_are_what_is_said_of_them() -> None:
    known = said(
        [shows(A, 1, 2), facts.Named(A, "Anna")],
        [facts.Born(A, "1990"), facts.Cover(A, face_ref(2))],
        [facts.Hidden(B)],
    )
    anna, hidden = known.people.values()
    assert (anna.name, anna.born, anna.hidden, anna.since) == ("Anna", "1990", False, EDITS[0])
    assert known.faces[anna.cover] == face_ref(2)
    assert (hidden.person_id, hidden.name, hidden.hidden, hidden.cover) == (B, "", True, None)


def test_one_person_has_one_id_name_and_cover_and_keeps_the_others() -> None:
    known = said(
        [facts.Named(A, "Anna")],
        [facts.Named(B, "Annie"), facts.Born(B, "1990")],
        [facts.Same(A, B)],
        [facts.Same(C, A)],
        [facts.Cover(B, face_ref(1))],
    )
    assert [known.person(each) for each in (A, B, C, D)] == [C, C, C, D]
    [person] = known.people.values()
    assert (person.person_id, person.name, person.born, set(person.others)) == (C, "Anna", "1990", {A, B})
    assert person.cover == 0


def test_a_name_taken_away_is_not_one_that_nobody_gave() -> None:
    known = said([facts.Named(A, "Anna")], [facts.Named(A, "")], [facts.Hidden(B)])
    assert [(each.name, each.nameless) for each in known.people.values()] == [("", True), ("", False)]


CONTRADICTIONS = [
    ([is_(A, 1)], [is_(B, 2, 1)]),
    ([is_(A, 1)], [is_not(A, 1)]),
    ([is_not(A, 1)], [is_(A, 1)]),
    ([facts.Different(A, B)], [facts.Same(A, B)]),
    ([facts.Different(A, B)], [facts.Same(B, A)]),
    ([facts.Same(A, B)], [facts.Different(A, B)]),
    ([is_(A, 1), is_not(B, 1)], [facts.Same(A, B)]),
]


@pytest.mark.parametrize(("before", "after"), CONTRADICTIONS)
def test_a_contradiction_names_the_edit_and_counts_for_nothing(before: list[Fact], after: list[Fact]) -> None:
    known = said([facts.Named(C, "Carl")], before, after)
    [conflict] = known.conflicts
    assert (conflict.by, conflict.edit) == (EDITS[2], EDITS[1])
    assert conflict.fact == after[0]
    assert EDITS[1] in str(conflict)
    assert "contradicts" in str(conflict)
    without = said([facts.Named(C, "Carl")], before)
    assert (known.people, known.is_, known.is_not) == (without.people, without.is_, without.is_not)


@pytest.mark.parametrize(
    ("before", "merge", "after"),
    [
        ([is_(A, 1)], [facts.Same(C, A)], [is_(B, 1)]),
        ([is_(A, 1)], [facts.Same(A, C)], [is_not(C, 1)]),
        ([is_not(A, 1)], [facts.Same(C, A)], [is_(C, 1)]),
        ([facts.Different(A, B)], [facts.Same(A, C)], [facts.Same(C, B)]),
        ([facts.Different(A, B)], [facts.Same(C, A), facts.Same(D, B)], [facts.Same(D, C)]),
        ([is_(A, 1), is_not(B, 1)], [facts.Same(C, A), facts.Same(D, B)], [facts.Same(C, D)]),
    ],
)
def test_contradictions_are_found_across_merges(before: list[Fact], merge: list[Fact], after: list[Fact]) -> None:
    [conflict] = said(before, merge, after).conflicts
    assert (conflict.edit, conflict.by) == (EDITS[0], EDITS[2])


def test_that_two_are_different_contradicts_the_merge_that_made_them_one() -> None:
    [conflict] = said([facts.Same(A, B)], [facts.Same(A, C)], [facts.Different(B, C)]).conflicts
    assert isinstance(conflict.against, facts.Same)
    assert conflict.edit in EDITS[:2]


def test_a_person_is_not_different_from_themselves() -> None:
    assert said([facts.Different(A, A)]).conflicts


def test_no_contradiction_in_saying_a_thing_twice() -> None:
    twice = [[is_(A, 1)], [is_not(B, 1)], [facts.Different(A, B)], [facts.Named(A, "A")], [facts.Hidden(C)]]
    assert not said(*twice, *twice).conflicts


def test_a_conflict_tells_all_faces_that_one_edit_says_it_of() -> None:
    [conflict] = said([is_(A, 1, 2, 3)], [is_(B, 1, 2, 4)]).conflicts
    assert conflict.against == is_(A, 1, 2)


def test_a_face_with_a_box_a_bit_elsewhere_is_the_same_face() -> None:
    near, other = face_ref(1, (12, 9, 53, 48)), face_ref(1, (60, 10, 100, 50))
    known = said([is_(A, 1)], [facts.Is(B, (near,))])
    assert len(known.conflicts) == 1
    assert not said([is_(A, 1)], [facts.Is(B, (other,))]).conflicts


def test_what_is_taken_back_counts_no_more_and_what_takes_back_is_taken_back_too() -> None:
    edits = [[facts.Named(A, "Anna")], [facts.TakeBack(EDITS[0])], [facts.TakeBack(EDITS[1])]]
    assert said(*edits[:1]).people[A].name == "Anna"
    assert said(*edits[:2]) == said([]) or not said(*edits[:2]).people
    assert said(*edits).people[A].name == "Anna"
    assert [said(*edits).counts(edit) for edit in EDITS[:3]] == [True, False, True]


def test_an_edit_is_taken_back_of_some_faces() -> None:
    known = said([is_(A, 1, 2), is_not(B, 1)], [facts.TakeBack(EDITS[0], (face_ref(1),))], [is_(C, 1)])
    assert not known.conflicts
    assert {known.faces[face].photo: who for face, who in known.is_.items()} == {photo_ref(1): C, photo_ref(2): A}
    assert not known.is_not


def test_a_merge_that_is_taken_back_leaves_both_as_they_were() -> None:
    before = [[facts.Named(A, "Anna"), is_(A, 1)], [facts.Named(B, "Bob"), is_(B, 2)]]
    known = said(*before, [facts.Same(A, B)], [facts.TakeBack(EDITS[2])])
    assert (known.people, known.is_) == (said(*before).people, said(*before).is_)


def test_nothing_takes_back_what_came_after_it_or_is_not_there() -> None:
    known = said(
        [facts.TakeBack(EDITS[1])], [facts.Named(A, "Anna")], [facts.TakeBack("20990101T000000000000-00000000")]
    )
    assert known.people[A].name == "Anna"


def test_faces_that_are_spoken_of_no_more_are_gone_though_their_numbers_stay() -> None:
    known = said([is_(A, 1)], [is_(A, 2)], [facts.TakeBack(EDITS[0])])
    assert known.faces == [None, face_ref(2)]


def test_a_face_drawn_anew_is_where_it_was_drawn_last() -> None:
    first, better = face_ref(1, (10, 10, 50, 50)), face_ref(1, (12, 12, 58, 58))
    known = said([facts.Missed(first)], [facts.TakeBack(EDITS[0])], [facts.Missed(better)])
    [number] = known.missed
    assert known.faces[number] == better


def test_faces_of_a_cluster_vote_for_nobody_else_than_who_they_are_said_to_be() -> None:
    known = said([shows(A, 1, 2, 3)], [is_(B, 1)], [is_not(A, 2)])
    assert known.votes == {A: [2], B: [0]}


people, numbers = st.sampled_from([A, B, C, D]), st.lists(st.integers(0, 5), min_size=1, max_size=3)
anything = st.one_of(
    st.builds(lambda p, n: is_(p, *n), people, numbers),
    st.builds(lambda p, n: is_not(p, *n), people, numbers),
    st.builds(lambda p, n: shows(p, *n), people, numbers),
    st.builds(facts.Same, people, people),
    st.builds(facts.Different, people, people),
    st.builds(facts.Named, people, st.sampled_from(["Anna", "Bob", ""])),
    st.builds(facts.Hidden, people),
    st.builds(lambda n: facts.TakeBack(EDITS[n]), st.integers(0, 11)),
    st.builds(lambda n, f: facts.TakeBack(EDITS[n], tuple(map(face_ref, f))), st.integers(0, 11), numbers),
)
histories = st.lists(st.lists(anything, min_size=1, max_size=3), max_size=12)


@given(histories)
def test_no_history_says_two_things_of_one_face(history: list[list[Fact]]) -> None:
    known = said(*history)
    assert not {(face, who) for face, who in known.is_.items()} & known.is_not
    assert all(len(pair) == 2 for pair in known.different)
    assert {known.person(each) for each in known.people} == set(known.people)


@given(histories)
def test_edit_by_edit_it_is_the_same(history: list[list[Fact]]) -> None:
    known = Known()
    for number, facts_of in enumerate(history):
        if any(isinstance(fact, facts.TakeBack) for fact in facts_of):
            known = Known.of(dict(zip(EDITS, history[: number + 1], strict=False)), known)
        else:
            known = known.and_then(EDITS[number], facts_of)
    whole = said(*history)
    for name in (
        "faces",
        "people",
        "is_",
        "is_not",
        "shows",
        "votes",
        "different",
        "missed",
        "favourites",
        "taken_back",
    ):
        assert getattr(known, name) == getattr(whole, name), name
    assert list(map(str, known.conflicts)) == list(map(str, whole.conflicts))


@given(histories)
def test_with_everything_taken_back_nothing_is_said(history: list[list[Fact]]) -> None:
    undone = [[facts.TakeBack(EDITS[number])] for number in reversed(range(len(history)))]
    known = said(*history, *undone)
    assert not known.people
    assert not known.conflicts
    assert not any(known.faces)


@given(histories)
def test_every_fact_can_be_said_in_words(history: list[list[Fact]]) -> None:
    known = said(*history)
    for fact in (fact for edit in history for fact in edit):
        assert 5 < len(known.sentence(fact)) < 300
