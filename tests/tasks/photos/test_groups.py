from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.arrays import I64
from muster.tasks.photos.groups import chains, stars

PAIRS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=25)
Grouping = Callable[[I64, I64, int], I64]
BOTH = pytest.mark.parametrize("grouping", [stars, chains])


def group(grouping: Grouping, pairs: list[tuple[int, int]], count: int = 10) -> set[frozenset[int]]:
    first, second = np.array(pairs, np.int64).reshape(-1, 2).T
    labels = grouping(first, second, count)
    assert labels.shape == (count,)
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in set(labels.tolist()) - {-1}}


@BOTH
@given(pairs=PAIRS, seed=st.integers(0, 99))
def test_the_order_of_pairs_and_of_their_sides_does_not_count(
    grouping: Grouping, pairs: list[tuple[int, int]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    shuffled = [pairs[i] if rng.integers(2) else pairs[i][::-1] for i in rng.permutation(len(pairs))]
    assert group(grouping, pairs) == group(grouping, shuffled + pairs[:3])


@BOTH
@given(pairs=PAIRS)
def test_groups_have_several_members_and_whoever_is_alone_none(
    grouping: Grouping, pairs: list[tuple[int, int]]
) -> None:
    found = group(grouping, pairs)
    assert all(len(each) > 1 for each in found)
    assert sum(map(len, found)) == len(frozenset().union(*found))
    linked = {node for one, other in pairs if one != other for node in (one, other)}
    assert frozenset().union(*found) <= linked


@given(pairs=PAIRS)
def test_a_star_has_a_photo_that_all_others_of_it_are_like(pairs: list[tuple[int, int]]) -> None:
    linked = {frozenset(pair) for pair in pairs}
    for each in group(stars, pairs):
        assert any(all(frozenset((centre, other)) in linked for other in each - {centre}) for centre in each)


def test_a_chain_is_cut_and_the_photo_with_most_others_comes_first() -> None:
    chain = [(0, 1), (1, 2), (2, 3), (3, 4), (2, 5)]
    assert group(stars, chain) == {frozenset({1, 2, 3, 5})}
    assert group(chains, chain) == {frozenset(range(6))}


def test_of_equals_the_lesser_row_is_first() -> None:
    assert group(stars, [(0, 1), (1, 2), (2, 3)]) == {frozenset({0, 1, 2})}


@BOTH
def test_nothing_to_group(grouping: Grouping) -> None:
    assert group(grouping, [], 0) == set()
    assert group(grouping, [], 3) == set()
    assert group(grouping, [(1, 1)], 3) == set()
