"""What this package is called, and where it came from."""

import importlib.metadata
import json
from types import SimpleNamespace

import pytest

from muster import distribution

WHERE = "https://example.org/muster.git"


@pytest.mark.parametrize(("noted", "origin"), [(json.dumps({"url": WHERE, "vcs_info": {}}), WHERE), (None, None)])
def test_where_it_came_from(noted: str | None, origin: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    made = SimpleNamespace(read_text=lambda name: noted if name == "direct_url.json" else None)
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: made)
    assert distribution.origin() == origin


def test_code_without_metadata_came_from_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution, "DISTRIBUTION", "no-such-distribution")
    assert distribution.origin() is None
