"""Pictures of faces and photos, straight from the tables: never from a file that a browser names."""

import threading
from collections import OrderedDict

import pyarrow as pa
import pyarrow.compute as pc

from muster.storage import layout
from muster.web.live.columns import LiveSource, read_part

COLUMNS = {"faces": ("face_id", "thumbnail"), "previews": ("image_id", "jpeg")}
HELD = 96 << 20  # bytes of shards that were read last; the faces of 256 photos are some 4 MB


class Pictures:
    """Many threads may use it."""

    def __init__(self, source: LiveSource) -> None:
        self._source, self._lock = source, threading.Lock()
        self._held: OrderedDict[tuple[str, str], pa.Table | None] = OrderedDict()

    def get(self, table: str, key: str, shard: str) -> bytes | None:
        rows = self._rows(table, shard)
        ids, pictures = COLUMNS[table]
        row = -1 if rows is None else pc.index(rows[ids], key).as_py()
        return None if rows is None or row < 0 else rows[pictures][row].as_py()

    def _rows(self, table: str, shard: str) -> pa.Table | None:
        with self._lock:
            if (table, shard) in self._held:
                self._held.move_to_end((table, shard))
                return self._held[table, shard]
        rows = self._read(table, shard)
        with self._lock:
            self._held[table, shard] = rows
            while len(self._held) > 1 and sum(0 if r is None else r.nbytes for r in self._held.values()) > HELD:
                self._held.popitem(last=False)
        return rows

    def _read(self, table: str, shard: str) -> pa.Table | None:
        fingerprint = self._source.fingerprints[table]
        if not self._source.library.has(layout.commit(fingerprint, shard)):
            return None
        return read_part(self._source.library, layout.rows(table, fingerprint, shard), COLUMNS[table])
