from datetime import date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from helpers.asked import IDS, asked_library
from helpers.findings import commit, dog, scanned
from muster.errors import InputError, NotYetError
from muster.pipeline.people.asking import asked, told
from muster.pipeline.people.faces import faces_fingerprint
from muster.pipeline.people.searching import opened
from muster.pipeline.work.choice import TaskChoice
from muster.storage import clusters, manifest
from muster.storage.ask.query import Query
from muster.storage.library import LibraryFiles, open_library
from muster.storage.people.facts import Hidden
from muster.storage.people.ledger import Ledger


@pytest.fixture
def library(tmp_path: Path) -> LibraryFiles:
    return asked_library(tmp_path)


@pytest.mark.parametrize(
    ("query", "rows", "text"),
    [
        (Query("count"), {"photos": [1]}, "1 photo"),
        (Query("count", "person"), {"people": [2000]}, "2,000 people"),
        (Query("photos"), {"uri": ["a", "b"]}, "2 photos"),
        (Query("groups", "person"), {"person": ["Anna", "Bob"], "photos": [3, 2]}, "2 people"),
        (Query("groups", "person", most="most"), {"person": ["Anna"], "photos": [3]}, "Anna: 3 photos"),
        (
            Query("groups", "day", most="most"),
            {"day": [date(2019, 5, 3)] * 2, "photos": [1, 1]},
            "2019-05-03; 2019-05-03: 1 photo each",
        ),
        (
            Query("groups", "place", most="most"),
            {"place": ["Lisbon, Portugal", "Paris, France"], "photos": [2, 2]},
            "Lisbon, Portugal; Paris, France: 2 photos each",
        ),
        (Query("groups", "place"), {"place": ["Paris"], "photos": [2]}, "Paris: 2 photos"),
        (Query("groups", "person"), {"person": [], "photos": []}, "nobody"),
        (Query("groups", "year"), {"year": [], "photos": []}, "none"),
        (Query("first"), {"taken_at": [datetime(2019, 5, 3, 10, 0)]}, "3 May 2019, 10:00"),
        (Query("last"), {"taken_at": [None]}, "no photo with a date shows that"),
        (Query("yes"), {"yes": [True], "photos": [2]}, "yes: 2 photos"),
        (Query("yes"), {"yes": [False], "photos": [0]}, "no photo shows that"),
    ],
)
def test_an_answer_in_words(query: Query, rows: dict[str, list[object]], text: str) -> None:
    assert told(query, pa.table(rows)) == text


def test_who_is_hidden_is_not_known_and_the_face_is_still_there(library: LibraryFiles) -> None:
    assert asked(library, "how many photos of Clara").text == "8 photos"
    two = asked(library, "how many photos have exactly two people").text
    Ledger(library).record([Hidden(IDS["Bob"])])
    assert "no `Bob`" in asked(library, "how many photos of Bob").answer.problem
    assert asked(library, "how many photos have exactly two people").text == two
    assert asked(library, "how many people are there").text == "8 people"


def test_who_is_hidden_is_not_known_by_tags_either(library: LibraryFiles) -> None:
    assert asked(library, "how many people are there on photos from December 2020").text == "1 person"
    Ledger(library).record([Hidden(IDS["Clara"])])
    found = asked(library, "who is on photos")
    assert found.answer.table is not None
    assert "Clara" not in found.answer.table["person"].to_pylist()
    assert "Clara" not in found.tables["people"]["name"].to_pylist()
    for question in ("how many photos of Clara", "photos of Clar"):
        assert not any("clara" in each.lower() for each in asked(library, question).answer.nearest)
    assert opened(library).run("clara").unknown


def test_faces_that_are_in_no_groups_yet(library: LibraryFiles) -> None:
    fingerprint = faces_fingerprint(library, None)
    rows = clusters.read(library, fingerprint)
    images = rows["image_id"].unique()
    clusters.write(library, fingerprint, rows.filter(pc.not_equal(rows["image_id"], images[0])), "graph")
    note = "the faces of 1 photo are in no groups yet: `cluster` the library"
    assert asked(library, "how many photos of Anna").notes == (note,)
    assert asked(library, "who is on the most photos").notes == (note,)
    assert asked(library, "how many photos of a dog").notes == ()


def test_what_is_left_out_is_said(library: LibraryFiles) -> None:
    assert asked(library, "photos of Anna per year").notes == ("1 photo of these has no known date",)
    assert asked(library, "which camera took the most photos").notes == ("2 photos of these have no known camera",)
    assert asked(library, "how many photos of Anna").notes == ()


def test_a_task_that_has_not_looked_at_all_photos(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_text("a")
    library = scanned(tmp_path / "library", folder)
    commit(library, TaskChoice(name="objects").description, lambda image_id: [dog()])
    assert asked(library, "photos of a dog").notes == ()
    (folder / "b.jpg").write_text("b")
    scanned(tmp_path / "library", folder)
    assert asked(library, "how many photos of a dog").notes == ("the task objects has not looked at all photos yet",)
    assert asked(library, "how many photos").notes == ()


def test_a_scene_that_is_asked_for_as_a_thing(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_text("a")
    library = scanned(tmp_path / "library", folder)
    commit(library, TaskChoice(name="scenes").description, lambda image_id: [{"label": "night", "source": "both"}])
    (folder / "b.jpg").write_text("b")
    scanned(tmp_path / "library", folder)
    note = "the task scenes has not looked at all photos yet"
    assert asked(library, "photos with the thing night").notes == asked(library, "photos at night").notes == (note,)


def test_the_sql_is_what_anybody_can_run_over_the_tables(library: LibraryFiles) -> None:
    duckdb = pytest.importorskip("duckdb")
    found = asked(library, "who is most often with Anna?")
    with duckdb.connect(":memory:") as connection:
        for name, table in found.tables.items():
            connection.register(name, table)
        assert connection.sql(found.answer.sql).fetchall() == [("Bob", 4)]


def test_what_cannot_be_asked(library: LibraryFiles, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1,000"):
        asked(library, "a" * 10_000)
    empty = open_library(tmp_path / "empty", create=True)
    manifest.scan(empty, [str(tmp_path / "photos")])
    with pytest.raises(InputError, match="1,000"):  # before a table is read
        asked(empty, "a" * 10_000)
    with pytest.raises(NotYetError, match="`run` first"):
        asked(empty, "how many photos?")
