"""The ledger of what users said: `facts/<edit>.json`, a file for each edit, made once and never written again.

So no lock is needed, and whatever is killed leaves an edit whole or not at all. A file holds the facts of one edit,
when it was made and by whom, and the SHA-256 of all this: one that was cut short or changed is not believed, and named.
"""

import json
import re
import secrets
from bisect import insort
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta
from typing import Any

from muster.errors import InputError, LibraryGoneError, MusterError, UnreachableError
from muster.storage import layout, tables
from muster.storage.library import LibraryFiles, dump_json
from muster.storage.people.facts import Fact, TakeBack, from_json, to_json
from muster.storage.people.known import Conflict, Known
from muster.storage.users import user_at_host

VERSION = 1  # grows when an older Muster could misread what a newer one wrote
_TIME = "%Y%m%dT%H%M%S%f"
_NAME = re.compile(r"([0-9]{8}T[0-9]{12}-[0-9a-f]{8})(?:\.([1-9][0-9]{0,5}))?\.json")
_AT_ONCE = 16  # files that are read from a bucket


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
    """The ledger of a library, in memory. `edits`: by edit_id, in their order. `known`: what it says, taken together.
    `problems`: files that are not believed, by name.

    Not for several threads at once. Other processes may write at any time: see `refresh`.
    """

    def __init__(self, library: LibraryFiles) -> None:
        """Read it."""
        self.library = library
        self.edits: dict[str, Edit] = {}
        self.problems: dict[str, Problem] = {}
        self.known = Known()
        self._names: list[str] = []
        self._files: dict[str, str] = {}  # edit → the file that counts; a name that is none → itself
        self.refresh()

    def refresh(self) -> bool:
        """Read what was written since, and drop what is gone. Whether anything changed."""
        names = self.library.names(layout.FACTS)
        if names == self._names:
            return False
        files = _that_count(names)
        gone = {edit for edit, file in self._files.items() if files.get(edit) != file}
        new = self._read_all([file for edit, file in files.items() if self._files.get(edit) != file])
        for edit in gone:  # now that nothing can fail: else what could not be read would be passed over from then on
            self.edits.pop(edit, None)
            self.problems.pop(self._files[edit], None)
        self._files, self._names = files, names
        if len(new) == 1 and not gone and new[0].edit_id > max(self.edits, default=""):
            self.known = self._with(new[0])
            self.edits[new[0].edit_id] = new[0]
        elif new or gone:
            self.edits = dict(sorted({**self.edits, **{edit.edit_id: edit for edit in new}}.items()))
            self.known = Known.of({edit.edit_id: edit.facts for edit in self.edits.values()})
        return True

    @staticmethod
    def files(library: LibraryFiles) -> dict[str, str]:
        """Edit → the name of the file that counts, of a library."""
        return _that_count(library.names(layout.FACTS))

    def _with(self, edit: Edit) -> Known:
        if any(isinstance(fact, TakeBack) for fact in edit.facts):
            return Known.of({each.edit_id: each.facts for each in (*self.edits.values(), edit)}, self.known)
        return self.known.and_then(edit.edit_id, edit.facts)

    def _read_all(self, names: Sequence[str]) -> list[Edit]:
        if self.library.local is not None:
            return [edit for edit in map(self._read, names) if edit is not None]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return [edit for edit in pool.map(self._read, names) if edit is not None]

    def _read(self, name: str) -> Edit | None:
        file = f"{layout.FACTS}/{name}"
        try:
            content = json.loads(self.library.read(file))
            version = content["version"]
            if type(version) is int and version > VERSION:
                text = f"{self.library.at(file)} was written by a newer Muster: update this one"
                self.problems[name] = Problem(file, text, newer=True)
                return None
            edit, _ = _parts(name)
            if content["edit"] != edit or content.pop("sha256") != _digest(content):
                raise ValueError("it was changed")
            return Edit(edit, datetime.fromisoformat(content["at"]), str(content["by"]), from_json(content))
        except FileNotFoundError:  # forgotten this moment
            return None
        except OSError as error:
            raise MusterError(f"cannot read {self.library.at(file)}: {error.strerror or error}") from error
        except (UnreachableError, LibraryGoneError):
            raise
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError, MusterError) as error:
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
        now = datetime.fromisoformat(datetime.now(UTC).isoformat(timespec="milliseconds"))
        edit = Edit(self._next(), now, by or user_at_host(), self._sound(facts))
        known = self._with(edit)
        if conflicts := self._new_conflicts(known):
            raise ContradictionError(conflicts)
        self._write(edit)
        if not self.edits:
            self.library.make_private()
        self.edits[edit.edit_id], self.known = edit, known
        self._files[edit.edit_id] = f"{edit.edit_id}.json"
        insort(self._names, f"{edit.edit_id}.json")
        self._yield_to_others(edit)
        return edit

    def _sound(self, facts: Sequence[Fact]) -> tuple[Fact, ...]:
        """These facts as they will be read. InputError where they cannot be."""
        if not facts:
            raise InputError("an edit that says nothing")
        for fact in facts:
            if isinstance(fact, TakeBack) and fact.edit not in self.edits:
                raise InputError(f"{fact.edit} is no edit of this library: its history has them")
        try:
            return from_json(json.loads(dump_json(to_json(facts))))
        except (ValueError, TypeError, LookupError) as error:
            raise InputError(f"cannot be said: {error}") from None

    def _write(self, edit: Edit) -> None:
        file = layout.fact(edit.edit_id)
        try:
            written = self.library.create(file, sealed(edit))
        except OSError as error:
            text = f"cannot write to library {self.library.uri}: {error.strerror or error}; nothing was changed"
            raise MusterError(text) from error
        if not written:  # another's, of the same microsecond and 32 random bits
            raise MusterError(f"{self.library.at(file)} is there already: try again")

    def _yield_to_others(self, edit: Edit) -> None:
        """Another process may have written at the same moment, and have been told that it was: this edit goes where
        the two contradict each other, whichever has the earlier id. ContradictionError then."""
        before = len(self.known.conflicts)
        if self.refresh() and len(self.known.conflicts) > before:
            mine = [each for each in self.known.conflicts if edit.edit_id in (each.by, each.edit)]
            if mine:
                self.library.remove(layout.fact(edit.edit_id))
                self.refresh()
                raise ContradictionError(mine)

    def conflicts(self, facts: Sequence[Fact]) -> list[Conflict]:
        """What these facts, said now, would contradict."""
        return self._new_conflicts(self._with(Edit(self._next(), datetime.now(UTC), "", tuple(facts))))

    def _new_conflicts(self, known: Known) -> list[Conflict]:
        before = [(each.by, each.fact) for each in self.known.conflicts]
        return [each for each in known.conflicts if (each.by, each.fact) not in before] if known.conflicts else []

    def _next(self) -> str:
        """An id after all that are there, though a clock was put back."""
        now = datetime.now(UTC)
        if self.edits:
            now = max(now, _time(max(self.edits)) + timedelta(microseconds=1))
        return f"{now.strftime(_TIME)}-{secrets.token_hex(4)}"


def _time(edit: str) -> datetime:
    return datetime.strptime(edit.partition("-")[0], _TIME).replace(tzinfo=UTC)


def _parts(name: str) -> tuple[str, int]:
    """The edit and the revision of a file of this name. ValueError where it is none."""
    found = _NAME.fullmatch(name)
    if found is None or not MINYEAR < _time(found[1]).year < MAXYEAR:
        raise ValueError("this is not the name of an edit")
    return found[1], int(found[2] or 0)


def revision_of(name: str) -> int:
    """How often the edit in a file of this name was written anew."""
    found = _NAME.fullmatch(name)
    return int(found[2] or 0) if found else 0


def _that_count(names: Iterable[str]) -> dict[str, str]:
    """Edit → its last revision; a JSON file that is no edit by its name → itself."""
    last: dict[str, tuple[int, str]] = {}
    for name in names:
        if name.endswith(".json"):
            found = _NAME.fullmatch(name)
            edit, revision = (found[1], int(found[2] or 0)) if found else (name, 0)
            last[edit] = max(last.get(edit, (-1, "")), (revision, name))
    return {edit: name for edit, (_, name) in sorted(last.items())}


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
