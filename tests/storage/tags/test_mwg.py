import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.regions import upright
from muster.storage.tags.mwg import Frame, mark, overlap, stored_area

SIDES = st.tuples(st.integers(0, 59), st.integers(0, 39), st.integers(1, 60), st.integers(1, 40))


@given(SIDES, st.integers(1, 8))
def test_a_box_goes_back_to_where_it_is_stored(sides: tuple[int, int, int, int], orientation: int) -> None:
    """Pillow says what is upright."""
    box = (sides[0], sides[1], min(60, sides[0] + sides[2]), min(40, sides[1] + sides[3]))
    frame = Frame(*((40, 60) if orientation >= 5 else (60, 40)), orientation)
    assert frame.stored == (60, 40)
    area = stored_area(upright(box, (60, 40), orientation), frame)
    x0, y0, x1, y1 = box
    assert area == pytest.approx(((x0 + x1) / 120, (y0 + y1) / 80, (x1 - x0) / 60, (y1 - y0) / 40), abs=1e-6)


def test_what_lies_outside_has_no_place() -> None:
    frame = Frame(60, 40)
    for box in ((60, 0, 70, 10), (-5, -5, 0, 0), (10, 10, 10, 20), (20, 10, 10, 20)):
        assert stored_area(box, frame) is None
    assert stored_area((-60, -40, 120, 80), frame) == (0.5, 0.5, 1.0, 1.0)


def test_overlap() -> None:
    assert overlap((0.5, 0.5, 0.2, 0.2), (0.5, 0.5, 0.2, 0.2)) == pytest.approx(1)
    assert overlap((0.5, 0.5, 0.2, 0.2), (0.6, 0.5, 0.2, 0.2)) == pytest.approx(1 / 3)
    assert overlap((0.5, 0.5, 0.2, 0.2), (0.8, 0.5, 0.2, 0.2)) == 0
    assert overlap((0.5, 0.5, 0, 0), (0.5, 0.5, 0, 0)) == 0


@pytest.mark.parametrize(
    ("applied_to", "orientation", "upright_already"),
    [
        ((400, 600), 6, False),
        ((600, 400), 6, True),
        ((300, 200), 8, True),
        ((500, 500), 6, False),
        ((600, 400), 3, False),
        ((), 6, False),
    ],
)
def test_a_list_is_upright_where_only_that_fits(
    applied_to: tuple[int, ...], orientation: int, upright_already: bool
) -> None:
    frame = Frame(600, 400, orientation)
    assert frame.of(applied_to) == (Frame(600, 400) if upright_already else frame)


def test_a_mark_is_of_a_name_a_place_and_a_writer() -> None:
    area = (0.1, 0.2, 0.3, 0.4)
    marks = {
        mark(*each) for each in [("a", area, "w"), ("b", area, "w"), ("a", (0.1, 0.2, 0.3, 0.5), "w"), ("a", area, "v")]
    }
    assert len(marks) == 4
    assert mark("a", (0.1 + 1e-9, 0.2, 0.3, 0.4), "w") in marks
