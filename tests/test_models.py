from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Outcome

from pipeline import models
from storage.errors import InputError
from tasks.models import zoo


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MUSTER_WEIGHTS", raising=False)


def test_every_entry_says_where_it_comes_from() -> None:
    rows = models.describe_all(None)
    assert {row["name"] for row in rows} == set(zoo.ENTRIES)
    for row in rows:
        assert all(row[name] for name in ("task", "model", "role", "url", "licence", "source", "training_data"))
        assert len(row["sha256"]) == 64
        assert row["path"] is None


def test_where_the_weights_are(weights: Path) -> None:
    assert {row["path"] for row in models.describe_all(weights)} == {
        str(weights / entry.file) for entry in zoo.ENTRIES.values()
    }


def test_pull_finds_what_is_here(weights: Path) -> None:
    assert models.pull(["yunet-n"], weights, None) == {"yunet-n": str(weights / "yunet_n.pth")}
    assert set(models.pull(None, weights, None)) == set(zoo.ENTRIES)
    with pytest.raises(InputError, match="no weights 'yolo'; known: yunet-n"):
        models.pull(["yolo"], weights, None)


def test_verify(weights: Path, tmp_path: Path) -> None:
    assert set(models.verify(None).values()) == {"missing"}
    assert set(models.verify(weights).values()) == {"ok"}
    cache = tmp_path / "cache" / "weights"
    cache.mkdir(parents=True)
    (cache / "yunet_n.pth").write_bytes(b"cut short")
    assert models.verify(None) == {"yunet-n": "wrong", "mobilefacenet": "missing"}


def test_a_wrong_file_is_exit_code_1(
    muster: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MUSTER_WEIGHTS", raising=False)
    (tmp_path / "yunet_n.pth").write_bytes(b"cut short")
    outcome = muster("models", "verify", "--weights-dir", tmp_path, "--json")
    assert (outcome.code, outcome.facts["models"]["yunet-n"]) == (1, "wrong")


def test_a_folder_that_is_not_there_is_named(muster: Callable[..., Outcome]) -> None:
    outcome = muster("models", "list", "--weights-dir", "/none")
    assert (outcome.code, "/none" in outcome.error) == (2, True)
    outcome = muster("models", "verify", "--weights-dir", "/none")
    assert (outcome.code, "/none" in outcome.error) == (2, True)
