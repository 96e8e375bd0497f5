import threading
import time

import pytest

from muster.storage.http import hosts
from muster.storage.http.hosts import AWAY, FAILURES, Clock, Host


def test_a_host_is_away_after_failures_in_a_row_and_longer_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(hosts.time, "monotonic", lambda: now[0])
    host = Host()
    for _ in range(FAILURES - 1):
        host.failed(now[0])
    assert not host.is_away
    for expected in (AWAY[0], 2 * AWAY[0], 4 * AWAY[0]):
        host.failed(now[0])
        now[0] += expected - 1
        assert host.is_away
        now[0] += 1
        assert not host.is_away
    for _ in range(50):
        host.failed(now[0])
    now[0] += AWAY[1]
    assert not host.is_away
    now[0] += 1
    host.answered()
    host.failed(now[0])
    assert not host.is_away


def test_a_failure_that_began_before_an_answer_is_no_sign() -> None:
    host, began = Host(), time.monotonic()
    host.answered()
    for _ in range(3 * FAILURES):
        host.failed(began)
    assert not host.is_away


def test_nobody_has_us_wait_for_ever() -> None:
    host = Host()
    host.leave_alone(1e9)
    assert hosts.LONGEST_PAUSE - 1 < host.pause <= hosts.LONGEST_PAUSE
    host.leave_alone(0)  # takes nothing back
    assert host.pause > hosts.LONGEST_PAUSE - 1


def test_waiting_for_a_turn_costs_an_item_no_time() -> None:
    host, clock = Host(), Clock(10)
    for _ in range(hosts.AT_ONCE):
        host.slots.acquire()
    threading.Timer(0.3, host.slots.release).start()
    with clock.in_turn(host):
        assert 9.9 < clock.left <= 10


def test_an_item_counts_once_against_a_host() -> None:
    host = Host()
    clock = Clock(10)
    for _ in range(3 * FAILURES):
        clock.failed(host)
    assert not host.is_away
    for _ in range(FAILURES - 1):
        Clock(10).failed(host)
    assert host.is_away
