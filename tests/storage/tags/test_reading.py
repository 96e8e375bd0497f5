import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from helpers.packets import bag, image_with, mp, mwg, packet
from muster.storage.people.boxes import overlap
from muster.storage.tags import table
from muster.storage.tags.reading import read_tags
from muster.storage.tags.regions import Picture, upright
from muster.storage.tags.sidecars import Sidecars, of_folder

BOX = (0.25, 0.125, 0.5, 0.375)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """With a title, a keyword and Ann."""
    path = tmp_path / "a.jpg"
    inside = bag("dc:subject", ["embedded"]) + "<dc:title>photo</dc:title>" + mwg([("Ann", BOX)], (64, 48))
    path.write_bytes(image_with(packet(inside)))
    return path


def read(path: Path) -> dict[str, Any]:
    found = read_tags(str(path), of_folder(str(path.parent), [path.name]).photos[path.name])
    assert found is not None
    assert found.keys() | {"image_id", "albums"} == set(table.SCHEMA.names)
    return found


def files(row: dict[str, Any]) -> list[str]:
    return [os.path.basename(file) for file in row["files"]]


def test_of_the_photo_alone(photo: Path) -> None:
    row = read(photo)
    assert (row["title"], row["keywords"], files(row)) == ("photo", ["embedded"], ["a.jpg"])
    assert row["regions"] == [{"name": "Ann", "type": "Face", "box_xyxy": (16, 6, 32, 18), "origin": "mwg-rs"}]
    assert read_tags(str(photo.with_name("none.jpg")), Sidecars()) is None


def test_sidecars_go_before_the_photo_field_by_field(photo: Path) -> None:
    photo.with_name("a.jpg.xmp").write_bytes(packet(bag("dc:subject", ["one"]) + mp([("Anne", BOX)])))
    photo.with_name("a.xmp").write_bytes(packet(bag("dc:subject", ["two"]) + "<dc:description>lake</dc:description>"))
    row = read(photo)
    assert (row["keywords"], row["description"], row["title"]) == (["one"], "lake", "photo")
    assert [region["name"] for region in row["regions"]] == ["Anne"]
    assert files(row) == ["a.jpg.xmp", "a.xmp", "a.jpg"]


def test_a_raw_files_sidecar_comes_after_the_photo(photo: Path) -> None:
    photo.with_name("a.xmp").write_bytes(packet(bag("dc:subject", ["raw"]) + "<dc:description>lake</dc:description>"))
    photo.with_name("a.CR2").touch()
    row = read(photo)
    assert (row["keywords"], row["description"], files(row)) == (["embedded"], "lake", ["a.jpg", "a.xmp"])


def test_takeout_fills_what_nothing_else_says(photo: Path) -> None:
    taken = {"timestamp": "1468614566"}
    people = [{"name": "ann"}, {"name": "Bob"}]
    facts = {"photoTakenTime": taken, "people": people, "description": "by Google", "favorited": True}
    photo.with_name("a.jpg.json").write_text(json.dumps(facts))
    photo.with_name("a.xmp").write_bytes(packet(attributes='photoshop:DateCreated="2001-02-03"'))
    row = read(photo)
    assert (row["taken_at"], row["description"], row["favourite"]) == (datetime(2001, 2, 3), "by Google", True)
    assert row["people"] == ["Bob"]  # of Ann it is known where she is
    photo.with_name("a.xmp").unlink()
    assert read(photo)["taken_at"] == datetime(2016, 7, 15, 20, 29, 26)
    photo.with_name("a.jpg.json").write_text('{"images": []}')
    assert files(read(photo)) == ["a.jpg"]


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "unreadable", "empty", "json", "deep"])
def test_sidecars_that_are_none(photo: Path, kind: str) -> None:
    sidecar = photo.with_name("a.jpg.xmp")
    remark = "a sidecar cannot be read: "
    if kind == "link":
        (photo.parent / "secret").write_bytes(packet(bag("dc:subject", ["secret"])))
        sidecar.symlink_to(photo.parent / "secret")
        remark += "a link"
    elif kind == "pipe":
        os.mkfifo(sidecar)
    elif kind == "folder":
        sidecar.mkdir()
    elif kind == "unreadable":
        sidecar.touch(0)
        if os.access(sidecar, os.R_OK):
            pytest.skip("root reads everything")
        remark += "Permission denied"
    elif kind == "empty":
        sidecar.touch()
    else:
        sidecar.write_bytes(b'{"subject": 1}' if kind == "json" else b"<subject>" * 100_000)
        remark = "XMP"
    row = read(photo)
    assert (row["title"], row["keywords"]) == ("photo", ["embedded"])
    assert [remark in each for each in row["remarks"]] == ([] if kind == "empty" else [True])


def test_a_photo_that_cannot_be_decoded_keeps_its_names(photo: Path) -> None:
    whole = photo.read_bytes()
    photo.write_bytes(whole[: whole.index(b"\xff\xda")])
    row = read(photo)
    assert (row["regions"], row["people"]) == ([], ["Ann"])
    assert row["remarks"] == ["regions without a place: the size of the image is not known"]
    row_of_run = read_tags(str(photo), Sidecars(), lambda: Picture(128, 96))
    assert row_of_run is not None
    assert row_of_run["regions"][0]["box_xyxy"] == (32, 12, 64, 36)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("schema", ["mwg-rs", "mp"])
@pytest.mark.parametrize("place", ["embedded", "sidecar"])
def test_regions_of_turned_photos(tmp_path: Path, orientation: int, schema: str, place: str) -> None:
    """As the guidelines have them: of the stored pixels."""
    shown = upright(BOX, orientation)
    inside = mwg([("Ann", BOX)], (64, 48), elements=True) if schema == "mwg-rs" else mp([("Ann", BOX)])
    xmp = packet(inside)
    photo = tmp_path / "a.jpg"
    photo.write_bytes(image_with(xmp if place == "embedded" else packet(), orientation=orientation))
    if place == "sidecar":
        photo.with_name("a.xmp").write_bytes(xmp)
    [region] = read(photo)["regions"]
    width, height = (48, 64) if orientation >= 5 else (64, 48)
    box = (shown[0] * width, shown[1] * height, shown[2] * width, shown[3] * height)
    assert overlap(region["box_xyxy"], box) >= 0.99
    assert (region["name"], region["origin"]) == ("Ann", schema)


# Of each file with XMP or of Takeout: who is read, and what else. The table of docs/tags.md.
READ = {
    "portrait.jpg": (["Marie Curie", "Pierre Curie"], ["Marie Curie", "Pierre Curie", "People"], {}),
    "portrait-orientation-6.jpg": (["Marie Curie", "Pierre Curie"], ["Marie Curie", "Pierre Curie", "People"], {}),
    "DSC_3079.jpg": (["America"], ["America"], {}),
    "niaz.jpg": (
        ["Niaz Faridani-Rad"],
        ["First Man", "Washington", "Smithsonian National Air and Space Museum (NASM)", "DC", "Niaz Faridani-Rad"],
        {"title": '"First Man" Premiere at NASM', "rating": 5, "taken_at": datetime(2018, 10, 4, 19, 21, 55)},
    ),
    "digikam.jpg": ([], ["Berlin", "Shop"], {"rating": 4}),
    "picasa.jpg": ([], [], {"description": "Image-Description"}),
    "IMG_4120.JPG": ([], [], {"taken_at": datetime(2019, 6, 9, 12, 57, 32, 835000)}),
    "IMG_E4120.JPG": ([], [], {"taken_at": datetime(2019, 6, 9, 12, 57, 32, 835000)}),
    "Stonehenge.heic": ([], [], {"description": "Classic View", "taken_at": datetime(2015, 7, 16, 15, 38, 54)}),
    "iphone_7.heic": ([], [], {"taken_at": datetime(2018, 9, 10, 12, 16, 13), "latitude": pytest.approx(34.79745)}),
    "canon_eos_6d.dng": ([], [], {"taken_at": datetime(2019, 6, 6, 7, 29, 51)}),
    "Reagan.jxl": (
        [],
        [
            *("ronald reagan", "reagan", "cvn 76", "cvn-76", "straights magellan", "magellan", "carrier"),
            *("nimitz-class", "ship", "underway"),
        ],
        {"title": "040621-N-6536T-062", "taken_at": datetime(2004, 6, 21)},
    ),
    "apple-test-2.jpg": (
        [],
        ["Krokus", "Blume", "Schöne Wiese"],
        {"title": "Botanischer Garten", "latitude": 52.5250816, "taken_at": datetime(2021, 3, 24, 13, 7, 29)},
    ),
    "takeout/046a025ce4a74570347241df5bfe27cc.jpg": (
        ["Sebastian"],
        [],
        {"taken_at": datetime(2016, 7, 15, 20, 29, 26)},
    ),
    "takeout/0d885360a8dceda4d8d5d76c3e4cabaa.jpg": ([], [], {"taken_at": datetime(2016, 8, 27, 12, 17, 11)}),
    "takeout/791e169dbac35bd185ea56d252246132.jpg": ([], [], {"taken_at": datetime(2016, 4, 5, 13, 29, 52)}),
    "takeout/sample_photo.jpg": ([], [], {"taken_at": datetime(2020, 9, 2, 20, 33, 52), "latitude": 37.7749}),
}
SAY_NOTHING = {"Canon-R6-pruned.CR3", "ultra-hdr.jpg", "ultrahdr.jpg", "IMG_1361.dng", "fox.avif", "star.avifs"} | {
    *("frozenpond.mpo", "sugarshack.mpo", "exiv2-canon-powershot-s40.crw")
}


@pytest.mark.parametrize("name", [*READ, *sorted(SAY_NOTHING)])
def test_who_is_read_from_real_files(data: Path, name: str) -> None:
    """Also of sidecars whose photos are not there."""
    folder, _, photo = (data / "photos" / "formats2" / name).as_posix().rpartition("/")
    row = read_tags(f"{folder}/{photo}", of_folder(folder, [photo]).photos[photo])
    if name in SAY_NOTHING:
        assert row is None
        return
    assert row is not None
    names, keywords, more = READ[name]
    assert [*(region["name"] for region in row["regions"]), *row["people"]] == names
    assert row["keywords"] == keywords
    assert {key: row[key] for key in more} == more


def test_the_two_portraits_agree(data: Path) -> None:
    """One upright, one turned by 90°, in which the two schemas are of different frames."""
    folder = data / "photos" / "formats2"
    rows = [read_tags(str(folder / name), Sidecars()) for name in ("portrait.jpg", "portrait-orientation-6.jpg")]
    assert None not in rows
    upright_, turned = ([(each["name"], each["box_xyxy"]) for each in row["regions"]] for row in rows if row)
    assert [name for name, _ in turned] == [name for name, _ in upright_]
    assert all(overlap(a[1], b[1]) >= 0.99 for a, b in zip(upright_, turned, strict=True))
    assert [row["remarks"] for row in rows if row] == [[], []]
