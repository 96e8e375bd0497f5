"""What a scan was asked for, beside its sources."""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Wishes:
    """`follow_links`: also those that lead out of a source. `exclude`: globs of what is left out."""

    follow_links: bool = False
    exclude: Collection[str] = ()


PLAIN = Wishes()
