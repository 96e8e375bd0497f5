from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from storage import gallery
from storage.errors import InputError, MusterError
from storage.gallery import SCHEMA, Gallery
from storage.library import Library, open_library
from storage.tables import to_parquet


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return open_library(tmp_path / "L", create=True)


def rows(person: str, count: int, seed: int = 0) -> list[dict[str, Any]]:
    vectors = np.random.default_rng(seed).normal(size=(count, 128)).astype(np.float32)
    return [
        {"person_id": person, "name": person.title(), "valid_until": date(2030, 1, 1), "pseudonym": f"p-{person}"}
        | {"face_id": f"{person}-{i}", "image_id": person, "embedding": vector.tolist()}
        for i, vector in enumerate(vectors)
    ]


EMPTY = Gallery(SCHEMA.empty_table(), "f" * 16, "own")


def test_it_comes_back_as_it_was(library: Library) -> None:
    assert gallery.read(library) is None
    known = replace(EMPTY.with_faces([*rows("bo", 1), *rows("ann", 2)]), calibration={"people": 2})
    gallery.write(library, known, "test", {})
    found = gallery.require(library)
    assert found.faces.equals(known.faces)
    assert (found.fingerprint, found.model, found.calibration) == (known.fingerprint, "own", {"people": 2})
    assert (found.people, found.owner.tolist()) == (["ann", "bo"], [0, 0, 1])
    assert found.embeddings.shape == (3, 128)
    assert (found.name_of("bo"), found.pseudonym_of("ann")) == ("Bo", "p-ann")
    with pytest.raises(InputError, match="nobody with person_id cy is enrolled"):
        found.name_of("cy")


def test_people_are_replaced_and_taken_out(library: Library) -> None:
    known = EMPTY.with_faces([*rows("ann", 2), *rows("bo", 1)])
    again = known.with_faces(rows("ann", 1, seed=5))
    assert again.faces["face_id"].to_pylist() == ["ann-0", "bo-0"]
    assert again.without(["ann"]).people == ["bo"]
    assert known.people == ["ann", "bo"]


def test_nobody_enrolled(library: Library) -> None:
    with pytest.raises(InputError, match=r"nobody is enrolled in library .* run `muster enroll ROSTER"):
        gallery.require(library)
    gallery.write(library, EMPTY, "test", {})
    with pytest.raises(InputError, match="nobody is enrolled"):
        gallery.require(library)


@pytest.mark.parametrize("how", ["cut", "flipped", "emptied", "other", "without facts"])
def test_a_damaged_file_is_named(library: Library, how: str) -> None:
    gallery.write(library, EMPTY.with_faces(rows("ann", 20)), "test", {})
    data = bytearray(library.read(gallery.FILE))
    if how == "without facts":
        data = bytearray(to_parquet(EMPTY.faces))
    elif how == "flipped":
        data[len(data) // 3] ^= 255
    else:
        data = {"cut": data[: len(data) // 2], "emptied": bytearray(), "other": bytearray(b"hello" * 9)}[how]
    library.write(gallery.FILE, bytes(data))
    with pytest.raises(MusterError, match=r"gallery.parquet is damaged .*: restore it from a backup"):
        gallery.read(library)


def test_the_roster_s_images(library: Library) -> None:
    rows = [{"uri": "/a.jpg", "person_id": "ann", "size": 5}, {"uri": "/b.jpg", "person_id": "bo"}]
    place = gallery.write_roster(library, lambda *_: True, rows)
    assert place == f"{library.uri}/gallery/roster.parquet"
    gallery.write_roster(library, lambda _, person: person != "ann", [{"uri": "/c.jpg", "person_id": "ann"}])
    assert gallery.read_roster(library) == {"/b.jpg": "bo", "/c.jpg": "ann"}
    library.write(gallery.ROSTER, b"no Parquet")
    with pytest.raises(MusterError, match=r"roster.parquet is damaged"):
        gallery.read_roster(library)
