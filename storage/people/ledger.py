"""The ledger of what users said: `facts/<edit>.json`, a file for each edit, made once and never written again.

So no lock is needed, and whatever is killed leaves an edit whole or not at all. A file holds the facts of one edit,
when it was made and by whom, and the SHA-256 of all this: one that was cut short or changed is not believed, and named.
"""

import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from muster.errors import DecryptionError, InputError, MusterError
from muster.storage import layout, tables
from muster.storage.library import LibraryFiles, dump_json
from muster.storage.people.facts import Fact, TakeBack, from_json, to_json
from muster.storage.people.known import Conflict, Known
from muster.storage.users import user_at_host

VERSION = 1  # grows when an older Muster could misread what a newer one wrote
_TIME = "%Y%m%dT%H%M%S%f"
_ID = re.compile(r"\d{8}T\d{12}-[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class Edit:
    """What was said at once. `edit_id`: in the order in which they were made. `by`: user@host."""

    edit_id: str
    at: datetime
    by: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """A file of the ledger that is not believed. `newer`: a newer Muster wrote it."""

    file: str
    text: str
    newer: bool = False


class ContradictionError(InputError):
    """What was to be said contradicts what was said before. `conflicts`: which facts, and the edits they stand in."""

    def __init__(self, conflicts: Sequence[Conflict]) -> None:
        super().__init__(str(conflicts[0]))
        self.conflicts = tuple(conflicts)


class Ledger:
    """The ledger of a library, in memory. `known`: what it says, taken together.

    Not for several threads at once. Other processes may write at any time: see `refresh`.
    """

    def __init__(self, library: LibraryFiles) -> None:
        """Read it. Damaged files are in `problems`."""
        self.library = library
        self.edits: dict[str, Edit] = {}
        self.problems: dict[str, Problem] = {}
        self.known = Known()
        self.refresh()

    def refresh(self) -> bool:
        """Read what was written since, and drop what is gone. Whether anything changed."""
        names = self.library.names(layout.FACTS)
        ids = {name.removesuffix(".json") for name in names if name.endswith(".json")}
        seen = self.edits.keys() | self.problems.keys()
        if ids == seen:
            return False
        gone, fresh = seen - ids, sorted(ids - seen)
        for name in gone:
            self.edits.pop(name, None)
            self.problems.pop(name, None)
        new = [edit for name in fresh if (edit := self._read(name)) is not None]
        after = all(edit.edit_id > max(self.edits, default="") for edit in new)
        if gone or not after or len(new) > 1:
            self.edits = dict(sorted({**self.edits, **{edit.edit_id: edit for edit in new}}.items()))
            self.known = self._known()
        elif new:
            self.known = self._with(new[0])
            self.edits[new[0].edit_id] = new[0]
        return True

    def _known(self, *more: Edit) -> Known:
        return Known.of({edit.edit_id: edit.facts for edit in (*self.edits.values(), *more)})

    def _with(self, edit: Edit) -> Known:
        if any(isinstance(fact, TakeBack) for fact in edit.facts):
            return self._known(edit)
        return self.known.and_then(edit.edit_id, edit.facts)

    def _read(self, name: str) -> Edit | None:
        file = layout.fact(name)
        try:
            content = json.loads(self.library.read(file))
            version = content["version"]
            if type(version) is int and version > VERSION:
                text = f"{self.library.at(file)} was written by a newer Muster: update this one"
                self.problems[name] = Problem(file, text, newer=True)
                return None
            if not _ID.fullmatch(name) or content["edit"] != name or content.pop("sha256") != _digest(content):
                raise ValueError("it was changed")
            return Edit(name, datetime.fromisoformat(content["at"]), str(content["by"]), from_json(content))
        except FileNotFoundError:  # forgotten this moment
            return None
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError, DecryptionError) as error:
            text = f"{self.library.at(file)} is damaged ({error}), and counts for nothing: restore it, or delete it"
            self.problems[name] = Problem(file, text)
            return None

    def check(self) -> None:
        """MusterError where a newer Muster has said what this one cannot read: nothing may be done against it."""
        for problem in self.problems.values():
            if problem.newer:
                raise MusterError(problem.text)

    def record(self, facts: Sequence[Fact], by: str | None = None) -> Edit:
        """Write an edit; when this returns, it is on the disk, and in `known`.

        Raises ContradictionError where it contradicts what was said before; nothing is written then. MusterError where
        the library cannot be written.
        """
        self.refresh()
        self.check()
        if not facts:
            raise InputError("an edit that says nothing")
        for fact in facts:
            if isinstance(fact, TakeBack) and fact.edit not in self.edits:
                raise InputError(f"{fact.edit} is no edit of this library: its history has them")
        edit = Edit(self._next(), datetime.now(UTC), by or user_at_host(), tuple(facts))
        known = self._with(edit)
        if conflicts := self._new_conflicts(known):
            raise ContradictionError(conflicts)
        file = layout.fact(edit.edit_id)
        try:
            written = self.library.create(file, sealed(edit))
        except OSError as error:
            raise MusterError(f"cannot write to library {self.library.uri}: {error.strerror or error}") from error
        if not written:  # another's, of the same microsecond and 32 random bits
            raise MusterError(f"{self.library.at(file)} is there already: try again")
        self.edits[edit.edit_id], self.known = edit, known
        return edit

    def conflicts(self, facts: Sequence[Fact]) -> list[Conflict]:
        """What these facts, said now, would contradict."""
        return self._new_conflicts(self._with(Edit(self._next(), datetime.now(UTC), "", tuple(facts))))

    def _new_conflicts(self, known: Known) -> list[Conflict]:
        before = {(each.by, each.fact) for each in self.known.conflicts}
        return [each for each in known.conflicts if (each.by, each.fact) not in before]

    def _next(self) -> str:
        """An id after all that are there, though a clock was put back."""
        now = datetime.now(UTC)
        if self.edits:
            last = datetime.strptime(max(self.edits).partition("-")[0], _TIME).replace(tzinfo=UTC)
            now = max(now, last + timedelta(microseconds=1))
        return f"{now.strftime(_TIME)}-{secrets.token_hex(4)}"


def sealed(edit: Edit) -> bytes:
    """The bytes of its file."""
    content: dict[str, Any] = {
        "version": VERSION,
        "edit": edit.edit_id,
        "at": edit.at.isoformat(timespec="milliseconds"),
        "by": edit.by,
        **to_json(edit.facts),
    }
    return dump_json({**content, "sha256": _digest(content)})


def _digest(content: dict[str, Any]) -> str:
    return tables.digest(json.dumps(content, sort_keys=True, ensure_ascii=True).encode())
