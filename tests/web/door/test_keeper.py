from pathlib import Path

import pytest
from starlette.requests import Request

from muster.storage.gallery import keys
from muster.storage.layout import KEYS
from muster.storage.library import LibraryFiles, open_library
from muster.web.door.errors import RefusedError
from muster.web.door.keeper import ALL_LOGGED, LOGGED, Keeper


def request(authorization: str) -> Request:
    headers = [(b"authorization", authorization.encode())] if authorization else []
    return Request({"type": "http", "method": "GET", "path": "/", "headers": headers})


@pytest.fixture
def library(tmp_path: Path) -> LibraryFiles:
    return open_library(tmp_path / "library", create=True)


def refusal(keeper: Keeper, authorization: str, role: str = "asks") -> str:
    with pytest.raises(RefusedError) as refused:
        keeper.admit(request(authorization), role)
    return refused.value.code


def test_a_key_opens_what_its_role_may_do_and_from_the_moment_it_is_revoked_nothing(library: LibraryFiles) -> None:
    keeper, (key, text) = Keeper(library, 600), keys.made(library, "door", "enrols")
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert keeper.admit(request(f"{scheme} {text}"), "asks").id == key.id
    assert keeper.admit(request(f"Bearer {text}"), "enrols").id == key.id
    assert refusal(keeper, f"Bearer {text}", "administers") == "wrong_role"
    assert refusal(keeper, "") == "no_key"
    for other in (f"Basic {text}", text, f"Bearer{text}"):
        assert refusal(keeper, other) == "no_key"
    for other in (
        f"Bearer {text[:-1]}",
        f"Bearer {text}a",
        f"Bearer {text}, {text}",
        "Bearer muster_x",
        f"Bearer {key.id}",
    ):
        assert refusal(keeper, other) == "bad_key"
    keys.revoked(library, key.id)
    assert refusal(keeper, f"Bearer {text}") == "revoked_key"


def test_keys_that_cannot_be_read_open_nothing_and_their_place_is_not_told(library: LibraryFiles) -> None:
    _, text = keys.made(library, "door", "asks")
    library.write(KEYS, b"{}")
    with pytest.raises(RefusedError) as refused:
        Keeper(library, 600).admit(request(f"Bearer {text}"), "asks")
    assert (refused.value.code, library.path in refused.value.message) == ("busy", False)


def test_no_refusal_is_lost_and_none_fills_the_log(library: LibraryFiles) -> None:
    """Each line stands for those of its address and code since the one before."""
    keeper = Keeper(library, 600)
    counts = [keeper.to_log("10.0.0.1", "no_key") for _ in range(100)]
    assert sum(counts) <= LOGGED + 1
    assert sum(counts) + keeper._unlogged["10.0.0.1", "no_key"] == 100
    assert keeper.to_log("10.0.0.1", "bad_key") == 0  # the same address
    assert keeper.to_log("10.0.0.2", "no_key") == 1  # another
    lines = sum(keeper.to_log(f"2001:db8::{number:x}", "bad_key") > 0 for number in range(5000))
    assert lines <= ALL_LOGGED + 1
    assert len(keeper._unlogged) <= 1002
