"""What the live page shows, made lazily from columns.

For pages (`web/live/*.py`): `moment = request.app.state.album.now()`, once a request; then all of it is of one moment.

    moment.version                      str; another one as soon as anything that is shown has changed
    moment.people(hidden=False)         list[Card], most photos first
    moment.card(person_id)              Card | None; of a person who was merged, that of the other
    moment.person_of(face row)          Card | None
    moment.photo(image_id)              web.album.Photo | None
    moment.photos(rows)                 list[Photo], of rows (N,) of `moment.columns`
    moment.faces(image_id)              list[web.album.Face], left to right; `cluster_id` is the person's id now
    moment.photos_of(card)              (N,) rows of the photos of a person, in time order, exact copies once
    moment.in_time_order                (N,) rows of all photos, oldest first, those without a date last
    moment.columns                      web.live.columns.Columns: arrays of all photos and faces
    album.images                        pa.Table: the rest of the table `images`, in rows as those of `columns`
    album.uri(image_id)                 where a photo lies
    album.failures                      list[web.album.Failure]
    album.picture("faces", face_id)     bytes of a JPEG | None; "previews" with an image_id
"""

import contextlib
import itertools
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from muster.arrays import I64
from muster.errors import MusterError
from muster.storage import layout
from muster.storage.people.ledger import Ledger
from muster.storage.people.view import Claim, People, Scene
from muster.storage.tags.table import filled
from muster.web.album import DOUBTFUL, EXTRA_FACES, Face, Failure, Photo, load_failures
from muster.web.live.columns import Columns, LiveSource, load, read_columns, read_part
from muster.web.live.pictures import Pictures, cropped
from muster.web.live.ranking import Ranking, ranking
from muster.web.live.said import NOBODY, Said, apply, of_clusters
from muster.web.live.searching import LiveSearch

T = TypeVar("T")
FIRST = 200  # people of the first page
LEDGER_EVERY, TABLES_EVERY = 0.5, 10.0  # seconds
PLACED = ("image_id", "latitude", "longitude")
DETAILS = ("camera", "latitude", "longitude", "format", "phash")


@dataclass(frozen=True, slots=True)
class Shown:
    """A face of which no more than the picture is needed."""

    face_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A person in a list. `number`: place among all people, 1 the one with the most photos. `photos`, `faces`: as long
    as there are some, exact copies once; `dates`: the first and the last. `shown`: those that stand for the person."""

    cluster_id: str
    number: int
    name: str
    photos: range
    faces: range
    dates: Sequence[datetime]
    certainty: float | None
    doubtful: range
    shown: Sequence[Shown]
    hidden: bool
    born: str

    @property
    def title(self) -> str:
        return self.name or f"Person {self.number}"

    @property
    def best(self) -> Shown:
        return self.shown[0]

    @property
    def extras(self) -> Sequence[Shown]:
        return self.shown[1:]


class Moment:
    """All that is shown, at one moment. Nothing in it changes. `columns`: those of `base`, which are of the tables,
    with faces that were drawn."""

    def __init__(
        self,
        album: "LiveAlbum",
        version: str,
        base: Columns,
        columns: Columns,
        said: Said,
        people: People | None,
    ) -> None:
        self.album, self.version, self.base, self.columns, self.said = album, version, base, columns, said
        self._people = people
        self._cards: dict[int, Card] = {}
        self._faces: dict[str, list[Face]] = {}

    @property
    def in_time_order(self) -> I64:
        return self.base.in_time_order

    @cached_property
    def people_now(self) -> People:
        """As edits are made of it (muster.storage.people.edits). Only within `LiveAlbum.editing`."""
        return self.album.people() if self._people is None else self._people

    @cached_property
    def ranking(self) -> Ranking:
        return ranking(self.columns, self.said, self.in_time_order)

    # ---- people ------------------------------------------------------------------------------------------------------

    @cached_property
    def _places(self) -> Mapping[str, int]:
        """person_id → place in `said.person_ids`, of people who have a face."""
        return {self.said.person_ids[place]: place for place in self.ranking.order.tolist()}

    @cached_property
    def _numbers(self) -> I64:
        numbers = np.zeros(len(self.said.person_ids), np.int64)
        numbers[self.ranking.order] = np.arange(1, len(self.ranking.order) + 1)
        return numbers

    @cached_property
    def visible(self) -> Sequence[str]:
        """Ids of people who are not hidden, most photos first."""
        return [person for person in self._places if person not in self.said.hidden]

    @cached_property
    def hidden(self) -> Sequence[str]:
        return [person for person in self._places if person in self.said.hidden]

    def people(self, hidden: bool = False) -> list[Card]:
        return self.cards(self.hidden if hidden else self.visible)

    def cards(self, people: Iterable[str]) -> list[Card]:
        return [self._card(self._places[person]) for person in people]

    def card(self, person_id: str) -> Card | None:
        """None where nobody is called so, or has no face left."""
        place = self._places.get(self.said.moved.get(person_id, person_id))
        return None if place is None else self._card(place)

    def person_of(self, face: int) -> Card | None:
        """Of the row of a face."""
        place = int(self.said.person_of[face])
        return None if place == NOBODY or self._numbers[place] == 0 else self._card(place)

    def person_of_face(self, face_id: str) -> Card | None:
        row = self.columns.row_of_face(face_id)
        return None if row < 0 else self.person_of(row)

    def first_face(self, person: str) -> int:
        """Row of a face of this person; -1: none."""
        place = self._places.get(self.said.moved.get(person, person))
        return -1 if place is None else int(self.ranking.face[self.ranking.start[place]])

    def _card(self, place: int) -> Card:
        if place not in self._cards:
            self._cards[place] = self._made(place)
        return self._cards[place]

    def _made(self, place: int) -> Card:
        person, of = self.said.person_ids[place], self.ranking.faces_of(place)
        faces = self.ranking.face[of]
        taken = self.columns.taken[self.columns.photo[faces]]
        dated = taken[~np.isnat(taken)]
        certainty = float(self.ranking.certainty[place])
        best = self.ranking.best[of][: 1 + EXTRA_FACES].tolist()
        about = self.said.person(person)
        cover = -1 if about.cover is None else self.columns.row_of_face(about.cover)
        if cover >= 0:
            best = [cover, *(face for face in best if face != cover)][: 1 + EXTRA_FACES]
        return Card(
            cluster_id=person,
            number=int(self._numbers[place]),
            name=about.name,
            photos=range(int(self.ranking.photos[place])),
            faces=range(len(faces)),
            dates=[dated.min().item(), dated.max().item()] if len(dated) else [],
            certainty=None if np.isnan(certainty) else certainty,
            doubtful=range(int((self.columns.certainty[faces] < DOUBTFUL).sum())),
            shown=[Shown(self.columns.face_id[face].as_py()) for face in best],
            hidden=about.hidden,
            born=about.born,
        )

    def best_faces(self, card: Card, most: int) -> list[int]:
        """Rows of so many faces of a person, the best first."""
        return self.ranking.best[self.ranking.faces_of(self._places[card.cluster_id])][:most].tolist()

    def photos_of(self, card: Card) -> I64:
        """Rows (N,) of a person's photos, in time order, those without a date by name; of exact copies one."""
        rows = self.columns.photo[self.ranking.face[self.ranking.faces_of(self._places[card.cluster_id])]]
        rows = rows[np.append(True, rows[1:] != rows[:-1])].astype(np.int64)
        lone = np.flatnonzero(np.isnat(self.columns.taken[rows]))
        if len(lone):
            named = sorted(rows[lone].tolist(), key=lambda row: self.album.uri(self.columns.image_id[row].as_py()))
            rows[lone] = named
        return rows

    # ---- photos and faces --------------------------------------------------------------------------------------------

    def photo(self, image_id: str) -> Photo | None:
        row = self.base.row_of_photo(image_id)
        return None if row < 0 else self.photos([row])[0]

    def photos(self, rows: Sequence[int] | I64) -> list[Photo]:
        columns, camera = self.columns, self.album.images["camera"]
        found = []
        for row in map(int, rows):
            image_id, taken = columns.image_id[row].as_py(), columns.taken[row]
            photo = Photo(
                image_id=image_id,
                uri=self.album.uri(image_id),
                width=int(columns.width[row]),
                height=int(columns.height[row]),
                taken_at=None if np.isnat(taken) else taken.item(),
                camera=camera[row].as_py(),
                sha256=columns.sha256[row].as_py(),
                shard=columns.shards[columns.shard[row]],
            )
            found.append(photo)
        return found

    @cached_property
    def _by_photo(self) -> tuple[I64, I64]:
        order = np.argsort(self.columns.photo, kind="stable")
        return order, np.searchsorted(self.columns.photo[order], np.arange(len(self.columns.image_id) + 1))

    def face_rows(self, photo: int) -> I64:
        """Of the row of a photo."""
        order, start = self._by_photo
        return order[start[photo] : start[photo + 1]]

    def faces(self, image_id: str) -> list[Face]:
        if image_id not in self._faces:
            row = self.base.row_of_photo(image_id)
            found = [] if row < 0 else [self.face(face) for face in self.face_rows(row).tolist()]
            self._faces[image_id] = sorted(found, key=lambda face: face.box)
        return self._faces[image_id]

    def face(self, row: int) -> Face:
        columns, certainty = self.columns, float(self.columns.certainty[row])
        card = self.person_of(row)
        x0, y0, x1, y1 = columns.box[row].tolist()
        return Face(
            face_id=columns.face_id[row].as_py(),
            image_id=columns.image_id[int(columns.photo[row])].as_py(),
            box=(x0, y0, x1, y1),
            quality=float(columns.quality[row]),
            cluster_id=None if card is None else card.cluster_id,
            certainty=None if np.isnan(certainty) else certainty,
        )

    @cached_property
    def unclustered(self) -> I64:
        """Rows of faces that are nobody's, the best first."""
        lone = np.flatnonzero(self.said.person_of == NOBODY)
        return lone[np.argsort(-self.columns.quality[lone], kind="stable")]

    @cached_property
    def photos_with_faces(self) -> int:
        return int(np.count_nonzero(np.bincount(self.columns.photo)))

    def copies(self, sha256: str) -> int:
        """How many images have these bytes."""
        return self.base.copies.get(sha256, 1)


class LiveAlbum:
    """A library as the live page shows it, now. Many threads may use it.

    Tables are read anew at most every TABLES_EVERY seconds, and only where they changed; the ledger is looked at for
    every page that comes LEDGER_EVERY seconds after the last look.
    """

    def __init__(self, source: LiveSource) -> None:
        self.source, self._pictures = source, Pictures(source)
        self.search = LiveSearch()
        self._lock = threading.RLock()
        self._base: Columns | None = None
        self._moment: Moment | None = None
        self._ledger: Ledger | None = None
        self._state: object = None
        self._forgotten: object = None
        self._looked = {"tables": 0.0, "ledger": 0.0}
        self._rest: dict[str, tuple[Columns, Any]] = {}
        self._count = itertools.count(1)
        self._start = secrets.token_hex(4)

    def load(self) -> None:
        """Have the first page ready; what is wrong is raised by whoever asks next."""
        with contextlib.suppress(MusterError):
            moment = self.now()
            moment.cards(moment.visible[:FIRST])

    # ---- now ---------------------------------------------------------------------------------------------------------

    def now(self) -> Moment:
        with self._lock:
            if self._moment is None or self._changed():
                self._moment = self._made()
            return self._moment

    def _changed(self) -> bool:
        """Whether the tables or the ledger are others than before."""
        changed = False
        if self._is_due("ledger", LEDGER_EVERY):
            changed = self.ledger.refresh()
            if self.source.forgotten != self._forgotten:  # nothing of that is shown, or said, any more
                self._base, changed = None, True
        if self._is_due("tables", TABLES_EVERY) and self.source.state != self._state:
            self._base, changed = None, True
        return changed

    def _is_due(self, what: str, seconds: float) -> bool:
        now = time.monotonic()
        due = now - self._looked[what] >= seconds
        if due:
            self._looked[what] = now
        return due

    def _made(self) -> Moment:
        if self._base is None:
            self._state, self._forgotten = self.source.state, self.source.forgotten
            self._base = load(self.source)
            self._pictures = Pictures(self.source)
        columns = self._base
        if self.ledger.edits or self._claims():
            people = self.people()
            columns, said = apply(columns, people, self.ledger.known)
        else:
            people, said = None, of_clusters(columns)
        return Moment(self, f"{self._start}-{next(self._count)}", self._base, columns, said, people)

    def _claims(self) -> Sequence[Claim]:
        assert self._base is not None
        faces = self._base.faces
        return self._kept("claims", lambda: self.source.claims(faces))

    def _kept(self, what: str, made: Callable[[], T]) -> T:
        """What is made once for the tables as they are."""
        with self._lock:
            assert self._base is not None
            if what not in self._rest or self._rest[what][0] is not self._base:
                self._rest[what] = self._base, made()
            return self._rest[what][1]

    # ---- edits -------------------------------------------------------------------------------------------------------

    @property
    def ledger(self) -> Ledger:
        with self._lock:
            if self._ledger is None:
                self._ledger = Ledger(self.source.library)
            return self._ledger

    @contextlib.contextmanager
    def editing(self) -> Iterator[tuple[Moment, Ledger]]:
        """What is shown and said now, for one editor at a time; what is recorded within is shown afterwards."""
        with self._lock:
            self._looked["ledger"] = -LEDGER_EVERY
            moment, before = self.now(), self.ledger.known
            try:
                yield moment, self.ledger
            finally:
                if self.ledger.known is not before:
                    self._moment = self._made()

    def people(self) -> People:
        """Who is who, as edits are made of it."""
        with self._lock:
            return self.scene.people(self.ledger.known)

    @property
    def scene(self) -> Scene:
        """Only within `editing`."""

        def made() -> Scene:
            columns = self._base
            assert columns is not None
            return Scene(columns.clusters, columns.faces, self._readable(), self._claims())

        return self._kept("scene", made)

    def _readable(self) -> pa.Table:
        """As muster.storage.people.placed.Photos takes it."""

        def made() -> pa.Table:
            columns, images = self._base, self.images
            assert columns is not None
            return pa.table(
                {
                    "image_id": columns.image_id,
                    "sha256": columns.sha256,
                    "phash": images["phash"],
                    "width": columns.width,
                    "height": columns.height,
                    "uri": self._uris(),
                }
            )

        return self._kept("readable", made)

    # ---- what pages seldom need --------------------------------------------------------------------------------------

    @property
    def images(self) -> pa.Table:
        """camera, latitude, longitude, format, phash of the photos, in rows as those of `columns`."""

        def made() -> pa.Table:
            columns = self._base
            assert columns is not None
            rows = read_columns(self.source, "images", ["image_id", *DETAILS], columns.shards)
            if self.source.library.has(layout.TAGS):  # which say where a photo was taken that does not say it itself
                rows = filled(rows, read_part(self.source.library, layout.TAGS, PLACED))
            return rows.take(pc.index_in(columns.image_id, rows["image_id"].combine_chunks()))

        return self._kept("images", made)

    def _uris(self) -> pa.Array:
        """Of the photos, in rows as those of `columns`; of one that is not in the manifest any more, its id."""

        def made() -> pa.Array:
            assert self._base is not None
            named, ids = self.source.named(), self._base.image_id
            place = pc.index_in(ids, named["image_id"].combine_chunks())
            return pc.coalesce(named["uri"].combine_chunks().take(place), ids)

        return self._kept("uris", made)

    def uri(self, image_id: str) -> str:
        """Where a photo lies; its id where that is not known."""
        row = self.now().base.row_of_photo(image_id)
        return self._uris()[row].as_py() if row >= 0 else image_id

    @property
    def failures(self) -> list[Failure]:
        return self._kept("failures", lambda: load_failures(self.source.pages()))

    def picture(self, table: str, key: str) -> bytes | None:
        """The JPEG of a face ("faces") or of a whole photo ("previews"); None where there is none."""
        moment, pictures = self.now(), self._pictures
        columns = moment.columns
        row = columns.row_of_face(key) if table == "faces" else -1
        photo = int(columns.photo[row]) if row >= 0 else moment.base.row_of_photo(key) if table == "previews" else -1
        if photo < 0:
            return None
        shard = columns.shards[columns.shard[photo]]
        if row < len(columns.faces):
            return pictures.get(table, key, shard)
        preview = pictures.get("previews", columns.image_id[photo].as_py(), shard)
        return None if preview is None else cropped(preview, columns.box[row] / columns.width[photo])
