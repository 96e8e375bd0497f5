import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from helpers.fixtures import Killed
from muster.errors import InputError, MusterError
from muster.storage.gallery import audit, gallery
from muster.storage.gallery.gallery import empty
from muster.storage.layout import GALLERY, NEXT_GALLERY, ROSTER
from muster.storage.library import LibraryFiles, open_library
from muster.storage.tables import to_parquet


@pytest.fixture
def library(tmp_path: Path) -> LibraryFiles:
    return open_library(tmp_path / "L", create=True)


def rows(person: str, count: int, seed: int = 0) -> list[dict[str, Any]]:
    vectors = np.random.default_rng(seed).normal(size=(count, 128)).astype(np.float32)
    return [
        {"person_id": person, "name": person.title(), "valid_until": date(2030, 1, 1), "pseudonym": f"p-{person}"}
        | {"face_id": f"{person}-{i}", "image_id": person, "embedding": vector.tolist()}
        for i, vector in enumerate(vectors)
    ]


EMPTY = empty("f" * 16, "own", width=128)


def test_it_comes_back_as_it_was(library: LibraryFiles) -> None:
    assert gallery.read(library) is None
    known = replace(EMPTY.with_faces([*rows("bo", 1), *rows("ann", 2)]), calibration={"people": 2})
    gallery.write(library, known, "enroll", {})
    found = gallery.require(library)
    assert found.faces.equals(known.faces)
    assert (found.fingerprint, found.model, found.calibration) == (known.fingerprint, "own", {"people": 2})
    assert (found.people, found.owner.tolist()) == (["ann", "bo"], [0, 0, 1])
    assert found.embeddings.shape == (3, 128)
    assert (found.name_of("bo"), found.pseudonym_of("ann")) == ("Bo", "p-ann")
    with pytest.raises(InputError, match="nobody with person_id cy is enrolled"):
        found.name_of("cy")


def test_people_are_replaced_and_taken_out(library: LibraryFiles) -> None:
    known = EMPTY.with_faces([*rows("ann", 2), *rows("bo", 1)])
    again = known.with_faces(rows("ann", 1, seed=5))
    assert again.faces["face_id"].to_pylist() == ["ann-0", "bo-0"]
    assert again.without(["ann"]).people == ["bo"]
    assert known.people == ["ann", "bo"]


def test_nobody_enrolled(library: LibraryFiles) -> None:
    with pytest.raises(InputError, match=r"nobody is enrolled in library .* `enroll` first"):
        gallery.require(library)
    gallery.write(library, EMPTY, "enroll", {})
    with pytest.raises(InputError, match="nobody is enrolled"):
        gallery.require(library)


@pytest.mark.parametrize("how", ["cut", "flipped", "emptied", "other", "without facts"])
def test_a_damaged_file_is_named(library: LibraryFiles, how: str) -> None:
    gallery.write(library, EMPTY.with_faces(rows("ann", 20)), "enroll", {})
    data = bytearray(_older(library.read(GALLERY)))
    if how == "without facts":
        data = bytearray(to_parquet(EMPTY.faces))
    elif how == "flipped":
        data[len(data) // 3] ^= 255
    else:
        data = {"cut": data[: len(data) // 2], "emptied": bytearray(), "other": bytearray(b"hello" * 9)}[how]
    library.write(GALLERY, bytes(data))
    with pytest.raises(MusterError, match=r"gallery.parquet is not the gallery that the audit log knows"):
        gallery.read(library)
    _forget_the_log(library)
    with pytest.raises(MusterError, match=r"gallery.parquet is damaged .*: restore it from a backup"):
        gallery.read(library)


def _forget_the_log(library: LibraryFiles) -> None:
    """As it was before lines had the gallery's digest."""
    for name in library.names("audit"):
        library.remove(f"audit/{name}")
    data = library.read(GALLERY)
    library.remove(GALLERY)
    audit.append(library, "enroll", {})
    library.write(GALLERY, data)


def _older(data: bytes) -> bytes:
    """As an older Muster wrote it, without a number."""
    table = pq.read_table(io.BytesIO(data))
    facts = json.loads(table.schema.metadata[gallery.KEY])
    del facts["version"]
    return to_parquet(table.replace_schema_metadata({gallery.KEY: json.dumps(facts)}))


def test_a_log_that_was_cut_to_before_the_gallery_is_noticed(library: LibraryFiles) -> None:
    gallery.write(library, EMPTY.with_faces(rows("ann", 1)), "enroll", {})
    _forget_the_log(library)
    with pytest.raises(MusterError, match="is not the gallery that the audit log knows"):
        gallery.read(library)


def test_a_gallery_of_an_older_muster_is_read(library: LibraryFiles) -> None:
    gallery.write(library, EMPTY.with_faces(rows("ann", 1)), "enroll", {})
    library.write(GALLERY, _older(library.read(GALLERY)))
    _forget_the_log(library)
    known = gallery.require(library)
    gallery.write(library, known, "calibrate", {})
    assert gallery.require(library).people == ["ann"]
    assert [entry.get("gallery", {}).get("version") for entry in audit.entries(library)] == [None, 1]


@pytest.mark.parametrize("change", range(12))
def test_a_kill_at_any_write_leaves_the_old_or_the_new(
    library: LibraryFiles, kills: Callable[[int], None], change: int
) -> None:
    gallery.write(library, EMPTY.with_faces(rows("ann", 1)), "enroll", {})
    kills(change)
    try:
        gallery.write(library, EMPTY.with_faces(rows("bo", 1)), "forget", {})
    except Killed:
        people = gallery.require(library).people
        assert people == (["bo"] if audit.check(library).lines == 2 else ["ann"])
        kills(-1)
        gallery.repair(library)
        assert gallery.require(library).people == people
        assert not library.has(NEXT_GALLERY)
        gallery.write(library, EMPTY.with_faces(rows("cy", 1)), "enroll", {})
        assert gallery.require(library).people == ["cy"]
    else:
        assert change >= 5
        assert gallery.require(library).people == ["bo"]


def test_the_roster_s_images(library: LibraryFiles) -> None:
    rows = [{"uri": "/a.jpg", "person_id": "ann", "size": 5}, {"uri": "/b.jpg", "person_id": "bo"}]
    place = gallery.write_roster(library, lambda *_: True, rows)
    assert place == f"{library.uri}/gallery/roster.parquet"
    gallery.write_roster(library, lambda _, person: person != "ann", [{"uri": "/c.jpg", "person_id": "ann"}])
    assert gallery.read_roster(library) == {"/b.jpg": "bo", "/c.jpg": "ann"}
    library.write(ROSTER, b"no Parquet")
    with pytest.raises(MusterError, match=r"roster.parquet is damaged"):
        gallery.read_roster(library)


def test_a_gallery_of_before_dates_of_birth_is_read(library: LibraryFiles) -> None:
    known = replace(EMPTY.with_faces(rows("ann", 2)), calibration={"people": 1})
    gallery.write(library, known, "enroll", {})
    data = library.read(GALLERY)
    old = pq.read_table(io.BytesIO(data)).drop_columns(["born", "taken"])
    library.write(GALLERY, to_parquet(old))
    found = gallery._parsed(library, library.read(GALLERY))
    assert found.faces.equals(known.faces)
    assert found.calibration == {"people": 1}


def test_a_date_that_is_not_said_stays(library: LibraryFiles) -> None:
    known = EMPTY.with_faces([row | {"born": date(2012, 1, 1)} for row in rows("ann", 1)])
    details = {"ann": {"name": "Anne", "group": None, "born": None, "valid_until": date(2031, 1, 1)}}
    [row] = known.with_details(details).faces.to_pylist()
    assert (row["name"], row["born"], row["valid_until"]) == ("Anne", date(2012, 1, 1), date(2031, 1, 1))
