from helpers.people import A, face_ref
from muster.storage.people import facts
from muster.storage.people.numbers import Numbers


def test_one_face_has_one_number_whatever_edit_names_it() -> None:
    numbers = Numbers()
    assert numbers.of("1", [facts.Is(A, (face_ref(1), face_ref(2))), facts.Hidden(A)]) == ((0, 1), ())
    assert numbers.of("2", [facts.Missed(face_ref(2, (11, 11, 52, 49))), facts.Missed(face_ref(3))]) == ((1,), (2,))
    assert len(numbers) == 3


def test_a_copy_grows_by_itself() -> None:
    numbers = Numbers()
    numbers.of("1", [facts.Missed(face_ref(1))])
    copy = numbers.copy()
    copy.of("2", [facts.Missed(face_ref(1, (100, 100, 150, 150)))])
    assert (len(numbers), len(copy)) == (1, 2)
    assert numbers.of("2", [facts.Missed(face_ref(7))]) == ((1,),)


def test_numbers_are_those_of_a_history_that_goes_on_and_of_no_other() -> None:
    numbers = Numbers()
    for edit in "13":
        numbers.of(edit, [])
    assert numbers.known(["1", "3", "4"])
    assert not numbers.known(["1", "2", "3"])
    assert not numbers.known(["1"])
