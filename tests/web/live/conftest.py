from datetime import datetime
from pathlib import Path

import pytest

from helpers.collection import Collection
from helpers.live import ANNA, BERT, CARL, Visitor, source_of, visitor
from muster.web.live.columns import LiveSource


@pytest.fixture
def collection() -> Collection:
    """Anna on five photos, one of them twice; Bert on two with her; Carl alone; two strangers; an error."""
    made = Collection()
    for n in range(4):
        made.photo(f"/photos/{n}.jpg", [ANNA, BERT] if n < 2 else [ANNA], taken_at=datetime(2015 + n, 3, 1))
    made.photo("/photos/last.jpg", [ANNA, None], taken_at=datetime(2020, 1, 1), sha256="same")
    made.photo("/photos/last~copy.jpg", [ANNA, None], taken_at=datetime(2020, 1, 1), sha256="same")
    made.photo("/photos/carl.jpg", [CARL])
    made.photo("/photos/nobody.jpg")
    made.broken("/photos/bad.jpg", "truncated", "ends after 12 bytes")
    return made


@pytest.fixture
def source(collection: Collection, tmp_path: Path) -> LiveSource:
    return source_of(collection, tmp_path / "library")


@pytest.fixture
def visit(source: LiveSource) -> Visitor:
    return visitor(source).enter()
