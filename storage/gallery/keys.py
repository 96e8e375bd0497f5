"""Keys of the service that answers about the gallery: who may ask, enrol or administer, and until when.

A key is the text `muster_<id>_<secret>`, which is shown once, when it is made. `LIBRARY/gallery/keys.json` has its
SHA-256 alone. A slow hash is for what people choose: a secret of 256 random bits is not guessed by anything, and NIST
SP 800-63B, section 5.1.2.2, asks for no more than an approved hash from 112 bits on.

Keys that were revoked stay in the list. The audit log has a line when one is made or revoked, before the file has it:
so a file of before, with a key that was revoked since, is found (`problem`). The log knows a key by its id, and not by
its name, which may be somebody's: what stands in the log, nobody can forget.
"""

import base64
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from muster.errors import DecryptionError, InputError, MusterError
from muster.storage.gallery import audit
from muster.storage.gallery.entry import word
from muster.storage.layout import KEYS
from muster.storage.library import LibraryFiles, dump_json
from muster.storage.texts import normal

ROLES = ("asks", "enrols", "administers")  # each may do what those before it may
SECRET_BYTES = 32
_TEXT = re.compile("muster_(?P<id>[0-9a-f]{8})_(?P<secret>[A-Za-z0-9_-]{43})")  # 43: of 32 bytes in base64url
_ID, _SHA256 = re.compile("[0-9a-f]{8}"), re.compile("[0-9a-f]{64}")
_MADE, _REVOKED = "key made", "key revoked"  # actions of the audit log


@dataclass(frozen=True)
class Key:
    """`name`: who or what has it. `sha256`: of its secret. `made`, `revoked`: UTC. `ends`: the last day it is valid."""

    id: str
    name: str
    role: str
    sha256: str
    made: datetime
    ends: date | None = None
    revoked: datetime | None = None


@dataclass(frozen=True)
class Refusal:
    """`code`: no_key, bad_key, revoked_key, expired_key or wrong_role; `message`: what to do about it. `key`: the id of
    the key, where its secret was given."""

    code: str
    message: str
    key: str | None = None


def judged(keys: Sequence[Key], text: str | None, role: str, now: datetime) -> Key | Refusal:
    """The key whose text this is, where it may do what a `role` may at this time; else why not.

    `now`: with its zone. A key is valid through its last day by the clock of this machine, as consent is. An id that
    there is not and a wrong secret are one refusal, after the same work; that a key was revoked or has ended is told to
    who has its secret.
    """
    if not text:
        return Refusal("no_key", "no key is given: send it as `Authorization: Bearer muster_…`")
    parts = _TEXT.fullmatch(text)
    found = next((key for key in keys if parts and key.id == parts["id"]), None)
    expected = found.sha256 if found else _digest("")
    if not hmac.compare_digest(expected, _digest(parts["secret"] if parts else "")) or found is None:
        return Refusal("bad_key", "that is no key of this library: ask whoever administers it for one")
    if found.revoked:
        return Refusal("revoked_key", f"this key was revoked on {found.revoked:%Y-%m-%d}: ask for another", found.id)
    if found.ends and found.ends < now.astimezone().date():
        return Refusal("expired_key", f"this key was valid through {found.ends}: ask for another", found.id)
    if ROLES.index(found.role) < ROLES.index(role):
        return Refusal("wrong_role", f"this key {found.role}, and this needs one that {role}: ask for that", found.id)
    return found


def made(library: LibraryFiles, name: str, role: str, ends: date | None = None) -> tuple[Key, str]:
    """A new key, and its text, which nothing keeps. Also while another command holds the library.

    Raises InputError for a name that is empty or has control characters, another role, or a day that is past.
    """
    if not (name := word("key", "name", name)):
        raise InputError("a key needs a name: say who or what has it")
    if role not in ROLES:
        raise InputError(f"`role` {role}: choose one of {', '.join(ROLES)}")
    if ends and ends < date.today():
        raise InputError(f"`until` {ends} is past: give the last day that the key is to be valid")
    secret = base64.urlsafe_b64encode(secrets.token_bytes(SECRET_BYTES)).decode().rstrip("=")
    library.make_private()
    with library.lock_log():
        before = listed(library)
        while (identity := secrets.token_hex(4)) in {key.id for key in before}:
            pass
        key = Key(identity, name, role, _digest(secret), datetime.now(UTC).replace(microsecond=0), ends)
        audit.extend(library, [(_MADE, _noted(key))])
        _write(library, [*before, key])
    return key, f"muster_{key.id}_{secret}"


def revoked(library: LibraryFiles, identity: str) -> Key:
    """The key of this id, revoked from now on, or as it was if it was revoked before. Also while another command holds
    the library. Raises InputError where there is none."""
    if not _ID.fullmatch(identity):  # perhaps the key itself: it is not repeated
        raise InputError("the id of a key is 8 digits from 0 to f, as `keys list` shows it")
    with library.lock_log():
        keys = listed(library)
        key = next((key for key in keys if key.id == identity), None)
        if key is None:
            raise InputError(f"there is no key {identity} in library {library.uri}: see `keys list`")
        if key.revoked is None:
            key = replace(key, revoked=datetime.now(UTC).replace(microsecond=0))
            audit.extend(library, [(_REVOKED, _noted(key))])
            _write(library, [key if each.id == identity else each for each in keys])
    return key


def forget_names(library: LibraryFiles, names: Collection[str]) -> None:
    """Keys that are called as somebody who is forgotten lose that name, and stay."""
    with library.lock_log():
        keys, theirs = listed(library), set(map(normal, names))
        left = [replace(key, name="forgotten") if normal(key.name) in theirs else key for key in keys]
        if left != keys:
            _write(library, left)


def problem(library: LibraryFiles) -> str | None:
    """How the keys are others than those that the audit log knows, which is whole; None where they are not."""
    try:
        before, lines, after = listed(library), audit.entries(library), listed(library)  # others may be at work
    except MusterError as error:
        return str(error)
    known, gone = ({line.get("key") for line in lines if line["action"] == action} for action in (_MADE, _REVOKED))
    for key in before:
        if key.id not in known:
            return f"{library.at(KEYS)} has a key {key.id} that the audit log does not know: revoke it"
    for key in after:
        if key.id in gone and key.revoked is None:
            return (
                f"key {key.id} was revoked, and is valid: {library.at(KEYS)} was replaced by an older one, or revoking"
                " it was cut off. Revoke it again"
            )
    return None


def listed(library: LibraryFiles) -> list[Key]:
    """All keys that were ever made, oldest first. Raises MusterError where their file is damaged."""
    try:
        rows = json.loads(library.read(KEYS))["keys"]
        keys = [_parsed(**row) for row in rows]
        if len({key.id for key in keys}) < len(keys):
            raise ValueError("a key twice")
        return keys
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError, RecursionError, DecryptionError) as error:
        raise MusterError(
            f"{library.at(KEYS)} is damaged ({error}), and no key is taken: restore it from a backup, or delete it and"
            " make all keys anew"
        ) from None


def _parsed(id: str, name: str, role: str, sha256: str, made: str, ends: str | None, revoked: str | None) -> Key:
    """ValueError or TypeError where that is no key as `_write` writes it."""
    if not (isinstance(name, str) and role in ROLES and _ID.fullmatch(id) and _SHA256.fullmatch(sha256)):
        raise ValueError("not what Muster wrote")
    last = None if ends is None else date.fromisoformat(ends)
    gone = None if revoked is None else datetime.fromisoformat(revoked)
    return Key(id, name, role, sha256, datetime.fromisoformat(made), last, gone)


def _write(library: LibraryFiles, keys: Sequence[Key]) -> None:
    library.write(KEYS, dump_json({"keys": [asdict(key) for key in keys]}))


def _noted(key: Key) -> dict[str, Any]:
    return {"people": [], "key": key.id, "role": key.role, "ends": key.ends and str(key.ends)}


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
