"""Libraries whose photos were really looked at, without a run: `images` and `previews`, as workers write them."""

from pathlib import Path

import pyarrow as pa

from muster.pipeline.work.choice import TaskChoice
from muster.storage import manifest, tables
from muster.storage.library import LibraryFiles, open_library
from muster.storage.outcomes import IMAGES, IMAGES_DESCRIPTION
from muster.storage.photos.decode import decode
from muster.storage.photos.pixels import perceptual_hash
from muster.storage.photos.reader import Reader
from muster.tasks.base import Image
from muster.tasks.previews import SIDE, Previews

FACTS = ("format", "orientation", "taken_at", "latitude", "longitude", "camera", "sha256")


def seen(folder: Path, *sources: Path, previews: bool = True) -> LibraryFiles:
    """A library of these sources, whose photos can all be read."""
    library = open_library(folder, create=True)
    manifest.scan(library, [str(source) for source in sources])
    look(library, previews)
    return library


def look(library: LibraryFiles, previews: bool = True) -> None:
    """Of every shard that was not looked at."""
    tables.describe(library, IMAGES_DESCRIPTION)
    tables.describe(library, TaskChoice(name="previews").description)
    reader, task = Reader(), Previews()
    for shard, _ in manifest.shards(library):
        rows, images = [], []
        for row in manifest.read_shard(library, shard).to_pylist():
            photo = decode(reader.read(row["uri"]), SIDE)
            facts = {name: getattr(photo, name) for name in FACTS} | {"phash": perceptual_hash(photo.pixels)}
            size = {"width": photo.size[0], "height": photo.size[1]}
            rows.append({"image_id": row["image_id"], "status": "ok", **size, **facts})
            images.append(Image(row["image_id"], photo.pixels, photo.scale, photo.size))
        seen = tables.fingerprint(IMAGES_DESCRIPTION)
        tables.write_shard(library, seen, shard, {"images": pa.Table.from_pylist(rows, IMAGES)})
        if previews:
            tables.write_shard(library, TaskChoice(name="previews").fingerprint, shard, {"previews": task(images)})
