"""People and images leave the library: out of every table, index, cluster, page and the gallery, with a receipt.

What is to go is noted first (`FORGETTING`), and every step can be repeated. What an enrolment leaves that is cut off is
noted as well: its roster stands in the library, and its photos not in the gallery. `settle` finishes both, and is the
one door of every command that writes, or says who somebody is: they come in by `locked`, `steady` or `settled`.
"""

import errno
import os
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from muster.errors import InputError, MusterError
from muster.pipeline import said, same_picture
from muster.storage import layout, manifest, shared_shards, tables
from muster.storage.disk import TEMPORARY
from muster.storage.gallery import audit, gallery, keys, left_over
from muster.storage.layout import FORGETTING, NEXT_GALLERY, PAGES, RECEIPTS
from muster.storage.library import LibraryFiles, dump_json
from muster.storage.people import forgotten as ledger_of
from muster.storage.photos.listing import covers
from muster.storage.photos.names import name_of
from muster.storage.tags import table as tags
from muster.storage.texts import normal
from muster.storage.uris import local_path, local_uri, plain_source
from muster.web.site import MARKER, Site

PATIENCE = 60.0  # seconds to wait for a library that another command holds, where the work is done, or nearly nothing
ASKED, ENDED = "asked for", "consent ended"  # reasons of receipts
WITHDRAWN, UNFINISHED = "consent withdrawn in a roster", "the enrolment was not finished"


@dataclass(frozen=True)
class Receipt:
    """What was forgotten, and what a search of every file of the library found of it afterwards: nothing. `copies`:
    which of the originals nobody named, and went because the same picture did. `named`: names of people on the pages of
    whom nothing is said any more; `edits`: how many edits lost something."""

    receipt: str
    at: str
    reason: str
    people: list[str]
    images: list[str]
    originals: list[str]
    faces: int
    found_afterwards: list[str]
    copies: list[str] = field(default_factory=list)
    named: list[str] = field(default_factory=list)
    edits: int = 0


@dataclass(frozen=True)
class Forgotten:
    """The last receipt of each person, by person_id in its normal form, and of each image, by URI."""

    people: Mapping[str, Receipt]
    images: Mapping[str, Receipt]


# ---- the door --------------------------------------------------------------------------------------------------------


@contextmanager
def locked(library: LibraryFiles, seconds: float = 0.0, resuming: Collection[str] = ()) -> Iterator[None]:
    """`library.lock(seconds)`, with everything settled. `resuming`: see `settle`."""
    with library.lock(seconds):
        for receipt in settle(library, resuming):
            if receipt.found_afterwards:
                raise MusterError(
                    f"a deletion in library {library.uri} was cut off, and is done now, but something is left:"
                    f" {receipt.found_afterwards[0]}; see {library.at(receipt.receipt)}"
                )
        yield


@contextmanager
def steady(library: LibraryFiles) -> Iterator[None]:
    """`locked`, for what only reads, but reads much that belongs together. Where the library cannot be written from
    here (a snapshot, a share), it is read without a lock, unless something is to be settled in it: then MusterError."""
    with ExitStack() as held:
        try:
            held.enter_context(locked(library))
        except MusterError as error:
            if getattr(error.__cause__, "errno", None) not in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise
            settled(library)
        yield


def _pending(library: LibraryFiles) -> dict[str, Any]:
    lists = dict.fromkeys(("people", "images", "originals", "embeddings", "pseudonyms"), list)
    try:
        pending = tables.read_json(library, FORGETTING, receipt=str, reason=str, **lists)
        lists_since = ("names", "pictures", "copies", "contents", "persons", "named")
        newer: dict[str, Any] = {name: [] for name in lists_since} | {"faces": len(pending["embeddings"])}
        pending = newer | pending  # of an older Muster
        if all(type(pending[name]) is type(value) for name, value in newer.items()):
            return pending
        raise MusterError("")
    except MusterError:
        raise MusterError(
            f"{library.at(FORGETTING)} is damaged: a deletion was cut off, and this says of whom. Restore it from a"
            " backup, or delete it and repeat the deletion"
        ) from None


def settled(library: LibraryFiles) -> None:
    """The door of commands that only read: the lock is taken where something is to be settled, and not otherwise."""
    if not (library.has(FORGETTING) or manifest.interrupted(library) or _half_written(library) or unfinished(library)):
        return
    try:
        with locked(library, PATIENCE):
            pass
    except MusterError as error:
        raise MusterError(
            f"a deletion, an enrolment or a scan was cut off in library {library.uri}, or is at work there, and is to"
            f" be finished before anything is answered: {error}"
        ) from None


def settle(library: LibraryFiles, resuming: Collection[str] = ()) -> list[Receipt]:
    """Finish what was cut off: deletions and scans; and drop what is left of enrolments. The caller holds the lock.

    `resuming`: URIs of a roster that is about to be enrolled, of which what is done already stays.
    """
    receipts = []
    if _half_written(library):
        gallery.repair(library)
        library.remove_temporary()
    if library.has(FORGETTING):
        receipts.append(_carry_out(library, _pending(library)))
    manifest.repair(library)
    if strays := {uri: person for uri, person in unfinished(library).items() if uri not in resuming}:
        receipts.append(_drop_enrolment(library, strays))
    return receipts


def unfinished(library: LibraryFiles) -> dict[str, str]:
    """uri → person_id of all photos of a roster that are not that person's in the gallery: refused, or not looked at
    to the end."""
    roster = gallery.read_roster(library)
    known = gallery.read(library) if roster else None
    enrolled = (
        set(zip(known.faces["uri"].to_pylist(), known.faces["person_id"].to_pylist(), strict=True)) if known else ()
    )
    return {uri: person for uri, person in roster.items() if (uri, person) not in enrolled}


def drop(library: LibraryFiles, uris: Collection[str]) -> None:
    """Take photos of a roster out of all tables, and then out of it, so that a kill between is noticed."""
    manifest.forget(library, _image_ids(library, uris))
    gallery.write_roster(library, lambda uri, _: uri not in uris)


def _image_ids(library: LibraryFiles, uris: Collection[str]) -> list[str]:
    rows = manifest.read_manifest(library)
    ids: list[str] = rows["image_id"].filter(pc.is_in(rows["uri"], pa.array(sorted(uris), pa.string()))).to_pylist()
    return ids


def _half_written(library: LibraryFiles) -> bool:
    """Whether the gallery, or a file beside it, was being written when its writer was killed."""
    names = library.disk.names("gallery") if library.disk is not None else library.names("gallery")
    return any(TEMPORARY.fullmatch(name) or name == NEXT_GALLERY.rpartition("/")[2] for name in names)


def _drop_enrolment(library: LibraryFiles, strays: Mapping[str, str]) -> Receipt:
    known = gallery.read(library)
    faces = known.faces if known else gallery.empty().faces
    rows = manifest.read_manifest(library)  # where a folder was renamed, they have other names by now
    theirs = rows.filter(pc.is_in(rows["image_id"], value_set=faces["image_id"].combine_chunks()))
    enrolled = {*faces["uri"].to_pylist(), *theirs["uri"].to_pylist()}
    if shared := strays.keys() & enrolled:  # that roster had given somebody's photo to another: who has it keeps it
        drop(library, shared)
    uris = strays.keys() - shared
    staying = {*(known.people if known else ()), *(p for u, p in gallery.read_roster(library).items() if u not in uris)}
    gone = set(strays.values()) - staying
    images = set(_image_ids(library, uris))
    digests = same_picture.digests(library, faces.slice(0, 0), images)
    others = same_picture.others_of(
        library, faces, images, digests
    )  # an album's photo stays, of which the roster had a copy
    return _begin(library, _Wanted(gone, images, set(uris), set()), UNFINISHED, digests.without(others.digests))


# ---- who and what ----------------------------------------------------------------------------------------------------


def forget(library: LibraryFiles, names: Sequence[str], reason: str) -> list[Receipt]:
    """Forget people by person_id, or by their name or id on the pages, and images by image_id or by what `scan` takes.
    Of a person on the pages all photos go that show them. The caller holds the lock, and has settled.

    Who was forgotten before has a receipt: it is given once more. Raises InputError where a name is none of these,
    before anything is changed.
    """
    known, roster = gallery.read(library), gallery.read_roster(library)
    images = manifest.read_manifest(library)
    people = spellings([*(known.people if known else ()), *roster.values()])
    uris = [*images["uri"].to_pylist(), *roster, *(known.faces["uri"].to_pylist() if known else ())]
    named = (plain_source(source)[0] for source in images["source"].to_pylist())
    sources = dict(zip(images["uri"].to_pylist(), named, strict=True))
    spelt, ids = spellings(uris), set(images["image_id"].to_pylist())
    wanted, before = _Wanted(set(), set(), set(), set()), []
    if not all(map(str.strip, names)):  # a variable of a script that is not set, and not the folder it runs in
        raise InputError("an empty text is neither a person_id nor an image: name whom or what to forget")
    for name in names:
        places = _places(name)
        same = next(({place} & here or here for place in places if (here := spelt.get(normal(place)))), set[str]())
        if found := people.get(normal(name)):
            wanted.people.update(found)
        elif name in ids:
            wanted.images.add(name)
        elif not os.path.lexists(name) and "/" not in name and (found := said.meant(library, name)):
            wanted.shown.update(found)
            wanted.images.update(said.images_of(library, found))
        elif found := same or _found_by(places, sources) or _found_by_link(places, sources):
            wanted.uris.update(found)
        elif receipt := _last_receipt(library, {*map(normal, (name, *places))}) or _last_receipt_below(library, places):
            before.append(receipt)
        else:
            hint = gallery.others_like(normal(name), people)
            raise InputError(
                f"{name} is neither a person_id of the gallery nor an image of library {library.uri}, and no name on"
                f" its pages{hint}"
            )
    return [*before, _forget(library, wanted, reason)] if any(vars(wanted).values()) else before


def _places(name: str) -> list[str]:
    """As which URIs an image, folder or glob of this name may stand in a library; where a link leads comes last."""
    path = local_path(name)
    if path is None or "\0" in path:
        return [name.rstrip("/")]
    path = os.path.abspath(os.path.expanduser(path))
    return list(dict.fromkeys((path, local_uri(path), local_uri(os.path.realpath(path)))))


def _found_by(places: Sequence[str], sources: Mapping[str, str]) -> set[str]:
    """The images that a scan of the first such place that there is would find, or has found. `sources`: URI → source of
    all there are."""
    for place in map(normal, places):
        fits = covers(place)
        if found := {uri for uri, source in sources.items() if normal(source) == place or fits(normal(uri))}:
            return found
    return set()


def _found_by_link(places: Sequence[str], uris: Iterable[str]) -> set[str]:
    """Those that the library knows by a link to the folder that they are in."""
    home, real = cache(os.path.realpath), dict[str, str]()
    for uri in uris:
        if (path := local_path(uri)) is not None:
            real[uri] = os.path.join(home(os.path.dirname(path)), os.path.basename(path))
    found = _found_by(places, dict.fromkeys(real.values(), ""))
    return {uri for uri, path in real.items() if path in found}


def forget_people(library: LibraryFiles, names: Sequence[str], reason: str) -> Receipt:
    """Forget these people. The caller holds the lock, and has settled."""
    return _forget(library, _Wanted(set(names), set(), set(), set()), reason)


def expired(library: LibraryFiles, today: date) -> list[str]:
    """Who is enrolled, though their consent has ended."""
    known = gallery.read(library)
    if known is None:
        return []
    rows = known.faces.filter(pc.less(known.faces["valid_until"], pa.scalar(today)))
    return sorted(set(rows["person_id"].to_pylist()))


@dataclass(frozen=True)
class _Wanted:
    """Who and what is to go: person_ids of the gallery, image_ids, URIs; `shown`: people on the pages."""

    people: set[str]
    images: set[str]
    uris: set[str]
    shown: set[str]


def spellings(names: Iterable[str]) -> dict[str, set[str]]:
    """Normal form → as they are written."""
    found: dict[str, set[str]] = {}
    for name in names:
        found.setdefault(normal(name), set()).add(name)
    return found


def _receipts(library: LibraryFiles) -> list[Receipt]:
    """Oldest first."""
    lists = dict.fromkeys(("people", "images", "originals", "found_afterwards"), list)
    kinds = {"receipt": str, "at": str, "reason": str, "faces": int}
    found = [tables.read_json(library, f"{RECEIPTS}/{name}", **kinds, **lists) for name in library.names(RECEIPTS)]
    return [Receipt(**each) for each in sorted(found, key=lambda each: each["at"])]


def _last_receipt(library: LibraryFiles, names: set[str]) -> Receipt | None:
    """The last receipt that names one of these."""
    theirs = [r for r in _receipts(library) if names & set(map(normal, (*r.people, *r.named, *r.images, *r.originals)))]
    return theirs[-1] if theirs else None


def _last_receipt_below(library: LibraryFiles, places: Sequence[str]) -> Receipt | None:
    theirs = [r for r in _receipts(library) if _found_by(places, dict.fromkeys(r.originals, ""))]
    return theirs[-1] if theirs else None


def forgotten(library: LibraryFiles) -> Forgotten:
    """Who and what was forgotten on purpose: not what an enrolment left that was cut off, nor images with people whose
    consent had ended."""
    people, images = dict[str, Receipt](), dict[str, Receipt]()
    for receipt in _receipts(library):
        if receipt.reason != UNFINISHED:
            people.update((normal(person), receipt) for person in receipt.people)
            images.update((uri, receipt) for uri in receipt.originals)
    return Forgotten(people, {uri: receipt for uri, receipt in images.items() if receipt.reason != ENDED})


def _forget(library: LibraryFiles, wanted: _Wanted, reason: str) -> Receipt:
    known = gallery.read(library) or gallery.empty()
    theirs = {uri for uri, person in gallery.read_roster(library).items() if person in wanted.people}
    rows = manifest.read_manifest(library)
    person = map(_person, rows["person_id"].to_pylist()) if "person_id" in rows.column_names else [None] * rows.num_rows
    owners = set(map(normal, wanted.people))
    images, uris = set(wanted.images), wanted.uris | theirs
    faces = known.faces.select(["person_id", "image_id", "uri"]).to_pylist()
    for row in faces:  # also where the roster says that a photo is somebody else's
        if row["person_id"] in wanted.people:
            images.add(row["image_id"])
            uris.add(row["uri"])
    there = list(zip(rows["image_id"].to_pylist(), rows["uri"].to_pylist(), strict=True))
    for (image, uri), owner in zip(there, person, strict=True):
        if image in images or uri in uris or owner in owners:
            images.add(image)
            uris.add(uri)
    uris.update(row["uri"] for row in faces if row["image_id"] in images)  # what it was called when it was enrolled
    enrolled = {row["image_id"] for row in faces if row["uri"] in uris}  # perhaps before the photo was changed
    copies, digests = same_picture.copies(library, known.faces, images | enrolled)
    also = {uri for image, uri in [*there, *((row["image_id"], row["uri"]) for row in faces)] if image in copies}
    every = _Wanted(wanted.people, images | copies, uris | also, wanted.shown)
    return _begin(library, every, reason, digests, also - uris)


def _person(value: Any) -> str | None:
    """The person_id in a column of a user's Parquet file, in normal form; None where nobody can have been enrolled by
    it."""
    try:
        name = name_of("person_id", value)
        return name and normal(name).strip()
    except InputError:
        return None


# ---- what is done ----------------------------------------------------------------------------------------------------


def _begin(
    library: LibraryFiles, wanted: _Wanted, reason: str, digests: same_picture.Digests, copies: Collection[str] = ()
) -> Receipt:
    """Note what is to go, and what is looked for afterwards; then do it.

    `digests`: of the images. `copies`: which of the URIs nobody named.
    """
    _check_pages(library)
    audit.entries(library)  # a log that is not whole is to be said now: later it would stop every other command
    pending: dict[str, Any] = {
        "receipt": uuid.uuid4().hex,
        "reason": reason,
        "people": sorted(wanted.people),
        "images": sorted(wanted.images),
        "originals": sorted(wanted.uris),
        "copies": sorted(copies),
    }
    known = gallery.read(library) or gallery.empty()
    gone, staying = known.faces.filter(_going(known, pending)), _without(known, pending).faces
    pending["pseudonyms"] = sorted(set(gone["pseudonym"].to_pylist()))
    theirs = {*staying["name"].to_pylist(), *staying["person_id"].to_pylist()}
    rows = gone.select(["person_id", "name"]).to_pylist()
    enrolled = {row["person_id"]: row["name"] or row["person_id"] for row in rows if row["person_id"] in wanted.people}
    facts = said.going(library, wanted.shown, wanted.images, enrolled)
    pending["names"] = sorted({*gone["name"].drop_null().to_pylist(), *facts.names} - theirs)
    pending |= {"contents": sorted(facts.photos), "persons": sorted(facts.people), "named": sorted(facts.names)}
    embeddings = digests.embeddings | same_picture.digests_of(gone["embedding"], picture=False)
    pending |= {"faces": digests.faces, "embeddings": sorted(embeddings), "pictures": sorted(digests.pictures)}
    library.write(FORGETTING, dump_json(pending))
    return _carry_out(library, pending)


def staying(library: LibraryFiles, known: gallery.Gallery) -> gallery.Gallery:
    """Without who is being forgotten: from the moment on that it is noted."""
    return _without(known, _pending(library)) if library.has(FORGETTING) else known


def _going(known: gallery.Gallery, pending: Mapping[str, Any]) -> pa.ChunkedArray:
    """Which faces of the gallery are to go."""
    columns = {"person_id": "people", "image_id": "images", "uri": "originals"}
    masks = [pc.is_in(known.faces[c], pa.array(pending[name], pa.string())) for c, name in columns.items()]
    return pc.or_(masks[0], pc.or_(masks[1], masks[2]))


def _without(known: gallery.Gallery, pending: Mapping[str, Any]) -> gallery.Gallery:
    return known.staying(known.faces.filter(pc.invert(_going(known, pending))))


def _carry_out(library: LibraryFiles, pending: dict[str, Any]) -> Receipt:
    """Every step may be repeated. The gallery first: from then on nobody is recognised who is to be forgotten."""
    people, images, originals = (set(pending[name]) for name in ("people", "images", "originals"))
    name = layout.receipt(pending["receipt"])
    facts = {"people": pending["pseudonyms"], "images": len(images), "receipt": name}
    names = frozenset(pending["names"]) & frozenset(pending["named"])
    gone = ledger_of.Forgotten(frozenset(pending["contents"]), frozenset(pending["persons"]), names)
    known = gallery.read(library)
    if known is not None and pc.any(_going(known, pending)).as_py():
        gallery.write(library, _without(known, pending), "forget", facts)
    elif all(entry.get("receipt") != name for entry in audit.entries(library)):
        audit.append(library, "forget", facts)
    roster = gallery.read_roster(library)
    if not originals.isdisjoint(roster) or not people.isdisjoint(roster.values()):
        gallery.write_roster(library, lambda uri, person: person not in people and uri not in originals)
    edits = ledger_of.forget(library, gone)
    manifest.forget(library, sorted(images))
    manifest.forget_faces(library)  # also where no image went
    called = {*people, *pending.get("names", ())}
    tags.forget_names(library, called)
    keys.forget_names(library, called)
    library.remove_temporary()
    shared_shards.remove_all(library)
    _remove_pages(library)
    receipt = Receipt(
        receipt=name,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        reason=pending["reason"],
        people=pending["people"],
        images=pending["images"],
        originals=pending["originals"],
        faces=pending.get("faces", len(pending["embeddings"])),  # a note of an older Muster has fewer facts
        found_afterwards=left_over.search(library, _sought(pending), skip=(f"{RECEIPTS}/", FORGETTING)),
        copies=pending["copies"],
        named=pending["named"],
        edits=edits,
    )
    library.write(name, dump_json(receipt.__dict__))
    library.remove(FORGETTING)
    return receipt


def _sought(pending: Mapping[str, Any]) -> left_over.Sought:
    ids = {*pending["images"], *pending["originals"], *pending["contents"]}
    names, pictures = {*pending["names"], *pending["persons"]}, pending["pictures"]
    return left_over.Sought({*pending["people"], *names}, ids, set(pending["embeddings"]), set(pictures))


def _check_pages(library: LibraryFiles) -> None:
    if library.local is not None and (library.local / PAGES).is_symlink():
        raise MusterError(
            f"{library.at(PAGES)} is a link, and what it leads to may show who is to be forgotten: delete the pages"
            " there, and the link, and run again"
        )


def _remove_pages(library: LibraryFiles) -> None:
    """The people pages in the library show copies of photos: they go as a whole, and are soon written again."""
    _check_pages(library)
    if library.local is not None and (library.local / PAGES / MARKER).is_file():
        Site(library.local / PAGES, {}).finish(set())
