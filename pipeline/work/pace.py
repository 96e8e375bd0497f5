"""How fast workers are while they work, and so how long a run will take.

Results come by shard, and a tenth of a run may be over before the first one: so workers say now and then how many
images they have been through. A worker's pace is measured between two times at which it was through with a call of its
tasks, by its own clock, and without the first call.
"""

from collections import Counter
from collections.abc import Mapping

from muster.pipeline.work.dispatch import WorkerId

WARM_UP = 10.0  # seconds that a first call must take to say something: networks and files are met for the first time
Seen = tuple[int, float]  # images that a worker has been through since it began, and when, by a clock of its own


class _Worker:
    """What it said: from `start` to `last` is more than two thirds of its time, without the first ninth."""

    def __init__(self, seen: Seen) -> None:
        self.began = seen[1]
        self.start = self.middle = self.last = seen

    def say(self, seen: Seen) -> None:
        self.last = seen
        if not self.start[0] or seen[1] - self.began >= 3 * (self.middle[1] - self.began):
            self.start, self.middle = self.middle, seen

    @property
    def rate(self) -> float:
        """Images per second; 0 where it is not known yet."""
        seconds = self.last[1] - self.start[1]
        known = seconds > (0 if self.start[0] else WARM_UP)
        return (self.last[0] - self.start[0]) / seconds if known else 0.0


class Pace:
    def __init__(self) -> None:
        self.workers: dict[WorkerId, _Worker] = {}
        self.given_back: Counter[WorkerId] = Counter()  # of these, images of orders that are done or have failed

    def say(self, worker: WorkerId, seen: Seen) -> None:
        """A worker has said how far it is."""
        if worker not in self.workers:
            self.workers[worker] = _Worker(seen)
        elif seen[0] > self.workers[worker].last[0]:
            self.workers[worker].say(seen)

    def under_way(self, worker: WorkerId) -> int:
        """Images that a worker has been through, of shards that it has not given back."""
        said = self.workers[worker].last[0] if worker in self.workers else 0
        return max(0, said - self.given_back[worker])

    def rate(self, held: Mapping[WorkerId, int]) -> float:
        """Images per second of those who hold some; 0 where it is not known yet."""
        known = self._known(held)
        return sum(known.values()) / len(known) * len(held) if known else 0.0

    def left(self, waiting: int, held: Mapping[WorkerId, int]) -> float | None:
        """Seconds until all is done; None where it is not known yet. `waiting`: images that no worker holds. `held`:
        images of the shards of each worker that holds some.

        Each is taken to do what it holds, and then its share of what waits. A worker of which nothing is known is taken
        to be as the others are.
        """
        if not (known := self._known(held)):
            return None
        usual = sum(known.values()) / len(known)
        each = sorted(((held[w] - self.under_way(w)) / known.get(w, usual), known.get(w, usual)) for w in held)
        rate = work = 0.0
        for free, its_rate in each:  # free: when a worker has done what it holds
            if rate and (waiting + work) / rate <= free:
                break
            rate, work = rate + its_rate, work + free * its_rate
        return max((waiting + work) / rate, each[-1][0])

    def _known(self, held: Mapping[WorkerId, int]) -> dict[WorkerId, float]:
        return {w: rate for w in held if w in self.workers and (rate := self.workers[w].rate)}
