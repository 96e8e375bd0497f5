from pathlib import Path

import pytest
from PIL import Image

import muster
from helpers.clustered import ANN, BOB, made
from muster.errors import InputError, MusterError
from muster.storage.library import LibraryFiles
from muster.storage.people.ledger import Ledger


@pytest.fixture
def library(tmp_path: Path) -> LibraryFiles:
    """Three photos of Ann, two of Bob, one of nobody."""
    for number, name in enumerate(("a1", "a2", "a3", "b1", "b2", "n1")):
        path = tmp_path / "photos" / f"{name}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (40 + number, 30)).save(path)
    return made(tmp_path / "L", {"b1.jpg": BOB, "b2.jpg": BOB, "n1.jpg": None}, tmp_path / "photos")


def who(library: LibraryFiles) -> dict[str, str | None]:
    rows = muster.open(library.uri).table("people")
    return dict(zip(rows["person_id"].to_pylist(), rows["name"].to_pylist(), strict=True))


def test_a_person_gets_a_name_that_stays_until_it_is_taken_back(library: LibraryFiles) -> None:
    opened = muster.open(library.uri)
    done = opened.name(2, " Bob ")
    assert (done["person"], done["number"], done["name"]) == (BOB, 2, "Bob")
    assert done["said"] == f"person {BOB} is called Bob"
    assert who(library) == {ANN: None, BOB: "Bob"}
    assert opened.name("bob", "Robert")["name"] == "Robert"
    assert opened.undo()["undone"] in Ledger(library).edits
    assert who(library)[BOB] == "Bob"
    opened.name("Bob", "")
    assert who(library)[BOB] is None


def test_a_name_that_somebody_has_is_asked_about(library: LibraryFiles) -> None:
    opened = muster.open(library.uri)
    opened.name(1, "Ann")
    with pytest.raises(
        InputError, match=r"Person 1 \(ab12ab12ab12\) is called Ann: if they are one person, say `merge`"
    ):
        opened.name(2, "ann")
    assert len(Ledger(library).edits) == 1
    assert opened.name(2, "ann", merge=True)["name"] == "Ann"
    rows = opened.table("people").to_pylist()
    assert [(row["person_id"], row["name"], row["photos"], row["origin"]) for row in rows] == [(ANN, "Ann", 5, "user")]


def test_two_people_are_one(library: LibraryFiles) -> None:
    opened = muster.open(library.uri)
    opened.name(BOB, "Bob")
    assert opened.merge("Bob", 1)["person"] == BOB
    assert who(library) == {BOB: "Bob"}
    opened.undo()
    assert who(library) == {ANN: None, BOB: "Bob"}


def test_the_table_is_as_the_pages_are(library: LibraryFiles) -> None:
    rows = muster.open(library.uri).table("people").to_pylist()
    assert [(row["person_id"], row["number"], row["photos"], row["faces"], row["hidden"]) for row in rows] == [
        (ANN, 1, 3, 3, False),
        (BOB, 2, 2, 2, False),
    ]


@pytest.mark.parametrize("wrong", [("9", "Ann"), ("1", "x" * 10_000), ("1", "\x1b[31m"), ("1", "\u202e")])
def test_what_cannot_be_said_is_refused_and_nothing_written(library: LibraryFiles, wrong: tuple[str, str]) -> None:
    with pytest.raises(InputError):
        muster.open(library.uri).name(*wrong)
    assert not library.names("facts")


def test_there_is_nothing_to_undo_at_first(library: LibraryFiles) -> None:
    with pytest.raises(InputError, match="nothing was said"):
        muster.open(library.uri).undo()


def test_an_edit_needs_no_lock(library: LibraryFiles) -> None:
    with library.lock():
        assert muster.open(library.uri).name(1, "Ann")["name"] == "Ann"
        with pytest.raises(MusterError, match="in use"):
            muster.open(library.uri).cluster()


def test_a_library_with_names_is_for_its_owner(library: LibraryFiles) -> None:
    Path(library.path).chmod(0o755)
    muster.open(library.uri).name(1, "Ann")
    assert Path(library.path).stat().st_mode & 0o777 == 0o700


def test_copies_and_exports_go_by_names(library: LibraryFiles, tmp_path: Path) -> None:
    opened = muster.open(library.uri)
    opened.name(1, "=Ann")
    assert opened.copy("=an", tmp_path / "out")["name"] == "=Ann"
    opened.export("csv", tmp_path / "faces.csv", "faces")
    text = (tmp_path / "faces.csv").read_text()
    assert text.splitlines()[0].endswith("face_id,person,person_name,certainty")
    assert f"{ANN},'=Ann," in text
    status = opened.status()["people"]
    assert status == {"edits": 1, "named": 1, "hidden": 0, "problems": []}
