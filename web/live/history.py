"""What was said, when and by whom, each edit with a way to take it back."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from muster.storage.people.facts import PERSON, Fact, Named, Same, Shows, TakeBack
from muster.storage.people.ledger import Edit, Ledger
from muster.web.live.album import Moment
from muster.web.live.render import Nav, paged, show, within

EDITS_PER_PAGE = 200


@dataclass(frozen=True)
class Entry:
    """An edit, as it is listed. `counts`: it was not taken back."""

    edit_id: str
    at: datetime
    by: str
    sentences: list[str]
    counts: bool


def entries(ledger: Ledger) -> Iterator[Edit]:
    """Newest first."""
    return reversed(ledger.edits.values())


def entry(ledger: Ledger, moment: Moment, edit: Edit) -> Entry:
    sentences = said(ledger, moment, edit)
    return Entry(edit.edit_id, edit.at.astimezone(), edit.by, sentences, ledger.known.counts(edit.edit_id))


def said(ledger: Ledger, moment: Moment, edit: Edit) -> list[str]:
    """What an edit says, a sentence for each fact; by which faces somebody is known only where it says no more."""
    facts = tuple(fact for fact in edit.facts if not isinstance(fact, Shows)) or edit.facts
    return [sentence(ledger, moment, fact) for fact in facts]


def sentence(ledger: Ledger, moment: Moment, fact: Fact) -> str:
    """In the words of the pages: a person is called what they are called now, and without a name has a number."""

    def title(person: str) -> str:
        card = moment.card(ledger.known.person(person))
        return card.title if card else "somebody who has no face here now"

    match fact:
        case TakeBack(edit, ()) if edit in ledger.edits:
            before = ledger.edits[edit]
            again = all(isinstance(each, TakeBack | Shows) for each in before.facts)
            text = "; ".join(said(ledger, moment, before))
            return text.replace("taken back: ", "done again: ", 1) if again else f"taken back: {text}"
        case Named(person, name):
            return f"named {name}" if name else f"the name of {title(person)} taken away"
        case Same(person, _):
            return f"two people are one, {title(person)}"
    return re.sub(rf"person ({PERSON.pattern})", lambda found: title(found[1]), ledger.known.sentence(fact))


def history(request: Request) -> Response:
    album, number = request.app.state.album, int(request.path_params.get("number", 1))
    with album.editing() as (moment, ledger):
        edits = list(entries(ledger))
        names = paged("history.html", "history-{}.html", len(edits), EDITS_PER_PAGE)
        part = within(number, names, EDITS_PER_PAGE) or slice(0)
        items = [entry(ledger, moment, edit) for edit in edits[part]]
        problems = [problem.text for problem in ledger.problems.values()]
    return show(request, "history.html", names, number, moment=moment, items=items, total=len(edits), problems=problems)


NAV = [Nav("history.html", "History")]
ROUTES = [Route("/history.html", history), Route("/history-{number:int}.html", history)]
