"""Tags of other programs are read, and written by us: to the reader of tests/helpers/regions.py the same people are in
the same places, whichever way a photo is turned, and nothing else has changed."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pytest

from helpers.findings import commit
from helpers.regions import UNKNOWN, Tagged, document, jpeg, mp, mwg, overlap, raw_regions, regions_in, upright
from muster.pipeline.people.sidecars import write_names
from muster.pipeline.tags import read_tags
from muster.pipeline.work.choice import TaskChoice
from muster.storage import manifest, tables
from muster.storage.library import LibraryFiles, open_library
from muster.storage.outcomes import IMAGES, IMAGES_DESCRIPTION

STORED = (600, 400)
PEOPLE: list[Tagged] = [("Marie Ω", (60, 40, 180, 160)), ("Pierre &amp; &lt;b>", (330, 90, 420, 260))]
NAMES = {"Marie Ω": (60, 40, 180, 160), "Pierre & <b>": (330, 90, 420, 260)}
FORMS = {"mwg": mwg, "mp": mp, "mwg elements": lambda people, size: mwg(people, size, True)}


def made(folder: Path, photo: bytes, sidecar: bytes | None, orientation: int) -> LibraryFiles:
    """A library of one photo in which no face was found."""
    (folder / "photos").mkdir(parents=True)
    (folder / "photos/a.jpg").write_bytes(photo)
    if sidecar is not None:
        (folder / "photos/a.jpg.xmp").write_bytes(sidecar)
    library = open_library(folder / "L", create=True)
    manifest.scan(library, [str(folder / "photos")])
    size = STORED[::-1] if orientation >= 5 else STORED
    [(shard, _)] = manifest.shards(library)
    [image_id] = manifest.read_shard(library, shard)["image_id"].to_pylist()
    facts = {"status": "ok", "width": size[0], "height": size[1], "orientation": orientation, "sha256": "0" * 64}
    row = pa.Table.from_pylist([{"image_id": image_id, **facts}], IMAGES)
    tables.write_shard(library, tables.describe(library, IMAGES_DESCRIPTION), shard, {"images": row})
    commit(library, TaskChoice(name="faces").description)
    return library


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("place", ["embedded", "sidecar"])
@pytest.mark.parametrize("form", FORMS)
def test_who_is_read_is_written_to_the_same_place(tmp_path: Path, form: str, place: str, orientation: int) -> None:
    theirs = document(UNKNOWN, FORMS[form](PEOPLE, STORED))
    photo = jpeg(STORED, orientation, theirs if place == "embedded" else None)
    library = made(tmp_path, photo, theirs if place == "sidecar" else None, orientation)
    read_tags(library)
    result = write_names(library, tmp_path / "out", False, None, None)
    assert (result.faces, result.other_names, result.left_out) == (2, [], [])

    photos = tmp_path / "photos"
    assert hashlib.sha256((photos / "a.jpg").read_bytes()).digest() == hashlib.sha256(photo).digest()
    written = tmp_path / "out" / photos.relative_to("/") / "a.jpg.xmp"
    if place == "sidecar" and form != "mp":  # all is there already
        assert not written.exists()
        assert (result.there, (photos / "a.jpg.xmp").read_bytes()) == (2, theirs)
        return
    found = dict(regions_in(written.read_bytes(), photo))
    assert found.keys() == NAMES.keys()
    for name, box in NAMES.items():
        assert overlap(found[name], upright(box, STORED, orientation)) >= 0.99
    if place == "sidecar":
        assert all(part in written.read_bytes() for part in (UNKNOWN.encode(), theirs[:200], theirs[-260:]))

    before = written.read_bytes()
    assert write_names(library, tmp_path / "out", False, None, None).unchanged == 1
    assert written.read_bytes() == before


@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_is_written_is_read_back_by_another_library(tmp_path: Path, orientation: int) -> None:
    """One that was lost, say: its own regions are those of others to the next."""
    first = made(tmp_path / "first", jpeg(STORED, orientation, document(mp(PEOPLE, STORED))), None, orientation)
    read_tags(first)
    write_names(first, None, True, None, None)
    sidecar = (tmp_path / "first/photos/a.jpg.xmp").read_bytes()
    second = made(tmp_path / "second", jpeg(STORED, orientation), sidecar, orientation)
    read_tags(second)
    assert write_names(second, None, True, None, None).there == 2
    assert {name for name, _ in raw_regions(sidecar)} == NAMES.keys()
