"""What reading and decoding the images of an order takes: for metrics and, of the slowest, for the shard's commit."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from muster.storage.exchange.photo import public_uri
from muster.storage.uris import bucket_of, place_of

T = TypeVar("T")
LONGEST_PLACE = 100  # characters: it labels a metric, and stands in a row that anybody may have written


@dataclass
class Taken:
    """`seconds`, `sizes`: image_id → of reading and decoding; bytes of the file. `read`, `decoded`: how many calls for
    `at_once` files, or images, were done ahead each time that one was wanted. Threads may add to one."""

    seconds: dict[str, float] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    read: list[int] = field(default_factory=list)
    decoded: list[int] = field(default_factory=list)
    at_once: int = 0

    def timed(self, image_id: str, function: Callable[..., T], *arguments: object) -> T:
        """What the function returns; the seconds that it took are added to the image's."""
        begun = time.monotonic()
        try:
            return function(*arguments)
        finally:
            self.seconds[image_id] = self.seconds.get(image_id, 0.0) + time.monotonic() - begun


def place(uri: str, source: str) -> str:
    """Where an image comes from, for a metric: its bucket, or the source that found it. Without user, password and
    options, which may hold secrets."""
    return (bucket_of(uri) if place_of(uri) else public_uri(source).partition("?")[0])[:LONGEST_PLACE]
