"""What can be said on the live page: JSON in, and when it is answered it is on the disk.

Every answer has `version`, of what is shown now; an edit that was made also `done`, what it says, and `go`, the page
to show if the one that it was made on has moved. 409 with `merge`: there is somebody of that name already, and which
of the two is meant is asked first. 409 with `conflict`: it contradicts an earlier edit, that may be taken back. 410:
what it is about is not there any more.
"""

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from muster.errors import InputError, MusterError
from muster.storage.people import facts
from muster.storage.people.facts import FaceRef, Fact
from muster.storage.people.ledger import ContradictionError, Edit, Ledger
from muster.storage.texts import normal
from muster.storage.users import user_at_host
from muster.web.live.album import Card, Moment
from muster.web.live.guard import _is_loopback
from muster.web.live.history import to_redo, to_undo
from muster.web.words import count

SPOKEN_FOR = 100  # faces, the best ones, by which a person's cluster is known again
NAV: list[Any] = []


class GoneError(InputError):
    """What an edit is about is not there any more."""


class NamedAlreadyError(InputError):
    """There is somebody of this name."""

    def __init__(self, card: Card) -> None:
        super().__init__(f"There is a {card.name} already.")
        self.card = card


@dataclass(frozen=True)
class Editor:
    """One edit, from what was sent to what is recorded. `sent`: the JSON."""

    moment: Moment
    ledger: Ledger
    sent: dict[str, Any]
    by: str

    # ---- what was sent -----------------------------------------------------------------------------------------------

    def text(self, name: str) -> str:
        value = self.sent.get(name, "")
        if not isinstance(value, str):
            raise InputError(f"{name} must be text")
        return value

    def person(self, name: str = "person") -> Card:
        card = self.moment.card(self.text(name))
        if card is None:
            raise GoneError("This person is not there any more. Load the page again.")
        return card

    def faces(self) -> list[int]:
        """Rows of the faces that were sent, copies of their photos left to the ledger."""
        ids = self.sent.get("faces")
        if not isinstance(ids, list) or not ids or not all(isinstance(each, str) for each in ids):
            raise InputError("Select a face first.")
        rows = self.moment.columns.rows_of_faces(ids)
        if any(row < 0 for row in rows):
            raise GoneError("One of these faces is not there any more. Load the page again.")
        return rows

    def refs(self, rows: Sequence[int]) -> tuple[FaceRef, ...]:
        """How the ledger names faces."""
        columns, photos = self.moment.columns, self.moment.album.photo_refs
        named = {row: photos.ref(columns.image_id[int(columns.photo[row])].as_py()) for row in rows}
        return tuple(FaceRef(named[row], tuple(map(float, columns.box[row]))) for row in rows)  # type: ignore[arg-type]

    # ---- what is recorded --------------------------------------------------------------------------------------------

    def introduce(self, *cards: Card, without: Sequence[int] = ()) -> None:
        """Say by which faces these people are known, where nothing is said of them yet: in an edit of its own, which
        stays where the next one is taken back."""
        for card in cards:
            known = self.ledger.known
            if card.cluster_id in {known.person(p) for p in (*known.shows, *known.is_.values())}:
                continue
            rows = [row for row in self.moment.best_faces(card, SPOKEN_FOR + len(without)) if row not in set(without)]
            if rows:
                self.ledger.record([facts.Shows(card.cluster_id, self.refs(rows[:SPOKEN_FOR]))], self.by)

    def record(self, *said: Fact) -> Edit:
        """With what is asked to be taken back for it."""
        return self.ledger.record([*self._taken_back(), *said], self.by)

    def _taken_back(self) -> list[Fact]:
        edit = self.text("instead_of")
        if not edit:
            return []
        rows = self.sent.get("faces")
        return [facts.TakeBack(edit, self.refs(self.faces()) if rows else ())]


Answer = dict[str, Any]


def name(editor: Editor) -> Answer:
    card, wanted = editor.person(), facts.checked_name(editor.text("name"))
    other = _called(editor.moment, wanted, card) if wanted else None
    if other is not None and not editor.sent.get("anyway"):
        raise NamedAlreadyError(other)
    editor.introduce(card)
    editor.record(facts.Named(card.cluster_id, wanted))
    return {"done": f"{card.title} is now called {wanted}." if wanted else f"{card.title} has no name any more."}


def _called(moment: Moment, wanted: str, but: Card | None) -> Card | None:
    folded = normal(wanted).casefold()
    for person in moment.said.people.values():
        if person.name and normal(person.name).casefold() == folded:
            card = moment.card(person.person_id)
            if card is not None and (but is None or card.cluster_id != but.cluster_id):
                return card
    return None


def merge(editor: Editor) -> Answer:
    """Into whoever has a name; of two who have, into `other`."""
    card, other = editor.person(), editor.person("other")
    kept, gone = (card, other) if card.name and not other.name else (other, card)
    if kept.cluster_id == gone.cluster_id:
        raise InputError(f"{kept.title} is one person already.")
    editor.introduce(kept, gone)
    editor.record(facts.Same(kept.cluster_id, gone.cluster_id))
    return {"done": f"{gone.title} and {kept.title} are one person now.", "go": page_of(kept.cluster_id)}


def differ(editor: Editor) -> Answer:
    card, other = editor.person(), editor.person("other")
    editor.introduce(card, other)
    editor.record(facts.Different(card.cluster_id, other.cluster_id))
    return {"done": f"{card.title} and {other.title} are two people."}


def is_not(editor: Editor) -> Answer:
    card, rows = editor.person(), editor.faces()
    editor.introduce(card, without=rows)
    editor.record(facts.IsNot(card.cluster_id, editor.refs(rows)))
    return {"done": f"{count(len(rows), 'face')} not of {card.title} any more."}


def split(editor: Editor) -> Answer:
    """The faces become somebody new, who is not the person that they were taken from."""
    card, rows = editor.person(), editor.faces()
    if len(rows) == len(card.faces):
        raise InputError(f"These are all faces of {card.title}: leave one, or give this person another name.")
    new = secrets.token_hex(6)
    editor.introduce(card, without=rows)
    editor.record(facts.Is(new, editor.refs(rows)), facts.Different(card.cluster_id, new))
    return {"done": f"{count(len(rows), 'face')} split off from {card.title}.", "go": page_of(new)}


def give(editor: Editor) -> Answer:
    """The faces to a person, by id or name; whoever is not known by that name is new."""
    rows, said = editor.faces(), list[Fact]()
    if editor.text("person"):
        card: Card | None = editor.person()
    else:
        wanted = facts.checked_name(editor.text("name"))
        if not wanted:
            raise InputError("Say whose faces these are.")
        card = _called(editor.moment, wanted, None)
    if card is None:
        person, title = secrets.token_hex(6), wanted
        said.append(facts.Named(person, wanted))
    else:
        person, title = card.cluster_id, card.title
        editor.introduce(card, without=rows)
    editor.record(facts.Is(person, editor.refs(rows)), *said)
    return {"done": f"{count(len(rows), 'face')} given to {title}.", "person": person}


def hide(editor: Editor) -> Answer:
    card = editor.person()
    editor.introduce(card)
    editor.record(facts.Hidden(card.cluster_id))
    return {"done": f"{card.title} is hidden."}


def show(editor: Editor) -> Answer:
    card = editor.person()
    known = editor.ledger.known
    hidden = _saying(editor.ledger, lambda f: isinstance(f, facts.Hidden) and known.person(f.person) == card.cluster_id)
    if not hidden:
        raise InputError(f"{card.title} is not hidden.")
    editor.record(*map(facts.TakeBack, hidden))
    return {"done": f"{card.title} is shown again."}


def cover(editor: Editor) -> Answer:
    card, rows = editor.person(), editor.faces()
    editor.introduce(card)
    editor.record(facts.Cover(card.cluster_id, editor.refs(rows[:1])[0]))
    return {"done": f"This face stands for {card.title} now."}


def born(editor: Editor) -> Answer:
    card, date = editor.person(), facts.checked_date(editor.text("date"))
    editor.introduce(card)
    editor.record(facts.Born(card.cluster_id, date))
    return {"done": f"{card.title} was born {date}." if date else f"{card.title} has no birth date any more."}


def draw(editor: Editor) -> Answer:
    """A face that was missed: `box`, [x0, y0, x1, y1] in pixels of the full-size upright photo."""
    image_id, box = editor.text("photo"), editor.sent.get("box")
    row = editor.moment.columns.row_of_photo(image_id)
    if row < 0:
        raise GoneError("This photo is not there any more.")
    width, height = int(editor.moment.columns.width[row]), int(editor.moment.columns.height[row])
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(v, int | float) for v in box):
        raise InputError("Draw a box around the face.")
    x0, y0, x1, y1 = (min(max(0.0, float(v)), float(end)) for v, end in zip(box, (width, height) * 2, strict=True))
    if x1 - x0 < 4 or y1 - y0 < 4:
        raise InputError("That box is too small for a face: draw one around the head.")
    ref = FaceRef(editor.moment.album.photo_refs.ref(image_id), (x0, y0, x1, y1))
    said: list[Fact] = [facts.Missed(ref)]
    wanted = facts.checked_name(editor.text("name"))
    if wanted:
        card = _called(editor.moment, wanted, None)
        person = card.cluster_id if card else secrets.token_hex(6)
        if card:
            editor.introduce(card)
        said += [facts.Is(person, (ref,)), *([] if card else [facts.Named(person, wanted)])]
    editor.record(*said)
    return {"done": f"A face of {wanted} was added." if wanted else "A face was added."}


def favourite(editor: Editor) -> Answer:
    image_id = editor.text("photo")
    if editor.moment.columns.row_of_photo(image_id) < 0:
        raise GoneError("This photo is not there any more.")
    ref = editor.moment.album.photo_refs.ref(image_id)
    if editor.sent.get("on", True):
        editor.record(facts.Favourite(ref))
        return {"done": "A favourite now."}
    marked = _saying(editor.ledger, lambda f: isinstance(f, facts.Favourite) and f.photo.sha256 == ref.sha256)
    if marked:
        editor.record(*map(facts.TakeBack, marked))
    return {"done": "No favourite any more."}


def take_back(editor: Editor) -> Answer:
    edit = editor.text("edit")
    editor.record(facts.TakeBack(edit))
    return {"done": f"Taken back: {sentences(editor.ledger, edit)}."}


def undo(editor: Editor) -> Answer:
    edit = to_undo(editor.ledger)
    if edit is None:
        raise InputError("There is nothing to undo.")
    editor.record(facts.TakeBack(edit))
    return {"done": f"Taken back: {sentences(editor.ledger, edit)}."}


def redo(editor: Editor) -> Answer:
    found = to_redo(editor.ledger)
    if found is None:
        raise InputError("There is nothing to redo.")
    taking, edit = found
    editor.record(facts.TakeBack(taking))
    return {"done": f"Done again: {sentences(editor.ledger, edit)}."}


def sentences(ledger: Ledger, edit: str) -> str:
    return "; ".join(map(ledger.known.sentence, ledger.edits[edit].facts))


def _saying(ledger: Ledger, fits: Callable[[Fact], bool]) -> list[str]:
    """Edits that count and say something of this kind."""
    return [
        edit.edit_id
        for edit in ledger.edits.values()
        if ledger.known.counts(edit.edit_id) and any(map(fits, edit.facts))
    ]


def page_of(person: str) -> str:
    return f"/people/{person}.html"


# ---- over HTTP -------------------------------------------------------------------------------------------------------


def _route(path: str, made: Callable[[Editor], Answer]) -> Route:
    async def answer(request: Request) -> Response:
        try:
            sent = json.loads(await request.body())
            if not isinstance(sent, dict):
                raise ValueError
        except (ValueError, RecursionError):
            return JSONResponse({"error": "That was no JSON object."}, 400)
        return await run_in_threadpool(_edited, request, made, sent)

    return Route(f"/api/{path}", answer, methods=["POST"])


def _edited(request: Request, made: Callable[[Editor], Answer], sent: dict[str, Any]) -> Response:
    album = request.app.state.album
    try:
        with album.editing() as (moment, ledger):
            answer = made(Editor(moment, ledger, sent, _by(request)))
    except NamedAlreadyError as error:
        card = error.card
        found = {"person": card.cluster_id, "title": card.title, "faces": len(card.faces), "face": card.best.face_id}
        return JSONResponse({"error": str(error), "merge": found}, 409)
    except ContradictionError as error:
        return JSONResponse({"error": str(error), "conflict": error.conflicts[0].edit}, 409)
    except GoneError as error:
        return JSONResponse({"error": str(error)}, 410)
    except MusterError as error:
        return JSONResponse({"error": str(error)}, 400 if isinstance(error, InputError) else 503)
    return JSONResponse({**answer, "version": album.now().version})


def _by(request: Request) -> str:
    client = request.client.host if request.client else ""
    return user_at_host() + ("" if not client or _is_loopback(client) else f" from {client}")


def version(request: Request) -> Response:
    return JSONResponse({"version": request.app.state.album.now().version})


def names(request: Request) -> Response:
    """Everybody who has a name, most photos first: for completion."""
    moment = request.app.state.album.now()
    cards = moment.cards(p for p in (*moment.visible, *moment.hidden) if moment.said.person(p).name)
    found = [{"person": c.cluster_id, "name": c.name, "photos": len(c.photos)} for c in cards]
    return JSONResponse({"names": found, "version": moment.version})


EDITS = (name, merge, differ, split, give, hide, show, cover, born, draw, favourite, take_back, undo, redo)
ROUTES = [
    Route("/api/version", version),
    Route("/api/names", names),
    *(_route(edit.__name__, edit) for edit in EDITS),
    _route("not", is_not),
]
