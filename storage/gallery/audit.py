"""The audit log: a line for every enrolment, verification, identification, calibration and deletion.

Each line holds the digest of the one before, so that an edit, or a line taken out or put in, is found; and the number
and digest of the gallery as it was then, so that an older gallery put back is found (storage/gallery/gallery.py).
`LIBRARY/audit/<year>-<month>.jsonl`, `….part000002.jsonl` and so on, because a file is written anew for each line that
comes to it; and `LIBRARY/audit/head.json` with the number of lines and the digest of the last.
People go by pseudonyms that only the gallery can resolve: who is forgotten there is nobody here. In an encrypted
library nobody without its key writes a line. In others, who may write these files can write a new log from its start;
and in both an older state of the whole library is as good as any: a copy of the head kept elsewhere (`check`) finds it.
"""

import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from muster.errors import DecryptionError, MusterError
from muster.storage import layout, tables
from muster.storage.layout import AUDIT_HEAD
from muster.storage.library import LibraryFiles, dump_json
from muster.storage.users import user_at_host

START = "0" * 64
ATTEMPTS = 5  # at reading its end, while another command writes lines
LARGEST = 256 << 10  # bytes of a file from which on another one follows it
Facts = dict[str, Any]
State = tuple[int, str]  # number of lines, and the digest of the last


@dataclass(frozen=True)
class Check:
    """`problem`: what is wrong with the log, naming the line; None where nothing is."""

    lines: int
    head: str
    problem: str | None


def append(library: LibraryFiles, action: str, facts: Facts) -> None:
    """Add a line. Raises MusterError where the log's end is not as it was left."""
    with library.lock_log():
        extend(library, [(action, facts)])


def extend(library: LibraryFiles, entries: Sequence[tuple[str, Facts]], gallery: Facts | None = None) -> None:
    """Add a line of each action and its facts, all in one write. The caller holds library.lock_log().

    `gallery`: its number and digest from now on; as before, if None.
    """
    (number, digest), last = _sound_end(library)
    now, who = datetime.now(UTC), user_at_host()
    files = _files(library)
    name = _following(files[-1:], f"{now:%Y-%m}", library)
    gallery = gallery or _gallery(library, last)
    told: Facts = {"gallery": gallery} if gallery else {}
    before = (number, digest)
    written = bytearray()
    for action, facts in entries:
        number += 1
        entry = {"line": number, "at": now.isoformat(timespec="seconds"), "by": who, "action": action, **facts, **told}
        line = json.dumps({**entry, "before": digest}, sort_keys=True, ensure_ascii=False).encode()
        digest = tables.digest(line)
        written += line + b"\n"
    try:
        if before[0] and _head(library) != before:  # a kill came between: then one file at most is outside
            library.write(AUDIT_HEAD, dump_json({"lines": before[0], "sha256": before[1]}))
        library.write(name, _complete(library, name) + written)
        library.write(AUDIT_HEAD, dump_json({"lines": number, "sha256": digest}))
    except OSError as error:
        raise MusterError(f"cannot write {library.at(name)}: {error.strerror or error}") from error


def _following(last: Sequence[str], month: str, library: LibraryFiles) -> str:
    """The file that the next line comes into, never one before the `last` that there is."""
    name = max([layout.audit_log(month), *last])
    if name not in last or len(_complete(library, name)) < LARGEST:
        return name
    month, _, part = name.rpartition("/")[2].removesuffix(".jsonl").partition(".part")
    return layout.audit_part(month, f"{int(part or 1) + 1:06}")


def last_at(library: LibraryFiles) -> datetime | None:
    """When the last line was written, by the clock of its writer; None where there is none."""
    last = _sound_end(library)[1]
    return datetime.fromisoformat(last["at"]) if last else None


def gallery_state(library: LibraryFiles) -> dict[str, Any] | None:
    """Number and digest of the gallery, as the last line has them; None before there was one.

    Raises MusterError where the log's end is not as it was left.
    """
    return _gallery(library, _sound_end(library)[1])


def _gallery(library: LibraryFiles, last: dict[str, Any]) -> dict[str, Any] | None:
    """An older Muster writes lines without it."""
    if "gallery" in last:
        return _sound_gallery(last)
    for line in reversed(_lines(library)):
        with contextlib.suppress(ValueError, TypeError, RecursionError):  # an edited one: `check` says so
            if b'"gallery":' in line and (state := _sound_gallery(dict(json.loads(line)))):
                return state
    return None


def _sound_gallery(entry: dict[str, Any]) -> dict[str, Any] | None:
    state = entry.get("gallery")
    sound = isinstance(state, dict) and isinstance(state.get("version"), int) and isinstance(state.get("sha256"), str)
    return state if sound else None


def _sound_end(library: LibraryFiles) -> tuple[State, dict[str, Any]]:
    """The end of the log, and its last line. Raises MusterError where it is not as it was left."""
    for _ in range(ATTEMPTS):
        try:
            end = None if _is_missing(library) else _end(library)
        except DecryptionError:
            end = None
        if end is not None:
            break
    else:
        problem = check(library).problem or "its end is not as it was left"
        raise MusterError(f"audit log of library {library.uri}: {problem}; nothing is done until that is cleared up")
    return end


def _is_missing(library: LibraryFiles) -> bool:
    return not _files(library) and library.has(layout.GALLERY)


def check(library: LibraryFiles, head: str | None = None) -> Check:
    """Follow the chain from its start.

    The log counts as whole if a crash came after its last lines were written and before the head was updated.

    `head`: the digest of a line that was kept elsewhere, which must be in the chain.
    """
    try:
        for _ in range(ATTEMPTS - 1):
            if not (found := _check(library, head)).problem:
                return found
            time.sleep(0.05)  # another command may be writing a line
        return _check(library, head)
    except DecryptionError as error:
        return Check(0, START, str(error))


def _check(library: LibraryFiles, kept: str | None) -> Check:
    digest, number, seen = START, 0, {START}
    if _is_missing(library):
        return Check(0, START, f"it is missing, though people are enrolled: restore {layout.AUDIT}/ from a backup")
    for number, line in enumerate(_lines(library), 1):
        try:
            entry = json.loads(line)
            fits = (entry["line"], entry["before"]) == (number, digest)
            texts = [entry["at"], entry["by"], entry["action"], *entry.get("people", [])]
            if not all(isinstance(text, str) for text in texts):
                raise TypeError
        except (ValueError, KeyError, TypeError, RecursionError):
            return Check(number, digest, f"line {number} is not one that Muster wrote")
        if not fits:
            return Check(number, digest, f"line {number} does not follow the one before: the log was edited there")
        digest = tables.digest(line)
        seen.add(digest)
    end = _end(library)
    if end is not None and end[0] == (number, digest):
        strange = kept is not None and kept not in seen
        return Check(number, digest, f"no line of it has the digest {kept}: it is another log" if strange else None)
    head = _head(library)
    if head is not None and head[0] > number:
        missing = head[0] - number
        what = "1 line is" if missing == 1 else f"{missing} lines are"
        return Check(number, digest, f"{what} missing at its end")
    return Check(number, digest, f"line {number} is not the one that {AUDIT_HEAD} knows: one of them was edited")


def entries(library: LibraryFiles) -> list[dict[str, Any]]:
    """What the log says, oldest first. Raises MusterError where it is not whole: see `check`."""
    if problem := check(library).problem:
        raise MusterError(f"audit log of library {library.uri}: {problem}; see `audit verify`")
    return [json.loads(line) for line in _lines(library)]


def _end(library: LibraryFiles) -> tuple[State, dict[str, Any]] | None:
    """State and content of the last line: the one that the head names, or the last of those after it (see `check`).

    None where head and last line do not fit together.
    """
    head, files = _head(library), _files(library)
    lines = _complete(library, files[-1]).splitlines() if files else []
    if not lines:
        return ((0, START), {}) if head is None and not files else None
    number, digest = head or (0, START)
    known = next((n for n in range(len(lines), 0, -1) if tables.digest(lines[n - 1]) == digest), 0)
    entry: Facts = {}
    try:
        for line in lines[known:]:  # what came since the head; of all of a file, where it ends the one before
            entry = dict(json.loads(line))
            if (entry["line"], entry["before"]) != (number + 1, digest):
                return None
            number, digest = number + 1, tables.digest(line)
        return (number, digest), entry or dict(json.loads(lines[-1]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _files(library: LibraryFiles) -> list[str]:
    return [f"{layout.AUDIT}/{name}" for name in library.names(layout.AUDIT) if name.endswith(".jsonl")]


def _lines(library: LibraryFiles) -> list[bytes]:
    return [line for name in _files(library) for line in _complete(library, name).splitlines()]


def _complete(library: LibraryFiles, name: str) -> bytes:
    """The lines of a file, without a last one that was cut short."""
    try:
        data = library.read(name)
    except FileNotFoundError:
        return b""
    return data[: data.rfind(b"\n") + 1]


def _head(library: LibraryFiles) -> State | None:
    try:
        facts = json.loads(library.read(AUDIT_HEAD))
        return int(facts["lines"]), str(facts["sha256"])
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return None
