"""One photo's tags as a row of the table: its sidecars, its own XMP and its Takeout JSON, read and laid together."""

import os
from collections.abc import Callable, Iterator
from typing import Any

from muster.errors import ImageError
from muster.storage.photos import decode
from muster.storage.tags import takeout, tree
from muster.storage.tags.embedded import MOST, packets
from muster.storage.tags.regions import Picture, place
from muster.storage.tags.said import Said, merged, names_of
from muster.storage.tags.sidecars import Sidecars
from muster.storage.tags.write import without
from muster.storage.tags.xmp import read_xmp

VERSION = 1  # grows when what is read from a file becomes something else: all are read again then

FindPicture = Callable[[], Picture | None]


def read_tags(
    path: str, sidecars: Sidecars, picture: FindPicture | None = None, writer: str = ""
) -> dict[str, Any] | None:
    """What the files of a photo say, by the columns of muster.storage.tags.table without image_id and albums; None for
    nothing. `picture`: asked where there are regions; None: the photo itself is decoded for it. `writer`: whose own
    regions in sidecars say nothing, see muster.storage.tags.write. Raises nothing.
    """
    found = list(_said(path, sidecars, lambda packet: read_xmp(without(packet, writer))))
    xmp = merged(said for file, said in found if file != sidecars.takeout)
    google = merged(said for file, said in found if file == sidecars.takeout)
    if not (said := merged([xmp, google])):
        return None
    placed = place(said.areas, (picture or (lambda: _picture(path)))() if said.areas else None)
    people = names_of([*xmp.people, *placed.people, *google.people])
    named = {region.name.casefold() for region in placed.regions if region.name}
    return {
        "files": [tree.uri_of(file) for file, each in found if each],
        "regions": [
            {"name": each.name, "type": each.type, "box_xyxy": each.box, "origin": each.origin}
            for each in placed.regions
        ],
        "keywords": list(said.keywords),
        "people": [name for name in people if name.casefold() not in named],
        "title": said.title,
        "description": said.description,
        "taken_at": said.taken_at,
        "latitude": said.position and said.position[0],
        "longitude": said.position and said.position[1],
        "rating": said.rating,
        "favourite": said.favourite,
        "remarks": [*said.remarks, *placed.remarks],
    }


def _said(path: str, sidecars: Sidecars, read: Callable[[bytes], Said]) -> Iterator[tuple[str, Said]]:
    """What each file says, surest first. `read`: of an XMP sidecar."""
    for each in sidecars.before:
        yield each, _of_sidecar(each, read)
    yield path, _embedded(path)
    for each in sidecars.after:
        yield each, _of_sidecar(each, read)
    if sidecars.takeout is not None:
        said = _of_sidecar(sidecars.takeout, lambda data: takeout.read_photo(data) or Said())
        yield sidecars.takeout, said


def _embedded(path: str) -> Said:
    try:
        with tree.opened(path) as file:
            found, remarks = packets(file)
    except (OSError, ValueError):  # a run says of photos that cannot be read; ValueError: a name with a null byte
        return Said()
    return merged([*map(read_xmp, found), Said(remarks=tuple(remarks))])


def _of_sidecar(path: str, read: Callable[[bytes], Said]) -> Said:
    """Links are not followed: whoever may write the folder could name any file of the user's with one."""
    try:
        with tree.opened(path, follow=False) as file:
            return read(file.read(MOST + 1))
    except (OSError, ValueError) as error:
        reason = "a link" if os.path.islink(path) else getattr(error, "strerror", None) or str(error)
        return Said(remarks=(f"a sidecar cannot be read: {reason}",))


def _picture(path: str) -> Picture | None:
    try:
        with tree.opened(path) as file:
            photo = decode.decode(file.read(decode.MAX_FILE), 64)
    except (ImageError, OSError, ValueError):
        return None
    return Picture(*photo.size, photo.orientation)
