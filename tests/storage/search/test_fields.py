import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from muster.storage.search.fields import field_of


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(-1, 4))))
def test_a_group_marks_its_photos_and_no_others(pairs: list[tuple[int, int]]) -> None:
    rows, groups = np.array(pairs, np.int64).reshape(-1, 2).T
    field = field_of("x", list("abcde"), (rows, groups))
    for group, value in enumerate(field.values):
        photos = np.zeros(20, bool)
        field.mark(field.find(value), photos)
        assert set(np.flatnonzero(photos)) == {row for row, own in pairs if own == group}


def test_what_is_called_so_goes_before_what_has_it_as_a_part() -> None:
    nothing = (np.zeros(0, np.int64), np.zeros(0, np.int64))
    names = [["Anna"], ["Anna Maria Schmidt"], ["Maria"]]
    people = field_of("person", ["0", "1", "2"], nothing, names, "else")
    assert (people.find("anna"), people.find("anna maria"), people.find("schmidt"), people.find("x")) == (
        (0,),
        (1,),
        (1,),
        (),
    )
    folders = field_of("folder", ["0", "1", "2"], nothing, names, "also")
    assert folders.find("anna") == (0, 1)
    places = field_of("place", ["0", "1", "2"], nothing, names)
    assert places.find("schmidt") == ()


def test_names_that_are_empty_name_nothing() -> None:
    field = field_of("person", ["0"], (np.zeros(1, np.int64), np.zeros(1, np.int64)), [["", "…"]], "also")
    assert field.find("") == ()
    assert list(field.known) == []
