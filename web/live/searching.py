"""The search of the live page: one index, of what is shown now."""

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from muster.arrays import I64
from muster.errors import MusterError
from muster.storage.search.index import Index
from muster.storage.search.search import Result, Search, run

if TYPE_CHECKING:
    from muster.web.live.album import LiveAlbum, Moment

MOST_RANKED = 240  # photos that look like words say; a list of them comes at once
EVERY = 10.0  # seconds between two looks at the tables
WAIT, NICE = 3.0, 10  # seconds after the start, when the first page is there; and how much others go before it


class LiveSearch:
    """Made when it is first asked; afterwards only what has changed is read again. Many threads may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._search: Search | None = None
        self._ids: pa.Array | None = None  # of the photos that were known when it was last read
        self._version, self._looked = "", 0.0
        self._rows: tuple[object, object, I64] | None = None

    def index(self, moment: "Moment") -> Index:
        with self._lock:
            ids = moment.columns.image_id
            if self._search is None or self._ids is not ids or time.monotonic() - self._looked >= EVERY:
                self._search = self._read(moment)
            if self._version != moment.version:
                _know(self._search, moment)
            self._ids, self._version = ids, moment.version
            return self._search.index

    def _read(self, moment: "Moment") -> Search:
        """As the library is now: what things are on photos may be found while the page is open."""
        self._looked = time.monotonic()
        labels = tuple(moment.album.source.labels())
        if self._search is None:
            return Search(moment.album.source.library, labels, moment.album.source.texts_of)
        self._search.labels = labels
        self._search.refresh()
        return self._search

    def run(self, moment: "Moment", text: str) -> tuple[Result, I64]:
        """What a query finds, and its rows in `moment.columns`."""
        index = self.index(moment)
        found = run(index, text, MOST_RANKED)
        return found, self.rows(moment, index, found.rows)

    def rows(self, moment: "Moment", index: Index, rows: I64) -> I64:
        """Rows of the index → rows of `moment.columns`, without those of photos that are not shown."""
        kept = self._rows
        if kept is None or kept[0] is not index.columns or kept[1] is not moment.columns.image_id:
            places = pc.index_in(index.columns.image_ids, value_set=moment.columns.image_id).fill_null(-1)
            kept = (index.columns, moment.columns.image_id, places.to_numpy(zero_copy_only=False).astype(np.int64))
            self._rows = kept
        found: I64 = kept[2][rows]
        return found[found >= 0]

    def begin(self, album: "LiveAlbum") -> None:
        """Have the index ready before somebody asks, in a thread that goes behind all others."""

        def made() -> None:
            time.sleep(WAIT)
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
            with contextlib.suppress(MusterError):
                self.index(album.now())

        threading.Thread(target=made, daemon=True).start()


def _know(search: Search, moment: "Moment") -> None:
    """Who is on which photo; hidden people are nobody."""
    columns, said = moment.columns, moment.said
    hidden = np.array([said.person(person).hidden for person in said.person_ids] + [True])  # the last: NOBODY
    nobody = pa.array(hidden[said.person_of])
    person = pa.DictionaryArray.from_arrays(
        pc.if_else(nobody, pa.scalar(None, pa.int32()), pa.array(said.person_of)),
        pa.array(said.person_ids, pa.string()),
    )
    image_ids = columns.image_id.take(pa.array(columns.photo))
    faces = pa.table({"image_id": image_ids, "person_id": person.dictionary_decode()})
    starred = pc.is_in(columns.sha256, value_set=pa.array(sorted(said.favourites), pa.string()))
    names = {person_id: person.name for person_id, person in said.people.items()}
    hidden_names = [person.name for person in said.people.values() if person.hidden and person.name]
    search.know(faces, names, columns.image_id.filter(starred).to_pylist(), hidden_names)
