"""What the people pages show, read from a library's tables: people, their photos, what is unclustered, what failed."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property, reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from muster.storage import tables
from muster.storage.library import LibraryFiles
from muster.storage.people.view import FOUND, People
from muster.storage.people.view import Person as Known
from muster.storage.tags import table as tags
from muster.web import words

IMAGE_COLUMNS = ["image_id", "status", "error_kind", "error", "width", "height", "taken_at", "camera", "sha256"]
FACE_COLUMNS = ["image_id", "face_id", "box_xyxy", "quality"]
EXTRA_FACES = 3
DOUBTFUL = 0.9  # certainty below which a face is marked, and its page says that it may be somebody else


@dataclass(frozen=True, kw_only=True)
class LabelTable:
    """A table by whose labels photos may be narrowed down. `label`, `score`: names of its columns.

    `placed`: its rows are about things in a photo, not about the whole of it. `phrases`: label → how pages say it,
    where that is not the usual way. `hidden`: a row that has one of these sets of values does not count.
    `least_scores`: label → the score from which on a photo shows it, and no label that is not named; None: all count.
    """

    table: str
    fingerprint: str
    label: str = "label"
    score: str | None = None
    placed: bool = False
    phrases: Mapping[str, str] = field(default_factory=dict)
    hidden: Sequence[Mapping[str, str]] = ()
    least_scores: Mapping[str, float] | None = None


@dataclass(frozen=True)
class PagesSource:
    """What the pages are made from.

    `shards`: the manifest's current shard ids. `fingerprints`: those of the tables "images", "faces" and "previews".
    `clusters`: columns face_id, image_id, cluster_id (string, null = unclustered). `uris`: image_id → where it lies.
    `people`: who is who now, which goes before clusters; None: nothing is said of anybody.
    `duplicates`: of `muster.storage.duplicates`; None where nobody has looked.
    """

    library: LibraryFiles
    shards: Sequence[str]
    fingerprints: Mapping[str, str]
    clusters: pa.Table
    uris: Mapping[str, str]
    labels: Sequence[LabelTable] = ()
    people: People | None = None
    duplicates: pa.Table | None = None

    def parts(self, table: str, columns: Sequence[str], fingerprint: str | None = None) -> Iterator[pa.Table]:
        """The rows of a table, one shard at a time, so that no table has to fit into memory."""
        for shard in self.done(fingerprint or self.fingerprints[table]):
            part = self.part(table, columns, shard, fingerprint)
            if part is not None:
                yield part

    def part(self, table: str, columns: Sequence[str], shard: str, fingerprint: str | None = None) -> pa.Table | None:
        return tables.read(self.library, table, fingerprint or self.fingerprints[table], list(columns), [shard])

    def done(self, fingerprint: str) -> list[str]:
        """Current shards committed under this fingerprint; after a scan without a run, some are not."""
        committed = set(tables.committed(self.library, fingerprint))
        return [shard for shard in self.shards if shard in committed]


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """`width`, `height`: full upright size, pixels. `shard`: where its preview and the thumbnails of its faces are."""

    image_id: str
    uri: str
    width: int
    height: int
    taken_at: datetime | None
    camera: str | None
    sha256: str
    shard: str

    @property
    def year(self) -> int | None:
        return self.taken_at.year if self.taken_at else None

    @property
    def order(self) -> tuple[bool, datetime, tuple[str, float, str]]:
        return self.taken_at is None, self.taken_at or datetime.min, words.in_order(self.uri)


@dataclass(frozen=True, slots=True)
class Face:
    """`box`: [x0, y0, x1, y1] in full upright pixels. `cluster_id`: the person's; None = nobody's. `certainty`: the
    chance that the face is of that person; None = not known. `drawn`: no model has found it. `hidden`: it is of
    somebody whom the pages do not show."""

    face_id: str
    image_id: str
    box: tuple[float, float, float, float]
    quality: float
    cluster_id: str | None
    certainty: float | None = None
    drawn: bool = False
    hidden: bool = False

    @property
    def doubtful(self) -> bool:
        return self.certainty is not None and self.certainty < DOUBTFUL


@dataclass(frozen=True, slots=True)
class Failure:
    uri: str
    task: str
    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class Person:
    """A person as shown. `number`: among all people, hidden ones too, so that no other changes when one is hidden.
    `photos`: in time order, exact duplicates once. `faces`: on those photos, best first, but for the cover."""

    cluster_id: str
    number: int
    photos: list[Photo]
    faces: list[Face]
    name: str = ""

    @property
    def title(self) -> str:
        return self.name or f"Person {self.number}"

    @property
    def best(self) -> Face:
        return self.faces[0]

    @property
    def extras(self) -> list[Face]:
        return self.faces[1 : 1 + EXTRA_FACES]

    @property
    def certainty(self) -> float | None:
        """The share of faces that are expected to be of this person."""
        known = [face.certainty for face in self.faces if face.certainty is not None]
        return sum(known) / len(known) if known else None

    @property
    def doubtful(self) -> list[Face]:
        return [face for face in self.faces if face.doubtful]

    @property
    def dates(self) -> list[datetime]:
        return [photo.taken_at for photo in self.photos if photo.taken_at]


@dataclass(frozen=True)
class Album:
    photos: dict[str, Photo]
    faces: dict[str, list[Face]]  # image_id → its faces, left to right
    people: list[Person]  # most photos first
    failures: list[Failure]
    copies: Counter[str]  # sha256 → how many images have it
    labels: Mapping[str, Set[str]]  # image_id → what it shows, in words; no key where that is not known
    everybody: list[Person] = field(default_factory=list)  # hidden people too
    moved: Mapping[str, str] = field(default_factory=dict)  # former id → id of people who turned out to be one

    @cached_property
    def by_cluster(self) -> dict[str, Person]:
        return {person.cluster_id: person for person in self.people}

    @cached_property
    def unclustered(self) -> list[Face]:
        """Best first: what is worth a look stands before the blurs."""
        lone = (face for faces in self.faces.values() for face in faces if face.cluster_id is None and not face.hidden)
        return sorted(lone, key=_best_first)

    @property
    def hidden(self) -> int:
        """How many people are not shown."""
        return len(self.everybody) - len(self.people)

    @property
    def face_count(self) -> int:
        return sum(map(len, self.faces.values()))


def load_album(source: PagesSource) -> Album:
    """Everything but the pictures: some hundred bytes a photo, so all of it is held."""
    photos, failures = _photos(source)
    faces = _faces(source, photos)
    copies = Counter(photo.sha256 for photo in photos.values())
    known = {} if source.people is None else source.people.people
    people = _people(photos, faces, known)
    hidden = {person.cluster_id for person in people if person.cluster_id in known and known[person.cluster_id].hidden}
    shown = {person.cluster_id for person in people} - hidden
    return Album(
        photos=photos,
        faces={image_id: [_unshown(face, hidden) for face in found] for image_id, found in faces.items()},
        people=[person for person in people if person.cluster_id in shown],
        everybody=people,
        failures=_failures(source, failures),
        copies=copies,
        labels=_labels(source),
        moved={old: new for old, new in ({} if source.people is None else source.people.moved).items() if new in shown},
    )


def _unshown(face: Face, hidden: Set[str]) -> Face:
    """Of somebody hidden: a face of which nothing is said."""
    return replace(face, cluster_id=None, certainty=None, hidden=True) if face.cluster_id in hidden else face


def _photos(source: PagesSource) -> tuple[dict[str, Photo], list[Failure]]:
    photos: dict[str, Photo] = {}
    failures = []
    said = tags.read(source.library, ["image_id", "taken_at"])
    for shard in source.done(source.fingerprints["images"]):
        part = source.part("images", IMAGE_COLUMNS, shard)
        for row in tags.filled(part, said).to_pylist() if part is not None else ():
            image_id = row["image_id"]
            uri = source.uris.get(image_id, image_id)
            if row["status"] == "ok":
                facts = {name: row[name] for name in ("width", "height", "taken_at", "camera")}
                photos[image_id] = Photo(
                    image_id=image_id, uri=uri, sha256=row["sha256"] or image_id, shard=shard, **facts
                )
            else:
                failures.append(_unread(source, row))
    return photos, failures


def _faces(source: PagesSource, photos: Mapping[str, Photo]) -> dict[str, list[Face]]:
    of = _who(source)
    faces = defaultdict(list)
    for part in source.parts("faces", FACE_COLUMNS):
        for row in part.to_pylist():
            face_id, image_id = row["face_id"], row["image_id"]
            if image_id in photos:
                person, certain = of.get(face_id, (None, None))
                faces[image_id].append(Face(face_id, image_id, tuple(row["box_xyxy"]), row["quality"], person, certain))
    for face in _drawn(source):
        if face.image_id in photos:
            faces[face.image_id].append(face)
    return {image_id: sorted(found, key=lambda face: face.box) for image_id, found in faces.items()}


def _who(source: PagesSource) -> dict[str, tuple[str | None, float | None]]:
    """face_id → person and certainty."""
    rows, person = (source.clusters, "cluster_id") if source.people is None else (source.people.faces, "person_id")
    known = "certainty" in rows.column_names  # not in what an older Muster clustered
    certain = rows["certainty"].to_pylist() if known else [None] * rows.num_rows
    return dict(zip(rows["face_id"].to_pylist(), zip(rows[person].to_pylist(), certain, strict=True), strict=True))


def _drawn(source: PagesSource) -> Iterator[Face]:
    """Faces that users and tags have put where no model has found one: known by no quality, they come last."""
    if source.people is not None:
        rows = source.people.faces
        for row in rows.filter(pc.not_equal(rows["origin"], FOUND)).to_pylist():
            yield Face(row["face_id"], row["image_id"], tuple(row["box_xyxy"]), 0.0, row["person_id"], drawn=True)


def _labels(source: PagesSource) -> dict[str, set[str]]:
    labels = defaultdict(set)
    for table in source.labels:
        for image_id, label in _shown(source, table):
            labels[image_id].add(words.phrase(words.printable(label), table.placed, table.phrases))
    return dict(labels)


def _shown(source: PagesSource, table: LabelTable) -> Iterator[tuple[str, str]]:
    """(image_id, label), once a shard, of the rows that count: see LabelTable."""
    least = table.least_scores
    score = [table.score] if least is not None and table.score else []
    columns = ["image_id", table.label, *score, *(name for values in table.hidden for name in values)]
    for part in source.parts(table.table, list(dict.fromkeys(columns)), table.fingerprint):
        shown = part.filter(_counts(part, table))
        rows = zip(*(shown[column].to_pylist() for column in ("image_id", table.label, *score)), strict=True)
        yield from {(i, label) for i, label, *sure in rows if not sure or _enough(least, label, sure[0])}


def _enough(least: Mapping[str, float] | None, label: str, score: float | None) -> bool:
    return least is None or (label in least and (score or 0) >= least[label])


def _counts(part: pa.Table, table: LabelTable) -> pa.ChunkedArray:
    """Which rows have a label, and none of the sets of values that hide them."""
    counts = pc.is_valid(part[table.label])
    for values in table.hidden:
        same = [pc.fill_null(pc.equal(part[name], value), False) for name, value in values.items()]
        counts = pc.and_not(counts, reduce(pc.and_, same))
    return counts


def _people(photos: Mapping[str, Photo], faces: Mapping[str, list[Face]], known: Mapping[str, Known]) -> list[Person]:
    members: dict[str, list[Face]] = defaultdict(list)
    for face in (face for found in faces.values() for face in found):
        if face.cluster_id is not None:
            members[face.cluster_id].append(face)
    clusters = [(person, *_distinct(found, photos)) for person, found in members.items()]
    clusters.sort(key=lambda c: (-len(c[1]), -len(c[2]), c[0]))
    people = []
    for number, (person, shown, best) in enumerate(clusters, 1):
        about = known.get(person, Known(person))
        cover = [face for face in members[person] if face.face_id == about.cover]
        best = [*cover, *(face for face in best if face not in cover)]
        people.append(Person(person, number, shown, best, about.name))
    return people


def _distinct(faces: Sequence[Face], photos: Mapping[str, Photo]) -> tuple[list[Photo], list[Face]]:
    """Photos without exact duplicates, in time order, and the faces on them, best first."""
    first: dict[str, Photo] = {}
    for photo in sorted((photos[face.image_id] for face in faces), key=lambda photo: photo.order):
        first.setdefault(photo.sha256, photo)
    shown = {photo.image_id for photo in first.values()}
    return list(first.values()), sorted((face for face in faces if face.image_id in shown), key=_best_first)


def _best_first(face: Face) -> tuple[float, str]:
    return -face.quality, face.face_id


def load_failures(source: PagesSource) -> list[Failure]:
    """Images that could not be read, and what tasks failed on, without the rest of the album."""
    parts = source.parts("images", ["image_id", "status", "error_kind", "error"])
    rows = (row for part in parts for row in part.filter(pc.not_equal(part["status"], "ok")).to_pylist())
    return _failures(source, [_unread(source, row) for row in rows])


def _unread(source: PagesSource, row: Mapping[str, Any]) -> Failure:
    uri = source.uris.get(row["image_id"], row["image_id"])
    return Failure(uri, "images", row["error_kind"] or "error", row["error"] or "")


def _failures(source: PagesSource, unread: Sequence[Failure]) -> list[Failure]:
    """Images that could not be read, then what single tasks failed on; what both tell is told once."""
    found = dict.fromkeys(unread)
    told = {(failure.uri, failure.kind, failure.message) for failure in unread}
    used = {*source.fingerprints.values(), *(table.fingerprint for table in source.labels)}
    for fingerprint in sorted(used):
        for part in source.parts("errors", ["image_id", "task", "error_kind", "error"], fingerprint):
            for row in part.to_pylist():
                uri = source.uris.get(row["image_id"], row["image_id"])
                failure = Failure(uri, row["task"], row["error_kind"] or "error", row["error"] or "")
                if (failure.uri, failure.kind, failure.message) not in told:
                    found[failure] = None
    return sorted(found, key=lambda failure: (failure.kind, failure.uri, failure.task))
