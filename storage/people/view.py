"""Who is who in a library now: what clustering found, with what users, the gallery and tags say.

Everything that shows people goes by this: pages, exports, copies, search, tags. It is computed from tables and ledger
whenever it is asked for, so that an edit counts at once.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from muster.arrays import F32
from muster.storage.clusters import edits_of
from muster.storage.people.boxes import matched
from muster.storage.people.counted import still_counts
from muster.storage.people.facts import Box
from muster.storage.people.known import Known, SaidPerson
from muster.storage.people.placed import Photos, Placed, place, rows_in
from muster.storage.texts import normal

FOUND, USER = "found", "user"  # origins of faces; and those of claims
SCHEMA = pa.schema(
    [
        pa.field("face_id", pa.string(), nullable=False),
        pa.field("image_id", pa.string(), nullable=False),
        ("box_xyxy", pa.list_(pa.float32(), 4)),
        ("person_id", pa.string()),
        ("certainty", pa.float32()),
        ("origin", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class Claim:
    """What something else than a user says: that the face at `box` (full-size upright pixels) is called `name`.

    `origin`: "gallery", "xmp", …: `ORIGINS` tells which goes before which. `person`: its own id of the person, if any.
    """

    image_id: str
    box: Box
    name: str
    origin: str
    person: str = ""


ORIGINS = ("gallery", "xmp", "takeout")  # who is believed before whom, after the user
CLAIMED = 0.3  # intersection over union from which on a region of another program is a face that was found: theirs
# reach from chin to crown


@dataclass(frozen=True, slots=True)
class Person:
    """`cover`: face_id; None: the best. `origin`: of the name: "user", or of a claim; "" without a name. `said`: edits
    speak of the person. `others`: former ids."""

    person_id: str
    name: str = ""
    hidden: bool = False
    cover: str | None = None
    born: str = ""
    origin: str = ""
    said: bool = False
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class People:
    """`faces`: as SCHEMA has it, a row for each face that was found, in the order of the faces table, then those that
    users and tags have put where none was found. `people`: everybody who has a face or a name, by person_id. `photos`:
    of the library, by which edits name them."""

    faces: pa.Table
    people: Mapping[str, Person]
    photos: Photos

    @property
    def moved(self) -> dict[str, str]:
        """Former id → person_id of those who were found to be the same person."""
        return {other: person.person_id for person in self.people.values() for other in person.others}


def view(
    clusters: pa.Table | None, faces: pa.Table, images: pa.Table, known: Known, claims: Sequence[Claim] = ()
) -> People:
    """`clusters`: as `muster.storage.clusters.read` gives it; None: not clustered yet. `faces`: face_id, image_id,
    box_xyxy. `images`: see `Photos`. Nothing is read or written."""
    boxes = boxes_of(faces)
    found, certain = _clustered(faces["face_id"], clusters, known)
    photos = Photos(images)
    placed = place(known.faces, photos, faces["image_id"], boxes)
    said = {row: person for face, person in known.is_.items() for row in placed.rows[face]}
    barred = {(row, person) for face, person in known.is_not for row in placed.rows[face]}
    votes = votes_of(known, placed)
    persons = _attached(found, votes, known)
    for row, person in said.items():
        persons[row] = person
    for row, person in barred:
        if persons[row] == person:
            persons[row] = None
    extra = _drawn(known, placed)
    names = _claimed(claims, faces, boxes, persons, said, barred, known, extra)
    table = _table(faces, persons, certain, extra)
    return People(table, _people(table, known, placed, names), photos)


def boxes_of(faces: pa.Table) -> F32:
    """(N, 4) of the column box_xyxy."""
    flat = faces["box_xyxy"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    boxes: F32 = np.asarray(flat, np.float32).reshape(-1, 4)
    return boxes


def _clustered(face_ids: pa.ChunkedArray, clusters: pa.Table | None, known: Known) -> tuple[list[str | None], pa.Array]:
    """The cluster and certainty of each face. Where something was taken back that clustering went by, the cluster is
    what it would be had nobody said anything, until it is clustered again."""
    if clusters is None:
        return [None] * len(face_ids), pa.nulls(len(face_ids), pa.float32())
    rows = pc.index_in(face_ids, value_set=clusters["face_id"])
    edits = edits_of(clusters)
    column = "cluster_id" if edits is None or still_counts(edits, known) else "found_id"
    ids: list[str | None] = clusters[column].take(rows).to_pylist()
    scored = "certainty" in clusters.column_names  # not in what an older Muster clustered
    certain = clusters["certainty"].take(rows) if scored else pa.nulls(len(face_ids), pa.float32())
    return ids, certain


def votes_of(known: Known, placed: Placed) -> dict[str, list[int]]:
    """Person → rows of faces by which a cluster is known to be theirs: those that are said to be, and those that were
    in the cluster when it was spoken of."""
    votes: dict[str, list[int]] = {person: [] for person in known.people}
    for face, person in known.is_.items():
        votes[person].extend(placed.rows[face])
    for person, numbers in known.shows.items():
        votes.setdefault(person, []).extend(row for face in numbers for row in placed.rows[face])
    return votes


def attach(
    clusters: Sequence[str | None], votes: Mapping[str, Iterable[int]], same: Callable[[str], str] = str
) -> dict[str, str]:
    """Cluster → the person it is: one that goes by the person's id, else one that has most of the person's votes, or
    of which these are half, one to one, most votes first, ties by id. `clusters` (N,): of each row; `votes`: person →
    rows. `same`: the id that a person goes by, where one person may have the votes of several."""
    sizes = Counter(clusters)
    given = {person: person for person in votes if person in sizes}
    counts = Counter(
        (person, cluster)
        for person, rows in votes.items()
        if person not in given
        for row in rows
        if (cluster := clusters[row]) is not None
    )
    done: set[str] = set()
    tried: set[str] = set()
    for (person, cluster), count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if person not in done and (person not in tried or 2 * count >= sizes[cluster]):
            if cluster not in given:
                given[cluster] = person
            if same(given[cluster]) == same(person):
                done.add(person)
        tried.add(person)
    return given


def _attached(clusters: list[str | None], votes: Mapping[str, list[int]], known: Known) -> list[str | None]:
    """The person of each row, by its cluster. What is said of a single face comes after."""
    given = attach(clusters, votes, known.person)
    own = {each: known.person(given.get(each, each)) for each in set(clusters) - {None} if each is not None}
    persons = [None if each is None else own[each] for each in clusters]
    there = set(own.values())
    for person, rows in votes.items():
        if known.person(person) not in there:  # without a cluster: it is in another's until faces are clustered again
            for row in rows:
                persons[row] = known.person(person)
    return persons


_Extra = dict[tuple[str, Box], tuple[str | None, str]]  # image_id and box → person, origin


def _drawn(known: Known, placed: Placed) -> _Extra:
    """Faces that users speak of, and that were not found: whoever is named there is still named."""
    is_, extra = known.is_, _Extra()
    for number, ref in enumerate(known.faces):
        if number in known.missed or number in is_:
            for image_id in placed.without[number]:
                extra[image_id, ref.box] = (is_.get(number), USER)
    return extra


def _claimed(
    claims: Sequence[Claim],
    faces: pa.Table,
    boxes: F32,
    persons: list[str | None],
    said: Mapping[int, str],
    barred: set[tuple[int, str]],
    known: Known,
    extra: _Extra,
) -> dict[str, tuple[str, str]]:
    """Put claims into `persons` and `extra` where no user has said otherwise. Returns person → name and origin."""
    if not claims:
        return {}
    people = known.people
    ids = _ids_by_name(people.values())
    here = rows_in(faces["image_id"], list({claim.image_id for claim in claims}))
    rank = {origin: number for number, origin in enumerate(ORIGINS)}
    in_photo: dict[str, list[Claim]] = {}
    for claim in sorted(claims, key=lambda claim: rank.get(claim.origin, len(ORIGINS))):
        in_photo.setdefault(claim.image_id, []).append(claim)
    names: dict[str, tuple[str, str]] = {}
    rows_of: dict[str, list[int]] = {}
    for image_id, theirs in in_photo.items():
        rows = here.get(image_id, [])
        for claim, row in _rows_claimed(theirs, rows, boxes):
            person = known.person(ids.get(_folded(claim.name)) or claimed_id(claim))
            names.setdefault(person, (claim.name, claim.origin))
            if row is None:
                extra.setdefault((image_id, claim.box), (person, claim.origin))
            elif row not in said and (row, person) not in barred:
                rows_of.setdefault(person, []).append(row)
    _join(rows_of, persons, people, names, barred)
    return names


def _rows_claimed(claims: Sequence[Claim], rows: Sequence[int], boxes: F32) -> Iterable[tuple[Claim, int | None]]:
    """Each claim about a photo with its face, None where there is none; origin by origin, each face once."""
    free = list(rows)
    for origin in dict.fromkeys(claim.origin for claim in claims):
        theirs = [claim for claim in claims if claim.origin == origin]
        every = matched([claim.box for claim in theirs], boxes[list(rows)].tolist(), CLAIMED)
        for i, claim in enumerate(theirs):
            row = rows[every[i]] if i in every else None
            if row is None or row in free:
                yield claim, row
            if row in free:
                free.remove(row)


def _join(
    rows_of: Mapping[str, list[int]],
    persons: list[str | None],
    people: Mapping[str, SaidPerson],
    names: Mapping[str, tuple[str, str]],
    barred: set[tuple[int, str]],
) -> None:
    """Clusters of which most claims say that they are somebody become that person; faces of clusters of which users
    have said who they are stay with them."""
    free = {person: [row for row in rows if persons[row] not in people] for person, rows in rows_of.items()}
    unsaid = [None if each in people else each for each in persons]
    given = {cluster: person for cluster, person in attach(unsaid, free).items() if cluster != person}
    for row, cluster in enumerate(unsaid):
        if cluster in given and (row, given[cluster]) not in barred:
            persons[row] = given[cluster]
    for person, rows in free.items():
        for row in rows:
            persons[row] = person


def _ids_by_name(people: Iterable[SaidPerson]) -> dict[str, str]:
    """Name → person, of names that one person alone has."""
    counts = Counter(_folded(person.name) for person in people if person.name)
    return {_folded(p.name): p.person_id for p in people if p.name and counts[_folded(p.name)] == 1}


def _folded(name: str) -> str:
    return normal(" ".join(name.split())).casefold()


def claimed_id(claim: Claim) -> str:
    """The person_id of somebody of whom no user has spoken."""
    own = f"{claim.origin}\0{claim.person}" if claim.person else _folded(claim.name)
    return hashlib.sha256(own.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _table(faces: pa.Table, persons: Sequence[str | None], certain: pa.Array, extra: _Extra) -> pa.Table:
    origins = pa.repeat(pa.scalar(FOUND), faces.num_rows)
    columns = [faces["face_id"], faces["image_id"], faces["box_xyxy"], pa.array(persons, pa.string()), certain, origins]
    table = pa.table(dict(zip(SCHEMA.names, columns, strict=True))).cast(SCHEMA)
    if not extra:
        return table
    rows = [
        {
            "face_id": drawn_id(image_id, box),
            "image_id": image_id,
            "box_xyxy": box,
            "person_id": person,
            "origin": origin,
        }
        for (image_id, box), (person, origin) in sorted(extra.items(), key=lambda item: item[0])
    ]
    return pa.concat_tables([table, pa.Table.from_pylist(rows, SCHEMA)])


def drawn_id(image_id: str, box: Box) -> str:
    """The face_id of a face that no model has found."""
    return f"{image_id}-u{hashlib.sha256(repr(tuple(map(float, box))).encode()).hexdigest()[:8]}"


def _people(table: pa.Table, known: Known, placed: Placed, names: Mapping[str, tuple[str, str]]) -> dict[str, Person]:
    said = known.people
    shown = pc.unique(table["person_id"].drop_null()).to_pylist()
    face_ids = table["face_id"]
    found: dict[str, Person] = {}
    for person in dict.fromkeys([*said, *shown]):
        about = said.get(person, SaidPerson(person))
        name, origin = (about.name, USER) if about.name else names.get(person, ("", ""))
        rows = [] if about.cover is None else placed.rows[about.cover]
        found[person] = Person(
            person_id=person,
            name=name,
            hidden=about.hidden,
            cover=face_ids[rows[0]].as_py() if rows else None,
            born=about.born,
            origin=origin,
            said=person in said,
            others=about.others,
        )
    return found


def rows_said(known: Known, placed: Placed) -> tuple[dict[int, str], set[tuple[int, str]]]:
    """Row → the person that it is said to be, and rows with people that they are said not to be."""
    is_ = {row: person for face, person in known.is_.items() for row in placed.rows[face]}
    return is_, {(row, person) for face, person in known.is_not for row in placed.rows[face]}
