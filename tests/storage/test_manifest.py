"""Scans bring the manifest to what is there, keep what was computed, and survive being cut off anywhere."""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.clips import even, write_clip
from helpers.originals import picture
from muster.errors import InputError, MusterError
from muster.storage import manifest, tables
from muster.storage.library import LibraryFiles, open_library
from muster.storage.manifest import (
    SCHEMA,
    ScanResult,
    image_id,
    interrupted,
    read_manifest,
    read_shard,
    repair,
    scan,
    shards,
)
from muster.storage.photos import parquet_rows
from muster.storage.photos.reader import Reader
from muster.storage.photos.wishes import Wishes
from muster.storage.uris import allowing_private

TASKS = ("aaaa", "bbbb")  # fingerprints


pytestmark = pytest.mark.usefixtures("no_fsync")


def put(folder: Path, *names: str, time: int = 1) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x" * time)
        os.utime(folder / name, (time, time))


def counts(result: ScanResult) -> tuple[int, int, int, int]:
    assert result.found == result.new + result.changed + result.unchanged
    return result.new, result.changed, result.gone, result.unchanged


def uris(library: LibraryFiles, folder: Path) -> list[str]:
    return sorted(os.path.relpath(uri, folder) for uri in read_manifest(library)["uri"].to_pylist())


def files(library: LibraryFiles) -> dict[str, bytes]:
    root = Path(library.path)
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def run(library: LibraryFiles, when: int) -> None:
    """Stands for a run: one row per image and task, with the time of its making, for shards that have none."""
    for task in TASKS:
        done = tables.committed(library, task)
        for shard, _ in shards(library):
            if shard not in done:
                rows = read_shard(library, shard).select(["image_id"])
                rows = rows.append_column("made", pa.array([when] * rows.num_rows))
                tables.write_shard(library, task, shard, {"faces": rows})


def made(library: LibraryFiles, task: str) -> dict[str, int]:
    """image_id → time of making, of all committed rows; each image has one."""
    rows = tables.read(library, "faces", task)
    pairs = [(row["image_id"], row["made"]) for row in rows.to_pylist()] if rows else []
    assert max(Counter(image for image, _ in pairs).values(), default=1) == 1
    return dict(pairs)


# ---- what is found ---------------------------------------------------------------------------------------------------


def test_rows(photos: Path, library: LibraryFiles) -> None:
    put(photos, "a.jpg", "b/c.png", time=5)
    assert counts(scan(library, [str(photos)])) == (2, 0, 0, 0)
    rows = read_manifest(library)
    assert rows.schema.equals(SCHEMA)
    row = min(rows.to_pylist(), key=lambda row: str(row["uri"]))
    assert row["uri"] == str(photos / "a.jpg")
    assert row["image_id"] == image_id(row["uri"], 5, 5_000_000)
    assert len(row["image_id"]) == 32
    assert (row["size"], row["source"]) == (5, str(photos))


def test_second_scan_writes_nothing(photos: Path, library: LibraryFiles) -> None:
    put(photos, *[f"{i}.jpg" for i in range(20)])
    pq.write_table(pa.table({"image": [b"1", b"2"], "x": [None, 1.5]}), photos / "p.parquet")
    sources = [str(photos), str(photos / "p.parquet")]
    scan(library, sources)
    before = files(library)
    assert counts(scan(library, sources)) == (0, 0, 0, 22)
    assert files(library) == before


def test_new_changed_gone(photos: Path, library: LibraryFiles) -> None:
    put(photos, *[f"{i:02}.jpg" for i in range(20)])
    scan(library, [str(photos)])
    assert [number for _, number in shards(library)].count(8) == 2
    run(library, 1)
    put(photos, "00.jpg", time=2)
    put(photos, "99.jpg")
    (photos / "19.jpg").unlink()
    before = set(shards(library))
    result = scan(library, [str(photos)])
    assert counts(result) == (1, 1, 1, 18)
    assert result.shards == len(shards(library)) == 4
    assert len(before & set(shards(library))) == 1  # the one in the middle is as it was
    assert uris(library, photos) == [f"{i:02}.jpg" for i in [*range(19), 99]]
    for task in TASKS:
        assert len(made(library, task)) == 18
    run(library, 2)
    assert Counter(made(library, TASKS[0]).values()) == {1: 18, 2: 2}


def test_sources_do_not_disturb_each_other(photos: Path, library: LibraryFiles) -> None:
    put(photos, "a/1.jpg", "b/2.jpg", "b/3.jpg")
    scan(library, [str(photos / "a")])
    (photos / "b" / "3.jpg").rename(photos / "b" / "4.jpg")
    assert counts(scan(library, [str(photos / "b")])) == (2, 0, 0, 0)
    (photos / "a" / "1.jpg").unlink()
    put(photos, "a/5.jpg")
    assert counts(scan(library, [str(photos / "b")])) == (0, 0, 0, 2)
    assert uris(library, photos) == ["a/1.jpg", "b/2.jpg", "b/4.jpg"]
    assert counts(scan(library, [str(photos)])) == (1, 0, 1, 2)  # a/1.jpg lies below, whoever found it
    assert uris(library, photos) == ["a/5.jpg", "b/2.jpg", "b/4.jpg"]


def test_what_another_source_found_below_stays_while_it_exists(photos: Path, library: LibraryFiles) -> None:
    put(photos, "1.jpg", ".hidden/2.jpg", "notes.txt")
    pq.write_table(pa.table({"uri": ["3.jpg", "notes.txt"]}), photos / "list.parquet")  # 3.jpg was never there
    scan(library, [str(photos / ".hidden"), str(photos / "list.parquet")])
    assert counts(scan(library, [str(photos)])) == (1, 0, 0, 0)
    assert uris(library, photos) == [".hidden/2.jpg", "1.jpg", "3.jpg", "notes.txt"]
    (photos / ".hidden" / "2.jpg").unlink()
    assert counts(scan(library, [str(photos)])) == (0, 0, 1, 1)


def test_one_file_is_one_row_however_often_it_is_found(photos: Path, library: LibraryFiles) -> None:
    put(photos, "a/1.jpg", "a/2.jpg", "b.jpg")
    pq.write_table(pa.table({"uri": ["b.jpg", "b.jpg"], "person": ["x", "y"]}), photos / "list.parquet")
    result = scan(library, [str(photos), str(photos / "a"), f"{photos}/", str(photos / "list.parquet")])
    assert (result.found, result.duplicates) == (3, 4)
    rows = {os.path.basename(row["uri"]): row for row in read_manifest(library).to_pylist()}
    assert [rows[n]["source"] for n in ("1.jpg", "b.jpg")] == [str(photos), str(photos / "list.parquet")]
    assert rows["b.jpg"]["person"] == "x"


def test_copies_are_separate_rows(photos: Path, library: LibraryFiles) -> None:
    put(photos, "1.jpg", "2.jpg")
    assert scan(library, [str(photos)]).found == 2


def test_folder_that_cannot_be_listed_keeps_its_rows(library: LibraryFiles) -> None:
    with as_nobody() as root:
        own = open_library(root / "library", create=True)
        put(root, "a.jpg", "closed/b.jpg")
        scan(own, [str(root)])
        (root / "a.jpg").unlink()
        put(root, "c.jpg")
        (root / "closed").chmod(0)
        result = scan(own, [str(root)])
        assert counts(result) == (1, 0, 1, 0)
        assert result.unreadable == [str(root / "closed")]
        assert uris(own, root) == ["c.jpg", "closed/b.jpg"]
        (root / "closed").chmod(0o700)
        (root / "library" / "manifest").chmod(0o500)
        put(root, "d.jpg")
        with pytest.raises(MusterError, match=r"cannot write to library .*Permission denied"):
            scan(own, [str(root)])
        (root / "library" / "manifest").chmod(0o700)


@contextmanager
def as_nobody() -> Iterator[Path]:
    """A folder whose permissions bind us, even where tests run as root."""
    with tempfile.TemporaryDirectory() as folder:
        if os.geteuid() != 0:
            yield Path(folder)
            return
        os.chown(folder, 65534, 65534)
        os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            os.seteuid(0)


# ---- faces that went with their image --------------------------------------------------------------------------------


def cluster(library: LibraryFiles) -> None:
    """Stands for a clustering: one face per image of the manifest, clusters and an index over them."""
    rows = read_manifest(library).select(["image_id"]).replace_schema_metadata({"muster.method": "graph"})
    for task in TASKS:
        library.write(f"clusters/{task}/clusters.parquet", tables.to_parquet(rows))
        for name in ("index.faiss", "faces.parquet", "index.json"):
            library.write(f"index/{task}/{name}", tables.to_parquet(rows))


def clustered(library: LibraryFiles, task: str) -> set[str]:
    rows = pq.read_table(Path(library.path, "clusters", task, "clusters.parquet"))
    assert rows.schema.metadata[b"muster.method"] == b"graph"
    return set(rows["image_id"].to_pylist())


@pytest.mark.parametrize("how", ["gone", "changed"])
def test_faces_leave_clusters_and_indexes(photos: Path, library: LibraryFiles, how: str) -> None:
    put(photos, *[f"{i}.jpg" for i in range(12)])
    scan(library, [str(photos)])
    cluster(library)
    before = files(library)
    put(photos, "new.jpg")
    scan(library, [str(photos)])
    assert before.items() <= files(library).items()  # nothing went
    everyone = clustered(library, TASKS[0])
    lost = image_id(str(photos / "3.jpg"), 1, 10**6)
    (photos / "3.jpg").unlink() if how == "gone" else put(photos, "3.jpg", time=2)
    scan(library, [str(photos)])
    for task in TASKS:
        assert clustered(library, task) == everyone - {lost}
        assert library.names(f"index/{task}") == []
    assert not [name for name, data in files(library).items() if lost.encode() in data]


def test_damaged_clusters_are_named(photos: Path, library: LibraryFiles) -> None:
    put(photos, "1.jpg", "2.jpg")
    scan(library, [str(photos)])
    library.write("clusters/aaaa/clusters.parquet", b"PAR1")
    (photos / "1.jpg").unlink()
    with pytest.raises(
        MusterError, match=r"clusters/aaaa/clusters\.parquet is damaged .*delete it, and `cluster` again"
    ):
        scan(library, [str(photos)])
    library.remove("clusters/aaaa/clusters.parquet")
    scan(library, [str(photos)])
    assert uris(library, photos) == ["2.jpg"]


def test_a_scan_clears_what_killed_writers_left(photos: Path, library: LibraryFiles) -> None:
    put(photos, "1.jpg")
    left = [f"faces/aaaa/.shard-1.parquet.{'0' * 32}.tmp", f"manifest/.shard-2.parquet.{'f' * 32}.tmp"]
    mine = ["faces/aaaa/.notes.tmp", f"people/{'0' * 32}.tmp"]
    put(Path(library.path), *left, *mine)
    scan(library, [str(photos)])
    assert set(mine) <= files(library).keys()
    assert not set(left) & files(library).keys()


# ---- user columns ----------------------------------------------------------------------------------------------------


def people(library: LibraryFiles) -> dict[str, Any]:
    rows = read_manifest(library)
    assert rows.schema.names == [*SCHEMA.names, "person"]
    return {os.path.basename(row["uri"]): row["person"] for row in rows.to_pylist()}


def test_user_columns_follow_their_parquet_file(photos: Path, library: LibraryFiles) -> None:
    put(photos, *[f"{i}.jpg" for i in range(12)])
    roster = photos.parent / "roster.parquet"
    scan(library, [str(photos)])
    run(library, 1)
    ids = [shard for shard, _ in shards(library)]
    for person in ("Ann", "Anne"):  # labels come, and are corrected; nothing is computed again
        pq.write_table(pa.table({"uri": [str(photos / "0.jpg")], "person": [person]}), roster)
        assert counts(scan(library, [str(roster)])) == (0, 0, 0, 1)
        assert people(library) == {f"{i}.jpg": person if i == 0 else None for i in range(12)}
        assert [shard for shard, _ in shards(library)] == ids
    put(photos, "0.jpg", time=2)
    assert counts(scan(library, [str(photos)])) == (0, 1, 0, 11)
    assert people(library)["0.jpg"] == "Anne"  # a retouched photo is of the same person
    assert len(made(library, TASKS[0])) == 11


def test_inline_images(photos: Path, library: LibraryFiles) -> None:
    for name, number in (("x", 30), ("y", 11)):
        images = [b"%s%d" % (name.encode(), i) for i in range(number)]
        pq.write_table(pa.table({"image": images, "person": list(map(str, range(number)))}), photos / f"{name}.parquet")
        os.utime(photos / f"{name}.parquet", (1, 1))
    assert counts(scan(library, [str(photos)])) == (41, 0, 0, 0)
    assert sorted(number for _, number in shards(library)) == [3, 6, 8, 8, 8, 8]
    reader = Reader()
    for shard, number in shards(library):
        rows = read_shard(library, shard).to_pylist()
        first = int(rows[0]["person"])
        name = os.path.basename(rows[0]["uri"])[0]
        for i, row in enumerate(rows):  # rows of a shard follow each other in one file
            assert row["uri"] == f"{photos}/{name}.parquet#row={first + i}"
            assert row["person"] == str(first + i)
            assert reader.read(row["uri"]) == f"{name}{first + i}".encode()
        assert len(rows) == number
    run(library, 1)
    os.utime(photos / "y.parquet", (2, 2))
    assert counts(scan(library, [str(photos)])) == (0, 11, 0, 30)
    assert len(made(library, TASKS[0])) == 30


def test_user_column_of_two_types(photos: Path, library: LibraryFiles) -> None:
    pq.write_table(pa.table({"uri": ["a"], "person": ["x"]}), photos / "x.parquet")
    pq.write_table(pa.table({"uri": ["b"], "person": [1.5]}), photos / "y.parquet")
    for first in ([], [str(photos / "x.parquet")]):  # in one scan, and against the library
        if first:
            scan(library, first)
        before = files(library)
        with pytest.raises(InputError, match=r"'person' is string in .* but double in"):
            scan(library, [*([] if first else [str(photos / "x.parquet")]), str(photos / "y.parquet")])
        assert files(library) == before


# ---- bad input -------------------------------------------------------------------------------------------------------


def test_any_bad_source_leaves_the_library_alone(photos: Path, library: LibraryFiles) -> None:
    put(photos, "1.jpg")
    scan(library, [str(photos)])
    before = files(library)
    put(photos, "2.jpg")
    (photos / "empty").mkdir()
    (photos / "bad.parquet").write_bytes(b"PAR1")
    pq.write_table(pa.table({"thing": ["1.jpg"]}), photos / "useless.parquet")
    for bad in ("missing", "empty", "bad.parquet", "useless.parquet", "*.tif"):
        with pytest.raises(InputError) as refused:
            scan(library, [str(photos), str(photos / bad)])
        assert bad in str(refused.value)
    with pytest.raises(InputError, match="nothing to scan"):
        scan(library, [])
    assert files(library) == before


def test_an_emptied_folder_is_refused_and_keeps_its_rows(photos: Path, library: LibraryFiles) -> None:
    """It is more often a disk that is not mounted than an album that was thrown away."""
    put(photos, "1.jpg")
    scan(library, [str(photos)])
    (photos / "1.jpg").unlink()
    with pytest.raises(InputError, match=r"no images in .*scan a folder above it"):
        scan(library, [str(photos)])
    photos.rmdir()
    with pytest.raises(InputError, match=r"No such file or directory.*scan a folder above it"):
        scan(library, [str(photos)])
    assert read_manifest(library).num_rows == 1


def test_a_parquet_file_none_of_whose_files_is_there_is_refused_and_nothing_is_dropped(
    library: LibraryFiles, photos: Path, tmp_path: Path
) -> None:
    put(photos, "a.jpg", "b.jpg")
    source = tmp_path / "named.parquet"
    pq.write_table(pa.table({"uri": ["photos/a.jpg", "photos/b.jpg", "photos/never.jpg"]}), source)
    scan(library, [str(source)])
    before = read_manifest(library)
    photos.rename(tmp_path / "not mounted")
    with pytest.raises(InputError, match="is a disk not mounted"):
        scan(library, [str(source)])
    assert read_manifest(library).equals(before)
    (tmp_path / "not mounted").rename(photos)
    (photos / "a.jpg").unlink()  # one alone is gone
    assert counts(scan(library, [str(source)])) == (0, 1, 0, 2)


@pytest.mark.parametrize("name", ["none", "none/*.jpg", "none.parquet", "none.jpg"])
def test_of_what_no_photo_is_known_nothing_is_to_be_dropped(photos: Path, library: LibraryFiles, name: str) -> None:
    for known in (False, True):
        with pytest.raises(InputError) as caught:
            scan(library, [str(photos.parent / name)])
        assert "drop its photos" not in str(caught.value)
        if not known:
            put(photos, "1.jpg")
            scan(library, [str(photos)])


@pytest.mark.parametrize("emptied", [False, True])
def test_a_folder_above_drops_the_photos_of_a_missing_one(photos: Path, library: LibraryFiles, emptied: bool) -> None:
    put(photos, "a/1.jpg", "b/2.jpg")
    scan(library, [str(photos / "a"), str(photos / "b")])
    (photos / "a" / "1.jpg").unlink()
    if not emptied:
        (photos / "a").rmdir()
    assert counts(scan(library, [str(photos)])) == (0, 0, 1, 1)
    assert uris(library, photos) == ["b/2.jpg"]


def test_damaged_shard_is_named(photos: Path, library: LibraryFiles) -> None:
    put(photos, "1.jpg")
    scan(library, [str(photos)])
    [(shard, _)] = shards(library)
    path = Path(library.path, "manifest", f"shard-{shard}.parquet")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(MusterError, match=shard):
        read_manifest(library)
    with pytest.raises(MusterError, match=shard):
        scan(library, [str(photos)])
    path.unlink()
    with pytest.raises(MusterError, match=shard):
        read_shard(library, shard)


def test_empty_library(library: LibraryFiles) -> None:
    assert read_manifest(library).schema.equals(SCHEMA)
    assert shards(library) == []


def test_library_on_another_filesystem(photos: Path) -> None:
    put(photos, *[f"{i:02}.jpg" for i in range(20)])
    library = open_library("fsspec+memory://manifest/library", create=True)
    scan(library, [str(photos)])
    run(library, 1)
    (photos / "07.jpg").unlink()
    assert counts(scan(library, [str(photos)])) == (0, 0, 1, 19)
    assert len(made(library, TASKS[0])) == 19 == len(uris(library, photos))


# ---- shards ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("images", "sizes"), [(1, [1]), (20, [8, 8, 4]), (640, [20] * 32), (16_640, [256] * 65)])
def test_size_of_shards(photos: Path, library: LibraryFiles, images: int, sizes: list[int]) -> None:
    pq.write_table(pa.table({"uri": [f"s3://b/{i}.jpg" for i in range(images)]}), photos / "x.parquet")
    result = scan(library, [str(photos / "x.parquet")])
    found = shards(library)
    assert sorted(number for _, number in found) == sorted(sizes)
    assert result.shards == len(sizes)
    for shard, number in found[:3]:
        rows = read_shard(library, shard)
        assert rows.num_rows == number
        assert rows["uri"].to_pylist() == sorted(rows["uri"].to_pylist())


@pytest.mark.parametrize(
    ("group", "sizes"),
    [(64, [64] * 9 + [24]), (10, [10] * 60), (300, [19] * 30 + [15] * 2), (4, [16] * 37 + [8])],
)
def test_shards_are_whole_row_groups_where_these_are_heavy(
    photos: Path, library: LibraryFiles, monkeypatch: pytest.MonkeyPatch, group: int, sizes: list[int]
) -> None:
    """600 rows, of which 19 would be a shard."""
    table = pa.table({"image": pa.array([b"%d" % i * 100 for i in range(600)], pa.binary())})
    pq.write_table(table, photos / "x.parquet", row_group_size=group)
    monkeypatch.setattr(parquet_rows, "HEAVY_GROUP", 100)
    scan(library, [str(photos / "x.parquet")])
    found = [read_shard(library, shard)["uri"].to_pylist() for shard, _ in shards(library)]
    assert sorted(map(len, found)) == sorted(sizes)
    numbers = [[int(uri.rpartition("=")[2]) for uri in uris] for uris in found]
    assert sorted(number for each in numbers for number in each) == list(range(600))
    if group < 256:
        assert all(rows[0] % group == 0 for rows in numbers)


def test_a_heavy_row_group_that_is_too_large_is_cut_evenly(
    photos: Path, library: LibraryFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pa.table({"image": pa.array([b"%d" % i * 100 for i in range(600)], pa.binary())})
    pq.write_table(table, photos / "x.parquet", row_group_size=260)
    monkeypatch.setattr(parquet_rows, "HEAVY_GROUP", 100)
    monkeypatch.setattr(manifest, "SHARDS_WANTED", 1)
    scan(library, [str(photos / "x.parquet")])
    assert sorted(number for _, number in shards(library)) == [80, 130, 130, 130, 130]


def test_light_row_groups_do_not_matter(photos: Path, library: LibraryFiles) -> None:
    table = pa.table({"image": pa.array([b"%d" % i for i in range(600)], pa.binary())})
    pq.write_table(table, photos / "x.parquet", row_group_size=64)
    scan(library, [str(photos / "x.parquet")])
    assert sorted(number for _, number in shards(library)) == [11] + [19] * 31


# ---- any sequence, and any interruption ------------------------------------------------------------------------------

NAMES = [f"{folder}{i}.jpg" for folder in ("", "a/", "a/b/") for i in range(8)]
steps = st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 3)), max_size=12)  # time 0: deleted


@settings(max_examples=25, deadline=None)
@given(st.lists(steps, min_size=1, max_size=4))
def test_any_sequence_of_changes(rounds: list[list[tuple[str, int]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder)
        library = open_library(photos / "library", create=True)
        put(photos, "always.jpg")
        known: dict[str, int] = {}  # image_id → when it was first in the manifest
        for now, changes in enumerate(rounds):
            for name, time in changes:
                put(photos, name, time=time) if time else (photos / name).unlink(missing_ok=True)
            scan(library, [folder])
            rows = read_manifest(library).to_pylist()
            there = {str(p): p.stat().st_mtime for p in photos.rglob("*.jpg")}
            assert {row["uri"]: row["modified"].timestamp() for row in rows} == there
            assert len(rows) == len(there)
            known = {row["image_id"]: known.get(row["image_id"], now) for row in rows}
            run(library, now)
            for task in TASKS:
                assert made(library, task) == known  # exactly the images there, each computed once
            before = files(library)
            assert counts(scan(library, [folder]))[:3] == (0, 0, 0)
            assert files(library) == before


class Killed(BaseException):
    pass


@dataclass(frozen=True)
class Mortal(LibraryFiles):
    """A library whose process dies before its nth write or removal."""

    left: list[int] = field(default_factory=list)

    def _step(self) -> None:
        self.left[0] -= 1
        if self.left[0] < 0:
            raise Killed

    def write(self, name: str, data: bytes) -> None:
        self._step()
        super().write(name, data)

    def create(self, name: str, data: bytes) -> bool:
        self._step()
        return super().create(name, data)

    def remove(self, name: str) -> None:
        self._step()
        super().remove(name)


def test_repair_after_a_scan_that_was_killed_at_any_step(photos: Path, tmp_path: Path) -> None:
    put(photos, *[f"{i:02}.jpg" for i in range(20)])
    origin = open_library(tmp_path / "origin", create=True)
    scan(origin, [str(photos)])
    run(origin, 1)
    cluster(origin)
    (photos / "01.jpg").unlink()
    put(photos, "00.jpg", "09.jpg", time=2)
    put(photos, "99.jpg")
    killed = 0
    for step in range(100):
        library = open_library(shutil.copytree(origin.path, tmp_path / f"step{step}"))
        try:
            scan(Mortal(library.uri, library.fs, library.path, left=[step]), [str(photos)])
            break
        except Killed:
            killed += interrupted(library)
        before = files(library)
        again = open_library(shutil.copytree(library.path, tmp_path / f"again{step}"))
        assert repair(library) == interrupted(again)
        assert not interrupted(library)
        assert repair(library) is False
        for part in range(step % 5, 100, 11):  # repairing may be cut off, too
            try:
                repair(Mortal(again.uri, again.fs, again.path, left=[part]))
            except Killed:
                continue
        assert files(again) == files(library)
        rows = read_manifest(library)
        names = rows["uri"].to_pylist()
        assert len(names) == len(set(names)) == sum(number for _, number in shards(library))
        if files(library) != before:
            assert str(photos / "01.jpg") not in names
            assert {str(photos / f"{i:02}.jpg") for i in range(20) if i != 1} <= set(names)  # the changed ones stay
            assert clustered(library, TASKS[0]) <= set(rows["image_id"].to_pylist())
            assert made(library, TASKS[0]).keys() <= set(rows["image_id"].to_pylist())
            assert library.names(f"index/{TASKS[0]}") == []
        scan(library, [str(photos)])
        assert uris(library, photos) == sorted(path.name for path in photos.iterdir())
    assert 20 < killed < 99
    assert not interrupted(library)


def test_repair_keeps_the_labels_of_a_changed_image(photos: Path, library: LibraryFiles) -> None:
    put(photos, "0.jpg", "1.jpg")
    pq.write_table(pa.table({"uri": ["0.jpg"], "person": ["Ann"]}), photos / "roster.parquet")
    scan(library, [str(photos), str(photos / "roster.parquet")])
    put(photos, "0.jpg", time=2)
    with pytest.raises(Killed):  # before the new row is written
        scan(Mortal(library.uri, library.fs, library.path, left=[1]), [str(photos)])
    assert repair(library)
    scan(library, [str(photos)])
    assert people(library) == {"0.jpg": "Ann", "1.jpg": None}


@pytest.mark.parametrize("meanwhile", ["nothing", "a run", "a gone file comes back"])
def test_killed_at_any_step(photos: Path, tmp_path: Path, meanwhile: str) -> None:
    put(photos, *[f"{i:02}.jpg" for i in range(20)])
    origin = open_library(tmp_path / "origin", create=True)
    scan(origin, [str(photos)])
    run(origin, 1)
    put(photos, "00.jpg", "09.jpg", time=2)  # one shard loses two images, one loses one
    put(photos, "98.jpg", "99.jpg")
    stay = {image_id(str(photos / f"{i:02}.jpg"), 1, 10**6) for i in range(20) if i not in (0, 1, 9)}
    for step in range(100):
        library = open_library(shutil.copytree(origin.path, tmp_path / f"step{step}"))
        (photos / "01.jpg").unlink(missing_ok=True)
        try:
            scan(Mortal(library.uri, library.fs, library.path, left=[step]), [str(photos)])
            break
        except Killed:
            pass
        assert stay <= set(read_manifest(library)["image_id"].to_pylist())  # never out of sight
        if meanwhile == "a run":
            run(library, 2)
        if meanwhile == "a gone file comes back":
            put(photos, "01.jpg")
        scan(library, [str(photos)])
        assert uris(library, photos) == sorted(path.name for path in photos.iterdir())
        assert sum(number for _, number in shards(library)) == len(os.listdir(photos))
        for task in TASKS:
            times = made(library, task)
            assert stay <= times.keys()
            assert meanwhile == "a run" or {times[image] for image in stay} == {1}  # nothing is computed again
        run(library, 3)
        assert made(library, TASKS[0]).keys() == set(read_manifest(library)["image_id"].to_pylist())
    assert 20 < step < 99


def test_types_of_an_older_scan_are_promoted(photos: Path, library: LibraryFiles) -> None:
    """pandas writes integers as floats once one is missing, and Spark other units of time than pandas."""
    put(photos, "a.jpg", "b.jpg")
    first = {"uri": ["a.jpg"], "id": pa.array([7], pa.int32()), "tags": pa.array([[]], pa.list_(pa.null()))}
    pq.write_table(pa.table(first | {"at": pa.array([5], pa.timestamp("us"))}), photos / "x.parquet")
    scan(library, [str(photos / "x.parquet")])
    before = files(library)
    later = {"uri": ["b.jpg"], "id": [1.5], "tags": [["x"]], "at": pa.array([7000], pa.timestamp("ns"))}
    pq.write_table(pa.table(later), photos / "y.parquet")
    assert counts(scan(library, [str(photos / "y.parquet")])) == (1, 0, 0, 0)
    rows = read_manifest(library).sort_by("uri")
    assert rows["id"].to_pylist() == [7.0, 1.5]
    assert rows["tags"].to_pylist() == [[], ["x"]]
    assert rows["at"].cast(pa.int64()).to_pylist() == [5000, 7000]
    assert before.items() <= files(library).items()  # the older shard stays as it is, with what was computed for it
    assert counts(scan(library, [str(photos / "x.parquet"), str(photos / "y.parquet")])) == (0, 0, 0, 2)


def test_types_that_do_not_fit_an_older_scan(photos: Path, library: LibraryFiles) -> None:
    put(photos, "a.jpg", "b.jpg")
    pq.write_table(pa.table({"uri": ["a.jpg"], "id": [2**53 + 1]}), photos / "x.parquet")
    scan(library, [str(photos / "x.parquet")])
    before = files(library)
    for values, complaint in {(0.5,): "'id' is int64 in the library", ("x",): "'id' is int64 in the library"}.items():
        pq.write_table(pa.table({"uri": ["b.jpg"], "id": list(values)}), photos / "y.parquet")
        with pytest.raises(InputError, match=complaint):
            scan(library, [str(photos / "y.parquet")])
        assert files(library) == before


def test_rows_that_name_nothing_that_is_read(photos: Path, library: LibraryFiles) -> None:
    put(photos, "a.jpg")
    pq.write_table(pa.table({"uri": ["hf://host/a.jpg", "a.jpg", "ftp://host/b.jpg"]}), photos / "x.parquet")
    result = scan(library, [str(photos / "x.parquet")])
    assert result.found == 3
    assert [reason.partition(" ")[0] for reason in result.unread] == ["hf://", "ftp://"]
    assert list(result.unread.values()) == [1, 1]


def test_partitions_that_are_numbers_beside_others_that_are_not(photos: Path, library: LibraryFiles) -> None:
    """Whichever is scanned first: 7 and anna are two people."""
    for person in ("7", "anna"):
        put(photos, f"{person}.jpg")
        (photos / f"person={person}").mkdir()
        pq.write_table(pa.table({"uri": [str(photos / f"{person}.jpg")]}), photos / f"person={person}" / "p.parquet")
    for parts in (["7"], ["anna"], ["7"], ["7", "anna"]):
        scan(library, [str(photos / f"person={person}") for person in parts])
    assert read_manifest(library).sort_by("uri")["person"].to_pylist() == ["7", "anna"]
    other = open_library(photos.parent / "other", create=True)
    for part in ("**/*.parquet", "person=7"):
        scan(other, [str(photos / part)])
    assert read_manifest(other).sort_by("uri")["person"].to_pylist() == ["7", "anna"]


def test_what_a_scan_allowed_stands_in_the_rows_of_web_servers(photos: Path, library: LibraryFiles) -> None:
    put(photos, "a.jpg")
    source = photos / "x.parquet"
    pq.write_table(pa.table({"url": ["http://10.0.0.1/a.jpg", "https://host/b.jpg", "a.jpg"]}), source)

    for allowed, unread in ((False, 1), (True, 0), (False, 1)):
        result = scan(library, [str(source)], Wishes(allow_private=allowed))
        assert (result.found, result.gone, sum(result.unread.values())) == (3, 0, unread)
        rows = {row["uri"]: row["source"] for row in read_manifest(library).to_pylist()}
        assert rows.pop(str(photos / "a.jpg")) == str(source)
        assert set(rows.values()) == {allowing_private(str(source)) if allowed else str(source)}
    scan(library, [str(source)], Wishes(allow_private=True))
    pq.write_table(pa.table({"url": ["https://host/b.jpg"]}), source)
    result = scan(library, [str(source)])
    assert counts(result) == (0, 0, 2, 1)


def test_moments_of_videos_have_shards_of_their_own(tmp_path: Path, library: LibraryFiles) -> None:
    """One thread reads them, and several read files."""
    pytest.importorskip("av")
    for number in range(3):
        write_clip(tmp_path / f"{number}.mp4", even(30))
        (tmp_path / f"photo{number}.jpg").write_bytes(picture())
    scan(library, [str(tmp_path)])
    kinds = [{"#t=" in uri for uri in read_shard(library, shard)["uri"].to_pylist()} for shard, _ in shards(library)]
    assert sorted(kinds, key=str) == [{False}, {True}]
