"""What the places of photos are called.

The table of places is read when the first photo with a position is shown, which takes a second: pages of many photos do
not wait for it, and leave places out until it is there.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from muster.arrays import F64

if TYPE_CHECKING:
    from muster.storage.places import Places


def names_of(latitudes: F64, longitudes: F64, wait: bool = True) -> list[tuple[str, str]]:
    """Of points (N,), in degrees, NaN where not known: the city or village, as a sentence has it, and all that is known
    of it: ("Lisbon", "Belém, Lisbon, Portugal"). "" where there is none within 50 km."""
    nothing = [("", "")] * len(latitudes)
    if not np.isfinite(latitudes).any() or not (wait or _reading().done()):
        return nothing
    from muster.storage.places import NOWHERE

    near, around = _reading().result().find(latitudes, longitudes)
    called = _reading().result().places([*near.tolist(), *around.tolist()])
    found = []
    for place, city in zip(near.tolist(), around.tolist(), strict=True):
        names = [called[number] for number in (place, city) if number != NOWHERE]
        whole = dict.fromkeys([*(each.name for each in names), *(each.country for each in names[-1:])])
        found.append((names[-1].name if names else "", ", ".join(filter(None, whole))))
    return found


@cache
def _reading() -> "Future[Places]":
    return ThreadPoolExecutor(1, "places").submit(_read)


def _read() -> "Places":
    from muster.storage.places import Places  # it brings scipy

    return Places()
