import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.storage.photos.pixels import perceptual_hash, upright
from muster.tasks.photos import hashes
from muster.tasks.photos.hashes import Near, near, turned

UINT64 = st.integers(0, 2**64 - 1)


def as_array(values: list[int]) -> hashes.U64:
    return np.array(values, np.uint64)


def rows_of(pairs: Near) -> set[tuple[int, int, int, int]]:
    return set(zip(*(column.tolist() for column in pairs), strict=True))


def slowly(some: hashes.U64, bits: int) -> set[tuple[int, int, int, int]]:
    """Every pair, compared in every orientation that is looked for."""
    found = set()
    for turn in (1, 8, *hashes.TURNS):
        distances = np.bitwise_count(turned(some, turn)[:, None] ^ some[None, :])
        for first, second in np.argwhere(distances <= bits).tolist():
            if first < second and (turn == 1 or some[first] != some[second]):
                found.add((first, second, turn, int(distances[first, second])))
    return found


@given(UINT64, st.sampled_from([1, 2, 3, 4, 5, 7]))
def test_most_turns_undo_themselves(value: int, turn: int) -> None:
    assert turned(turned(as_array([value]), turn), turn).tolist() == [value]


@given(UINT64)
def test_the_turns_on_a_side_undo_each_other(value: int) -> None:
    assert turned(turned(as_array([value]), 6), 8).tolist() == [value]


@given(UINT64, UINT64, st.sampled_from(range(1, 9)))
def test_turning_both_keeps_their_distance(one: int, other: int, turn: int) -> None:
    before, after = as_array([one, other]), turned(as_array([one, other]), turn)
    assert np.bitwise_count(before[0] ^ before[1]) == np.bitwise_count(after[0] ^ after[1])


@pytest.mark.parametrize("turn", range(1, 9))
def test_the_hash_of_a_turned_photo_is_known_without_it(turn: int) -> None:
    """But for a few bits, and more in noise than in photos; that of another differs in about 32."""
    distances = []
    for seed in range(20):
        pixels = np.random.default_rng(seed).integers(0, 256, (9, 13, 3), np.uint8).repeat(20, 0).repeat(20, 1)
        one, other = (perceptual_hash(np.ascontiguousarray(each)) for each in (pixels, upright(pixels, turn)))
        there = turned(np.array([one]).view(np.uint64), turn)
        distances.append(int(np.bitwise_count(there ^ np.array([other]).view(np.uint64))[0]))
    assert np.mean(distances) < 8
    assert max(distances) <= 16


@given(st.lists(UINT64, min_size=1, max_size=4), st.lists(st.tuples(st.integers(0, 3), st.integers(1, 8)), max_size=12))
def test_pairs_a_few_bits_apart_are_all_found(some: list[int], copies: list[tuple[int, int]]) -> None:
    """Up to 5 bits, in any orientation: at least 2 of 7 bands, and 3 of 9, are as they were."""
    all_of_them = as_array(some + [some[which % len(some)] for which, _ in copies])
    all_of_them[len(some) :] = [int(turned(all_of_them[[k % len(some)]], turn)[0]) for k, turn in copies]
    assert rows_of(near(all_of_them, 5)) == slowly(all_of_them, 5)


def test_nearly_all_pairs_up_to_eight_bits_apart_are_found_and_no_others() -> None:
    rng = np.random.default_rng(3)
    first = rng.integers(0, 2**64, 400, np.uint64)
    flips = np.array([sum(1 << int(bit) for bit in rng.choice(64, n % 9, False)) for n in range(400)], np.uint64)
    some = np.concatenate([first, first ^ flips])
    expected, found = slowly(some, 8), rows_of(near(some, 8))
    assert found <= expected
    assert len(found) > 0.97 * len(expected)


@given(st.lists(st.sampled_from([0, 1, 2**63, 2**64 - 1, 0xF0F0F0F0F0F0F0F0]), max_size=8))
def test_the_order_of_rows_does_not_count(some: list[int]) -> None:
    order = np.random.default_rng(len(some)).permutation(len(some))
    pairs = {(some[a], some[b]) for a, b, _, _ in rows_of(near(as_array(some), 4))}
    again = {(some[order[a]], some[order[b]]) for a, b, _, _ in rows_of(near(as_array(some)[order], 4))}
    assert {frozenset(pair) for pair in pairs} == {frozenset(pair) for pair in again}


def test_equal_hashes_are_pairs_once() -> None:
    assert rows_of(near(as_array([7, 7, 7]), 0)) >= {(0, 1, 1, 0), (0, 2, 1, 0), (1, 2, 1, 0)}
    assert len(near(as_array([7, 7, 7]), 0).first) == 3


def test_nothing_is_near_nothing() -> None:
    assert rows_of(near(as_array([]), 8)) == set()
    assert rows_of(near(as_array([5]), 8)) == set()


def test_a_hash_that_very_many_have_makes_no_square_of_pairs() -> None:
    many, other = 3000, 0xFF
    found = near(as_array([0] * many + [other]), 8)
    assert len(found.first) <= many * hashes.MOST_EQUAL + hashes.MOST_EQUAL * 6
    assert set(found.first.tolist()) | set(found.second.tolist()) == set(range(many + 1))
