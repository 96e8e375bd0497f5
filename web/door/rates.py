"""How much each key may ask, and how many refusals of an address are logged one by one."""

import time
from collections import OrderedDict

MOST_KNOWN = 10_000  # who is remembered: a key or an address that is not asked for a while has its allowance whole


class Rates:
    """Buckets that fill by `per_minute` evenly, up to `burst`."""

    def __init__(self, per_minute: float, burst: float) -> None:
        self.per_second, self.burst = per_minute / 60, burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, who: str, cost: float = 1) -> float:
        """0, and it is taken; or seconds until it may be asked again. What costs more than `burst` may empty it."""
        now = time.monotonic()
        left, then = self._left.pop(who, (self.burst, now))
        left = min(self.burst, left + (now - then) * self.per_second)
        need = min(cost, self.burst)
        allowed = left >= need
        self._left[who] = (left - need if allowed else left, now)
        while len(self._left) > MOST_KNOWN:
            self._left.popitem(last=False)
        return 0.0 if allowed else (need - left) / self.per_second
