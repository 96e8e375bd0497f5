import json
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.fixtures import Outcome
from helpers.seen import seen

Muster = Callable[..., Outcome]


@pytest.fixture
def library(tmp_path: Path, make_photos: Callable[..., Path]) -> Path:
    make_photos(tmp_path / "photos" / "beach", range(2))
    make_photos(tmp_path / "photos" / "town", range(2, 3))
    seen(tmp_path / "L", tmp_path / "photos")
    return tmp_path / "L"


def test_a_library_of_those_that_are_found(muster: Muster, library: Path, tmp_path: Path) -> None:
    outcome = muster("choose", "beach", "--out", tmp_path / "chosen", "-l", library)
    assert (outcome.code, outcome.out) == (0, f"2 photos: {tmp_path / 'chosen'}\n"), outcome.err
    facts = json.loads(muster("choose", "town", "--out", tmp_path / "chosen", "-l", library, "--json").out)
    assert facts == {"photos": 1, "library": str(tmp_path / "chosen")}


def test_bad_input(muster: Muster, library: Path, tmp_path: Path) -> None:
    for arguments, text in {
        ("", "--out", tmp_path / "c"): "`query` is empty: say which photos",
        ("beech", "--out", tmp_path / "c"): "no `beech` here; did you mean beach?",
        ("beach", "--out", library): f"--out {library} lies in the library",
    }.items():
        outcome = muster("choose", *arguments, "-l", library)
        assert (outcome.code, outcome.out) == (2, "")
        assert text in outcome.err
