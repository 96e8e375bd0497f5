import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from hypothesis import given, settings
from hypothesis import strategies as st

from muster.storage.http.hosts import Clock
from muster.storage.http.room import Room


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.integers(1, 60), max_size=5), min_size=1, max_size=12))
def test_all_get_through_and_only_the_first_goes_beyond_what_there_is(pieces: list[list[int]]) -> None:
    room, lock, held = Room(100), threading.Lock(), list[int]()

    def read(mine: list[int]) -> int:
        with room.taken(Clock(5)) as take:
            for piece in mine:
                take(piece)
                with lock:
                    held.append(sum(room._held.values()) - next(iter(room._held.values())))
        return sum(mine)

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(read, pieces)) == list(map(sum, pieces))
    assert all(others <= 100 for others in held)


def test_waiting_for_room_costs_an_item_no_time() -> None:
    room, clock = Room(10), Clock(10)
    taking: list[Callable[[int], None]] = []
    with ExitStack() as first:
        taking.append(first.enter_context(room.taken(Clock(10))))
        taking[0](9)
        with room.taken(clock) as take:
            threading.Timer(0.3, first.pop_all().close).start()
            began = time.monotonic()
            take(5)
            assert time.monotonic() - began > 0.2
            assert clock.left > 9.9
