"""Which kinds of files hold images, by their suffixes.

One is found by the suffix of its file, where that is scanned, and where an item is read:
`shard.tar#member=0001.jpg&at=512+20480`. Other packages add kinds by entry points of the group `muster.containers`,
which name a `Container`; the addresses of their items are `<file>#item=<key>` (docs/plugins.md).
"""

from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec

from muster.storage.photos import arrow_rows, lance_rows, tars, video, zips
from muster.storage.photos.containers import Container
from muster.storage.photos.first_bytes import suffix_of

GROUP = "muster.containers"


def of_suffix(suffix: str) -> Container | None:
    """What reads files that end so; None where nothing does."""
    return _by_suffix().get(suffix)


def is_in_order(container: str) -> bool:
    """Whether the items of such a file, by its URI, are read one after the other."""
    kind = of_suffix(suffix_of(container))
    return kind is not None and kind.in_order


@cache
def _by_suffix() -> dict[str, Container]:
    theirs = [entry.load() for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name)]
    ours = [tars.CONTAINER, zips.CONTAINER, arrow_rows.CONTAINER]
    if find_spec("lance"):  # of pylance, an extra
        ours.append(lance_rows.CONTAINER)
    if video.installed():
        ours.append(video.CONTAINER)
    return {suffix: each for each in (*theirs, *ours) for suffix in each.suffixes}
