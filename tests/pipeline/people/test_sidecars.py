import base64
import csv
import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers.findings import commit, face
from helpers.regions import UNKNOWN, document, jpeg, mwg, overlap, raw_regions, regions_in, upright
from muster.errors import InputError
from muster.pipeline.people import sidecars
from muster.pipeline.people.sidecars import NamesWritten, write_names
from muster.pipeline.people.who import people_now
from muster.pipeline.tags import read_tags
from muster.pipeline.work.choice import TaskChoice
from muster.storage import clusters, manifest, tables
from muster.storage.encryption import KEY, NEW_KEY
from muster.storage.library import open_library
from muster.storage.outcomes import IMAGES, IMAGES_DESCRIPTION
from muster.storage.people.facts import Box, FaceRef, Fact, Hidden, Is, Missed, Named, PhotoRef, Shows, TakeBack
from muster.storage.people.ledger import Ledger
from muster.storage.photos.reader import Reader
from muster.storage.rekey import rekeyed

Snapshot = Callable[[Path], Mapping[str, tuple[str, int]]]
FACES = TaskChoice(name="faces")
ANN, BOB = "ab12" * 3, "ab99" * 3
STORED = (400, 300)
HERS: Box = (100, 50, 180, 150)  # of the stored photo
DRAWN: Box = (300, 200, 360, 280)


class Album:
    """A clustered library of `photos`, in each of which a face of Ann's was found; in those of `b` it is Bob's."""

    def __init__(self, folder: Path, *more: str) -> None:
        self.photos, self.folder = folder / "photos", folder
        self.orientations = {"a/1.jpg": 1, "a/6.jpg": 6, "b/1.jpg": 3}
        for number, (name, orientation) in enumerate(self.orientations.items()):
            (self.photos / name).parent.mkdir(parents=True, exist_ok=True)
            (self.photos / name).write_bytes(jpeg((STORED[0], STORED[1] + 0 * number), orientation) + bytes(number))
        self.library = open_library(folder / "L", create=True)
        self.scan(str(self.photos), *more)

    def scan(self, *sources: str) -> None:
        manifest.scan(self.library, sources)
        seen, reader, boxes = tables.describe(self.library, IMAGES_DESCRIPTION), Reader(), {}
        for shard, _ in manifest.shards(self.library):
            rows = []
            for row in manifest.read_shard(self.library, shard).to_pylist():
                turned = next((o for name, o in self.orientations.items() if row["uri"].endswith(name)), 1)
                size = STORED[::-1] if turned >= 5 else STORED
                boxes[row["image_id"]] = upright(HERS, STORED, turned)
                digest = hashlib.sha256(reader.read(row["uri"], row["source"])).hexdigest()
                facts = {"status": "ok", "width": size[0], "height": size[1], "orientation": turned, "sha256": digest}
                rows.append({"image_id": row["image_id"], **facts})
            tables.write_shard(self.library, seen, shard, {"images": pa.Table.from_pylist(rows, IMAGES)})
        commit(self.library, FACES.description, lambda i: [{**face(i), "box_xyxy": boxes[i]}])
        who = [
            {"face_id": f"{i}-0", "image_id": i, "cluster_id": BOB if "/b/" in uri else ANN}
            for i, uri in zip(
                *(manifest.read_manifest(self.library)[n].to_pylist() for n in ("image_id", "uri")), strict=True
            )
        ]
        clusters.write(self.library, FACES.fingerprint, pa.Table.from_pylist(who), "graph")

    def ref(self, name: str, box: Box | None = None) -> FaceRef:
        digest = hashlib.sha256((self.photos / name).read_bytes()).hexdigest()
        return FaceRef(PhotoRef(digest), box or upright(HERS, STORED, self.orientations[name]))

    def say(self, *facts: Fact) -> str:
        return Ledger(self.library).record(facts).edit_id

    def name(self, person: str, name: str) -> str:
        faces = [self.ref(each) for each in self.orientations if ("b/" in each) == (person == BOB)]
        return self.say(Shows(person, tuple(faces)), Named(person, name))

    def write(self, out: Path | None = None, csv: Path | None = None) -> NamesWritten:
        return write_names(self.library, out, out is None and csv is None, csv, None)

    def sidecar(self, name: str) -> bytes:
        return (self.photos / f"{name}.xmp").read_bytes()

    def found(self, name: str) -> dict[str, Box]:
        return dict(regions_in(self.sidecar(name), (self.photos / name).read_bytes()))


@pytest.fixture
def album(tmp_path: Path) -> Album:
    return Album(tmp_path)


def test_names_are_written_beside_photos_which_stay_as_they_are(album: Album, snapshot: Snapshot) -> None:
    before = snapshot(album.photos)
    album.name(ANN, "Ann")
    result = album.write()
    assert (result.photos, result.faces, result.people, result.new, result.left_out) == (2, 2, 1, 2, [])
    for name in ("a/1.jpg", "a/6.jpg"):
        [(who, box)] = album.found(name).items()
        assert who == "Ann"
        assert overlap(box, upright(HERS, STORED, album.orientations[name])) >= 0.99
    after = snapshot(album.photos)
    assert after.keys() - before.keys() == {"a/1.jpg.xmp", "a/6.jpg.xmp"}
    assert {name: after[name] for name in before} == before
    again = album.write()
    assert (again.new, again.changed, again.unchanged) == (0, 0, 2)
    assert snapshot(album.photos) == after


def test_who_has_no_name_or_is_hidden_is_left_out(album: Album) -> None:
    album.name(ANN, "Ann")
    album.name(BOB, "Bob")
    hidden = album.say(Hidden(ANN))
    assert album.write().new == 1
    assert album.found("b/1.jpg").keys() == {"Bob"}
    album.say(TakeBack(hidden))
    assert album.write().new == 2


def test_a_name_that_changes_is_changed_and_one_taken_back_goes(album: Album, snapshot: Snapshot) -> None:
    before = snapshot(album.photos)
    edit = album.name(ANN, "Ann")
    album.write()
    other = album.say(Named(ANN, "Anne"))
    assert album.write().changed == 2
    assert album.found("a/1.jpg").keys() == {"Anne"}
    album.say(TakeBack(other))
    album.say(TakeBack(edit))
    result = album.write()
    assert (result.removed, result.photos) == (2, 0)
    assert snapshot(album.photos) == before


def test_a_drawn_face_is_written_too(album: Album) -> None:
    drawn = album.ref("a/1.jpg", DRAWN)
    album.say(Missed(drawn), Is("cd" * 6, (drawn,)), Named("cd" * 6, "Cleo"))
    album.write()
    assert album.found("a/1.jpg") == {"Cleo": DRAWN}


def test_what_others_wrote_stays_and_gives_way_to_what_a_user_said(album: Album) -> None:
    theirs = document(UNKNOWN, mwg([("Dora", (100, 50, 180, 150)), ("Carl", (300, 200, 360, 280))], STORED))  # type: ignore[list-item]
    (album.photos / "a/1.xmp").write_bytes(theirs)
    album.name(ANN, "Ann")
    result = album.write()
    assert [(each.theirs, each.ours) for each in result.other_names] == [("Dora", "Ann")]
    assert (album.photos / "a/1.xmp").read_bytes() == theirs
    assert not (album.photos / "a/1.jpg.xmp").exists()

    said = album.say(Is(ANN, (album.ref("a/1.jpg"),)))
    assert album.write().renamed == 1
    assert [name for name, _ in raw_regions((album.photos / "a/1.xmp").read_bytes())] == ["Ann", "Carl"]
    album.say(TakeBack(said))
    album.say(Hidden(ANN))
    album.write()
    assert (album.photos / "a/1.xmp").read_bytes() == theirs


def test_a_name_that_the_person_had_gives_way(album: Album) -> None:
    (album.photos / "a/1.jpg.xmp").write_bytes(document(mwg([("Ann", HERS)], STORED)))  # type: ignore[list-item]
    album.name(ANN, "Ann")
    assert album.write().there == 1
    album.say(Named(ANN, "Anne"))
    assert album.write().renamed == 1
    assert album.found("a/1.jpg").keys() == {"Anne"}


def test_a_name_that_tags_gave_the_person_gives_way(album: Album) -> None:
    (album.photos / "a/1.jpg.xmp").write_bytes(document(mwg([("Dora", HERS)], STORED)))  # type: ignore[list-item]
    read_tags(album.library)
    assert album.write().there == 1
    [dora] = (each.person_id for each in people_now(album.library, None).people.values() if each.name == "Dora")
    album.say(Shows(dora, (album.ref("a/1.jpg"), album.ref("a/6.jpg"))), Named(dora, "Dorothea"))
    assert album.write().renamed == 1
    assert album.found("a/1.jpg").keys() == {"Dorothea"}


def test_sidecars_go_into_a_folder_that_mirrors_the_photos(album: Album, tmp_path: Path, snapshot: Snapshot) -> None:
    theirs = document(UNKNOWN)
    (album.photos / "b/1.xmp").write_bytes(theirs)
    before = snapshot(album.photos)
    album.name(ANN, "Ann")
    album.name(BOB, "Bob")
    assert album.write(tmp_path / "out").new == 3
    inside = tmp_path / "out" / album.photos.relative_to("/")
    assert set(snapshot(inside)) == {"a/1.jpg.xmp", "a/6.jpg.xmp", "b/1.xmp"}
    assert UNKNOWN.encode() in (inside / "b/1.xmp").read_bytes()
    after = snapshot(inside)
    assert album.write(tmp_path / "out").unchanged == 3
    assert (snapshot(inside), snapshot(album.photos)) == (after, before)
    album.say(Hidden(BOB))
    album.write(tmp_path / "out")
    assert (inside / "b/1.xmp").read_bytes() == theirs


def test_sidecars_that_cannot_be_changed_are_left_and_said(album: Album, tmp_path: Path, snapshot: Snapshot) -> None:
    (album.photos / "a/1.jpg.xmp").write_bytes(b"<broken")
    (tmp_path / "else").write_bytes(document(UNKNOWN))
    (album.photos / "a/6.jpg.xmp").symlink_to(tmp_path / "else")
    album.name(ANN, "Ann")
    before = snapshot(tmp_path / "photos"), (tmp_path / "else").read_bytes()
    result = album.write()
    assert (snapshot(tmp_path / "photos"), (tmp_path / "else").read_bytes()) == before
    assert result.new == result.changed == 0
    reasons = {Path(each.uri).name: each.error for each in result.left_out}
    assert "well-formed" in reasons["1.jpg"]
    assert "is a link" in reasons["6.jpg"]


def test_a_broken_sidecar_where_there_is_nothing_to_write_is_nobodys_business(album: Album) -> None:
    (album.photos / "b/1.jpg.xmp").write_bytes(b"<broken")
    album.name(ANN, "Ann")
    assert album.write().left_out == []


def test_a_photo_that_is_gone_or_another_gets_no_sidecar(album: Album) -> None:
    album.name(ANN, "Ann")
    (album.photos / "a/1.jpg").unlink()
    (album.photos / "a/6.jpg").write_bytes(jpeg((40, 30)))
    result = album.write()
    assert (result.new, len(result.left_out)) == (0, 2)
    assert {each.error.split(":")[0] for each in result.left_out} == {
        "the photo cannot be found",
        "the photo was changed since it was scanned",
    }


def test_nothing_is_written_where_a_link_leads_out_of_the_source(album: Album, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    os.rename(album.photos / "a", tmp_path / "elsewhere/a")
    (album.photos / "a").symlink_to(tmp_path / "elsewhere/a")
    album.name(BOB, "Bob")
    edit = Shows(ANN, (FaceRef(PhotoRef(hashlib.sha256((album.photos / "a/1.jpg").read_bytes()).hexdigest()), HERS),))
    album.say(edit, Named(ANN, "Ann"))
    result = album.write()
    assert (result.new, len(result.left_out)) == (1, 2)
    assert all("a link leads to it" in each.error for each in result.left_out)
    assert sorted(os.listdir(tmp_path / "elsewhere/a")) == ["1.jpg", "6.jpg"]


def test_a_photo_in_a_parquet_file_has_no_place_beside_it(tmp_path: Path) -> None:
    rows = pa.table({"image": [jpeg((400, 300))], "file": ["x.jpg"]})
    pq.write_table(rows, tmp_path / "rows.parquet")
    album = Album(tmp_path, str(tmp_path / "rows.parquet"))
    album.name(ANN, "Ann")
    for out in (None, tmp_path / "out"):
        [left] = album.write(out).left_out
        assert "Parquet" in left.error
        assert left.uri.endswith("rows.parquet#row=0")


def test_a_csv_has_a_row_for_each_named_face(album: Album, tmp_path: Path) -> None:
    album.name(ANN, "=Ann")
    result = album.write(csv=tmp_path / "names.csv")
    assert (result.faces, result.new) == (2, 0)
    with open(tmp_path / "names.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["file_name"], row["name"], row["person_id"]) for row in rows] == [
        ("1.jpg", "'=Ann", ANN),
        ("6.jpg", "'=Ann", ANN),
    ]
    assert [float(rows[0][side]) for side in ("x0", "y0", "x1", "y1")] == list(HERS)
    assert (rows[1]["width"], rows[1]["height"]) == ("300", "400")


def test_bad_places_are_refused_before_anything_is_written(album: Album, tmp_path: Path, snapshot: Snapshot) -> None:
    album.name(ANN, "Ann")
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(album.photos)
    before = snapshot(tmp_path)
    bad = [
        (tmp_path / "file", False, None),
        (tmp_path / "link", False, None),
        (tmp_path / "none/out", False, None),
        (tmp_path / "L/out", False, None),
        (Path("s3://bucket/out"), False, None),
        (tmp_path / "out", True, None),
        (None, False, None),
        (tmp_path / "out", False, tmp_path / "L/names.csv"),
        (tmp_path / "out", False, tmp_path),
    ]
    for out, next_to_photos, table in bad:
        with pytest.raises(InputError):
            write_names(album.library, out, next_to_photos, table, None)
    assert snapshot(tmp_path) == before


def test_a_folder_that_cannot_be_written_is_said(album: Album, monkeypatch: pytest.MonkeyPatch) -> None:
    album.name(ANN, "Ann")

    def refused(*_: object) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(sidecars.beside, "put", refused)
    assert {each.error for each in album.write().left_out} == {f"{album.photos}/a cannot be written: Permission denied"}


def test_what_one_library_wrote_is_that_of_others_to_another(album: Album, tmp_path: Path) -> None:
    album.name(ANN, "Ann")
    album.write()
    second = Album.__new__(Album)
    second.__dict__.update(album.__dict__)
    second.library = open_library(tmp_path / "M", create=True)
    second.scan(str(album.photos))
    second.name(ANN, "Ann")
    before = album.sidecar("a/1.jpg")
    assert second.write().there == 2
    second.say(Hidden(ANN))
    second.write()
    assert album.sidecar("a/1.jpg") == before


def test_a_name_taken_back_does_not_come_back_by_our_own_sidecar(album: Album) -> None:
    edit = album.name(ANN, "Ann")
    album.write()
    read_tags(album.library)
    album.say(TakeBack(edit))
    assert album.write().removed == 2
    read_tags(album.library)
    assert album.write().faces == 0


def test_names_of_an_encrypted_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, base64.b64encode(bytes(32)).decode())
    album = Album(tmp_path)
    album.name(ANN, "Ann")
    assert (album.write().new, album.write().unchanged) == (2, 2)


def test_a_library_that_was_moved_knows_its_own(album: Album, tmp_path: Path) -> None:
    album.name(ANN, "Ann")
    album.write()
    os.rename(tmp_path / "L", tmp_path / "moved")
    album.library = open_library(tmp_path / "moved")
    album.say(Hidden(ANN))
    assert album.write().removed == 2


def test_another_key_leaves_no_name_behind(album: Album, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written before a library had it is still its own: it is taken back, and read as nobody's."""
    named = album.name(ANN, "Ann")
    assert album.write().new == 2
    monkeypatch.setenv(NEW_KEY, base64.b64encode(bytes(32)).decode())
    with album.library.lock():
        album.library = rekeyed(album.library)[0]
    assert album.write().unchanged == 2
    album.say(TakeBack(named))
    album.write()
    assert list(album.photos.rglob("*.xmp")) == []
