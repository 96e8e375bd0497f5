"""Keys of the service, by the command line."""

import re
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest

import muster as face
from helpers.fixtures import Outcome

Muster = Callable[..., Outcome]
TEXT = re.compile(r"muster_[0-9a-f]{8}_[A-Za-z0-9_-]{43}\n")


@pytest.fixture
def at(tmp_path: Path) -> tuple[object, ...]:
    face.open(tmp_path / "L", create=True)
    return ("-l", tmp_path / "L")


def test_a_key_is_made_listed_and_revoked(muster: Muster, at: tuple[object, ...]) -> None:
    end = date.today() + timedelta(days=1)
    made = muster("keys", "make", "door east", "--role", "asks", "--until", f"{end:%d.%m.%Y}", *at)
    assert (made.code, bool(TEXT.fullmatch(made.out))) == (0, True)  # a script can take it
    identity = made.out[len("muster_") :][:8]
    assert made.err == f"muster: key {identity}, door east: asks, until {end}. Keep it now: it is never shown again\n"
    second = muster("keys", "make", "office", "--role", "administers", *at, "--json").facts
    assert TEXT.fullmatch(f"{second['key']}\n")
    gone = muster("keys", "revoke", second["id"], *at)
    today = muster("keys", "list", *at, "--json").facts["keys"][1]["revoked"][:10]  # UTC
    assert gone.out == f"key {second['id']}, office: revoked on {today}\n"
    listed = muster("keys", "list", *at)
    assert [re.split("  +", line) for line in listed.out.splitlines()] == [
        ["id", "made", "what it may", "name"],
        [identity, today, f"asks, until {end}", "door east"],
        [second["id"], today, f"revoked on {today}", "office"],
    ]
    facts = muster("keys", "list", *at, "--json")
    assert [key["id"] for key in facts.facts["keys"]] == [identity, second["id"]]
    assert made.out.strip() not in facts.out
    assert "sha256" not in facts.out
    shown = muster("audit", "show", *at).out.splitlines()
    assert [line.split(" ", 2)[2] for line in shown] == [
        f"key made; key: {identity}",
        f"key made; key: {second['id']}",
        f"key revoked; key: {second['id']}",
    ]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["make", "door", "--role", "owns"], "--role owns: choose one of asks, enrols, administers"),
        (["make", "door", "--role", "asks", "--until", "2020-01-31"], "--until 2020-01-31 is past: give the last day"),
        (["make", "door", "--role", "asks", "--until", "1/2/2030"], "--until 1/2/2030: it may be 2030-02-01 or 2030-0"),
        (["make", "", "--role", "asks"], "a key needs a name: say who or what has it"),
        (["make", "door"], "Missing option '--role'"),
        (["revoke", "0a1b2c3d"], "there is no key 0a1b2c3d in library"),
        (["revoke", "door"], "the id of a key is 8 digits from 0 to f, as `muster keys list` shows it"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_no_key(muster: Muster, at: tuple[object, ...], arguments: list[str], text: str) -> None:
    refused = muster("keys", *arguments, *at)
    assert (refused.code, refused.out) == (2, "")
    assert text in refused.error


def test_no_keys(muster: Muster, at: tuple[object, ...], tmp_path: Path) -> None:
    assert muster("keys", "list", *at).out == "no keys\n"
    none = muster("keys", "list", "-l", tmp_path / "none")
    assert none.error == (f"muster: no library at {tmp_path}/none: run `muster enroll ROSTER -l {tmp_path}/none` first")


def test_keys_that_are_damaged(muster: Muster, at: tuple[object, ...], tmp_path: Path) -> None:
    muster("keys", "make", "door", "--role", "asks", *at)
    (tmp_path / "L" / "gallery" / "keys.json").write_text("{")
    broken = muster("keys", "list", *at)
    assert (broken.code, "keys.json is damaged" in broken.error) == (1, True)
