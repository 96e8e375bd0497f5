"""What was said, when and by whom; which edit is the next to be undone or done again."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from muster.storage.people.facts import Shows, TakeBack
from muster.storage.people.ledger import Edit, Ledger
from muster.web.live.render import Nav, paged, show, within

EDITS_PER_PAGE = 200


def _only_takes_back(edit: Edit) -> bool:
    return all(isinstance(fact, TakeBack) for fact in edit.facts)


def _introduces(edit: Edit) -> bool:
    """Whether it says nothing but by which faces a person is known."""
    return all(isinstance(fact, Shows) for fact in edit.facts)


def to_undo(ledger: Ledger) -> str | None:
    """The last edit that counts and is not itself an undoing."""
    for edit in reversed(ledger.edits.values()):
        if ledger.known.counts(edit.edit_id) and not _only_takes_back(edit) and not _introduces(edit):
            return edit.edit_id
    return None


def to_redo(ledger: Ledger) -> tuple[str, str] | None:
    """The last undoing that counts, and the edit that it undid; None where something else was said since."""
    for edit in reversed(ledger.edits.values()):
        if not _only_takes_back(edit):
            if _introduces(edit):
                continue
            return None
        undone = ledger.edits.get(next(fact.edit for fact in edit.facts if isinstance(fact, TakeBack)))
        if ledger.known.counts(edit.edit_id) and undone is not None and not _only_takes_back(undone):
            return edit.edit_id, undone.edit_id
    return None


@dataclass(frozen=True)
class Entry:
    edit_id: str
    at: datetime
    by: str
    sentences: list[str]
    counts: bool


def entries(ledger: Ledger) -> Iterator[Entry]:
    """Newest first, without what only says by which faces somebody is known."""
    for edit in reversed(ledger.edits.values()):
        if not _introduces(edit):
            said = [ledger.known.sentence(fact) for fact in edit.facts]
            yield Entry(edit.edit_id, edit.at.astimezone(), edit.by, said, ledger.known.counts(edit.edit_id))


def history(request: Request) -> Response:
    album, number = request.app.state.album, int(request.path_params.get("number", 1))
    with album.editing() as (moment, ledger):
        found = list(entries(ledger))
        problems = [problem.text for problem in ledger.problems.values()]
    names = paged("history.html", "history-{}.html", len(found), EDITS_PER_PAGE)
    part = within(number, names, EDITS_PER_PAGE)
    items: list[Any] = found[part or slice(0)]
    return show(request, "history.html", names, number, moment=moment, items=items, total=len(found), problems=problems)


NAV = [Nav("history.html", "History")]
ROUTES = [Route("/history.html", history), Route("/history-{number:int}.html", history)]
