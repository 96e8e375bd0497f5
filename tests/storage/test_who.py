import base64
from pathlib import Path

import pytest

from helpers.people import face_ref
from muster.storage import manifest
from muster.storage.encryption import KEY
from muster.storage.library import open_library
from muster.storage.people import facts
from muster.storage.people.ledger import Ledger
from muster.storage.who import people_of, readable_images


def test_a_library_without_faces_has_nobody(tmp_path: Path) -> None:
    library = open_library(tmp_path / "L", create=True)
    assert people_of(library, "0" * 16) is None
    assert readable_images(library).num_rows == 0


def test_an_encrypted_library_tells_who_is_who(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, base64.b64encode(bytes(32)).decode())
    library = open_library(tmp_path / "L", create=True)
    Ledger(library).record([facts.Named("a" * 12, "Anna"), facts.Is("a" * 12, (face_ref(1),))])
    assert manifest.read_manifest(library).num_rows == 0
    assert Ledger(library).known.people["a" * 12].name == "Anna"
