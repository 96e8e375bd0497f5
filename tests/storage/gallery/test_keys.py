import hmac
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import muster as face
from muster.errors import InputError, MusterError
from muster.storage.encryption import KEY, NEW_KEY
from muster.storage.gallery import audit, keys
from muster.storage.gallery.keys import ROLES, Key, Refusal, judged
from muster.storage.layout import AUDIT_HEAD, KEYS
from muster.storage.library import LibraryFiles, open_library

NOW = datetime(2027, 3, 1, 12).astimezone()
TODAY = NOW.date()
SECRET = "A" * 43
OWN = Key("0a1b2c3d", "door", "enrols", keys._digest(SECRET), NOW)
TEXT = f"muster_{OWN.id}_{SECRET}"


def code(found: Key | Refusal) -> str:
    return found.code if isinstance(found, Refusal) else ""


# ---- judged ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("asked", ROLES)
def test_a_key_may_do_what_its_role_and_those_before_may(role: str, asked: str) -> None:
    found = judged([Key("0a1b2c3d", "door", role, OWN.sha256, NOW)], TEXT, asked, NOW)
    assert code(found) == ("" if ROLES.index(role) >= ROLES.index(asked) else "wrong_role")


@given(st.integers(0, len(TEXT) - 1), st.characters())
def test_a_key_with_any_other_character_is_none(at: int, character: str) -> None:
    text = TEXT[:at] + character + TEXT[at + 1 :]
    assert code(judged([OWN], text, "asks", NOW)) == ("" if text == TEXT else "bad_key")


@given(st.text(st.characters(exclude_categories=())) | st.none())
def test_no_text_is_a_key_by_chance_and_none_raises(text: str | None) -> None:
    assert code(judged([OWN], text, "asks", NOW)) == ("bad_key" if text else "no_key")


@given(st.integers(-400, 400), st.booleans(), st.booleans(), st.sampled_from(ROLES))
def test_who_has_not_the_secret_learns_nothing_of_a_key(days: int, gone: bool, known: bool, role: str) -> None:
    ends, revoked = TODAY + timedelta(days=days), NOW if gone else None
    there = Key(OWN.id if known else "ffffffff", "door", "asks", OWN.sha256, NOW, ends, revoked)
    wrong = f"muster_{OWN.id}_{'B' * 43}"
    assert judged([there], wrong, role, NOW) == judged([], wrong, role, NOW)
    if known:
        expected = "revoked_key" if gone else "expired_key" if days < 0 else "wrong_role" if role != "asks" else ""
        assert code(judged([there], TEXT, role, NOW)) == expected


def test_an_unknown_id_and_a_wrong_secret_take_the_same_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []

    def compared(one: str, other: str) -> bool:
        seen.append((len(one), len(other)))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compared)
    for text in (TEXT, f"muster_{OWN.id}_{'B' * 43}", f"muster_ffffffff_{SECRET}", "muster_", "x" * 999):
        judged([OWN], text, "asks", NOW)
    assert seen == [(64, 64)] * 5


def test_a_key_is_valid_through_its_last_day_by_the_clock_of_this_machine() -> None:
    midnight = datetime(2027, 3, 2).astimezone()
    key = Key(OWN.id, "door", "asks", OWN.sha256, NOW, date(2027, 3, 1))
    for zone in (None, UTC):
        assert judged([key], TEXT, "asks", (midnight - timedelta(seconds=1)).astimezone(zone)) is key
        assert code(judged([key], TEXT, "asks", midnight.astimezone(zone))) == "expired_key"


# ---- the file --------------------------------------------------------------------------------------------------------


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=30).filter(lambda text: "#" not in text),
    st.sampled_from(ROLES),
    st.none() | st.integers(0, 4000),
)
def test_a_key_that_is_made_is_taken_and_its_secret_stands_nowhere(
    library: LibraryFiles, no_fsync: None, name: str, role: str, days: int | None
) -> None:
    before = keys.listed(library)
    key, text = keys.made(library, name, role, None if days is None else date.today() + timedelta(days=days))
    assert keys.listed(library) == [*before, key]
    assert judged(keys.listed(library), text, role, datetime.now(UTC)) == key
    secret = text[len("muster_01234567_") :].encode()
    assert not [each for each in library.files() if secret in library.read(each)]


def test_a_key_that_is_revoked_stays_listed_and_opens_nothing(library: LibraryFiles) -> None:
    key, text = keys.made(library, "door east", "asks")
    other, _ = keys.made(library, "door east", "asks")
    gone = keys.revoked(library, key.id)
    assert keys.listed(library) == [gone, other]
    assert gone.revoked is not None
    assert code(judged(keys.listed(library), text, "asks", NOW)) == "revoked_key"
    lines = audit.check(library).lines
    assert keys.revoked(library, key.id) == gone
    assert audit.check(library).lines == lines


def test_keys_have_lines_in_the_audit_log_that_name_nobody(library: LibraryFiles) -> None:
    key, _ = keys.made(library, "Anna Berg", "enrols", date.today())
    keys.revoked(library, key.id)
    made, gone = audit.entries(library)
    facts = {"people": [], "key": key.id, "role": "enrols", "ends": date.today().isoformat()}
    assert made.items() >= {"action": "key made", **facts}.items()
    assert gone.items() >= {"action": "key revoked", **facts}.items()
    assert "Anna" not in json.dumps([made, gone])
    assert key.sha256 not in json.dumps([made, gone])


@pytest.mark.parametrize(
    ("name", "role", "days", "text"),
    [
        ("", "asks", None, "a key needs a name"),
        (" \t ", "asks", None, "a key needs a name"),
        ("door\x1b[2J", "asks", None, "key: name .* has a control character"),
        ("door\u202e", "asks", None, "has a control character"),
        ("door", "Asks", None, "`role` Asks: choose one of asks, enrols, administers"),
        ("door", "asks", -1, "`until` .* is past"),
    ],
)
def test_a_key_that_is_not_made(library: LibraryFiles, name: str, role: str, days: int | None, text: str) -> None:
    ends = None if days is None else date.today() + timedelta(days=days)
    with pytest.raises(InputError, match=text):
        keys.made(library, name, role, ends)
    assert (keys.listed(library), audit.check(library).lines) == ([], 0)


def test_a_key_in_the_place_of_its_id_is_not_repeated(library: LibraryFiles) -> None:
    with pytest.raises(InputError, match=f"there is no key {OWN.id} in library .*: see `keys list`"):
        keys.revoked(library, OWN.id)
    with pytest.raises(InputError, match="8 digits from 0 to f") as told:
        keys.revoked(library, TEXT)
    assert SECRET not in str(told.value)


def test_a_library_with_a_key_is_for_its_owner_alone(library: LibraryFiles) -> None:
    Path(library.path).chmod(0o755)
    keys.made(library, "door", "asks")
    assert Path(library.path).stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "edit",
    [
        {"role": "owns"},
        {"role": None},
        {"sha256": "0" * 63},
        {"sha256": None},
        {"id": "../../.."},
        {"name": 3},
        {"ends": "soon"},
        {"ends": ""},
        {"ends": 0},
        {"revoked": ""},
        {"revoked": False},
        {"made": None},
        {"more": 1},
    ],
    ids=str,
)
def test_a_file_of_keys_that_is_damaged_opens_nothing(library: LibraryFiles, edit: dict[str, object]) -> None:
    keys.made(library, "door", "asks")
    rows = json.loads(library.read(KEYS))["keys"]
    library.write(KEYS, json.dumps({"keys": [rows[0] | edit]}).encode())
    with pytest.raises(MusterError, match=r"keys\.json is damaged .*no key is taken: restore it from a backup"):
        keys.listed(library)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"keys": 3}', b'{"keys": "x"}', b"[" * 99999, b"\xff"])
def test_a_file_that_is_none_of_keys_opens_nothing(library: LibraryFiles, data: bytes) -> None:
    library.write(KEYS, data)
    with pytest.raises(MusterError, match=r"keys\.json is damaged"):
        keys.listed(library)


def test_one_id_is_one_key(library: LibraryFiles) -> None:
    keys.made(library, "door", "asks")
    [row] = json.loads(library.read(KEYS))["keys"]
    library.write(KEYS, json.dumps({"keys": [row, row | {"role": "administers"}]}).encode())
    with pytest.raises(MusterError, match="a key twice"):
        keys.listed(library)


# ---- with the rest of a library --------------------------------------------------------------------------------------


def problem(library: LibraryFiles) -> str:
    return str(face.open(library.uri).audit_check()["problem"])


def test_an_older_file_of_keys_and_a_planted_key_are_found(library: LibraryFiles) -> None:
    key, _ = keys.made(library, "door", "asks")
    older = library.read(KEYS)
    keys.revoked(library, key.id)
    assert problem(library) == "None"
    library.write(KEYS, older)
    assert f"key {key.id} was revoked, and is valid: " in problem(library)
    keys.revoked(library, key.id)
    assert problem(library) == "None"
    [row] = json.loads(library.read(KEYS))["keys"]
    library.write(KEYS, json.dumps({"keys": [row, row | {"id": OWN.id}]}).encode())
    assert f"has a key {OWN.id} that the audit log does not know: revoke it" in problem(library)
    library.remove(KEYS)
    assert problem(library) == "None"  # nobody is answered


def test_a_kill_between_the_log_and_the_keys_leaves_no_key_that_the_log_does_not_know(
    library: LibraryFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(keys, "_write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            keys.made(library, "door", "asks")
    assert (keys.listed(library), problem(library), audit.check(library).lines) == ([], "None", 1)


def test_where_the_audit_log_was_cut_no_key_is_made(library: LibraryFiles) -> None:
    keys.made(library, "door", "asks")
    before = library.read(KEYS)
    library.remove(AUDIT_HEAD)
    library.write(AUDIT_HEAD, b'{"lines": 7, "sha256": "0"}')
    with pytest.raises(MusterError, match="nothing is done until that is cleared up"):
        keys.made(library, "door", "administers")
    assert library.read(KEYS) == before


def test_keys_are_encrypted_change_with_the_key_and_stay_out_of_a_plain_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = ("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", "MTEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
    opened = face.open(tmp_path / "L", create=True)
    text = opened.make_key("door", "asks")["key"]
    monkeypatch.setenv(NEW_KEY, old)
    opened.rekey()  # a first one
    monkeypatch.setenv(KEY, old)
    monkeypatch.setenv(NEW_KEY, new)
    opened = face.open(tmp_path / "L")
    opened.rekey()
    monkeypatch.setenv(KEY, new)
    library = open_library(tmp_path / "L")
    assert b"door" not in (tmp_path / "L" / KEYS).read_bytes()
    assert isinstance(judged(keys.listed(library), text, "asks", NOW), Key)
    copy = face.open(tmp_path / "L").decrypt(tmp_path / "plain")
    assert (copy.keys(), (tmp_path / "plain" / KEYS).exists()) == ([], False)
    monkeypatch.delenv(KEY)
    monkeypatch.delenv(NEW_KEY)
    assert face.open(tmp_path / "plain").audit_check()["problem"] is None


def test_a_key_that_is_called_as_somebody_who_is_forgotten_loses_that_name_and_is_valid(library: LibraryFiles) -> None:
    (_, text), _ = keys.made(library, "René", "enrols"), keys.made(library, "Rene", "asks")
    keys.forget_names(library, {"Rene\u0301", "bob"})  # as another system writes it
    assert [each.name for each in keys.listed(library)] == ["forgotten", "Rene"]
    assert isinstance(judged(keys.listed(library), text, "enrols", NOW), Key)
    before = library.read(KEYS)
    keys.forget_names(library, {"bob"})
    assert library.read(KEYS) == before
