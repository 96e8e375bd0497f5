"""Perceptual hashes of photos, as they are and as they would be of the photo turned, and the pairs that are near.

A hash is 64 bits of an 8×8 block of DCT coefficients, the most significant bit first, row by row: row r and column c
are the frequencies r + 1 and c + 1 down and across (muster.storage.photos.pixels.perceptual_hash). The DCT-II of a
mirrored signal is the signal's own with the odd frequencies negated, and that of a transposed picture is the
transposed block. So the hash of a turned photo is known without it, but for the bits of coefficients near the median.

Near pairs are found by bands: the bits are cut into bands, and hashes that agree in a few whole bands are compared. It
is the lookup of Norouzi et al., Fast Exact Search in Hamming Space with Multi-Index Hashing (2014), with sorted keys
for tables, and with several bands in one key, so that a key is rare among a million.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations, islice
from typing import Any, NamedTuple

import numpy as np

from muster.arrays import I64, U8, Bools, Ints

U64 = np.ndarray[Any, np.dtype[np.uint64]]

TURNS = (2, 3, 4, 6)  # that are looked for, as EXIF counts them: mirrored, on its head, both, on its side; 8 undoes 6
# Bands, and how many of them make a key. Of pairs up to 8 bits apart (170 photos, 22 changed copies of each), 9 by 3
# finds 99.5 %, and 7 by 2 finds 98 % of the turned ones; 10 by 3 would find all of both, with 1.4 and 6 times the work.
_UPRIGHT, _TURNED = (9, 3), (7, 2)
MOST_EQUAL = 128  # of photos with one hash, as all blank ones have: 20,000 of them would be 200 million pairs
_ROW_BITS = 26  # of a sorted key, its row; the 38 bits that are left tell keys apart
_ROW = (1 << _ROW_BITS) - 1
_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2⁶⁴ over the golden ratio: multiplied by it, all bits count in the upper ones
_THREADS = 2  # numpy sorts without Python's lock


class Near(NamedTuple):
    """Pairs of rows, `first` < `second`, both (P,) int64, in this order: the first, turned by the EXIF `orientation`
    (P,) uint8, is `distance` (P,) uint8 bits from the second."""

    first: I64
    second: I64
    orientation: U8
    distance: U8

    def part(self, rows: Ints | Bools) -> "Near":
        return Near(self.first[rows], self.second[rows], self.orientation[rows], self.distance[rows])


def turned(hashes: U64, orientation: int) -> U64:
    """The hashes (N,) of the same photos, turned as EXIF orientation 1..8 asks for (storage.photos.pixels.upright)."""
    bits = np.unpackbits(hashes.astype(">u8").view(np.uint8).reshape(-1, 8), axis=1).reshape(-1, 8, 8)
    odd = np.arange(8) % 2 == 0  # row 0 is frequency 1
    flipped = np.zeros((8, 8), np.bool_)
    if orientation >= 5:
        bits = bits.swapaxes(1, 2)
    if orientation in (3, 4, 7, 8):
        flipped ^= odd[:, None]
    if orientation in (2, 3, 6, 7):
        flipped ^= odd[None, :]
    packed = np.packbits((bits ^ flipped).reshape(-1, 64), axis=1)
    return packed.view(">u8")[:, 0].astype(np.uint64)


def near(hashes: U64, bits: int) -> Near:
    """Nearly all pairs of hashes (N,) up to so many bits apart, as they are or turned: see `_UPRIGHT`.

    A pair may be near in several orientations, and has a row for each; not so pairs of equal hashes. Of a hash that
    many photos have, each is in pairs with the next `MOST_EQUAL`, and as many stand for all beside other hashes.
    """
    distinct, place = np.unique(hashes, return_inverse=True)
    pairs = _near(distinct, bits)
    rows = np.argsort(place, kind="stable")
    begin = np.searchsorted(place[rows], np.arange(len(distinct) + 1))
    equal = [(rows[at], rows[at + step]) for at, step in islice(_runs(place[rows]), MOST_EQUAL)]
    first, second, which = _products(pairs, rows, begin)
    turn, distance = pairs.orientation[which], pairs.distance[which]
    turn = np.where(first < second, turn, np.array([0, 1, 2, 3, 4, 5, 8, 7, 6], np.uint8)[turn])  # the other way round
    ones, others = _all(one for one, _ in equal), _all(other for _, other in equal)
    found = Near(
        np.concatenate([np.minimum(first, second), np.minimum(ones, others)]),
        np.concatenate([np.maximum(first, second), np.maximum(ones, others)]),
        np.concatenate([turn, np.ones(len(ones), np.uint8)]),
        np.concatenate([distance, np.zeros(len(ones), np.uint8)]),
    )
    return found.part(np.lexsort((found.orientation, found.second, found.first)))


def _products(pairs: Near, rows: I64, begin: I64) -> tuple[I64, I64, I64]:
    """Pairs of distinct hashes as pairs of the rows that have them, and which pair each is of. `rows`: by their hash;
    `begin`: where each hash begins among them."""
    many = np.minimum(np.diff(begin), MOST_EQUAL)
    sizes = many[pairs.first] * many[pairs.second]
    which = np.repeat(np.arange(len(sizes)), sizes)
    within = np.arange(len(which)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    across = many[pairs.second][which]
    first = rows[begin[pairs.first][which] + within // np.maximum(across, 1)]
    second = rows[begin[pairs.second][which] + within % np.maximum(across, 1)]
    return first, second, which


def _near(hashes: U64, bits: int) -> Near:
    """`near`, of hashes that are all different."""
    if len(hashes) > _ROW:
        raise ValueError(f"{len(hashes)} hashes are too many: at most {_ROW}")
    others = {turn: turned(hashes, turn) for turn in TURNS}
    upright = _over_masks(lambda mask: _upright(hashes, mask, bits), *_UPRIGHT)
    sideways = _over_masks(lambda mask: _sideways(hashes, others, mask, bits), *_TURNED)
    packed = np.unique(np.concatenate([upright, sideways]))
    first, second, turn = packed >> (_ROW_BITS + 4), packed >> 4 & _ROW, (packed & 15).astype(np.uint8)
    distance = np.empty(len(packed), np.uint8)
    for each in (1, 8, *TURNS):
        at = turn == each
        distance[at] = np.bitwise_count(turned(hashes[first[at]], each) ^ hashes[second[at]])
    return Near(first, second, turn, distance)


def _upright(hashes: U64, mask: np.uint64, bits: int) -> I64:
    """Pairs with one key under this mask, each as one number: first, second, orientation."""
    keys, rows = _sorted(hashes, mask)
    mine = hashes[rows]  # in this order, so that what is compared lies together
    return _all(_close((mine, rows, at), (mine, rows, at + step), 1, bits) for at, step in _runs(keys))


def _sideways(hashes: U64, others: dict[int, U64], mask: np.uint64, bits: int) -> I64:
    """The same, of `others`: orientation → the hashes of the photos turned by it."""
    keys, rows = _sorted(hashes, mask)
    mine, found = hashes[rows], list[I64]()
    for turn, turned_ones in others.items():
        sought, owners = _sorted(turned_ones, mask)
        theirs = turned_ones[owners]
        found += [_close((theirs, owners, i), (mine, rows, at), turn, bits) for i, at in _meetings(sought, keys)]
    return _all(found)


def _close(one: tuple[U64, I64, I64], other: tuple[U64, I64, I64], turn: int, bits: int) -> I64:
    """Those of some pairs up to so many bits apart: of two rows, each once, the lesser row first.

    `one`, `other`: hashes, the row of each, and which of them are the pairs.
    """
    kept = np.bitwise_count(one[0][one[2]] ^ other[0][other[2]]) <= bits
    first, second = one[1][one[2][kept]], other[1][other[2][kept]]
    undone = 8 if turn == 6 else turn  # all others undo themselves
    turns = np.where(first < second, turn, undone)
    packed = (np.minimum(first, second) << _ROW_BITS | np.maximum(first, second)) << 4 | turns
    return packed[first != second]


# ---- bands -----------------------------------------------------------------------------------------------------------


def _over_masks(by: Callable[[np.uint64], I64], bands: int, together: int) -> I64:
    """What `by` finds with all keys: masks of so many of the bands `together`."""
    parts = [sum(1 << int(bit) for bit in band) for band in np.array_split(np.arange(64), bands)]
    masks = [np.uint64(sum(chosen)) for chosen in combinations(parts, together)]
    with ThreadPoolExecutor(_THREADS) as pool:
        return np.unique(_all(pool.map(by, masks)))


def _sorted(hashes: U64, mask: np.uint64) -> tuple[U64, I64]:
    """The keys of hashes under a mask, sorted, and their rows. Both are sorted as one number: numpy does it many times
    as fast as argsort."""
    packed = (hashes & mask) * _MIX & np.uint64(~_ROW & (1 << 64) - 1) | np.arange(len(hashes), dtype=np.uint64)
    packed.sort()
    return packed >> np.uint64(_ROW_BITS), (packed & np.uint64(_ROW)).astype(np.int64)


def _runs(keys: Ints) -> Iterator[tuple[I64, int]]:
    """Places `at` with the same key `step` places on, for each step: all pairs of equal keys."""
    at, step = np.arange(len(keys)), 0
    while len(at):
        step += 1
        at = at[: np.searchsorted(at, len(keys) - step)]
        at = at[keys[at] == keys[at + step]]
        yield at, step


def _meetings(sought: U64, keys: U64) -> Iterator[tuple[I64, I64]]:
    """Places in `sought` and in `keys`, both sorted, with the same key: all pairs."""
    at, i = np.searchsorted(keys, sought), np.arange(len(sought))
    while len(i):
        inside = np.searchsorted(at, len(keys))
        i, at = i[:inside], at[:inside]
        same = sought[i] == keys[at]
        i, at = i[same], at[same]
        yield i, at
        at = at + 1


def _all(parts: Iterable[I64]) -> I64:
    return np.concatenate([np.empty(0, np.int64), *parts])
