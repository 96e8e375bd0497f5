"""Who is who in a library now: what clustering found, with what users, the gallery and tags say.

Everything that shows people goes by this: pages, exports, copies, search, tags. It is computed from tables and ledger
whenever it is asked for, so that an edit counts at once.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from muster.arrays import F32, I64, Bools
from muster.storage.clusters import edits_of
from muster.storage.people.attach import Draft, Votes
from muster.storage.people.boxes import SAME_FACE, overlap
from muster.storage.people.claims import ORIGINS, Claim, Claims, claimed_id
from muster.storage.people.counted import still_counts
from muster.storage.people.facts import Box
from muster.storage.people.known import Known, SaidPerson
from muster.storage.people.placed import Photos, Placed, Places

__all__ = [
    "FOUND",
    "ORIGINS",
    "SCHEMA",
    "USER",
    "Claim",
    "People",
    "Person",
    "Scene",
    "boxes_of",
    "claimed_id",
    "drawn_id",
    "rows_said",
    "view",
]

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
    users and tags have put where none was found; `certainty` is 1 where users said who it is. `people`: everybody who
    has a face or of whom users spoke, by person_id. `photos`: of the library, by which edits name them."""

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
    """Once: see `Scene`."""
    return Scene(clusters, faces, images, claims).people(known)


class Scene:
    """The faces of a library, of which it is quickly said anew who is who, whenever a ledger says more.

    `clusters`: as `muster.storage.clusters.read` gives it; None: not clustered yet. `faces`: face_id, image_id,
    box_xyxy. `images`: see `Photos`. Nothing is read or written.
    """

    def __init__(
        self, clusters: pa.Table | None, faces: pa.Table, images: pa.Table, claims: Sequence[Claim] = ()
    ) -> None:
        boxes = boxes_of(faces)
        self.photos = Photos(images)
        self._faces = faces
        self._places = Places(self.photos, faces["image_id"], boxes)
        self._edits = None if clusters is None else edits_of(clusters)
        self._clusters = _clustered(faces["face_id"], clusters, "cluster_id")
        self._alike = self._clusters if self._edits is None else _clustered(faces["face_id"], clusters, "found_id")
        self._claims = Claims(claims, faces["image_id"], boxes)

    def people(self, known: Known) -> People:
        """Who is who, by what a ledger says too."""
        placed = self._places.of(known.faces)
        ids, of, certain = self._found(known)
        draft, extra = Draft(ids, of), _drawn(known, placed)
        draft.attach(votes_of(known, placed), known.person)
        draft.rename(known.person)
        is_, is_not = rows_said(known, placed)
        draft.say(is_)
        draft.bar(is_not)
        names = self._claims.put(draft, known.people, known.person, (is_, is_not))
        self._claimed_beside(extra, known, placed)
        table = _table(self._faces, draft, _sure(certain, draft, is_), extra)
        return self._people(table, draft, extra, known, placed, names)

    def _found(self, known: Known) -> tuple[list[str], I64, pa.Array]:
        """What clustering found; by likeness alone where something was taken back since that it went by."""
        return self._clusters if self._edits is None or still_counts(self._edits, known) else self._alike

    def said(self, known: Known) -> tuple[dict[int, str], set[tuple[int, str]]]:
        """Row of a face → the person that it is said to be, and rows with people that they are said not to be."""
        return rows_said(known, self._places.of(known.faces))

    def _claimed_beside(self, extra: "_Extra", known: Known, placed: Placed) -> None:
        """Faces that something else than a user speaks of, and that were not found; where users have drawn one, theirs
        stands."""
        drawn = _by_photo((image_id, box, None) for image_id, box in extra)
        denied = _by_photo(
            (image_id, ref.box, person)
            for number, person in known.is_not
            if (ref := known.faces[number]) is not None
            for image_id in placed.without[number]
        )
        for claim, person in self._claims.beside(known.people.values(), known.person):
            same = [box for box, _ in drawn.get(claim.image_id, ()) if overlap(box, claim.box) >= SAME_FACE]
            no = any(
                overlap(box, claim.box) >= SAME_FACE and who == person for box, who in denied.get(claim.image_id, ())
            )
            key = (claim.image_id, same[0] if same else claim.box)
            who, origin = extra.get(key, (None, claim.origin))
            extra[key] = (who or (None if no else person), origin)

    def _people(
        self,
        table: pa.Table,
        draft: Draft,
        extra: "_Extra",
        known: Known,
        placed: Placed,
        names: Mapping[str, tuple[str, str]],
    ) -> People:
        shown = [*draft.shown(), *(person for person, _ in extra.values() if person is not None)]
        covers = _covers(known, placed, self._faces["face_id"])
        spoken = known.people
        people = {each: Person(each) for each in dict.fromkeys([*spoken, *shown])}
        people |= {each: _person(spoken.get(each), each, covers, names) for each in {*spoken, *names} & people.keys()}
        return People(table, people, self.photos)


def boxes_of(faces: pa.Table) -> F32:
    """(N, 4) of the column box_xyxy."""
    flat = faces["box_xyxy"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    boxes: F32 = np.asarray(flat, np.float32).reshape(-1, 4)
    return boxes


def _clustered(face_ids: pa.ChunkedArray, clusters: pa.Table | None, column: str) -> tuple[list[str], I64, pa.Array]:
    """The ids of clusters; of each face the number of its cluster, -1 where it is alone; and its certainty."""
    if clusters is None:
        return [], np.full(len(face_ids), -1), pa.nulls(len(face_ids), pa.float32())
    rows = pc.index_in(face_ids, value_set=clusters["face_id"])
    ids = clusters[column].take(rows).combine_chunks().cast(pa.string()).dictionary_encode()
    numbers: I64 = pc.fill_null(ids.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    known = "certainty" in clusters.column_names  # not in what an older Muster clustered
    certain = clusters["certainty"].take(rows) if known else pa.nulls(len(face_ids), pa.float32())
    return ids.dictionary.to_pylist(), numbers, certain


def votes_of(known: Known, placed: Placed) -> Votes:
    """Faces by which a cluster is known to be somebody's: those that are said to be theirs, and those that were in the
    cluster when it was spoken of."""
    people, counts = list(known.votes), [len(faces) for faces in known.votes.values()]
    faces: I64 = np.fromiter(chain.from_iterable(known.votes.values()), np.int64, sum(counts))
    rows, voters = placed.first[faces], np.repeat(np.arange(len(people)), counts)
    return Votes(people, voters[rows >= 0], rows[rows >= 0])


def rows_said(known: Known, placed: Placed) -> tuple[dict[int, str], set[tuple[int, str]]]:
    """Row → the person that it is said to be, and rows with people that they are said not to be."""
    is_ = {row: person for face, person in known.is_.items() for row in placed.rows[face]}
    return is_, {(row, person) for face, person in known.is_not for row in placed.rows[face]}


# ---- faces that were not found ---------------------------------------------------------------------------------------

_Extra = dict[tuple[str, Box], tuple[str | None, str]]  # image_id and box → person, origin


def _drawn(known: Known, placed: Placed) -> _Extra:
    """Faces that users speak of, and that were not found: whoever is named there is still named."""
    is_, extra = known.is_, _Extra()
    for number in sorted(known.missed | is_.keys()):
        ref = known.faces[number]
        for image_id in placed.without[number] if ref is not None else ():
            extra[image_id, ref.box] = (is_.get(number), USER)  # type: ignore[union-attr]
    return extra


def _by_photo(
    places: Iterator[tuple[str, Box, str | None]],
) -> dict[str, list[tuple[Box, str | None]]]:
    found: dict[str, list[tuple[Box, str | None]]] = {}
    for image_id, box, person in places:
        found.setdefault(image_id, []).append((box, person))
    return found


def drawn_id(image_id: str, box: Box) -> str:
    """The face_id of a face that no model has found."""
    return f"{image_id}-u{hashlib.sha256(repr(tuple(map(float, box))).encode()).hexdigest()[:8]}"


# ---- tables and people -----------------------------------------------------------------------------------------------


def _table(faces: pa.Table, draft: Draft, certain: pa.Array, extra: _Extra) -> pa.Table:
    alone: Bools = draft.persons < 0
    codes = pa.array(np.where(alone, 0, draft.persons), pa.int32(), mask=alone)
    persons = pa.DictionaryArray.from_arrays(codes, pa.array(draft.ids or [""], pa.string())).cast(pa.string())
    origins = pa.repeat(pa.scalar(FOUND), faces.num_rows)
    columns = [faces["face_id"], faces["image_id"], faces["box_xyxy"], persons, certain, origins]
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


def _sure(certain: pa.Array, draft: Draft, is_: Mapping[int, str]) -> pa.Array:
    """How certain each face is: what users said is, and of nobody's nothing is known."""
    values: F32 = pc.fill_null(certain, np.nan).to_numpy(zero_copy_only=False).astype(np.float32)
    values[list(is_)] = 1
    return pa.array(np.where(draft.persons < 0, np.nan, values), pa.float32(), from_pandas=True)


def _covers(known: Known, placed: Placed, face_ids: pa.ChunkedArray) -> dict[int, str]:
    """Face that stands for somebody → its face_id."""
    wanted = [each.cover for each in known.people.values() if each.cover is not None]
    found = {face: placed.rows[face][0] for face in wanted if placed.rows[face]}
    ids = face_ids.take(pa.array(found.values(), pa.int64())).to_pylist()
    drawn = {
        face: drawn_id(placed.without[face][0], ref.box)
        for face in wanted
        if face not in found and placed.without[face] and (ref := known.faces[face]) is not None
    }
    return drawn | dict(zip(found, ids, strict=True))


def _person(
    about: SaidPerson | None, person: str, covers: Mapping[int, str], names: Mapping[str, tuple[str, str]]
) -> Person:
    name, origin = names.get(person, ("", ""))
    if about is None:
        return Person(person, name, origin=origin)
    if about.name or about.nameless:
        name, origin = about.name, USER if about.name else ""
    return Person(
        person_id=person,
        name=name,
        hidden=about.hidden,
        cover=None if about.cover is None else covers.get(about.cover),
        born=about.born,
        origin=origin,
        said=True,
        others=about.others,
    )
