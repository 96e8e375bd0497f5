"""What a commit says beside its files: when it was made, and which of the shard's images took longest.

`{"at": "2026-03-01T12:00:00+00:00", "slowest": {image_id: seconds}}`; commits of older versions have neither.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

SLOWEST = 5  # images that a commit names
Facts = Mapping[str, Any]
NO_FACTS: Facts = MappingProxyType({})
_MADE = datetime(2026, 1, 1, tzinfo=UTC).isoformat()  # as long as every time that is written


def made(at: datetime, seconds: Mapping[str, float]) -> dict[str, Any]:
    """`at`: with a time zone. `seconds`: image_id → of an image; only the longest are kept."""
    return {"at": at.astimezone(UTC).isoformat(timespec="seconds"), "slowest": _longest(seconds)}


def joined(parts: Iterable[Facts]) -> dict[str, Any]:
    """Of a shard whose parts have these."""
    parts = [part for part in parts if part]
    if not parts:
        return {}
    seconds = {image: each for part in parts for image, each in part["slowest"].items()}
    return {"at": max(part["at"] for part in parts), "slowest": _longest(seconds)}


def without_others(facts: Facts, images: Collection[str]) -> dict[str, Any]:
    """Of a shard that keeps these images alone: the others are not named any more."""
    return {**facts, "slowest": {i: s for i, s in facts["slowest"].items() if i in images}} if facts else {}


def of(commit: Mapping[str, Any]) -> Facts:
    """Those of a commit; {} where it has none, as of an older version, or they are not as they are written here."""
    facts = commit.get("facts")
    if not isinstance(facts, dict):
        return {}
    at, slowest = facts.get("at"), facts.get("slowest")
    if not isinstance(at, str) or len(at) != len(_MADE) or not isinstance(slowest, dict):
        return {}
    return {"at": at, "slowest": slowest} if all(map(_is_seconds, slowest.values())) else {}


def _is_seconds(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _longest(seconds: Mapping[str, float]) -> dict[str, float]:
    longest = sorted(seconds.items(), key=lambda each: -each[1])[:SLOWEST]
    return {image: round(float(each), 3) for image, each in longest}
