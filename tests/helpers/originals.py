"""A library of real files, as the live page takes it: scanned, decoded, with faces where a test says."""

import asyncio
import io
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import uvicorn
from PIL import Image, ImageDraw

from helpers.collection import CLUSTERS, FACES, PREVIEWS, RED
from muster.errors import ImageError
from muster.storage import clusters, manifest, tables
from muster.storage.library import LibraryFiles, open_library
from muster.storage.outcomes import ERRORS, IMAGES, IMAGES_FINGERPRINT
from muster.storage.photos.decode import decode
from muster.storage.photos.pixels import perceptual_hash
from muster.web.live.album import LiveAlbum
from muster.web.live.app import app
from muster.web.live.columns import LiveSource
from muster.web.live.guard import HEADER, Doors
from muster.web.live.serving import listening

FINGERPRINTS = {"images": IMAGES_FINGERPRINT, "faces": "2" * 16, "previews": "3" * 16}
OBJECTS = pa.schema(
    [("image_id", pa.string()), ("label", pa.string()), ("score", pa.float32()), FACES.field("box_xyxy")]
)


def picture(size: tuple[int, int] = (120, 80), kind: str = "JPEG", mode: str = "RGB", **options: Any) -> bytes:
    """A grey picture with a red corner, at the top left of the stored pixels."""
    made = Image.new("RGB", size, (128, 128, 128))
    ImageDraw.Draw(made).rectangle((0, 0, size[0] // 4, size[1] // 4), fill=RED)
    sink = io.BytesIO()
    made.convert(mode).save(sink, kind, **options)
    return sink.getvalue()


def turned(orientation: int, size: tuple[int, int] = (120, 80), kind: str = "JPEG") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return picture(size, kind, exif=exif)


@dataclass
class Originals:
    """`folder`: of the photos, by which the library beside it is made."""

    folder: Path
    faces: dict[str, Sequence[str | None]] = field(default_factory=dict)  # file name → cluster of each face
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)  # file name → what else `images` says
    objects: dict[str, Sequence[tuple[str, float]]] = field(default_factory=dict)  # file name → labels and scores
    errors: dict[str, str] = field(default_factory=dict)  # file name → what the previews say of it

    def photo(self, name: str, data: bytes = b"", faces: Sequence[str | None] = (), **facts: Any) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data or picture())
        self.faces[name], self.facts[name] = faces, facts
        return path

    @property
    def library(self) -> LibraryFiles:
        return open_library(self.folder.parent / "library", create=True)

    def source(self) -> LiveSource:
        library = self.library
        manifest.scan(library, [str(self.folder)])
        for shard, _ in manifest.shards(library):
            self._process(library, shard)
        found = manifest.read_manifest(library)
        self.ids = {
            str(Path(uri).relative_to(self.folder)): image_id
            for image_id, uri in zip(found["image_id"].to_pylist(), found["uri"].to_pylist(), strict=True)
        }
        rows = [
            {"face_id": f"{self.ids[name]}-{n}", "image_id": self.ids[name], "cluster_id": cluster}
            for name, people in self.faces.items()
            if name in self.ids
            for n, cluster in enumerate(people)
        ]
        clusters.write(library, FINGERPRINTS["faces"], pa.Table.from_pylist(rows, CLUSTERS), "graph")
        return LiveSource(library, FINGERPRINTS, lambda faces: [], lambda: None)

    def _process(self, library: LibraryFiles, shard: str) -> None:
        rows: dict[str, list[dict[str, Any]]] = {
            name: [] for name in ("images", "faces", "previews", "objects", "errors")
        }
        for row in manifest.read_shard(library, shard).to_pylist():
            self._add(rows, row["image_id"], Path(row["uri"]))
        made = {
            "images": {"images": pa.Table.from_pylist(rows["images"], IMAGES)},
            "faces": {"faces": pa.Table.from_pylist(rows["faces"], FACES)},
            "previews": {
                "previews": pa.Table.from_pylist(rows["previews"], PREVIEWS),
                "errors": pa.Table.from_pylist(rows["errors"], ERRORS),
            },
        }
        for name, parts in made.items():
            tables.write_shard(library, FINGERPRINTS[name], shard, parts)
        if self.objects:
            said = {"task": "objects", "version": 1, "model": "m", "parameters": {}, "weights": {}}
            objects = {"objects": pa.Table.from_pylist(rows["objects"], OBJECTS)}
            tables.write_shard(library, tables.describe(library, said), shard, objects)

    def _add(self, rows: dict[str, list[dict[str, Any]]], image_id: str, path: Path) -> None:
        name = str(path.relative_to(self.folder))
        try:
            photo = decode(path.read_bytes())
        except ImageError as error:
            rows["images"].append(
                {"image_id": image_id, "status": "error", "error_kind": error.kind, "error": str(error)}
            )
            return
        known = {n: getattr(photo, n) for n in ("format", "orientation", "taken_at", "camera", "sha256")}
        known["phash"] = perceptual_hash(photo.pixels)
        size = {"width": photo.size[0], "height": photo.size[1]}
        rows["images"].append({"image_id": image_id, "status": "ok", **size, **known, **self.facts[name]})
        for n, _ in enumerate(self.faces[name]):
            face = {"face_id": f"{image_id}-{n}", "image_id": image_id, "quality": 0.9 - n / 100}
            rows["faces"].append(
                {**face, "box_xyxy": [5 + 30 * n, 5, 25 + 30 * n, 30], "thumbnail": picture((160, 160))}
            )
        for label, score in self.objects.get(name, ()):
            rows["objects"].append({"image_id": image_id, "label": label, "score": score, "box_xyxy": [1, 1, 60, 40]})
        if name in self.errors:
            error = {"task": "previews", "error_kind": "task", "error": self.errors[name]}
            rows["errors"].append({"image_id": image_id, **error})
        rows["previews"].append(
            {"image_id": image_id, "width": size["width"], "height": size["height"], "jpeg": _small(photo.pixels)}
        )


def _small(pixels: Any) -> bytes:
    sink = io.BytesIO()
    made = Image.fromarray(pixels)
    made.thumbnail((512, 512))
    made.save(sink, "JPEG")
    return sink.getvalue()


@contextmanager
def served(source: LiveSource) -> Iterator[str]:
    """The live page at a port of this machine: the address that `muster serve` prints."""
    doors, bound = Doors(), listening("127.0.0.1", None)
    doors.port = bound.getsockname()[1]
    config = uvicorn.Config(app(LiveAlbum(source), doors), log_level="error", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([bound],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{doors.port}/?token={doors.token}"
    finally:
        server.should_exit = True
        thread.join()
        bound.close()


class Browser:
    """Has opened the printed address, and asks one thing after the other."""

    def __init__(self, source: LiveSource) -> None:
        doors = Doors(8000)
        self.app = app(LiveAlbum(source), doors)
        self.cookies = {doors.cookie: doors.session()}

    def get(self, path: str, **options: Any) -> httpx.Response:
        return asyncio.run(self._send("GET", path, **options))

    def post(self, path: str, content: Any) -> httpx.Response:
        return asyncio.run(self._send("POST", path, json=content, headers={HEADER: "1"}))

    async def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self.app)
        address = "http://127.0.0.1:8000"
        async with httpx.AsyncClient(transport=transport, base_url=address, cookies=self.cookies) as client:
            return await client.request(method, path, **options)
