"""Pictures of faces and photos, straight from the tables: never from a file that a browser names."""

import io
import threading
from collections import OrderedDict

import pyarrow as pa
import pyarrow.compute as pc

from muster.arrays import Floats
from muster.storage import layout
from muster.web.live.columns import LiveSource, read_part

COLUMNS = {"faces": ("face_id", "thumbnail"), "previews": ("image_id", "jpeg")}
AROUND, SIDE = 1.5, 160  # of a face's box, and pixels, as those that are found have
HELD = 48 << 20  # bytes of shards that were read last; the faces of 256 photos are some 4 MB


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


def cropped(preview: bytes, box: Floats) -> bytes:
    """A face that somebody has drawn, as those that were found are: a JPEG around it. `box`: in widths of the photo."""
    from PIL import Image

    with Image.open(io.BytesIO(preview)) as image:
        x0, y0, x1, y1 = (box * image.width).tolist()
        half = AROUND * max(x1 - x0, y1 - y0) / 2
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        square = image.resize((SIDE, SIDE), box=_inside(x, y, half, image.size))
    sink = io.BytesIO()
    square.convert("RGB").save(sink, "JPEG", quality=90)
    return sink.getvalue()


def _inside(x: float, y: float, half: float, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """A square around a point, no larger than the image and moved into it."""
    half = min(half, size[0] / 2, size[1] / 2)
    x, y = (min(max(at, half), end - half) for at, end in zip((x, y), size, strict=True))
    return x - half, y - half, x + half, y + half
