import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.storage.people.boxes import SAME_FACE, matched, matched_pairs, overlap

sides = st.tuples(st.integers(0, 8), st.integers(0, 8), st.integers(1, 5), st.integers(1, 5))
boxes = sides.map(lambda s: (float(s[0]), float(s[1]), float(s[0] + s[2]), float(s[1] + s[3])))


def test_overlap_is_what_both_have_of_what_one_has() -> None:
    assert overlap((0, 0, 2, 2), (0, 0, 2, 2)) == 1
    assert overlap((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert overlap((0, 0, 2, 2), (2, 0, 4, 2)) == 0


@given(boxes, boxes)
def test_overlap_knows_no_order(a, b) -> None:
    assert overlap(a, b) == overlap(b, a)
    assert 0 <= overlap(a, b) <= 1


@given(st.lists(boxes, max_size=5), st.lists(boxes, max_size=5))
def test_each_box_goes_with_one_and_the_best_first(first, second) -> None:
    found = matched(first, second, SAME_FACE)
    assert len(set(found.values())) == len(found)
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            mine = overlap(a, second[found[i]]) if i in found else 0
            other = max((overlap(first[k], b) for k, v in found.items() if v == j), default=0)
            assert overlap(a, b) < SAME_FACE or overlap(a, b) <= max(mine, other)


@given(st.lists(st.tuples(st.lists(boxes, max_size=4), st.lists(boxes, max_size=4)), max_size=4))
def test_many_photos_at_once_are_matched_as_each_alone(photos) -> None:
    first = [box for one, _ in photos for box in one]
    second = [box for _, other in photos for box in other]
    expected, pairs, i0, j0 = {}, [], 0, 0
    for one, other in photos:
        expected |= {i0 + i: j0 + j for i, j in matched(one, other, SAME_FACE).items()}
        pairs += [(i0 + i, j0 + j) for i in range(len(one)) for j in range(len(other))]
        i0, j0 = i0 + len(one), j0 + len(other)
    places = np.array(pairs, np.int64).reshape(-1, 2)
    arrays = np.array(first).reshape(-1, 4), np.array(second, np.float32).reshape(-1, 4)
    i, j = matched_pairs(*arrays, (places[:, 0], places[:, 1]), SAME_FACE)
    assert dict(zip(i.tolist(), j.tolist(), strict=True)) == expected
