import base64
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from helpers.people import face_ref
from muster.storage import manifest
from muster.storage.encryption import KEY
from muster.storage.gallery import gallery
from muster.storage.library import open_library
from muster.storage.people import facts
from muster.storage.people.ledger import Ledger
from muster.storage.who import claims_of, people_of, readable_images


def test_a_library_without_faces_has_nobody(tmp_path: Path) -> None:
    library = open_library(tmp_path / "L", create=True)
    assert people_of(library, "0" * 16) is None
    assert readable_images(library).num_rows == 0


def test_the_gallery_says_nothing_of_whose_consent_has_ended(tmp_path: Path) -> None:
    library, today = open_library(tmp_path / "L", create=True), date.today()
    ends = {"ann": today - timedelta(1), "bob": today, "cy": None}
    rows = [
        {"person_id": person, "name": person.title(), "valid_until": end, "image_id": person, "face_id": f"{person}-0"}
        for person, end in ends.items()
    ]
    enrolled = pa.Table.from_pylist(rows, gallery.schema(2))
    gallery.write(library, gallery.Gallery(enrolled, "0" * 16, "m"), "test", {})
    faces = pa.table(
        {
            "face_id": [row["face_id"] for row in rows],
            "image_id": list(ends),
            "box_xyxy": pa.array([[1, 1, 9, 9]] * 3, pa.list_(pa.float32(), 4)),
        }
    )
    assert [claim.name for claim in claims_of(library, faces)] == ["Bob", "Cy"]


def test_an_encrypted_library_tells_who_is_who(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, base64.b64encode(bytes(32)).decode())
    library = open_library(tmp_path / "L", create=True)
    Ledger(library).record([facts.Named("a" * 12, "Anna"), facts.Is("a" * 12, (face_ref(1),))])
    assert manifest.read_manifest(library).num_rows == 0
    assert Ledger(library).known.people["a" * 12].name == "Anna"
