"""Which kinds of files hold images, by their suffixes.

One is found by the suffix of its file, where that is scanned, and where an item is read:
`shard.tar#member=0001.jpg&at=512+20480`. Other packages add kinds by entry points of the group `muster.containers`,
which name a `Container`; the addresses of their items are `<file>#item=<key>` (docs/plugins.md).
"""

from functools import cache
from importlib.metadata import entry_points

from muster.storage.photos import tars, zips
from muster.storage.photos.containers import Container

GROUP = "muster.containers"


def of_suffix(suffix: str) -> Container | None:
    """What reads files that end so; None where nothing does."""
    return _by_suffix().get(suffix)


@cache
def _by_suffix() -> dict[str, Container]:
    theirs = [entry.load() for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name)]
    return {suffix: each for each in (*theirs, tars.CONTAINER, zips.CONTAINER) for suffix in each.suffixes}
