"""Who is let in: the key of each request, what its role may do, and how much."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request

from muster.storage.gallery import keys
from muster.storage.gallery.keys import Key, Refusal
from muster.storage.library import LibraryFiles
from muster.web.door.errors import RefusedError
from muster.web.door.rates import Rates

LOGGED = 10  # refusals of an address in a minute that have a line of the log each; the others are counted in the next
BEARER = "bearer "


@dataclass(frozen=True)
class Refused:
    """A refusal as the log has it: how many there were of its kind since the last line."""

    facts: dict[str, Any]


class Keeper:
    """`per_minute`: images that a key may ask about, or requests without any."""

    def __init__(self, library: LibraryFiles, per_minute: float) -> None:
        self._library = library
        self._rates, self._logged = Rates(per_minute, max(10.0, per_minute / 6)), Rates(LOGGED, LOGGED)
        self._unlogged: dict[str, int] = {}

    def admit(self, request: Request, role: str) -> Key:
        """The key of a request that may do what this role may. RefusedError where it has none, or asks too often."""
        given = request.headers.get("authorization", "")
        text = given[len(BEARER) :].strip() if given.lower().startswith(BEARER) else ""
        found = keys.judged(keys.listed(self._library), text, role, datetime.now(UTC))
        if isinstance(found, Refusal):
            raise RefusedError(found.code, found.message)
        self.charge(found, 1)
        return found

    def charge(self, key: Key, cost: float) -> None:
        if wait := self._rates.wait(key.id, cost):
            raise RefusedError("rate_limited", "this key asks too often: ask again later", retry=math.ceil(wait))

    def to_log(self, address: str, code: str) -> int:
        """How many refusals the next line of the log stands for; 0: this one is only counted."""
        if self._logged.wait(address):
            if len(self._unlogged) < 1000 or address in self._unlogged:  # so many addresses: of others one is lost
                self._unlogged[address] = self._unlogged.get(address, 0) + 1
            return 0
        return 1 + self._unlogged.pop(address, 0)
