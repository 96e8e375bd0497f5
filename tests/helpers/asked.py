"""A small library whose answers are known: 32 photos of 2017 to 2021, with people, things, places and tags."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from helpers.findings import commit, dog, face
from helpers.searched import an_index
from muster.pipeline.work.choice import TaskChoice
from muster.storage import clusters, manifest, tables
from muster.storage.ask.views import FACES, Views, views
from muster.storage.library import LibraryFiles, open_library
from muster.storage.outcomes import IMAGES, IMAGES_DESCRIPTION
from muster.storage.people.facts import Named
from muster.storage.people.ledger import Ledger
from muster.storage.tags import table as tags
from muster.web.album import LabelTable

LISBON, PARIS, BERLIN = (38.7223, -9.1393), (48.8584, 2.2945), (52.52, 13.405)
HALLSTATT, FLORENCE = (47.5622, 13.6493), (43.7696, 11.2558)
NOWHERE = (None, None)
CANON, PIXEL, PHONE = "Canon EOS R5", "Google Pixel 6", "Apple iPhone 12"
STRANGER = "?"  # a face of nobody
SOMEBODY = "Somebody"  # a person without a name
NAMES = ("Anna", "Bob", "Clara", "Tom Berg", "Tom Ford", "Florence", "Émile", "李娜", SOMEBODY)
IDS = {name: f"{number:x}a" * 6 for number, name in enumerate(NAMES, 1)}  # as clusters have them


@dataclass(frozen=True)
class Photo:
    """`things`: labels of objects. `scene`: "day" or "night". `tagged`: people whom tags name without a face."""

    taken_at: str | None
    place: tuple[float | None, float | None]
    people: Sequence[str]
    things: Sequence[str]
    scene: str | None
    camera: str | None
    folder: str = "camera"
    favourite: bool = False
    keywords: Sequence[str] = ()
    albums: Sequence[str] = ()
    tagged: Sequence[str] = ()


XMAS, TRIP = {"keywords": ["christmas"]}, {"albums": ["Italy trip"]}
PHOTOS = {
    "01": Photo("2017-06-10 14:00", LISBON, ["Anna"], ["dog"], "day", CANON, favourite=True),
    "02": Photo("2017-06-10 15:00", LISBON, ["Anna", "Bob"], [], "day", CANON),
    "03": Photo("2017-06-11 22:00", LISBON, ["Bob"], [], "night", CANON),
    "04": Photo("2017-12-24 20:00", BERLIN, ["Anna", "Bob", "Clara"], [], "night", PIXEL, **XMAS),
    "05": Photo("2017-12-25 11:00", BERLIN, ["Clara"], ["dog"], "day", PIXEL, **XMAS),
    "06": Photo("2018-03-05 12:00", PARIS, ["Anna", "Clara"], [], "day", CANON),
    "07": Photo("2018-03-06 23:00", PARIS, ["Anna"], ["car"], "night", CANON),
    "08": Photo("2018-07-14 10:00", HALLSTATT, ["Bob", "Clara"], ["boat"], "day", PIXEL, favourite=True),
    "09": Photo("2018-07-14 11:00", HALLSTATT, [], ["boat"], "day", PIXEL),
    "10": Photo("2018-07-15 09:00", HALLSTATT, ["Tom Berg"], ["car"], "day", CANON),
    "11": Photo("2018-12-24 19:00", BERLIN, ["Anna", "Tom Berg"], [], "night", PIXEL, **XMAS),
    "12": Photo("2019-01-01 00:10", BERLIN, ["Anna", "Bob", "Clara", "Tom Berg"], [], "night", PIXEL),
    "13": Photo("2019-05-03 10:00", LISBON, ["Anna"], ["dog", "dog"], "day", PHONE),
    "14": Photo("2019-05-03 11:00", LISBON, ["Anna", "Bob"], ["dog"], "day", PHONE, favourite=True),
    "15": Photo("2019-05-04 16:00", LISBON, ["Bob", STRANGER], ["car"], "day", PHONE),
    "16": Photo("2019-05-20 13:00", PARIS, ["Anna"], [], "day", PHONE),
    "17": Photo("2019-06-01 23:30", PARIS, ["Bob"], ["car", "dog"], "night", PHONE),
    "18": Photo("2019-08-15 10:00", FLORENCE, ["Florence"], [], "day", CANON, **TRIP),
    "19": Photo(
        "2019-08-15 12:00", FLORENCE, [], ["person"], "day", CANON, **TRIP
    ),  # from behind: a label that counts nowhere
    "20": Photo("2019-08-16 21:30", FLORENCE, ["Anna", "Florence"], ["cat"], "night", CANON, **TRIP),
    "21": Photo("2019-11-11 15:00", NOWHERE, ["Clara"], ["cat"], "day", PIXEL),
    "22": Photo("2020-02-02 14:00", NOWHERE, ["Clara", SOMEBODY], ["cat"], "day", PIXEL),
    "23": Photo("2020-05-05 12:00", BERLIN, ["Anna"], ["cat"], "day", PIXEL),
    "24": Photo("2020-07-07 09:00", HALLSTATT, ["Tom Ford"], ["boat"], "day", PHONE),
    "25": Photo("2020-07-08 09:00", HALLSTATT, ["Tom Ford", "Émile"], ["boat"], "day", PHONE, favourite=True),
    "26": Photo("2020-12-31 23:50", BERLIN, [], [], "night", PIXEL, tagged=["Clara"]),
    "27": Photo("2021-01-01 00:05", BERLIN, ["Bob"], [], "night", PIXEL),
    "28": Photo("2021-03-03 10:00", PARIS, ["李娜"], ["car"], "day", PHONE),
    "29": Photo("2021-03-03 10:30", PARIS, ["李娜", "Anna"], [], "day", PHONE),
    "30": Photo("2021-09-09 21:00", LISBON, ["Émile"], ["dog"], "night", CANON),
    "31": Photo(None, NOWHERE, ["Anna"], [], None, None, folder="scans", keywords=["family"]),
    "32": Photo(None, NOWHERE, [], ["car"], None, None, folder="scans"),
}


def asked_library(folder: Path) -> LibraryFiles:
    """A library of PHOTOS in `folder`/library, of files that hold their names alone: nothing of them is decoded."""
    for name, photo in PHOTOS.items():
        file = folder / "photos" / photo.folder / f"{name}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    library = open_library(folder / "library", create=True)
    manifest.scan(library, [str(folder / "photos")])
    of = {row["image_id"]: PHOTOS[Path(row["uri"]).stem] for row in manifest.read_manifest(library).to_pylist()}
    seen = tables.describe(library, IMAGES_DESCRIPTION)
    for shard, _ in manifest.shards(library):
        rows = [_image(i, of[i]) for i in manifest.read_shard(library, shard)["image_id"].to_pylist()]
        tables.write_shard(library, seen, shard, {"images": pa.Table.from_pylist(rows, IMAGES)})
    commit(library, TaskChoice(name="objects").description, lambda i: [{**dog(), "label": t} for t in of[i].things])
    scenes = TaskChoice(name="scenes").description
    commit(library, scenes, lambda i: [{"label": of[i].scene, "source": "both"}])
    found = commit(library, TaskChoice(name="faces").description, lambda i: _faces(i, of[i]))
    who = [
        {"face_id": f"{i}-{n}", "image_id": i, "cluster_id": IDS.get(name)}
        for i, photo in of.items()
        for n, name in enumerate(photo.people)
    ]
    clusters.write(library, found, pa.Table.from_pylist(who), "graph")
    Ledger(library).record([Named(IDS[name], name) for name in NAMES if name != SOMEBODY])
    marks = [_marks(i, photo) for i, photo in of.items()]
    read = pa.Table.from_pylist([{"image_id": i, "stamp": "0" * 16} for i in of], tags.READ)
    tags.write(library, pa.Table.from_pylist(marks, tags.SCHEMA), read)
    return library


def _image(image_id: str, photo: Photo) -> dict[str, object]:
    latitude, longitude = photo.place
    return {
        "image_id": image_id,
        "status": "ok",
        "width": 400,
        "height": 300,
        "sha256": image_id * 2,
        "taken_at": None if photo.taken_at is None else datetime.fromisoformat(photo.taken_at),
        "latitude": latitude,
        "longitude": longitude,
        "camera": photo.camera,
    }


def _faces(image_id: str, photo: Photo) -> list[dict[str, object]]:
    return [{**face(image_id), "face_id": f"{image_id}-{n}", "quality": 0.9} for n in range(len(photo.people))]


def _marks(image_id: str, photo: Photo) -> dict[str, object]:
    lists = {"keywords": photo.keywords, "albums": photo.albums, "people": photo.tagged}
    empty = dict.fromkeys(("files", "regions", "remarks"), ())
    return {"image_id": image_id, **empty, **lists, "favourite": photo.favourite}


def views_of(*photos: Mapping[str, Any], names: Mapping[str, str] | None = None) -> Views:
    """The tables of photos as `an_index` takes them, without a library. `names`: person_id → name; where None,
    person_ids are names. A person "?" is a face of nobody."""
    known = names or {each: each for photo in photos for each in photo.get("people", ()) if each != STRANGER}
    index = an_index(*photos, names=known)
    faces = [
        {"face_id": f"{row}-{n}", "image_id": str(row), "person_id": None if each == STRANGER else each}
        for row, photo in enumerate(photos)
        for n, each in enumerate(photo.get("people", ()))
    ]
    labels = (LabelTable(table="objects", fingerprint="o", placed=True), LabelTable(table="scenes", fingerprint="s"))
    return views(index, pa.Table.from_pylist(faces, FACES), known, labels)
