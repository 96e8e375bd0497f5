from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from muster.storage.commit_facts import SLOWEST, joined, made, of, without_others

NOON = datetime(2026, 3, 1, 13, 0, 0, 999, timezone(timedelta(hours=1)))
SECONDS = {str(number): number / 10 for number in range(10)}


def test_the_slowest_images_and_the_time_are_kept() -> None:
    facts = made(NOON, SECONDS)
    assert facts == {
        "at": "2026-03-01T12:00:00+00:00",
        "slowest": {"9": 0.9, "8": 0.8, "7": 0.7, "6": 0.6, "5": 0.5},
    }
    assert len(facts["slowest"]) == SLOWEST
    assert of({"facts": facts}) == facts


def test_parts_that_are_joined_are_as_if_one_had_done_it() -> None:
    early, late = NOON - timedelta(minutes=1), NOON
    halves = [{i: s for i, s in SECONDS.items() if int(i) % 2 == odd} for odd in (0, 1)]
    assert joined([made(late, halves[0]), made(early, halves[1])]) == made(late, SECONDS)
    assert joined([{}, {}]) == {}  # of an older version
    assert joined([{}, made(NOON, SECONDS)]) == made(NOON, SECONDS)


def test_who_is_gone_is_not_named() -> None:
    facts = made(NOON, SECONDS)
    assert without_others(facts, {"8", "1"}) == {"at": facts["at"], "slowest": {"8": 0.8}}
    assert without_others({}, {"8"}) == {}


@pytest.mark.parametrize(
    "facts",
    [
        None,
        [],
        {},
        {"at": datetime.now(UTC).isoformat()},
        {"at": 3, "slowest": {}},
        {"at": "2026-03-01T12:00:00+00:00", "slowest": ["a"]},
        {"at": "2026-03-01T12:00:00+00:00", "slowest": {"a": "b"}},
        {"at": "2026-03-01T12:00:00+00:00", "slowest": {"a": float("nan")}},
    ],
)
def test_what_was_not_written_so_says_nothing(facts: Any) -> None:
    assert of({"facts": facts}) == of({}) == {}
