"""A photo is the same under another name, in another place and with another time, and a copy of it is another."""

import hashlib
import os
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.fixtures import Killed
from muster.storage import layout, same_photos, tables
from muster.storage.library import LibraryFiles, open_library
from muster.storage.manifest import ScanResult, read_manifest, read_shard, repair, scan, shards
from muster.storage.outcomes import IMAGES, IMAGES_FINGERPRINT
from muster.storage.photos.reader import Reader
from muster.storage.photos.wishes import Wishes

FACES = "aaaa"  # a fingerprint


pytestmark = pytest.mark.usefixtures("no_fsync")


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The uris whose bytes a scan asks for."""
    asked: list[str] = []
    digests = same_photos.digests

    def noting(uris: list[str]) -> list[str | None]:
        asked.extend(uris)
        return digests(uris)

    monkeypatch.setattr(same_photos, "digests", noting)
    return asked


def put(path: Path, content: str = "", time: float | None = None) -> Path:
    """A file of this content, or of one of its own; with a time of its own, or this one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content or str(path))
    if time is not None:
        os.utime(path, (time, time))
    return path


def run(library: LibraryFiles, when: int = 1) -> None:
    """Stands for a run: what each image's bytes are, and when that was found out, for shards that have no rows yet."""
    for shard, _ in shards(library):
        rows = read_shard(library, shard).select(["image_id", "uri"]).to_pylist()
        if not tables.is_committed(library, IMAGES_FINGERPRINT, shard):
            facts = [{"image_id": row["image_id"], **_looked_at(row["uri"])} for row in rows]
            tables.write_shard(library, IMAGES_FINGERPRINT, shard, {"images": pa.Table.from_pylist(facts, IMAGES)})
        if not tables.is_committed(library, FACES, shard):
            faces = [{"image_id": row["image_id"], "made": when} for row in rows]
            tables.write_shard(library, FACES, shard, {"faces": pa.Table.from_pylist(faces)})


def _looked_at(uri: str) -> dict[str, str]:
    try:
        return {"status": "ok", "sha256": hashlib.sha256(Reader().read(uri)).hexdigest()}
    except Exception:
        return {"status": "error", "error_kind": "not_found"}


def ids(library: LibraryFiles, *below: Path) -> dict[str, str]:
    """Name, below a folder, → image_id."""
    rows = read_manifest(library).to_pylist()
    names = {os.path.relpath(row["uri"], *below) if below else row["uri"]: row["image_id"] for row in rows}
    assert len(rows) == len(names) == len(set(names.values()))
    return names


def made(library: LibraryFiles) -> dict[str, int]:
    """image_id → when its faces were found; each image has one row."""
    rows = tables.read(library, "faces", FACES)
    pairs = [(row["image_id"], row["made"]) for row in rows.to_pylist()] if rows else []
    assert max(Counter(image for image, _ in pairs).values(), default=1) == 1
    return dict(pairs)


def counts(result: ScanResult) -> tuple[int, int, int, int, int]:
    assert result.found == result.new + result.changed + result.unchanged
    assert result.moved <= result.unchanged
    return result.new, result.changed, result.gone, result.unchanged, result.moved


def album(folder: Path, number: int = 30) -> None:
    for i in range(number):
        put(folder / f"{i % 3}" / f"{i:02}.jpg", f"photo {i}", 1e9 + i)


def files(library: LibraryFiles) -> dict[str, bytes]:
    root = Path(library.path)
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def tables_of(library: LibraryFiles) -> dict[str, bytes]:
    return {name: data for name, data in files(library).items() if not name.startswith(("manifest/", "."))}


# ---- the same photos -------------------------------------------------------------------------------------------------

WAYS = ["folder renamed", "folder renamed, times too", "times alone", "files renamed", "moved out, all alone", "mixed"]


@pytest.mark.parametrize("way", WAYS)
def test_what_is_the_same_keeps_its_id(photos: Path, library: LibraryFiles, read: list[str], way: str) -> None:
    album(photos / "old")
    scan(library, [str(photos)])
    run(library, 1)
    before, computed, source = ids(library, photos / "old"), tables_of(library), photos
    now = photos / "old"
    if "folder" in way:
        now = (photos / "old").rename(photos / "new")
    if way == "moved out, all alone":
        now = source = (photos / "old").rename(photos.parent / "elsewhere")
    if "times" in way:
        for number, path in enumerate(sorted(now.rglob("*.jpg"))):
            os.utime(path, (2e9 + number, 2e9 + number))
    if way == "files renamed":
        for path in list(now.rglob("*.jpg")):
            path.rename(path.with_name(f"holiday {path.name}"))
    if way == "mixed":  # everybody moves up by one: every name but two is there before and after
        paths = sorted(now.rglob("*.jpg"))
        for path, after in reversed(list(zip(paths, [*paths[1:], now / "last.jpg"], strict=True))):
            path.rename(after)
    assert counts(scan(library, [str(source)])) == (0, 0, 0, 30, 30)
    after = ids(library, now)
    assert sorted(after.values()) == sorted(before.values())
    if way in WAYS[:3] or way == "moved out, all alone":
        assert after == before
    if way in ("folder renamed", "moved out, all alone"):  # name, size and time tell
        assert 0 < len(read) <= same_photos.SAMPLE
    else:
        assert len(read) >= 30
    assert tables_of(library) == computed  # not a byte of what was computed is another
    digest = {row["image_id"]: row["sha256"] for row in tables.read(library, "images", IMAGES_FINGERPRINT).to_pylist()}  # type: ignore[union-attr]
    for name, image in after.items():
        assert digest[image] == hashlib.sha256((now / name).read_bytes()).hexdigest()
    unchanged = files(library)
    read.clear()
    assert counts(scan(library, [str(source)])) == (0, 0, 0, 30, 0)
    assert files(library) == unchanged
    assert not read


def test_rows_say_where_it_is_now(photos: Path, library: LibraryFiles) -> None:
    put(photos / "a.jpg", time=1)
    pq.write_table(pa.table({"uri": [str(photos / "a.jpg")], "person": ["Ann"]}), photos.parent / "list.parquet")
    scan(library, [str(photos.parent / "list.parquet"), str(photos)])
    run(library)
    [(_, first)] = ids(library).items()
    there = photos.rename(photos.parent / "moved")
    os.utime(there / "a.jpg", (5, 5))
    assert counts(scan(library, [str(there)])) == (0, 0, 0, 1, 1)
    [row] = read_manifest(library).to_pylist()
    assert row["image_id"] == first
    assert (row["uri"], row["modified"].timestamp(), row["source"]) == (str(there / "a.jpg"), 5, str(there))
    assert row["person"] == "Ann"


def test_a_copy_is_a_photo_of_its_own(photos: Path, library: LibraryFiles) -> None:
    album(photos / "old")
    scan(library, [str(photos)])
    run(library)
    before = ids(library, photos)
    shutil.copytree(photos / "old", photos.parent / "copy")  # with its times
    assert counts(scan(library, [str(photos.parent / "copy")])) == (30, 0, 0, 0, 0)
    assert {name: i for name, i in ids(library, photos).items() if not name.startswith("..")} == before
    shutil.copytree(photos / "old", photos / "twin", copy_function=shutil.copyfile)
    assert counts(scan(library, [str(photos)])) == (30, 0, 0, 30, 0)


def test_copies_are_told_apart_by_name_and_order(photos: Path, library: LibraryFiles) -> None:
    for name in ("a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg"):
        put(photos / name, "the same")
    scan(library, [str(photos)])
    run(library)
    before = ids(library, photos)
    (photos / "a").rename(photos / "y")
    (photos / "b").rename(photos / "z")
    assert counts(scan(library, [str(photos)])) == (0, 0, 0, 4, 4)
    assert ids(library, photos) == {name.replace("a", "y").replace("b", "z"): i for name, i in before.items()}
    (photos / "y" / "1.jpg").unlink()
    for path in photos.rglob("*.jpg"):
        os.utime(path, (7, 7))
    assert counts(scan(library, [str(photos)])) == (0, 0, 1, 3, 3)
    assert ids(library, photos) == {
        "y/2.jpg": before["a/2.jpg"],
        "z/1.jpg": before["b/1.jpg"],
        "z/2.jpg": before["b/2.jpg"],
    }


def test_of_equal_copies_that_of_the_name_goes_first(photos: Path, library: LibraryFiles) -> None:
    put(photos / "a" / "z.jpg", "the same")
    put(photos / "b" / "m.jpg", "the same")
    scan(library, [str(photos)])
    run(library)
    before = ids(library, photos)
    (photos / "a" / "z.jpg").rename(photos / "z.jpg")
    (photos / "b" / "m.jpg").rename(photos / "m.jpg")
    for path in photos.glob("*.jpg"):
        os.utime(path, (7, 7))
    scan(library, [str(photos)])
    assert ids(library, photos) == {"z.jpg": before["a/z.jpg"], "m.jpg": before["b/m.jpg"]}


def test_a_photo_that_another_was_put_over_is_gone(photos: Path, library: LibraryFiles) -> None:
    put(photos / "a.jpg", "one")
    put(photos / "b.jpg", "two")
    scan(library, [str(photos)])
    run(library)
    one = ids(library, photos)["a.jpg"]
    (photos / "a.jpg").rename(photos / "b.jpg")
    assert counts(scan(library, [str(photos)])) == (0, 0, 1, 1, 1)
    assert ids(library, photos) == {"b.jpg": one}


def test_moved_away_and_another_put_in_its_place(photos: Path, library: LibraryFiles) -> None:
    """Its name, size and time were another photo's, and so would its id be."""
    put(photos / "a.jpg", "one", 1)
    scan(library, [str(photos)])
    run(library)
    one = ids(library, photos)["a.jpg"]
    (photos / "a.jpg").rename(photos / "b.jpg")
    assert counts(scan(library, [str(photos)])) == (0, 0, 0, 1, 1)
    put(photos / "a.jpg", "two", 1)
    assert counts(scan(library, [str(photos)])) == (1, 0, 0, 1, 0)
    run(library, 2)
    after = ids(library, photos)
    assert after["b.jpg"] == one
    assert made(library) == {one: 1, after["a.jpg"]: 2}


def test_labels_go_with_the_photo_not_with_its_name(photos: Path, library: LibraryFiles) -> None:
    ann, bob = put(photos / "ann.jpg", "Ann"), put(photos / "bob.jpg", "Bob")
    pq.write_table(pa.table({"uri": [str(ann), str(bob)], "person": ["Ann", "Bob"]}), photos.parent / "list.parquet")
    scan(library, [str(photos.parent / "list.parquet")])
    run(library)
    ann.rename(photos / "x.jpg")
    bob.rename(ann)
    put(bob, "Eve")
    scan(library, [str(photos)])
    people = {os.path.basename(row["uri"]): row["person"] for row in read_manifest(library).to_pylist()}
    assert people == {"x.jpg": "Ann", "ann.jpg": "Bob", "bob.jpg": None}


def test_what_was_never_processed_is_known_by_name_size_and_time(photos: Path, library: LibraryFiles) -> None:
    album(photos / "old")
    scan(library, [str(photos)])
    before = ids(library, photos / "old")
    (photos / "old").rename(photos / "new")
    assert counts(scan(library, [str(photos)])) == (0, 0, 0, 30, 30)
    assert ids(library, photos / "new") == before


@pytest.mark.parametrize("why", ["many of one time", "two of one size and time", "another name"])
def test_what_does_not_tell_is_read(photos: Path, library: LibraryFiles, read: list[str], why: str) -> None:
    """A data set unpacked with one time for all, whose pictures are of one size, is replaced by another."""
    for i in range(20 if why == "many of one time" else 2):
        size = "x" * i if why != "two of one size and time" else ""
        put(photos / "old" / f"{i:02}.bmp", f"{i:02}old{size}", 1e9)
        put(photos / "keep" / "always.jpg")
    scan(library, [str(photos)])
    run(library)
    before = set(ids(library).values())
    for path in list((photos / "old").iterdir()):
        name = "_" + path.name if why == "another name" else path.name
        put(photos / "new" / name, path.read_text().replace("old", "new"), 1e9)
    shutil.rmtree(photos / "old")
    number = 20 if why == "many of one time" else 2
    assert counts(scan(library, [str(photos)])) == (number, 0, number, 1, 0)
    assert sorted(map(os.path.dirname, read)) == [str(photos / "new")] * number
    assert len(set(ids(library).values()) & before) == 1


@pytest.mark.parametrize("number", [1, 3, 100])
def test_others_made_to_look_like_them_are_found_out(photos: Path, library: LibraryFiles, number: int) -> None:
    """Each has a time of its own, and so have those that are put in their place in another folder."""
    for i in range(number):
        put(photos / "old" / f"{i}.bmp", f"old {i}", 1e9 + i)
    put(photos / "keep" / "always.jpg")
    scan(library, [str(photos)])
    run(library)
    before = set(ids(library).values())
    for i in range(number):
        put(photos / "new" / f"{i}.bmp", f"new {i}", 1e9 + i)
    shutil.rmtree(photos / "old")
    assert counts(scan(library, [str(photos)])) == (number, 0, number, 1, 0)
    assert len(set(ids(library).values()) & before) == 1


def test_an_error_of_its_place_is_not_taken_along(photos: Path, library: LibraryFiles) -> None:
    put(photos / "old" / "a.jpg", time=1)
    put(photos / "old" / "b.jpg", time=2)
    scan(library, [str(photos)])
    (photos / "old").rename(photos / "new")
    run(library)  # by workers that do not see the files
    assert counts(scan(library, [str(photos)])) == (2, 0, 2, 0, 0)


def test_what_cannot_be_read_is_no_known_photo(photos: Path) -> None:
    os.mkfifo(photos / "pipe.jpg")
    names = [str(photos / "pipe.jpg"), str(photos), str(photos / "none.jpg"), "s3://bucket/a.jpg", "\0"]
    assert same_photos.digests(names) == [None] * 5


def test_no_more_is_read_than_a_file_says_it_has(photos: Path) -> None:
    """A row of a table may name what goes on for ever."""
    big = put(photos / "a.jpg", "x" * (3 << 20))
    found = same_photos.digests([str(big), "/proc/self/pagemap"])
    assert found == [hashlib.sha256(data).hexdigest() for data in (big.read_bytes(), b"")]


def test_what_cannot_be_listed_is_not_taken_for_gone(photos: Path, library: LibraryFiles) -> None:
    """Nor are photos behind links that are not followed any more."""
    put(photos.parent / "outside" / "a.jpg", "a", 1)
    (photos / "link").symlink_to(photos.parent / "outside")
    put(photos / "b.jpg")
    scan(library, [str(photos)], Wishes(follow_links=True))
    run(library)
    before = ids(library, photos)
    put(photos / "copy.jpg", "a", 2)
    assert counts(scan(library, [str(photos)])) == (1, 0, 0, 1, 0)
    assert before.items() < ids(library, photos).items()
    (photos.parent / "outside" / "a.jpg").unlink()
    put(photos / "copy2.jpg", "a", 3)
    assert counts(scan(library, [str(photos)])) == (1, 0, 0, 2, 0)


# ---- tables ----------------------------------------------------------------------------------------------------------


def inline(path: Path, contents: list[str], time: float = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": [c.encode() for c in contents], "label": contents}), path, row_group_size=7)
    os.utime(path, (time, time))


@pytest.mark.parametrize("way", ["touched", "rewritten", "rows inserted", "renamed", "moved alone"])
def test_images_in_a_parquet_file(photos: Path, library: LibraryFiles, way: str) -> None:
    contents = [f"image {i}" for i in range(30)]
    inline(photos / "a.parquet", contents)
    scan(library, [str(photos)])
    run(library, 1)
    rows = {row["label"]: row["image_id"] for row in read_manifest(library).to_pylist()}
    source, new = photos, 0
    if way == "touched":
        os.utime(photos / "a.parquet", (5, 5))
    elif way == "rewritten":
        inline(photos / "a.parquet", contents[::-1], 5)
    elif way == "rows inserted":
        inline(photos / "a.parquet", ["first", *contents], 5)
        new = 1
    elif way == "renamed":
        (photos / "a.parquet").rename(photos / "b.parquet")
    else:
        source = photos.rename(photos.parent / "elsewhere")
    assert counts(scan(library, [str(source)])) == (new, 0, 0, 30, 30)
    after = {row["label"]: row["image_id"] for row in read_manifest(library).to_pylist()}
    assert {label: after[label] for label in contents} == rows
    run(library, 2)
    assert sorted(made(library).values()) == [1] * 30 + [2] * new
    for row in read_manifest(library).to_pylist():
        assert Reader().read(row["uri"]) == row["label"].encode()


def test_the_roster_and_the_album_keep_apart(photos: Path, library: LibraryFiles) -> None:
    """A refused enrolment takes its photos out of the library: they must not be those of the album."""
    face = put(photos / "ann.jpg", "Ann", 1)
    put(photos / "bob.jpg", "Bob", 2)
    scan(library, [str(photos)])
    run(library)
    mine = ids(library, photos)
    moved = photos.rename(photos.parent / "moved")
    schema = {"uri": [str(moved / "ann.jpg")], "person_id": ["ann"]}
    library.write(layout.ROSTER, tables.to_parquet(pa.table(schema)))
    assert counts(scan(library, [library.uri_of(layout.ROSTER)])) == (1, 0, 0, 0, 0)
    del face
    assert mine["ann.jpg"] in ids(library).values()


def test_a_roster_that_moved_is_the_same(photos: Path, library: LibraryFiles) -> None:
    def roster(folder: Path) -> str:
        uris = [str(path) for path in sorted(folder.iterdir())]
        library.write(layout.ROSTER, tables.to_parquet(pa.table({"uri": uris, "person_id": ["ann", "bob"]})))
        return library.uri_of(layout.ROSTER)

    put(photos / "a.jpg", "Ann", 1)
    put(photos / "b.jpg", "Bob", 2)
    scan(library, [roster(photos)])
    run(library)
    before = ids(library, photos)
    moved = photos.rename(photos.parent / "moved")
    album = put(photos.parent / "album" / "a.jpg", "Ann", 1)  # the same photo in an album does not take it over
    assert counts(scan(library, [str(album.parent)])) == (1, 0, 0, 0, 0)
    assert counts(scan(library, [roster(moved)])) == (0, 0, 0, 2, 2)
    assert {name: i for name, i in ids(library, moved).items() if not name.startswith("..")} == before


# ---- verify ----------------------------------------------------------------------------------------------------------


def in_place(path: Path, content: str) -> None:
    status = path.stat()
    path.write_text(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_verify_finds_what_changed_in_place(photos: Path, library: LibraryFiles) -> None:
    album(photos)
    inline(photos.parent / "t.parquet", ["aa", "bb"])
    sources = [str(photos), str(photos.parent / "t.parquet")]
    scan(library, sources)
    run(library, 1)
    before = ids(library, photos)
    in_place(photos / "0" / "03.jpg", "PHOTO 3")
    inline(photos.parent / "t.parquet", ["aa", "BB"])
    assert counts(scan(library, sources)) == (0, 0, 0, 32, 0)
    assert counts(scan(library, sources, verify=True)) == (0, 2, 0, 30, 0)
    run(library, 2)
    after = ids(library, photos)
    assert {name for name in before if after[name] != before[name]} == {"0/03.jpg", "../t.parquet#row=1"}
    assert {image for image, when in made(library).items() if when == 2} == {
        after["0/03.jpg"],
        after["../t.parquet#row=1"],
    }
    assert counts(scan(library, sources, verify=True)) == (0, 0, 0, 32, 0)
    in_place(photos / "0" / "03.jpg", "photo 3")
    assert counts(scan(library, sources, verify=True)) == (0, 1, 0, 31, 0)
    run(library, 3)
    assert ids(library, photos)["0/03.jpg"] in made(library)


def test_verify_reads_what_moved_too(photos: Path, library: LibraryFiles) -> None:
    put(photos / "old" / "a.jpg", "one", 1)
    put(photos / "old" / "b.jpg", "b", 2)
    scan(library, [str(photos)])
    run(library)
    in_place(photos / "old" / "a.jpg", "two")
    (photos / "old").rename(photos / "new")
    assert counts(scan(library, [str(photos)], verify=True)) == (1, 0, 1, 1, 1)


def test_verify_leaves_what_it_cannot_read(photos: Path, library: LibraryFiles) -> None:
    put(photos / "a.jpg", "a", 1)
    put(photos / "never processed.jpg", "b", 2)
    pq.write_table(pa.table({"uri": ["s3://bucket/x.jpg"]}), photos.parent / "list.parquet")
    sources = [str(photos), str(photos.parent / "list.parquet")]
    scan(library, sources)
    before = ids(library)
    in_place(photos / "never processed.jpg", "c")
    assert counts(scan(library, sources, verify=True)) == (0, 0, 0, 3, 0)
    assert ids(library) == before


# ---- any interruption, and any sequence ------------------------------------------------------------------------------


def test_killed_at_any_step(photos: Path, tmp_path: Path, kills: Callable[[int], None]) -> None:
    """A folder is renamed, files change places, one is overwritten by another, one edited, one deleted, one new."""
    album(photos / "old", 40)
    for i in range(30):
        put(photos / "stay" / f"{i:02}.jpg", f"stays {i}", 2e9 + i)
    origin = open_library(tmp_path / "origin", create=True)
    scan(origin, [str(photos)])
    run(origin, 1)
    before = ids(origin, photos)
    (photos / "old").rename(photos / "new")
    stay = photos / "stay"
    for a, b in (("00", "29"), ("29", "tmp"), ("tmp", "00")):  # 00 takes 29's name, and the other way round
        (stay / f"{a}.jpg").rename(stay / f"{b}.jpg") if a != "00" else (stay / "00.jpg").rename(stay / "t0.jpg")
    (stay / "t0.jpg").rename(stay / "29.jpg")
    (stay / "10.jpg").rename(stay / "20.jpg")
    put(stay / "10.jpg", "in its place", 3e9 + 1)
    put(stay / "11.jpg", "edited", 3e9)
    (stay / "12.jpg").unlink()
    put(stay / "99.jpg", "new", 3e9)
    expected = {name.replace("old/", "new/"): image for name, image in before.items()}
    expected["stay/00.jpg"], expected["stay/29.jpg"] = expected["stay/29.jpg"], expected["stay/00.jpg"]
    expected["stay/20.jpg"] = expected.pop("stay/10.jpg")
    del expected["stay/11.jpg"], expected["stay/12.jpg"]
    for step in range(200):
        library = open_library(shutil.copytree(origin.path, tmp_path / f"step{step}"))
        kills(step)
        try:
            scan(library, [str(photos)])
            kills(-1)
            break
        except Killed:
            kills(-1)
        rows = read_manifest(library)["image_id"].to_pylist()
        assert set(expected.values()) <= set(rows)  # never out of sight
        if step % 2:
            repair(library)
            rows, names = (read_manifest(library)[name].to_pylist() for name in ("image_id", "uri"))
            assert len(rows) == len(set(rows)) == sum(number for _, number in shards(library))
            twice = {name for name, count in Counter(names).items() if count > 1}
            assert twice <= {str(stay / "00.jpg"), str(stay / "29.jpg")}  # they change places
            assert set(expected.values()) <= set(rows)
        scan(library, [str(photos)])
        _as_expected(library, photos, expected)
    _as_expected(library, photos, expected)
    assert 15 < step < 199


def _as_expected(library: LibraryFiles, photos: Path, expected: dict[str, str]) -> None:
    after = ids(library, photos)
    assert {name: after.get(name) for name in expected} == expected
    assert after.keys() - expected.keys() == {"stay/10.jpg", "stay/11.jpg", "stay/99.jpg"}
    run(library, 2)
    times = made(library)
    assert times.keys() == set(after.values())
    assert {image for image, when in times.items() if when == 1} == set(expected.values())


FOLDERS = ["", "a/", "a/b/", "c/"]
NAMES = [f"{folder}{i}.jpg" for folder in FOLDERS for i in range(4)]
name = st.sampled_from(NAMES)
acts = st.one_of(
    st.tuples(st.sampled_from(["edit", "edit in place", "touch", "delete"]), name, name),
    st.tuples(st.sampled_from(["move", "copy", "copy without time"]), name, name),
    st.tuples(st.just("move folder"), st.sampled_from(FOLDERS[1:]), st.sampled_from(["d/", "e/", "c/"])),
    st.tuples(st.sampled_from(["scan a part", "scan by a link"]), st.sampled_from(["a", "c", "d"]), name),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(acts, max_size=8), min_size=1, max_size=4))
def test_any_sequence_of_changes(rounds: list[list[tuple[str, str, str]]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place, "photos")
        Path(place, "link").symlink_to(root)
        library = open_library(Path(place, "library"), create=True)
        put(root / "always.jpg", "always", 1)
        world = _World(root, library)
        for now, changes in enumerate(rounds):
            for act in changes:
                world.do(*act)
            before = world.known()
            everything = [str(root), str(root.parent / "link")]  # what went is dropped by the name that it had
            scan(library, everything, verify=world.in_place)
            run(library, now)
            world.in_place = False
            after = world.known()
            paths = [path for path in root.rglob("*.jpg") if path.is_file()]
            found = sorted(map(os.path.realpath, ids(library)))  # by a link, if it was first seen by that
            assert found == sorted(map(str, paths))  # each is found, and nothing is lost
            there = Counter(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)
            assert {digest: len(images) for digest, images in after.items()} == there  # rows are of what is there
            for digest, images in before.items():
                assert len(images & after[digest]) == min(len(images), there[digest])  # and what can stay stays
            kept = files(library)
            assert counts(scan(library, everything, verify=True))[:3] == (0, 0, 0)
            assert files(library) == kept


class _World:
    """A tree of files, each content of which has a time that no other has. `in_place`: whether one lies about that."""

    def __init__(self, root: Path, library: LibraryFiles) -> None:
        self.root, self.library, self.clock, self.in_place = root, library, 1, False

    def known(self) -> dict[str, set[str]]:
        """SHA-256 → the images that it was seen in, of those in the manifest."""
        found: dict[str, set[str]] = defaultdict(set)
        rows = tables.read(self.library, "images", IMAGES_FINGERPRINT)
        there = set(read_manifest(self.library)["image_id"].to_pylist())
        for row in rows.to_pylist() if rows else []:
            if row["image_id"] in there:
                found[row["sha256"]].add(row["image_id"])
        return found

    def do(self, act: str, first: str, second: str) -> None:
        self.clock += 1
        one, other = self.root / first, self.root / second
        if act == "edit":
            put(one, f"content {self.clock}", self.clock)
        elif act.startswith("scan"):
            self._scan(one if act == "scan a part" else self.root.parent / "link" / first)
        elif not one.exists() or one == other:
            return
        elif act == "edit in place":
            in_place(one, f"CONTENT {self.clock}"[: one.stat().st_size].ljust(one.stat().st_size, "."))
            self.in_place = True
        elif act == "touch":
            os.utime(one, (self.clock, self.clock))
        elif act == "delete":
            one.unlink()
        elif act == "move folder":
            if not other.exists() and one.exists():
                one.rename(other)
        else:
            other.parent.mkdir(parents=True, exist_ok=True)
            if act == "move":
                one.rename(other)
            else:
                shutil.copyfile(one, other)
                time = one.stat().st_mtime_ns if act == "copy" else self.clock * 10**9
                os.utime(other, ns=(time, time))

    def _scan(self, folder: Path) -> None:
        if folder.exists() and any(path.is_file() for path in folder.rglob("*.jpg")):
            scan(self.library, [str(folder)], verify=self.in_place)
            run(self.library, -1)
