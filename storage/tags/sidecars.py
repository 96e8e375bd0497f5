"""Which files beside a photo speak of it: `a.jpg.xmp`, `a.xmp`, and Google Takeout's JSON, by listings of folders."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from muster.storage.photos.first_bytes import RAW_SUFFIXES, suffix_of
from muster.storage.tags import takeout, tree
from muster.storage.tags.takeout import form_of

SIBLINGS = 100  # archives of one Takeout, and folders that they were unpacked into, at most
_XMP, _TAKEOUT = ".xmp", "takeout"


@dataclass(frozen=True)
class Sidecars:
    """Paths, surest first. `before`: XMP that goes before what the photo itself says. `after`: XMP of a camera's raw
    file, of the same moment. `takeout`: its JSON."""

    before: Sequence[str] = ()
    after: Sequence[str] = ()
    takeout: str | None = None

    @property
    def all(self) -> list[str]:
        return [*self.before, *self.after, *([self.takeout] if self.takeout else [])]


@dataclass(frozen=True)
class Listing:
    """A folder. `photos`: name → its sidecars. `albums`: paths of what may say that the folder is an album.
    `unread`: why it could not be listed; "" where it could."""

    photos: dict[str, Sidecars] = field(default_factory=dict)
    albums: Sequence[str] = ()
    unread: str = ""


def of_folder(folder: str, photos: Sequence[str]) -> Listing:
    """The sidecars of these photos (names) in a folder. Raises nothing."""
    try:
        names = tree.names(folder)
    except OSError as error:
        return Listing(dict.fromkeys(photos, Sidecars()), unread=error.strerror or str(error))
    by_form = defaultdict(list)
    for name in names:
        by_form[form_of(name)].append(name)
    raw = {form_of(os.path.splitext(name)[0]) for name in names if suffix_of(name) in RAW_SUFFIXES}
    json = {photo: os.path.join(folder, name) for photo, name in takeout.sidecars(photos, names).items()}
    found = {photo: _sidecars(folder, photo, by_form, raw, json.get(photo)) for photo in photos}
    missing = [photo for photo in photos if photo not in json]
    elsewhere = _in_siblings(folder, missing) if missing else {}
    found |= {photo: _with(found[photo], path) for photo, path in elsewhere.items()}
    taken = {os.path.basename(path) for path in json.values()}
    return Listing(found, [os.path.join(folder, name) for name in takeout.album_files(names, taken)])


def _sidecars(folder: str, photo: str, by_form: dict[str, list[str]], raw: set[str], json: str | None) -> Sidecars:
    """By any case of letters; of several, the one that is written as the photo is goes first."""
    stem, suffix = os.path.splitext(photo)
    own, shared = ([os.path.join(folder, name) for name in _first(by_form, each + _XMP)] for each in (photo, stem))
    shared = shared if suffix else []
    if form_of(stem) in raw and suffix_of(photo) not in RAW_SUFFIXES:  # it is the raw file's, as programs have it
        return Sidecars(own, shared, json)
    return Sidecars([*own, *shared], (), json)


def _first(by_form: dict[str, list[str]], name: str) -> list[str]:
    some = by_form.get(form_of(name), [])
    return sorted(some, key=lambda each: (os.path.splitext(each)[0] != os.path.splitext(name)[0], each))


def _with(sidecars: Sidecars, json: str) -> Sidecars:
    return Sidecars(sidecars.before, sidecars.after, json)


# ---- a Takeout of several archives -----------------------------------------------------------------------------------


def _in_siblings(folder: str, photos: Sequence[str]) -> dict[str, str]:
    """Photo → JSON that was in another archive: `b/Takeout/Google Photos/X` beside `a/Takeout/Google Photos/X`."""
    found: dict[str, str] = {}
    for sibling in _siblings(folder):
        try:
            names = tree.names(sibling)
        except OSError:
            continue
        for photo, name in takeout.sidecars(photos, names).items():
            found.setdefault(photo, os.path.join(sibling, name))
    return found


def _siblings(folder: str) -> list[str]:
    parts = Path(folder).parts
    places = [i for i, part in enumerate(parts) if part.casefold() == _TAKEOUT]
    if not places or places[-1] < 2:
        return []
    above, inside = os.path.join(*parts[: places[-1] - 1]), os.path.join(*parts[places[-1] :])
    siblings = (os.path.join(above, name, inside) for name in _folders(above) if name != parts[places[-1] - 1])
    return [sibling for sibling in siblings if tree.is_folder(sibling)]


def _folders(above: str) -> tuple[str, ...]:
    try:
        return tuple(tree.folders(above))[:SIBLINGS]
    except OSError:
        return ()


# ---- what was read ---------------------------------------------------------------------------------------------------


def stamp(version: int, photo: Iterable[object], sidecars: Sidecars) -> str:
    """16 hex digits that are others where the photo or one of its sidecars is. `photo`: what it is known by."""
    facts = [version, *photo, *(fact for path in sidecars.all for fact in (path, *tree.known_by(path)))]
    text = "\0".join(map(str, facts)).encode(errors="surrogateescape")
    return hashlib.blake2b(text, digest_size=8).hexdigest()
