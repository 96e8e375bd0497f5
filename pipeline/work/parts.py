"""Parts of a shard that several workers share: which of its images each of them does."""

from collections.abc import Sequence
from typing import TypeVar

from muster.storage.shared_shards import Part

T = TypeVar("T")
IMAGES_PER_CALL = 32  # that a task sees together: what it makes of one may depend on the others in the last digits


def slice_of(items: Sequence[T], part: Part | None) -> Sequence[T]:
    """The items of one part; all of them where there are no parts. Parts begin at multiples of IMAGES_PER_CALL."""
    number, count = part or (0, 1)
    calls = -(-len(items) // IMAGES_PER_CALL)
    return items[calls * number // count * IMAGES_PER_CALL : calls * (number + 1) // count * IMAGES_PER_CALL]
