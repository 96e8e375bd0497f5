"""What a scan was asked for, beside its sources."""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Wishes:
    """`follow_links`: also those that lead out of a source. `exclude`: globs of what is left out. `column`: of Parquet
    files that names images; None: the one that is usual. `allow_private`: whether web servers at private addresses may
    be asked, now and whenever the images are read."""

    follow_links: bool = False
    exclude: Collection[str] = ()
    column: str | None = None
    allow_private: bool = False


PLAIN = Wishes()
