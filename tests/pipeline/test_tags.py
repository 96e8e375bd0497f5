import json
import os
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers.findings import scanned
from helpers.packets import bag, image_with, mwg, packet
from muster.pipeline.tags import read_tags
from muster.storage import manifest, tables
from muster.storage.encryption import KEY
from muster.storage.layout import TAGS, TAGS_READ
from muster.storage.library import LibraryFiles, open_library
from muster.storage.outcomes import IMAGES, IMAGES_DESCRIPTION
from muster.storage.tags import reading, table

BOX = (0.25, 0.125, 0.5, 0.375)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """a: with Ann and a keyword; b: with a sidecar; c: with Takeout's JSON, in an album; d: with nothing."""
    folder = tmp_path / "photos"
    (folder / "album").mkdir(parents=True)
    ann = packet(mwg([("Ann", BOX)]) + bag("dc:subject", ["lake"]))
    (folder / "a.jpg").write_bytes(image_with(ann, size=(400, 300)))
    (folder / "b.jpg").write_bytes(image_with(packet(), size=(401, 300)))
    (folder / "b.jpg.xmp").write_bytes(packet(bag("dc:subject", ["Lake", "sea"])))
    (folder / "album" / "c.jpg").write_bytes(image_with(packet(), size=(402, 300)))
    facts = {"photoTakenTime": {"timestamp": "1468614566"}, "geoData": {"latitude": 1, "longitude": 2}}
    (folder / "album" / "c.jpg.json").write_text(json.dumps({**facts, "people": [{"name": "Bob"}, {"name": "ann"}]}))
    (folder / "album" / "Metadaten.json").write_text('{"title": "Greece", "access": "protected"}')
    (folder / "d.jpg").write_bytes(image_with(packet(), size=(403, 300)))
    return folder


@pytest.fixture
def library(tmp_path: Path, photos: Path) -> LibraryFiles:
    opened = open_library(tmp_path / "L", create=True)
    manifest.scan(opened, [str(photos)])
    return opened


def rows(library: LibraryFiles) -> dict[str, dict]:
    """By the photo's name."""
    known = manifest.read_manifest(library)
    names = dict(zip(known["image_id"].to_pylist(), known["uri"].to_pylist(), strict=True))
    return {os.path.basename(names[row["image_id"]]): row for row in table.read(library).to_pylist()}


def test_a_row_for_each_photo_of_which_something_is_said(library: LibraryFiles) -> None:
    summary = read_tags(library)
    found = rows(library)
    assert sorted(found) == ["a.jpg", "b.jpg", "c.jpg"]
    assert found["a.jpg"]["regions"] == [
        {"name": "Ann", "type": "Face", "box_xyxy": [100, 37.5, 200, 112.5], "origin": "mwg-rs"}
    ]
    assert (found["b.jpg"]["keywords"], found["c.jpg"]["people"]) == (["Lake", "sea"], ["Bob", "ann"])
    assert (found["c.jpg"]["albums"], found["c.jpg"]["taken_at"]) == (["Greece"], datetime(2016, 7, 15, 20, 29, 26))
    assert (summary.photos, summary.read, summary.tagged, summary.elsewhere) == (4, 4, 3, 0)
    assert (summary.regions, summary.named, summary.people, summary.keywords, summary.albums) == (1, 1, 2, 2, 1)
    assert (summary.dated, summary.placed, summary.remarks, summary.unlisted) == (1, 1, {}, {})


def test_what_did_not_change_is_not_read_again(
    library: LibraryFiles, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_tags(library)
    written = [library.read(name) for name in (TAGS, TAGS_READ)]
    assert read_tags(library).read == 0
    assert [library.read(name) for name in (TAGS, TAGS_READ)] == written
    (photos / "b.jpg.xmp").write_bytes(packet(bag("dc:subject", ["other"])))
    (photos / "d.xmp").write_bytes(packet(bag("dc:subject", ["new"])))
    assert read_tags(library).read == 2
    assert (rows(library)["b.jpg"]["keywords"], rows(library)["d.jpg"]["keywords"]) == (["other"], ["new"])
    (photos / "b.jpg.xmp").unlink()
    assert read_tags(library).read == 1
    assert "b.jpg" not in rows(library)
    os.utime(photos / "a.jpg", (1, 1))
    manifest.scan(library, [str(photos)])
    assert read_tags(library).read == 1
    monkeypatch.setattr(reading, "VERSION", 99)
    assert read_tags(library).read == 4


def test_rows_go_with_their_photos(library: LibraryFiles, photos: Path) -> None:
    read_tags(library)
    (photos / "a.jpg").unlink()
    manifest.scan(library, [str(photos)])
    assert set(rows(library)) == {"b.jpg", "c.jpg"}
    read_tags(library)
    assert set(rows(library)) == {"b.jpg", "c.jpg"}
    assert table.read_stamps(library).num_rows == 3


def test_albums_are_of_exact_copies_too(tmp_path: Path, photos: Path) -> None:
    """Takeout has a photo in its year, and in each album."""
    copy = photos / "Photos from 2016" / "c.jpg"
    copy.parent.mkdir()
    copy.write_bytes((photos / "album" / "c.jpg").read_bytes())
    opened = open_library(tmp_path / "L", create=True)
    manifest.scan(opened, [str(photos)])
    shards, seen = manifest.shards(opened), tables.describe(opened, IMAGES_DESCRIPTION)
    for shard, _ in shards:
        some = manifest.read_shard(opened, shard).to_pylist()
        facts = [{"image_id": r["image_id"], "status": "ok", "sha256": os.path.basename(r["uri"])} for r in some]
        tables.write_shard(opened, seen, shard, {"images": pa.Table.from_pylist(facts, IMAGES)})
    read_tags(opened)
    assert [row["albums"] for row in table.read(opened).to_pylist() if row["albums"]] == [["Greece"]] * 2
    (photos / "album" / "Metadaten.json").unlink()
    summary = read_tags(opened)
    assert (summary.albums, summary.read, summary.tagged) == (0, 0, 3)


def test_sizes_of_a_run_count(tmp_path: Path, photos: Path) -> None:
    opened = scanned(tmp_path / "L", photos)  # which says 400×300 of all
    (photos / "d.xmp").write_bytes(packet(mwg([("Dan", BOX)])))
    read_tags(opened)
    assert rows(opened)["d.jpg"]["regions"][0]["box_xyxy"] == [100, 37.5, 200, 112.5]


def test_photos_elsewhere_are_counted(tmp_path: Path, photos: Path) -> None:
    images = pa.table({"image": [(photos / "a.jpg").read_bytes()] * 2})
    pq.write_table(images, tmp_path / "inline.parquet")
    pq.write_table(pa.table({"uri": ["s3://bucket/x.jpg", str(photos / "a.jpg")]}), tmp_path / "named.parquet")
    opened = open_library(tmp_path / "L", create=True)
    manifest.scan(opened, [str(tmp_path / "inline.parquet"), str(tmp_path / "named.parquet")])
    summary = read_tags(opened)
    assert (summary.photos, summary.elsewhere, summary.tagged) == (1, 3, 1)


def test_a_takeout_of_two_archives_is_read_without_unpacking(tmp_path: Path) -> None:
    said = {"photoTakenTime": {"timestamp": "1400000000"}, "people": [{"name": "Ann"}], "geoData": {}}
    folder, jpeg = "Takeout/Google Photos/Greece", image_with(packet())
    with zipfile.ZipFile(tmp_path / "takeout-001.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{folder}/IMG(1).jpg", jpeg)
        archive.writestr(f"{folder}/metadata.json", json.dumps({"title": "Greece", "date": {}, "access": ""}))
    with zipfile.ZipFile(tmp_path / "takeout-002.zip", "w") as archive:
        archive.writestr(f"{folder}/IMG.jpg.supplemental-metadata(1).json", json.dumps(said))
    opened = open_library(tmp_path / "L", create=True)
    manifest.scan(opened, [str(tmp_path / "takeout-*.zip")])
    summary = read_tags(opened)
    assert (summary.photos, summary.elsewhere, summary.dated) == (1, 0, 1)
    [row] = table.read(opened).to_pylist()
    assert (row["people"], row["albums"], row["taken_at"]) == (["Ann"], ["Greece"], datetime(2014, 5, 13, 16, 53, 20))
    assert "takeout-002.zip#member=" in row["files"][-1]
    assert read_tags(opened).read == 0


def test_nothing_that_lies_about_stops_it(library: LibraryFiles, photos: Path) -> None:
    os.mkfifo(photos / "a.jpg.xmp")
    (photos / "d.jpg.json").write_bytes(b"[" * 100_000)
    (photos / "b.jpg").unlink()
    (photos / "album" / "metadata.json").symlink_to("/dev/zero")
    summary = read_tags(library)
    assert summary.remarks == {
        "a sidecar cannot be read: not a regular file but a folder, pipe or device": 1,
        "its JSON is broken, or too long, and is not read": 1,
    }
    assert rows(library)["b.jpg"]["keywords"] == ["Lake", "sea"]
    assert rows(library)["c.jpg"]["albums"] == ["Greece"]


def test_a_folder_that_is_gone_is_said(library: LibraryFiles, photos: Path) -> None:
    (photos / "album").rename(photos / "moved")
    assert read_tags(library).unlisted == {str(photos / "album"): "No such file or directory"}


def test_an_encrypted_library_keeps_its_tags_secret(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, "A" * 43 + "=")
    opened = open_library(tmp_path / "E", create=True)
    manifest.scan(opened, [str(photos)])
    read_tags(opened)
    stored = b"".join(path.read_bytes() for path in (tmp_path / "E" / "tags").iterdir())
    assert b"PAR1" not in stored
    assert rows(opened)["a.jpg"]["keywords"] == ["lake"]


def test_a_kill_at_any_write_loses_nothing(library: LibraryFiles, photos: Path, kills: Callable[[int], None]) -> None:
    read_tags(library)
    before = rows(library)
    (photos / "b.jpg.xmp").write_bytes(packet(bag("dc:subject", ["other"])))
    for number in range(9):
        kills(number)
        try:
            read_tags(library)
            kills(-1)
            break
        except BaseException:
            kills(-1)
        assert rows(library).keys() == before.keys()
    assert read_tags(library).read == 0
    assert rows(library)["b.jpg"]["keywords"] == ["other"]
