"""Forgetting takes what was said of people and photos too."""

import base64
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import muster
from helpers.clustered import ANN, BOB, made
from helpers.fixtures import Killed
from muster.errors import InputError, MusterError
from muster.pipeline import forget
from muster.pipeline.people.who import people_now
from muster.storage import layout
from muster.storage.encryption import KEY
from muster.storage.library import LibraryFiles
from muster.storage.people import edits, facts
from muster.storage.people.facts import FaceRef, PhotoRef
from muster.storage.people.ledger import Ledger

NAMES = ("a1", "a2", "b1", "b2", "n1")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number, name in enumerate(NAMES):
        path = tmp_path / "photos" / f"{name}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (40 + number, 30)).save(path)
    return tmp_path / "photos"


@pytest.fixture
def library(tmp_path: Path, photos: Path) -> LibraryFiles:
    """Two photos of Ann, two of Bob, one of nobody; both are named, and more is said of them."""
    return told(made(tmp_path / "L", {"b1.jpg": BOB, "b2.jpg": BOB, "n1.jpg": None}, photos))


def told(library: LibraryFiles) -> LibraryFiles:
    ledger = Ledger(library)
    for name, person in (("Ann Lee", ANN), ("Bob Ross", BOB)):
        ledger.record(edits.named(people_now(library, None), person, name))
    ledger.record(edits.named(people_now(library, None), ANN, "Annie"))
    ledger.record(edits.undone(ledger, list(ledger.edits)[-1]))
    ledger.record(edits.different(people_now(library, None), ANN, BOB))
    ledger.record([facts.Favourite(people_now(library, None).photos.ref(image(library, "a1")))])
    return library


def image(library: LibraryFiles, name: str) -> str:
    rows = muster.open(library.uri).table("manifest").to_pylist()
    return next(row["image_id"] for row in rows if row["uri"].endswith(f"{name}.jpg"))


def sha(photos: Path, name: str) -> str:
    return hashlib.sha256((photos / f"{name}.jpg").read_bytes()).hexdigest()


def all_of(library: LibraryFiles) -> bytes:
    """Every file but receipts, whole."""
    names = [name for name in library.files() if not name.startswith(("receipts/", "."))]
    return b"\0".join(library.read_any(name) for name in names)


def forgotten(library: LibraryFiles, *names: str) -> forget.Receipt:
    with library.lock():
        [receipt] = forget.forget(library, names, forget.ASKED)
    assert receipt.found_afterwards == []
    return receipt


def test_a_photo_leaves_every_edit_and_its_person_stays(library: LibraryFiles, photos: Path) -> None:
    receipt = forgotten(library, str(photos / "a1.jpg"))
    assert (receipt.named, receipt.edits) == ([], 2)
    assert sha(photos, "a1").encode() not in all_of(library)
    assert sha(photos, "a2").encode() in all_of(library)
    people = people_now(library, None).people
    assert {p.name for p in people.values()} == {"Ann Lee", "Bob Ross"}
    assert not Ledger(library).problems
    assert not Ledger(library).known.favourites


def test_who_is_in_no_cluster_yet_keeps_the_name_with_the_other_photos(library: LibraryFiles, photos: Path) -> None:
    library.remove_folder(layout.CLUSTERS)  # as after a new model, or a rebuilt library
    assert forgotten(library, str(photos / "a1.jpg")).named == []
    assert Ledger(library).known.people[ANN].name == "Ann Lee"
    assert forgotten(library, str(photos / "a2.jpg")).named == ["Ann Lee", "Annie"]


def test_who_has_no_photo_left_loses_the_name(library: LibraryFiles, photos: Path) -> None:
    receipt = forgotten(library, str(photos / "a1.jpg"), str(photos / "a2.jpg"))
    assert receipt.named == ["Ann Lee", "Annie"]
    left = all_of(library)
    for text in ("Ann Lee", "Annie", ANN, sha(photos, "a1"), sha(photos, "a2")):
        assert text.encode() not in left
    assert [p.name for p in people_now(library, None).people.values()] == ["Bob Ross"]


def test_a_person_is_forgotten_by_name_with_all_photos(library: LibraryFiles, photos: Path) -> None:
    before = Ledger(library)
    receipt = forgotten(library, "Ann Lee")
    assert sorted(Path(uri).name for uri in receipt.originals) == ["a1.jpg", "a2.jpg"]
    assert (receipt.people, receipt.named) == ([], ["Ann Lee", "Annie"])
    assert b"Ann" not in all_of(library)
    assert before.refresh()  # whoever has it in memory notices
    assert [person.name for person in before.known.people.values()] == ["Bob Ross"]
    assert before.edits == Ledger(library).edits
    with library.lock():
        [again] = forget.forget(library, ["Ann Lee"], forget.ASKED)  # the receipt once more
    assert again.receipt == receipt.receipt
    assert len(muster.open(library.uri).table("manifest")) == 3


def test_a_person_without_a_name_is_forgotten_by_id(library: LibraryFiles) -> None:
    Ledger(library).record([facts.Named(BOB, "")])
    assert forgotten(library, BOB).named == ["Bob Ross"]
    assert b"Bob Ross" not in all_of(library)


def test_a_name_that_several_have_is_asked_about(library: LibraryFiles) -> None:
    Ledger(library).record([facts.Named(BOB, "Ann Lee")])
    with library.lock(), pytest.raises(InputError, match=f"{ANN}, {BOB}: name one of these ids"):
        forget.forget(library, ["Ann Lee"], forget.ASKED)
    receipt = forgotten(library, ANN)
    assert receipt.named == ["Annie"]  # the other is called so too
    assert b"Ann Lee" in all_of(library)


def test_people_of_photos_that_are_elsewhere_keep_their_names(library: LibraryFiles, photos: Path) -> None:
    away = FaceRef(PhotoRef("f" * 64, (1, 1), None, "away.jpg"), (1.0, 1.0, 9.0, 9.0))
    Ledger(library).record([facts.Is("c" * 12, (away,)), facts.Named("c" * 12, "Carl")])
    forgotten(library, str(photos / "a1.jpg"))
    assert Ledger(library).known.people["c" * 12].name == "Carl"


def test_a_photo_whose_tags_were_written_goes_by_its_former_content_too(library: LibraryFiles, photos: Path) -> None:
    images = people_now(library, None).photos
    ref = images.ref(image(library, "a1"))
    former = PhotoRef("e" * 64, ref.size, ref.phash, ref.name)
    Ledger(library).record([facts.Favourite(former)])
    forgotten(library, str(photos / "a1.jpg"))
    assert b"e" * 64 not in all_of(library)


def test_a_kill_at_any_write_is_finished_by_the_next_command(
    library: LibraryFiles, photos: Path, kills: Callable[[int], None], tmp_path: Path
) -> None:
    for step in range(60):
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        copy = muster.open(shutil.copytree(library.path, tmp_path / "copy"))._files
        kills(step)
        try:
            with copy.lock():
                forget.forget(copy, ["Ann Lee"], forget.ASKED)
            kills(-1)
            break
        except Killed:
            kills(-1)
        settled = copy.has(layout.FORGETTING) or b"Ann Lee" not in all_of(copy)
        with forget.locked(copy):
            pass
        left = all_of(copy)
        assert (b"Ann Lee" in left) is (not settled), step
        if settled:
            assert sha(photos, "a1").encode() not in left
        assert not Ledger(copy).problems
        assert "Bob Ross" in {p.name for p in Ledger(copy).known.people.values()}
    else:
        pytest.fail("it never ended")
    assert step > 10


def test_a_damaged_file_that_names_what_goes_goes_too(library: LibraryFiles, photos: Path) -> None:
    files = sorted(Path(library.path, "facts").iterdir())
    text = files[0].read_text()
    files[0].write_text(text.replace("Ann Lee", "Ann  Lee") if "Ann Lee" in text else text + " ")
    Path(files[1]).write_text(files[1].read_text() + "x")  # of Bob: stays, and stays named
    receipt = forgotten(library, str(photos / "a1.jpg"), str(photos / "a2.jpg"))
    assert sha(photos, "a1").encode() not in all_of(library)
    assert not files[0].exists()
    assert files[1].exists()
    assert receipt.found_afterwards == []


def test_what_a_newer_muster_said_stops_it_before_anything_is_changed(library: LibraryFiles) -> None:
    path = next(Path(library.path, "facts").iterdir())
    path.write_text(json.dumps({"version": 99}))
    before = all_of(library)
    with library.lock(), pytest.raises(MusterError, match="newer Muster"):
        forget.forget(library, [ANN], forget.ASKED)
    assert all_of(library) == before


def test_an_encrypted_ledger_forgets(tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, base64.b64encode(bytes(32)).decode())
    library = told(made(tmp_path / "E", {"b1.jpg": BOB, "b2.jpg": BOB, "n1.jpg": None}, photos))
    forgotten(library, "Ann Lee")
    assert b"Ann" not in all_of(library)
    plain = muster.open(library.uri).decrypt(tmp_path / "plain")
    monkeypatch.delenv(KEY)
    assert [p.name for p in Ledger(plain._files).known.people.values()] == ["Bob Ross"]
    assert Path(plain.uri).stat().st_mode & 0o777 == 0o700
