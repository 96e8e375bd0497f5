"""Roster in, gallery out: everybody with consent whose photos show one good face, and a report on all others."""

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import zip_longest
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from muster.arrays import F32, matrix
from muster.errors import InputError
from muster.pipeline import forget
from muster.pipeline.gallery.answers import area
from muster.pipeline.people.faces import faces_fingerprint
from muster.pipeline.run import OnProgress, process
from muster.pipeline.usual import with_usual_models
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.config import RunConfig
from muster.storage import manifest, tables
from muster.storage.downloads import OnDownload
from muster.storage.gallery import audit, gallery, roster
from muster.storage.gallery.entry import DATES, Entry
from muster.storage.gallery.gallery import Gallery
from muster.storage.gallery.roster import Roster
from muster.storage.library import LibraryFiles, open_library
from muster.storage.outcomes import IMAGES_FINGERPRINT
from muster.storage.photos.listing import look_up
from muster.storage.photos.reader import check_access
from muster.storage.texts import normal
from muster.tasks.models import zoo
from muster.tasks.people.lookalikes import ALIKE
from muster.tasks.people.search import MIN_QUALITY, means

UNLIKE = 0.2  # a photo less similar than this to its person's others shows somebody else
BESIDE = 0.25  # a second face counts from this share of the largest one's area


@dataclass(frozen=True)
class Refused:
    """A person, or one photo of theirs, that is not enrolled. `review`: `accept` enrols it all the same."""

    person_id: str
    reason: str
    image: str | None = None
    review: bool = False


@dataclass(frozen=True)
class EnrolSummary:
    """`people`: in the gallery now; `enrolled`, `updated`: of this roster. `photos`: faces of these that are used.

    `lookalikes`: pairs of people too alike to be told apart safely. `forgotten`: enrolled before, and without consent
    now. `remarks`: how the roster was read, where that may not be what was meant.
    """

    people: int
    enrolled: int
    updated: int
    photos: int
    refused: list[Refused]
    lookalikes: list[dict[str, Any]]
    forgotten: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Request:
    """`consent_given`: the user holds the consent of all in a roster that does not say. `accept`: people to be enrolled
    in spite of what is to be reviewed. `columns`: name that we know → name in the roster."""

    roster: str
    consent_given: bool = False
    accept: Collection[str] = ()
    columns: Mapping[str, str] = field(default_factory=dict)


def enroll(
    request: Request, config: RunConfig, on_progress: OnProgress, on_download: OnDownload | None = None
) -> EnrolSummary:
    """Enrol the people of a roster into the gallery of config.library; who is enrolled already is updated.

    Raises InputError for a roster that cannot be read, before anything is written.
    """
    library = open_library(config.library)
    entries, remarks = (found := read(request, library)).people, found.remarks
    accept = set(map(normal, request.accept))
    willing, refused = _sort_out(entries)
    images = _images(willing)
    with forget.locked(library, resuming={image["uri"] for image in images}):
        config = with_gallery_model(library, config)
        forgotten = _withdrawn(library, entries)
        willing, returning = _not_returning(library, willing, accept)
        names, uris = {entry.person_id for entry in willing}, {uri for entry in willing for uri in entry.images}
        images = [image for image in images if image["uri"] in uris]
        if images:
            library.make_private()  # before there are names in it
            audit.append(library, "enroll-begun", {"people": [], "asked": len(willing), "photos": len(images)})
            place = gallery.write_roster(library, lambda _, person: person not in names, images, _stamps(library))
            manifest.scan(library, [place])
            process(library, config, on_progress, on_download)
        summary = _enrol(library, config.choice("faces").model, willing, accept)
    return replace(summary, refused=refused + returning + summary.refused, forgotten=forgotten, remarks=remarks)


def read(request: Request, library: LibraryFiles | None) -> Roster:
    """The people of the roster. `library`: None where there is none yet. InputError where it cannot be used."""
    found = roster.read_roster(request.roster, library, request.columns)
    if not request.consent_given and all(entry.consent is None for entry in found.people):
        raise InputError(
            f"roster {request.roster} does not say who consented: add a column consent (yes or no), or say"
            " `consent_given` where you hold the consent of everybody in it"
        )
    if unknown := sorted(set(map(normal, request.accept)) - {entry.person_id for entry in found.people}):
        raise InputError(f"`accept` {unknown[0]}: nobody in roster {request.roster} has that person_id")
    return found


def _sort_out(entries: Sequence[Entry]) -> tuple[list[Entry], list[Refused]]:
    """Whose photos may be looked at, and who is refused before."""
    refused = []
    for entry in entries:
        if entry.consent is False:
            refused.append(Refused(entry.person_id, "no consent"))
        elif _ended(entry):
            refused.append(Refused(entry.person_id, f"consent ended on {entry.valid_until}"))
        elif not entry.images:
            refused.append(Refused(entry.person_id, "no photo is named"))
    names = {each.person_id for each in refused}
    return [entry for entry in entries if entry.person_id not in names], refused


def with_gallery_model(library: LibraryFiles, config: RunConfig) -> RunConfig:
    """The gallery's model where none was asked for, or the library's where there is no gallery. InputError where it is
    another one than the gallery's."""
    known = gallery.read(library)
    if known is None or not known.faces.num_rows:
        return with_usual_models(library, config)
    asked = config.choice("faces").model
    if asked is not None and asked != known.model:
        raise InputError(
            f"the gallery of library {library.uri} is made by faces={known.model}: faces of {asked} cannot be compared"
            " with it; enrol everybody anew in another library"
        )
    return replace(config, choices=(TaskChoice(name="faces", model=known.model),))


def _withdrawn(library: LibraryFiles, entries: Sequence[Entry]) -> list[str]:
    """Forget everybody who is enrolled, and does not consent, or not any more."""
    known = gallery.read(library)
    here = forget.spellings(known.people if known else ())
    gone: list[str] = []
    for reason, theirs in (
        (forget.WITHDRAWN, [entry for entry in entries if entry.consent is False]),
        (forget.ENDED, [entry for entry in entries if entry.consent is not False and _ended(entry)]),
    ):
        names = [name for entry in theirs for name in here.get(normal(entry.person_id), ())]
        if names:
            forget.forget_people(library, names, reason)
        gone += names
    return sorted(gone)


def _not_returning(
    library: LibraryFiles, willing: Sequence[Entry], accept: Collection[str]
) -> tuple[list[Entry], list[Refused]]:
    """Who was not forgotten before, with the photos that were not, and a refusal of each other: a roster from before
    the deletion must not undo it. Consent that had ended, and has an end to come now, was given anew."""
    before, known = forget.forgotten(library), gallery.read(library)
    here = forget.spellings(known.people if known else ())
    used = set(known.faces["uri"].to_pylist()) if known else set()
    staying, refused = [], []
    for entry in willing:
        receipt = before.people.get(entry.person_id) if entry.person_id not in here else None
        if entry.person_id in accept:
            staying.append(entry)
        elif receipt and (receipt.reason != forget.ENDED or entry.valid_until is None):
            refused.append(_returning(entry, receipt))
        else:
            photos = dict(zip_longest(entry.images, entry.stamps))
            old = {uri: before.images[uri] for uri in photos if uri in before.images and uri not in used}
            refused += [_returning(entry, receipt, uri) for uri, receipt in old.items()]
            kept = [uri for uri in photos if uri not in old]
            if kept:
                staying.append(replace(entry, images=tuple(kept), stamps=tuple(photos[u] for u in kept if photos[u])))
    return staying, refused


def _returning(entry: Entry, receipt: forget.Receipt, image: str | None = None) -> Refused:
    when = f"{receipt.at.partition('T')[0]} ({receipt.reason})"
    text = f"was forgotten on {when}: is enrolled only with consent that was given since"
    return Refused(entry.person_id, text, image, review=True)


def _ended(entry: Entry) -> bool:
    return entry.valid_until is not None and entry.valid_until < date.today()


def _images(willing: Sequence[Entry]) -> list[dict[str, Any]]:
    """Rows of the roster that is scanned. A CSV says nothing of when its images were made: buckets are asked."""
    stamps = {uri: stamp for entry in willing for uri, stamp in zip(entry.images, entry.stamps, strict=False)}
    others = [uri for entry in willing for uri in entry.images if uri not in stamps]
    check_access((uri, uri) for uri in others)  # read_roster has seen that they may be named
    stamps |= look_up(others)
    rows = [{"uri": uri, "person_id": entry.person_id} for entry in willing for uri in entry.images]
    return [row | dict(zip(("size", "modified"), stamps[row["uri"]], strict=True)) for row in rows]


def _stamps(library: LibraryFiles) -> dict[str, dict[str, Any]]:
    """Size and time of each image, as it was last seen: whoever is enrolled stays so where their photos do not."""
    rows = manifest.read_manifest(library).select(["uri", "size", "modified"]).to_pylist()
    return {row.pop("uri"): row for row in rows if row["modified"] is not None}


# ---- faces -----------------------------------------------------------------------------------------------------------


def _enrol(library: LibraryFiles, model: str | None, willing: Sequence[Entry], accept: Collection[str]) -> EnrolSummary:
    """Put those whose photos fit into the gallery. The caller holds the lock."""
    before = _known(library, model, bool(willing))
    rows, poor = _photos(library, before, willing)
    summary = _admit(library, before, willing, rows, accept)
    _drop_unused(library)
    return replace(summary, refused=poor + summary.refused)


def _drop_unused(library: LibraryFiles) -> None:
    """What is not used of a roster's photos does not stay."""
    if unused := forget.unfinished(library):
        forget.drop(library, unused)


@dataclass(frozen=True)
class SeenPhoto:
    """One that is kept nowhere, and what `faces` found: rows and their embeddings (N, D)."""

    uri: str
    image_id: str
    sha256: str
    taken: date | None
    faces: Sequence[Mapping[str, Any]]
    embeddings: F32


def enroll_seen(
    library: LibraryFiles,
    choice: TaskChoice,
    entry: Entry,
    photos: Sequence[SeenPhoto],
    accept: bool,
    noted: Mapping[str, Any] = {},
) -> EnrolSummary:
    """Enrol one person, who consents, by photos that were looked at and are kept nowhere; or update them. Without
    photos who is enrolled has other details. `choice`: the task `faces` that looked. `noted`: what the log says
    besides. The caller holds the lock, see `forget.locked`.
    """
    before = gallery.read(library)
    if before is None or not before.faces.num_rows:
        assert choice.model is not None
        before = gallery.empty(choice.fingerprint, choice.model, choice.task.schema.field("embedding").type.list_size)
    if (before.fingerprint, before.model) != (choice.fingerprint, choice.model):
        raise InputError(f"the gallery of library {library.uri} was made anew, by faces={before.model}: start again")
    here = {normal(person): person for person in before.people}
    entry = replace(entry, person_id=here.get(entry.person_id, entry.person_id))
    theirs = before.faces.filter(pc.equal(before.faces["person_id"], entry.person_id))
    until = entry.valid_until or next(iter(theirs["valid_until"].to_pylist()), None)
    if _ended(replace(entry, valid_until=until)):
        text = f"consent ended on {until}: say until when it was given anew (`valid_until`)"
        return EnrolSummary(len(before.people), 0, 0, 0, [Refused(entry.person_id, text)], [])
    if not photos and entry.person_id in before.people:
        known = before.with_details({entry.person_id: _details(entry)})
        if not known.faces.equals(before.faces):
            facts = {"people": [known.pseudonym_of(entry.person_id)], "photos": 0, **noted}
            gallery.write(library, known, "enroll", facts)
        return EnrolSummary(len(known.people), 0, 1, 0, [], [])
    accepted = {entry.person_id} if accept else set()
    willing, returning = _not_returning(library, [entry], accepted)
    kept = set(willing[0].images) if willing else ()
    owners = dict(zip(before.faces["sha256"].to_pylist(), before.faces["person_id"].to_pylist(), strict=True))
    rows, poor = [], []
    for photo in photos:
        if photo.uri not in kept:
            continue
        if (owner := owners.get(photo.sha256, entry.person_id)) != entry.person_id:
            text = f"{owner} is known by this photo, and it goes with them when they are forgotten: take another"
            poor.append(Refused(entry.person_id, text, photo.uri))
        elif reason := _reason(photo.faces):
            poor.append(Refused(entry.person_id, reason, photo.uri))
        else:
            best = max(range(len(photo.faces)), key=lambda i: area(photo.faces[i]))
            if not accept and len(theirs) and (matrix(theirs["embedding"]) @ photo.embeddings[best]).mean() < UNLIKE:
                text = "does not look like the photos by which this person is known"  # perhaps the id is another's
                poor.append(Refused(entry.person_id, text, photo.uri, review=True))
                continue
            face = {name: photo.faces[best][name] for name in ("quality", "thumbnail")}
            row: dict[str, Any] = {"image_id": photo.image_id, "face_id": f"{photo.image_id}-{best}", "uri": photo.uri}
            row |= {"sha256": photo.sha256, "taken": photo.taken, "embedding": photo.embeddings[best]}
            rows.append({"person_id": entry.person_id, **_details(entry), **row, **face})
    library.make_private()
    summary = _admit(library, before, willing, rows, accepted, noted)
    _drop_unused(library)  # photos of a roster that these have taken the place of
    return replace(summary, refused=returning + poor + summary.refused)


def _admit(
    library: LibraryFiles,
    before: Gallery,
    willing: Sequence[Entry],
    rows: Sequence[dict[str, Any]],
    accept: Collection[str],
    noted: Mapping[str, Any] = {},
) -> EnrolSummary:
    """Put those of these rows into the gallery that fit, and nobody who looks like another."""
    details = {entry.person_id: _details(entry) for entry in willing}
    known = before.with_details(details)  # also of those whose photos are refused now
    fitting, unlike = _fitting(rows, accept)
    pairs = _lookalikes(known, fitting)
    theirs = {row["person_id"] for row in fitting}
    held = ({pair[name] for pair in pairs for name in ("person_id", "other")} & theirs) - set(accept)
    used = [row for row in fitting if row["person_id"] not in held]
    old = {row["person_id"]: row for row in known.faces.select(["person_id", "pseudonym", *DATES]).to_pylist()}
    names = {row["person_id"] for row in used}
    refused = unlike
    refused += [Refused(person, "looks like another person: see lookalikes", review=True) for person in sorted(held)]
    refused += [Refused(e.person_id, "no usable photo") for e in willing if e.person_id not in names | held]
    pseudonyms = {person: old[person]["pseudonym"] if person in old else secrets.token_hex(8) for person in names}
    for row in used:
        row["pseudonym"] = pseudonyms[row["person_id"]]
        row |= {name: row[name] or old.get(row["person_id"], row)[name] for name in DATES}
    new = known.with_faces(used)
    if not new.faces.equals(before.faces):
        facts = {"people": sorted(pseudonyms.values()), "photos": len(used), "refused": len(refused), **noted}
        gallery.write(library, new, "enroll", facts)
    return EnrolSummary(
        people=len(new.people),
        enrolled=len(names - old.keys()),
        updated=len(names & old.keys()),
        photos=len(used),
        refused=refused,
        lookalikes=pairs,
    )


def _known(library: LibraryFiles, model: str | None, processed: bool) -> Gallery:
    """The gallery as it is, or an empty one of this model. `processed`: whether there are faces of it by now."""
    known = gallery.read(library)
    fingerprint = faces_fingerprint(library, model) if processed else ""
    if known is None or not known.faces.num_rows:
        faces = TaskChoice(name="faces", model=model).task.schema
        return gallery.empty(fingerprint, model or zoo.DEFAULTS["faces"], width=faces.field("embedding").type.list_size)
    if fingerprint not in ("", known.fingerprint):
        raise InputError(
            f"the gallery of library {library.uri} was made by an older faces={known.model}: enrol everybody anew in"
            " another library"
        )
    return known


def _photos(
    library: LibraryFiles, known: Gallery, willing: Sequence[Entry]
) -> tuple[list[dict[str, Any]], list[Refused]]:
    """A row of the gallery for each photo that shows one good face."""
    if not willing:
        return [], []
    owner = {uri: entry for entry in willing for uri in entry.images}
    images = manifest.read_manifest(library).select(["image_id", "uri"]).to_pylist()
    mine = {row["image_id"]: row["uri"] for row in images if row["uri"] in owner}
    facts, faces = _facts(library, mine), _faces(library, known.fingerprint, mine)
    rows, refused = [], []
    for image_id, uri in mine.items():
        entry, seen = owner[uri], faces.get(image_id, [])
        reason = facts[image_id]["error"] or _reason(seen)
        if reason:
            refused.append(Refused(entry.person_id, reason, uri))
            continue
        best = max(seen, key=area)
        rows.append(
            {"person_id": entry.person_id, **_details(entry)}
            | {"image_id": image_id, "uri": uri, "sha256": facts[image_id]["sha256"]}
            | {"taken": facts[image_id]["taken_at"] and facts[image_id]["taken_at"].date()}
            | {name: best[name] for name in ("face_id", "quality", "embedding")}
        )
    return rows, refused


def _details(entry: Entry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in ("name", "group", *DATES)}


def _facts(library: LibraryFiles, mine: Collection[str]) -> dict[str, dict[str, Any]]:
    shards = manifest.committed(library, IMAGES_FINGERPRINT)
    table = tables.require(library, "images", IMAGES_FINGERPRINT, ["image_id", "error", "sha256", "taken_at"], shards)
    return {row["image_id"]: row for row in table.to_pylist() if row["image_id"] in mine}


def _faces(library: LibraryFiles, fingerprint: str, mine: Collection[str]) -> dict[str, list[dict[str, Any]]]:
    """The faces of each image."""
    columns = ["image_id", "face_id", "box_xyxy", "quality", "embedding"]
    table = tables.require(library, "faces", fingerprint, columns, manifest.committed(library, fingerprint))
    table = table.filter(pc.is_in(table["image_id"], pa.array(list(mine), pa.string())))
    found: dict[str, list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        found.setdefault(row["image_id"], []).append(row)
    return found


def _reason(faces: Sequence[Mapping[str, Any]]) -> str | None:
    """Why a photo with these faces cannot stand for one person."""
    if not faces:
        return "no face"
    largest = max(faces, key=area)
    count = sum(area(face) >= BESIDE * area(largest) for face in faces)
    if count > 1:
        return f"{count} faces: crop it to one"
    if largest["quality"] < MIN_QUALITY:
        return f"the face is too small, blurred or turned away (quality {largest['quality']:.2f})"
    return None


def _fitting(rows: Sequence[dict[str, Any]], accept: Collection[str]) -> tuple[list[dict[str, Any]], list[Refused]]:
    """The photos that resemble the others of their person; the rest may show somebody else."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["person_id"], []).append(row)
    good, refused = [], []
    for person, mine in groups.items():
        vectors = np.array([row["embedding"] for row in mine], np.float32)
        alike = (vectors @ vectors.T).sum(1) - 1
        fits = (alike >= UNLIKE * (len(mine) - 1)) | (len(mine) == 1) | (person in accept)
        for row, fit in zip(mine, fits, strict=True):
            if fit:
                good.append(row)
            else:
                text = "does not look like the other photos of this person"
                refused.append(Refused(person, text, row["uri"], review=True))
    return good, refused


def _lookalikes(known: Gallery, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Pairs of people whose templates are as alike as one person's, of whom at least one is new or updated."""
    both = known.with_faces([{**row, "pseudonym": ""} for row in rows])
    return lookalikes(both.people, means(both.embeddings, both.owner, len(both.people)), {r["person_id"] for r in rows})


def lookalikes(names: Sequence[str], vectors: F32, among: Collection[str]) -> list[dict[str, Any]]:
    """Pairs of people with templates (G, D) as alike as one person's, one of them `among` these, most alike first."""
    fresh = sorted(among)
    place = {name: i for i, name in enumerate(names)}
    pairs: dict[tuple[str, str], float] = {}
    for start in range(0, len(fresh), 1024):
        mine = [place[name] for name in fresh[start : start + 1024]]
        similar = vectors[mine] @ vectors.T
        for i, j in np.argwhere(similar >= ALIKE):
            if mine[i] != j:
                a, b = sorted((names[mine[i]], names[j]))
                pairs[a, b] = float(similar[i, j])
    ordered = sorted(pairs.items(), key=lambda pair: -pair[1])
    return [{"person_id": a, "other": b, "similarity": round(value, 3)} for (a, b), value in ordered]
