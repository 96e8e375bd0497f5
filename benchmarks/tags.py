"""How long tags of many photos take to read: 40,000 small JPEGs, every fourth with two named faces and three keywords,
every tenth with a sidecar, every fifth with Takeout's JSON; then once more, when nothing has changed.

    python benchmarks/tags.py [--photos 40000]
"""

import argparse
import io
import json
import os
import tempfile
import time
from pathlib import Path

import pyarrow as pa
from PIL import Image

from muster.pipeline.tags import read_tags
from muster.storage import manifest, tables
from muster.storage.library import LibraryFiles, open_library
from muster.storage.outcomes import IMAGES, IMAGES_DESCRIPTION

FOLDER = 500  # photos
HEAD = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"'
    ' xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"'
    ' xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#">'
)
END = "</rdf:Description></rdf:RDF></x:xmpmeta>"


def packet(number: int) -> bytes:
    """Two people and three keywords."""
    areas = [(number % 300, 0.3), ((number + 7) % 300, 0.7)]
    regions = "".join(
        f'<rdf:li><rdf:Description mwg-rs:Name="Person {who}" mwg-rs:Type="Face"><mwg-rs:Area stArea:x="{x}"'
        ' stArea:y="0.4" stArea:w="0.2" stArea:h="0.3" stArea:unit="normalized"/></rdf:Description></rdf:li>'
        for who, x in areas
    )
    words = "".join(f"<rdf:li>{word}</rdf:li>" for word in ("lake", "sea", f"word {number % 999}"))
    return (
        f'{HEAD}<dc:subject><rdf:Bag>{words}</rdf:Bag></dc:subject><mwg-rs:Regions rdf:parseType="Resource">'
        f"<mwg-rs:RegionList><rdf:Bag>{regions}</rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions>{END}"
    ).encode()


def takeout(number: int) -> str:
    taken = {"timestamp": str(1_500_000_000 + number)}
    return json.dumps({"photoTakenTime": taken, "geoData": {"latitude": 38.7, "longitude": -9.1}, "people": []})


def jpeg(xmp: bytes | None) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 48)).save(file, "JPEG", **({} if xmp is None else {"xmp": xmp}))
    return file.getvalue()


def make(place: Path, photos: int) -> None:
    plain = jpeg(None)
    for i in range(photos):
        folder = place / f"{i // FOLDER:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        photo = folder / f"IMG_{i:06d}.jpg"
        photo.write_bytes((jpeg(packet(i)) if i % 4 == 0 else plain) + i.to_bytes(4, "big"))
        if i % 10 == 1:
            photo.with_name(f"{photo.name}.xmp").write_bytes(packet(i))
        if i % 5 == 2:
            photo.with_name(f"{photo.name}.supplemental-metadata.json").write_text(takeout(i))


def decoded(library: LibraryFiles) -> None:
    """Rows of `images`, as a run leaves them: sizes are known then."""
    seen = tables.describe(library, IMAGES_DESCRIPTION)
    for shard, _ in manifest.shards(library):
        ids = manifest.read_shard(library, shard)["image_id"].to_pylist()
        rows = [{"image_id": i, "status": "ok", "width": 64, "height": 48, "orientation": 1} for i in ids]
        tables.write_shard(library, seen, shard, {"images": pa.Table.from_pylist(rows, IMAGES)})


def timed(library: LibraryFiles) -> tuple[float, float, int]:
    """Seconds, seconds of processors, photos that were read."""
    start, before = time.perf_counter(), os.times()
    summary = read_tags(library)
    after = os.times()
    spent = after.user + after.system - before.user - before.system
    return round(time.perf_counter() - start, 2), round(spent, 2), summary.read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=40_000)
    photos = parser.parse_args().photos
    with tempfile.TemporaryDirectory() as place:
        make(Path(place) / "photos", photos)
        library = open_library(Path(place) / "library", create=True)
        manifest.scan(library, [str(Path(place) / "photos")])
        decoded(library)
        first, again = timed(library), timed(library)
    names = ("seconds", "processor_seconds", "read")
    facts = {"photos": photos} | dict(zip(names, first, strict=True))
    facts |= {f"again_{name}": value for name, value in zip(names, again, strict=True)}
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
