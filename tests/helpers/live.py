"""The live page of a collection that a test has put together, and somebody who looks at it."""

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from helpers.collection import FINGERPRINTS, Collection
from muster.storage import clusters, layout, tables
from muster.storage.manifest import SCHEMA
from muster.web.live.album import LiveAlbum
from muster.web.live.app import app
from muster.web.live.columns import LiveSource
from muster.web.live.guard import HEADER, Doors

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it wants to be used with a successor of httpx
    from starlette.testclient import TestClient

ANNA, BERT, CARL, DORA = (letter * 12 for letter in "abcd")


def source_of(made: Collection, folder: Path, shard_size: int = 1000) -> LiveSource:
    """Its library, with a manifest and clusters. People of the collection are called by 12 hex digits."""
    pages = made.source(folder, shard_size)
    for shard in pages.shards:
        ids = tables.read(pages.library, "images", FINGERPRINTS["images"], ["image_id"], [shard])["image_id"]
        rows = [{"image_id": each, "uri": made.uris[each], "size": 1_000_000} for each in ids.to_pylist()]
        pages.library.write(layout.manifest_shard(shard), tables.to_parquet(pa.Table.from_pylist(rows, SCHEMA)))
    clusters.write(pages.library, FINGERPRINTS["faces"], pages.clusters, "made")
    return LiveSource(pages.library, FINGERPRINTS, lambda faces: [], lambda: None)


@dataclass
class Visitor:
    """Somebody with a browser. `doors`: of the page."""

    client: Any
    doors: Doors

    def enter(self) -> "Visitor":
        assert self.client.get(f"/?token={self.doors.token}").status_code == 200
        return self

    def get(self, path: str, **headers: str) -> Any:
        return self.client.get(path, headers=headers, follow_redirects=False)

    def text(self, path: str) -> str:
        """What a page says, without its marks."""
        answer = self.get(path)
        assert answer.status_code == 200, (path, answer.status_code)
        main = answer.text.partition("<main")[2].partition("</main>")[0]
        return " ".join(re.sub(r"<[^>]+>", " ", main.partition(">")[2]).split())

    def edit(self, what: str, **sent: Any) -> Any:
        return self.client.post(f"/api/{what}", json=sent, headers={HEADER: "edit"})

    def done(self, what: str, **sent: Any) -> dict[str, Any]:
        answer = self.edit(what, **sent)
        assert answer.status_code == 200, (what, answer.json())
        return answer.json()

    def faces(self, person: str) -> list[str]:
        """face_ids on a person's page that may be selected."""
        return re.findall(r'class="pick" value="([^"]+)"', self.get(f"/people/{person}.html").text)


def visitor(source: LiveSource, doors: Doors | None = None, readonly: str = "") -> Visitor:
    """Who has not entered yet."""
    doors = doors or Doors(8000)
    made = TestClient(app(LiveAlbum(source), doors, readonly), base_url="http://127.0.0.1:8000")
    return Visitor(made, doors)
