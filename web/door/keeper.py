"""Who is let in: the key of each request, what its role may do, and how much."""

import logging
import math
from datetime import UTC, datetime

from starlette.requests import Request

from muster.errors import MusterError
from muster.storage.gallery import keys
from muster.storage.gallery.keys import Key, Refusal
from muster.storage.library import LibraryFiles
from muster.web.door.errors import RefusedError
from muster.web.door.rates import Rates

log = logging.getLogger(__name__)
LOGGED = 10  # refusals of an address in a minute that have a line of the log each; the others are counted in the next
ALL_LOGGED = 120  # of all addresses: who has many of them does not fill the log
BEARER = "bearer "


class Keeper:
    """`per_minute`: images that a key may ask about, or requests without any."""

    def __init__(self, library: LibraryFiles, per_minute: float) -> None:
        self._library = library
        self._rates, self._logged = Rates(per_minute, max(10.0, per_minute / 6)), Rates(LOGGED, LOGGED)
        self._all_logged = Rates(ALL_LOGGED, ALL_LOGGED)
        self._unlogged: dict[tuple[str, str], int] = {}

    def admit(self, request: Request, role: str) -> Key:
        """The key of a request that may do what this role may. RefusedError where it has none, or asks too often."""
        given = request.headers.get("authorization", "")
        text = given[len(BEARER) :].strip() if given.lower().startswith(BEARER) else ""
        try:
            found = keys.judged(keys.listed(self._library), text, role, datetime.now(UTC))
        except MusterError as error:  # its text names files, and is of no concern to who has no key
            log.error("%s", error)
            raise RefusedError("busy", "keys cannot be read now: see the log of the service", retry=2) from None
        if isinstance(found, Refusal):
            raise RefusedError(found.code, found.message, key=found.key)
        self.charge(found, 1)
        return found

    def charge(self, key: Key, cost: float) -> None:
        if wait := self._rates.wait(key.id, cost):
            raise RefusedError("rate_limited", "this key asks too often: ask again later", math.ceil(wait), key.id)

    def to_log(self, address: str, code: str) -> int:
        """How many refusals of this code the next line of the log stands for; 0: this one is only counted."""
        which = (address, code)
        if self._logged.wait(address) or self._all_logged.wait(""):
            if len(self._unlogged) < 1000 or which in self._unlogged:  # of further addresses they are lost
                self._unlogged[which] = self._unlogged.get(which, 0) + 1
            return 0
        return 1 + self._unlogged.pop(which, 0)
