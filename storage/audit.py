"""The audit log: a line for every enrolment, verification, identification, calibration and deletion.

Each line holds the digest of the one before, so that an edit, or a line taken out or put in, is found.
`LIBRARY/audit/<year>-<month>.jsonl`, and `LIBRARY/audit/head.json` with the number of lines and the digest of the last.
People go by pseudonyms that only the gallery can resolve: who is forgotten there is nobody here. Who may write these
files can write a new log from its start: a copy of the head kept elsewhere finds that too.
"""

import getpass
import hashlib
import json
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from storage.encryption import DecryptionError
from storage.errors import MusterError
from storage.library import Library, dump_json

FOLDER, HEAD = "audit", "audit/head.json"
START = "0" * 64
State = tuple[int, str]  # number of lines, and the digest of the last


@dataclass(frozen=True)
class Check:
    """`problem`: what is wrong with the log, naming the line; None where nothing is."""

    lines: int
    head: str
    problem: str | None


def append(library: Library, action: str, facts: dict[str, Any]) -> None:
    """Add a line. The caller holds library.lock(). Raises MusterError where the log's end is not as it was left."""
    try:
        state = _end(library)
    except DecryptionError:
        state = None
    if state is None:
        problem = check(library).problem or "its end is not as it was left"
        raise MusterError(f"audit log of library {library.uri}: {problem}; nothing is done until that is cleared up")
    now = datetime.now(UTC)
    name = max([f"{FOLDER}/{now:%Y-%m}.jsonl", *_files(library)])  # a clock may be set back
    who = f"{_user()}@{socket.gethostname()}"
    entry = {"line": state[0] + 1, "at": now.isoformat(timespec="seconds"), "by": who, "action": action, **facts}
    line = json.dumps({**entry, "before": state[1]}, sort_keys=True, ensure_ascii=False).encode()
    try:
        if state[0] and _head(library) != state:  # a kill came between: another one now would leave two lines outside
            library.write(HEAD, dump_json({"lines": state[0], "sha256": state[1]}))
        library.write(name, _complete(library, name) + line + b"\n")
        library.write(HEAD, dump_json({"lines": entry["line"], "sha256": _digest(line)}))
    except OSError as error:
        raise MusterError(f"cannot write {library.at(name)}: {error.strerror or error}") from error


def check(library: Library) -> Check:
    """Follow the chain from its start. A last line that a crash kept out of the head is no edit."""
    try:
        return _check(library)
    except DecryptionError as error:
        return Check(0, START, str(error))


def _check(library: Library) -> Check:
    digest, number = START, 0
    for number, line in enumerate(_lines(library), 1):
        try:
            entry = json.loads(line)
            fits = entry["line"] == number and entry["before"] == digest
        except (ValueError, KeyError, TypeError):
            return Check(number, digest, f"line {number} is not one that Muster wrote")
        if not fits:
            return Check(number, digest, f"line {number} does not follow the one before: the log was edited there")
        digest = _digest(line)
    if _end(library) == (number, digest):
        return Check(number, digest, None)
    head = _head(library)
    if head is not None and head[0] > number:
        return Check(number, digest, f"{head[0] - number} lines are missing at its end")
    return Check(number, digest, f"line {number} is not the one that {HEAD} knows: one of them was edited")


def entries(library: Library) -> list[dict[str, Any]]:
    """What the log says, oldest first. Raises MusterError where it is not whole: see `check`."""
    if problem := check(library).problem:
        raise MusterError(f"audit log of library {library.uri}: {problem}; see `muster audit verify`")
    return [json.loads(line) for line in _lines(library)]


def _end(library: Library) -> State | None:
    """The end of the log: its head, or the line after, which a crash kept out of the head. None: they do not fit."""
    head, files = _head(library), _files(library)
    line = (_complete(library, files[-1]).splitlines() or [b""])[-1] if files else b""
    if not line:
        return (0, START) if head is None and not files else None
    lines, digest = head or (0, START)
    if digest == _digest(line):
        return head
    try:
        entry = json.loads(line)
        return (lines + 1, _digest(line)) if (entry["line"], entry["before"]) == (lines + 1, digest) else None
    except (ValueError, KeyError, TypeError):
        return None


def _files(library: Library) -> list[str]:
    return [f"{FOLDER}/{name}" for name in library.names(FOLDER) if name.endswith(".jsonl")]


def _lines(library: Library) -> list[bytes]:
    return [line for name in _files(library) for line in _complete(library, name).splitlines()]


def _complete(library: Library, name: str) -> bytes:
    """The lines of a file, without a last one that was cut short."""
    try:
        data = library.read(name)
    except FileNotFoundError:
        return b""
    return data[: data.rfind(b"\n") + 1]


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _head(library: Library) -> State | None:
    try:
        facts = json.loads(library.read(HEAD))
        return facts["lines"], facts["sha256"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a user of this number
        return str(os.getuid())
