"""Forgetting, on real photos: nothing is left, and a kill at any write leaves the old or the new state."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from helpers.findings import scanned
from helpers.fixtures import Killed, School
from muster.errors import InputError
from muster.pipeline import forget, same_picture
from muster.pipeline.forget import expired, settle
from muster.pipeline.people import grouping
from muster.pipeline.people.pages import write_people
from muster.storage import layout, manifest, tables
from muster.storage.gallery import audit, gallery, keys
from muster.storage.index import vectors
from muster.storage.library import LibraryFiles, open_library
from muster.storage.tags import table as tags

Work = Callable[..., Any]


@pytest.fixture
def library(gallery_library: Path, monkeypatch: pytest.MonkeyPatch) -> LibraryFiles:
    monkeypatch.setattr(vectors, "EXACT_UP_TO", 30)  # so that there is an index, with what it keeps of their faces
    opened = open_library(gallery_library)
    grouping.cluster_faces(opened, None, "graph", None, False)
    return opened


def everything(folder: Path) -> bytes:
    """All files of a library but receipts, Parquet files read."""
    parts = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and "receipts" not in p.parts):
        parts.append(path.read_bytes())
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            parts += [str(column.to_pylist()).encode() for column in table.columns]
            parts += [
                np.array(column.to_pylist(), np.float32).tobytes()
                for column in table.columns
                if pa.types.is_fixed_size_list(column.type) and column.type.value_type == pa.float32()
            ]
    return b"\0".join(parts)


def test_nothing_is_left_of_twelve_people(library: LibraryFiles, gallery_library: Path, school: School) -> None:
    known = gallery.require(library)
    gone, kept = known.people[:12], known.people[12:]
    rows = [row for row in known.faces.to_pylist() if row["person_id"] in gone]
    needles = {row[name].encode() for row in rows for name in ("person_id", "image_id", "face_id", "uri", "sha256")}
    needles |= {np.array(row["embedding"], np.float32).tobytes() for row in rows}
    before = everything(gallery_library)
    assert all(needle in before for needle in needles)
    assert any(b"index" in str(p).encode() for p in gallery_library.rglob("*"))

    [receipt] = forget.forget(library, gone, "asked for")
    after = everything(gallery_library)
    assert [needle for needle in needles if needle in after] == []
    assert (receipt.people, receipt.found_afterwards) == (gone, [])
    assert (len(receipt.images), receipt.faces) == (24, len(rows))
    assert json.loads((gallery_library / receipt.receipt).read_text())["people"] == gone
    assert gallery.require(library).people == kept
    assert all(path.exists() for name in gone for path in school.enrolled[name])  # originals are not Muster's
    rows_left = tables.read(library, "faces", known.fingerprint)
    assert len(set(rows_left["image_id"].to_pylist())) == 2 * len(kept)
    assert audit.check(library).problem is None
    assert audit.entries(library)[-1].items() >= {"action": "forget", "receipt": receipt.receipt}.items()


def test_an_image(library: LibraryFiles, school: School, tmp_path: Path) -> None:
    [(name, (first, second)), *_] = school.enrolled.items()
    [receipt] = forget.forget(library, [str(first)], "asked for")
    assert (receipt.people, receipt.originals, receipt.found_afterwards) == ([], [str(first)], [])
    assert gallery.require(library).name_of(name) == name  # by the other photo
    image = [row["image_id"] for row in manifest.read_manifest(library).to_pylist() if row["uri"] == str(second)]
    assert [each.images for each in forget.forget(library, image, "asked for")] == [image]
    assert name not in gallery.require(library).people
    with pytest.raises(InputError, match="nobody is neither a person_id of the gallery nor an image of library"):
        forget.forget(library, ["nobody"], "asked for")


def test_pairs_of_look_alikes_go_with_either_of_them(library: LibraryFiles) -> None:
    known = gallery.require(library)
    one, two, three = (known.pseudonym_of(each) for each in known.people[:3])
    facts = {"alike": {"declared": [[one, two], [two, three]], "share": None}}
    gallery.write(library, replace(known, calibration=facts), "calibrate", {})
    forget.forget(library, known.people[:1], "asked for")
    assert gallery.require(library).calibration == {"alike": {"declared": [[two, three]], "share": None}}


def test_a_key_of_the_service_that_has_their_name_loses_it(library: LibraryFiles) -> None:
    [ann, *_] = gallery.require(library).people
    keys.made(library, ann, "enrols")
    [receipt] = forget.forget(library, [ann], "asked for")
    assert (receipt.found_afterwards, [key.name for key in keys.listed(library)]) == ([], ["forgotten"])


def test_tags_go(library: LibraryFiles, school: School) -> None:
    """Rows of its images, and its name in others: the search afterwards would find them."""
    known, [album] = gallery.require(library), ["0" * 32]
    gone, kept = known.people[:2]
    images = known.faces["image_id"].to_pylist()
    said = [
        {"image_id": image, "people": [gone, kept], "keywords": [f"Ann {gone}", gone], "regions": [], "files": []}
        for image in [*images, album]
    ]
    for each in said:
        each["regions"] = [{"name": gone, "type": "Face", "box_xyxy": [0, 0, 1, 1], "origin": "mp"}]
    tags.write(library, pa.Table.from_pylist(said, tags.SCHEMA), tags.READ.empty_table())
    [receipt] = forget.forget(library, [gone], "asked for")
    assert receipt.found_afterwards == []
    left = tags.read(library).to_pylist()
    assert {row["image_id"] for row in left} == {*images} - {*receipt.images}
    assert all((row["people"], row["keywords"]) == ([kept], [f"Ann {gone}"]) for row in left)
    assert all(row["regions"][0]["name"] is None for row in left)


def test_pages_go(library: LibraryFiles) -> None:
    write_people(library, None, library.local / "people")
    (library.local / "people/own.txt").write_text("the user's")
    assert list((library.local / "people").rglob("*.jpg"))
    forget.forget(library, gallery.require(library).people[:1], "asked for")
    assert [p.name for p in (library.local / "people").rglob("*") if p.is_file()] == ["muster-pages.json", "own.txt"]


def test_consent_that_ended(library: LibraryFiles) -> None:
    known = gallery.require(library)
    ends = pa.array([date(2026, 1, 31) if p == known.people[3] else None for p in known.faces["person_id"].to_pylist()])
    index = known.faces.schema.get_field_index("valid_until")
    faces = known.faces.set_column(index, "valid_until", ends.cast(pa.date32()))
    gallery.write(library, gallery.Gallery(faces, known.fingerprint, known.model), "test", {})
    assert expired(library, date(2026, 1, 31)) == []
    assert expired(library, date(2026, 2, 1)) == [known.people[3]]


def test_a_kill_at_any_write(library: LibraryFiles, tmp_path: Path, kills: Callable[[int], None]) -> None:
    """Of every second write."""
    old = gallery.require(library)
    gone = old.people[:2]
    for number in range(0, 200, 2):
        copy = open_library(shutil.copytree(library.local, tmp_path / f"copy{number}"))
        kills(number)
        try:
            forget.forget(copy, gone, "asked for")
            kills(-1)
            break
        except Killed:
            kills(-1)
        now = gallery.require(copy)
        assert now.people in (old.people, old.people[2:])
        assert now.faces.equals(old.faces if now.people == old.people else old.without(gone).faces)
        started = copy.has(layout.FORGETTING)
        receipts = settle(copy)
        assert bool(receipts) == started
        if not started:
            continue
        [receipt] = receipts
        assert receipt.found_afterwards == []
        assert gallery.require(copy).people == old.people[2:]
        assert len(manifest.read_manifest(copy)) == 2 * (len(old.people) - 2)
        assert audit.check(copy).problem is None
        assert not copy.has(layout.FORGETTING)
        assert len(list((copy.local / "receipts").iterdir())) == 1
        shutil.rmtree(copy.local)
    assert 10 < number < 199


def test_nobody_is_left(library: LibraryFiles) -> None:
    [receipt] = forget.forget(library, gallery.require(library).people, "asked for")
    assert receipt.found_afterwards == []
    assert gallery.read(library).faces.num_rows == 0
    assert settle(library) == []


def test_an_enrolled_image_that_changed_since(library: LibraryFiles, school: School) -> None:
    [(first, second), *_] = school.enrolled.values()
    ids = [row["image_id"] for row in manifest.read_manifest(library).to_pylist() if row["uri"] == str(first)]
    manifest.forget(library, ids)
    [receipt] = forget.forget(library, [str(first)], "asked for")
    assert (receipt.found_afterwards, receipt.images) == ([], [])
    uris = gallery.require(library).faces["uri"].to_pylist()
    assert str(first) not in uris
    assert str(second) in uris
    with pytest.raises(InputError, match="~anna is neither"):
        forget.forget(library, ["~anna"], "asked for")


def test_embeddings_and_pictures_of_any_task_are_searched_for(tmp_path: Path, make_photos: Callable[..., Path]) -> None:
    """Also of one that is not installed here."""
    library = scanned(tmp_path / "library", make_photos(tmp_path / "photos", range(3)))
    [(shard, _)] = manifest.shards(library)
    first, *others = manifest.read_shard(library, shard)["image_id"].to_pylist()
    voice, picture = [float(number) for number in range(16)], b"a picture"
    columns: dict[str, Any] = {"image_id": pa.array([first, *others])}
    columns["box"] = pa.array([[0.0] * 4] * 3, pa.list_(pa.float32(), 4))
    columns["voice"] = pa.array([voice, [0.5] * 16, [0.25] * 16], pa.list_(pa.float32(), 16))
    columns["picture"] = pa.array([picture, b"b", b"c"])
    description = {"task": "voices", "version": 1, "model": None, "parameters": {}, "weights": {}}
    tables.write_shard(library, tables.describe(library, description), shard, {"voices": pa.table(columns)})
    nobody = gallery.empty(width=128).faces
    found = same_picture.digests(library, nobody, [first])
    wanted = [np.array(voice, kind).tobytes() for kind in (np.float32, np.float16)]
    assert found.embeddings == {hashlib.sha256(each).hexdigest() for each in wanted}
    assert found.pictures == {hashlib.sha256(picture).hexdigest()}
    assert found.faces == 0


def test_photos_of_a_person_whose_id_is_a_number(tmp_path: Path) -> None:
    """In a table of the user's: pandas makes floats of integers of which one is missing."""
    opened = open_library(tmp_path / "library", create=True)
    pq.write_table(pa.table({"uri": ["a.jpg", "b.jpg", "c.jpg"], "person_id": [7, None, 0.5]}), tmp_path / "x.parquet")
    manifest.scan(opened, [str(tmp_path / "x.parquet")])
    receipt = forget.forget_people(opened, ["7"], "asked for")
    assert receipt.originals == [str(tmp_path / "a.jpg")]
    assert sorted(manifest.read_manifest(opened)["uri"].to_pylist()) == [str(tmp_path / n) for n in ("b.jpg", "c.jpg")]


def test_photos_of_a_person_whose_id_is_written_otherwise(tmp_path: Path) -> None:
    """A roster's person_ids are in NFC and without blanks around them; a column of the user's is as it is."""
    opened = open_library(tmp_path / "library", create=True)
    people = [normalize("NFD", "Zoë"), " Zoë", "Zoé"]
    pq.write_table(pa.table({"uri": ["a.jpg", "b.jpg", "c.jpg"], "person_id": people}), tmp_path / "x.parquet")
    manifest.scan(opened, [str(tmp_path / "x.parquet")])
    receipt = forget.forget_people(opened, ["Zoë"], "asked for")
    assert receipt.originals == [str(tmp_path / n) for n in ("a.jpg", "b.jpg")]


# ---- copies ----------------------------------------------------------------------------------------------------------


def retagged(photo: Path, out: Path) -> Path:
    """The same picture, bit for bit, in another file: with a comment, as programs write keywords."""
    data = photo.read_bytes()
    comment = b"a keyword"
    out.write_bytes(data[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + data[2:])
    return out


@pytest.fixture
def album_of_ann(gallery_library: Path, school: School, tmp_path: Path, work: Work, weights: Path) -> Path:
    """In the gallery's library: two copies of the first person's photo, another photo of them, a stranger's."""
    [(first, _), *_], [probe, *_] = school.enrolled.values(), school.probes.values()
    (tmp_path / "album").mkdir()
    shutil.copy(first, tmp_path / "album/IMG_1 (1).jpg")
    retagged(first, tmp_path / "album/keyword.jpg")
    shutil.copy(probe, tmp_path / "album/other.jpg")
    shutil.copy(school.strangers[0], tmp_path / "album/stranger.jpg")
    manifest.scan(open_library(gallery_library), [str(tmp_path / "album")])
    work(gallery_library, weights)  # with previews: pictures of the whole photo
    return tmp_path / "album"


def test_copies_go_with_a_person(album_of_ann: Path, gallery_library: Path, school: School) -> None:
    library, [ann, *_] = open_library(gallery_library), school.enrolled
    [receipt] = forget.forget(library, [ann], "asked for")
    copies = [str(album_of_ann / name) for name in ("IMG_1 (1).jpg", "keyword.jpg")]
    assert (receipt.copies, receipt.found_afterwards) == (copies, [])
    assert receipt.originals == sorted([*map(str, school.enrolled[ann]), *copies])
    left = set(manifest.read_manifest(library)["uri"].to_pylist())
    assert left == {str(photo) for name, photos in school.enrolled.items() if name != ann for photo in photos} | {
        str(album_of_ann / name) for name in ("other.jpg", "stranger.jpg")
    }
    assert len(gallery.require(library).people) == 31


def test_copies_go_with_an_image_also_out_of_the_gallery(
    album_of_ann: Path, gallery_library: Path, school: School
) -> None:
    library, [(first, second), *_] = open_library(gallery_library), school.enrolled.values()
    [receipt] = forget.forget(library, [str(album_of_ann / "keyword.jpg")], "asked for")
    assert receipt.copies == sorted([str(first), str(album_of_ann / "IMG_1 (1).jpg")])
    assert receipt.found_afterwards == []
    uris = gallery.require(library).faces["uri"].to_pylist()
    assert (str(first) in uris, str(second) in uris) == (False, True)
    written = json.loads((gallery_library / receipt.receipt).read_text())
    assert written["copies"] == receipt.copies


def test_copies_that_no_run_has_seen_go_too(gallery_library: Path, school: School, tmp_path: Path) -> None:
    """Else the next run would find the face in them."""
    library, [(ann, (first, _)), *_] = open_library(gallery_library), school.enrolled.items()
    (tmp_path / "new").mkdir()
    copy, other = Path(shutil.copy(first, tmp_path / "new/copy.jpg")), tmp_path / "new/other.jpg"
    other.write_bytes(first.read_bytes()[:-1] + b"\0")  # of its size
    manifest.scan(library, [str(tmp_path / "new")])
    [receipt] = forget.forget(library, [ann], "asked for")
    assert (receipt.copies, receipt.found_afterwards) == ([str(copy)], [])
    left = manifest.read_manifest(library)["uri"].to_pylist()
    assert (str(copy) in left, str(other) in left) == (False, True)


def test_an_album_stays_when_an_enrolment_of_its_photos_was_cut_off(
    album_of_ann: Path, gallery_library: Path, school: School, tmp_path: Path, work: Work, weights: Path
) -> None:
    """Its photos are not the roster's, and are not what is left of it."""
    library = open_library(gallery_library)
    stray = Path(shutil.copy(album_of_ann / "stranger.jpg", tmp_path / "stray.jpg"))
    place = gallery.write_roster(library, lambda *_: True, [{"uri": str(stray), "person_id": "new"}])
    manifest.scan(library, [place])
    work(gallery_library, weights)  # and then it dies
    before = manifest.read_manifest(library).num_rows
    with forget.locked(library):  # as another command does, which would say that something is left
        pass
    uris = set(manifest.read_manifest(library)["uri"].to_pylist())
    assert (str(stray) in uris, str(album_of_ann / "stranger.jpg") in uris, len(uris)) == (False, True, before - 1)
    assert [each.people for each in forget._receipts(library)] == [["new"]]


# ---- addresses -------------------------------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path: Path, make_photos: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Known to `tmp_path/library`: `pics/a b/Zoë.jpg` (decomposed, as Macs write it), `pics/a b/0000.jpg`,
    `pics/0003.jpg`, one named in `rows.parquet`, and two in `inline.parquet`."""
    make_photos(tmp_path / "pics", range(3, 4))
    make_photos(tmp_path / "pics/a b", range(1))
    make_photos(tmp_path / "pics/a b", range(6, 7)).joinpath("0006.jpg").rename(tmp_path / "pics/a b" / ZOE)
    pq.write_table(pa.table({"uri": ["/nowhere/1.jpg"]}), tmp_path / "rows.parquet")
    pq.write_table(pa.table({"image": [b"", b""]}), tmp_path / "inline.parquet")
    library = open_library(tmp_path / "library", create=True)
    manifest.scan(library, [str(tmp_path / name) for name in ("pics", "rows.parquet", "inline.parquet")])
    (tmp_path / "link").symlink_to(tmp_path / "pics")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


ZOE = normalize("NFD", "Zoë.jpg")


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("{0}/pics/0003.jpg", ["0003.jpg"]),
        ("pics/0003.jpg", ["0003.jpg"]),
        ("./pics/../pics/0003.jpg", ["0003.jpg"]),
        ("~/pics/0003.jpg", ["0003.jpg"]),
        ("file://{0}/pics/a%20b/0000.jpg", ["0000.jpg"]),
        ("file:{0}/pics/a%20b/0000.jpg", ["0000.jpg"]),
        ("file://localhost{0}/pics/a%20b/0000.jpg", ["0000.jpg"]),
        ("link/0003.jpg", ["0003.jpg"]),
        (normalize("NFC", "pics/a b/Zoë.jpg"), [ZOE]),
        ("file://{0}/pics/a%20b/Zo%C3%AB.jpg", [ZOE]),
        ("pics", ["0000.jpg", "0003.jpg", ZOE]),
        ("pics/a b/", ["0000.jpg", ZOE]),
        ("file://{0}/pics/a%20b/", ["0000.jpg", ZOE]),
        ("pics/*.jpg", ["0003.jpg"]),
        ("pics/**/*.jpg", ["0000.jpg", "0003.jpg", ZOE]),
        ("pics/a b/0*", ["0000.jpg"]),
        ("rows.parquet", ["1.jpg"]),
        ("inline.parquet", ["inline.parquet#row=0", "inline.parquet#row=1"]),
        ("inline.parquet#row=1", ["inline.parquet#row=1"]),
        ("{0}/inline.parquet#row=0", ["inline.parquet#row=0"]),
    ],
)
def test_every_address_that_a_scan_takes(pictures: Path, name: str, gone: list[str]) -> None:
    library = open_library(pictures / "library")
    before = set(manifest.read_manifest(library)["uri"].to_pylist())
    [receipt] = forget.forget(library, [name.format(pictures)], "asked for")
    assert sorted(uri.rpartition("/")[2] for uri in receipt.originals) == sorted(gone)
    assert set(manifest.read_manifest(library)["uri"].to_pylist()) == before - set(receipt.originals)
    if name != "rows.parquet":  # which named it is not in a receipt
        assert forget.forget(library, [name.format(pictures)], "asked for") == [receipt]
    assert (pictures / "pics/0003.jpg").exists()


@pytest.mark.parametrize("name", ["", " "])
def test_nothing_is_not_the_folder_one_is_in(pictures: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pictures / "pics")
    with pytest.raises(InputError, match="an empty text is neither a person_id nor an image"):
        forget.forget(open_library(pictures / "library"), ["0003.jpg", name], "asked for")
    assert manifest.read_manifest(open_library(pictures / "library")).num_rows == 6


@pytest.mark.parametrize("name", ["pic", "pics/0003", "*.jpg", "s3://bucket/pics", "rows", "file:///pics"])
def test_what_is_no_address_of_an_image(pictures: Path, name: str) -> None:
    library = open_library(pictures / "library")
    with pytest.raises(InputError, match="is neither a person_id of the gallery nor an image"):
        forget.forget(library, [name], "asked for")


@pytest.mark.parametrize("name", ["{0}/pics", "pics/a b/0000.jpg"])
def test_what_was_scanned_by_a_link_is_known_by_its_path_too(pictures: Path, name: str) -> None:
    library = open_library(pictures / "by-link", create=True)
    manifest.scan(library, [str(pictures / "link")])
    [receipt] = forget.forget(library, [name.format(pictures)], "asked for")
    assert str(pictures / "link/a b/0000.jpg") in receipt.originals
    assert len(receipt.originals) == (1 if name.endswith(".jpg") else 3)


def test_a_name_that_is_there_is_meant_before_one_like_it(pictures: Path) -> None:
    """A disk may have both, and a link that was put in place of a folder since leads to what is not meant."""
    nfc = pictures / "pics/a b" / normalize("NFC", ZOE)
    nfc.write_bytes(b"another")
    library = open_library(pictures / "library")
    manifest.scan(library, [str(pictures / "pics")])
    [receipt] = forget.forget(library, [str(nfc)], "asked for")
    assert receipt.originals == [str(nfc)]
    (pictures / "pics/a b").rename(pictures / "away")
    (pictures / "pics/a b").symlink_to(pictures / "rows")
    sources = {str(pictures / name): "" for name in ("pics/a b/0000.jpg", "rows/1.jpg")}
    assert forget._found_by(forget._places(str(pictures / "pics/a b")), sources) == {
        str(pictures / "pics/a b/0000.jpg")
    }


def test_images_of_buckets(tmp_path: Path) -> None:
    """By their URI with or without options, and with blanks as they are or encoded."""
    there = "s3://bucket/a/x%20y.jpg?region=eu-west-1"
    for name in ("s3://bucket/a/x%20y.jpg", "s3://bucket/a/x y.jpg", there, "s3://bucket/a/", "s3://bucket/*/x*.jpg"):
        assert forget._found_by(forget._places(name), {there: "s", "/other.jpg": "s"}) == {there}
    for name in ("s3://bucket/a?region=us-east-1", "s3://other/a", "s3://bucket/a/x", "gs://bucket/a"):
        assert forget._found_by(forget._places(name), {there: "s"}) == set()


def test_who_differs_in_case_alone_is_named(library: LibraryFiles) -> None:
    person = gallery.require(library).people[0]
    with pytest.raises(InputError, match=f"{person.lower()} is neither .*; {person} is: case counts"):
        forget.forget(library, [person.lower()], "asked for")


def test_what_an_image_that_stays_has_too_is_that_one_s(tmp_path: Path, work: Work, weights: Path) -> None:
    """Scans of blank pages have one preview: to forget one is not to forget them all, nor is the other what is left."""
    (tmp_path / "scans").mkdir()
    for name in ("1.png", "2.png"):
        Image.new("RGB", (300, 200), "white").save(tmp_path / "scans" / name, dpi=(int(name[0]), 1))
    library = open_library(tmp_path / "library", create=True)
    manifest.scan(library, [str(tmp_path / "scans")])
    work(library.uri, weights, ("previews",))
    [receipt] = forget.forget(library, [str(tmp_path / "scans/1.png")], "asked for")
    assert (receipt.copies, receipt.found_afterwards) == ([], [])
    assert manifest.read_manifest(library)["uri"].to_pylist() == [str(tmp_path / "scans/2.png")]
