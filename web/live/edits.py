"""What can be said on the live page: JSON in, and when it is answered it is on the disk.

Every answer has `version`, of what is shown now; an edit that was made also `done`, what it says, and `go`, the page
to show if the one that it was made on has moved. 409 with `merge`: there is somebody of that name already, and which
of the two is meant is asked first; `anyway` says that they are two. 409 with `conflict`: it contradicts an earlier
edit; `in_spite` takes that back first. 410: what it is about is not there any more.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from muster.errors import InputError, MusterError
from muster.storage import layout
from muster.storage.people import edits, facts
from muster.storage.people.facts import FaceRef, Fact, PhotoRef, checked_name
from muster.storage.people.ledger import ContradictionError, Ledger
from muster.storage.people.view import People
from muster.storage.texts import normal
from muster.storage.users import user_at_host
from muster.web.live.album import Card, Moment
from muster.web.live.guard import is_loopback
from muster.web.live.guesses import Guesses
from muster.web.live.history import said
from muster.web.live.render import Nav
from muster.web.words import count

FORGETTING = (
    "Somebody is being forgotten in this library: try again in a moment. Should that have been cut off, start"
    " `muster serve` again: it is finished then."
)
SMALLEST = 4.0  # pixels of a box that somebody draws
NAV: list[Nav] = []
Answer = dict[str, Any]


class GoneError(InputError):
    """What an edit is about is not there any more."""


class NamedAlreadyError(InputError):
    """There is somebody of this name."""

    def __init__(self, card: Card) -> None:
        super().__init__(f"Somebody is called {card.name} already.")
        self.card = card


@dataclass(frozen=True)
class Editor:
    """One edit, from what was sent to what is recorded. `sent`: the JSON."""

    moment: Moment
    ledger: Ledger
    sent: dict[str, Any]
    by: str
    guesses: Guesses

    @property
    def people(self) -> People:
        return self.moment.people_now

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

    def faces(self) -> list[str]:
        """face_ids that are all there."""
        ids = self.sent.get("faces")
        if not isinstance(ids, list) or not ids or not all(isinstance(each, str) for each in ids):
            raise InputError("Select a face first.")
        if -1 in self.moment.columns.rows_of_faces(ids):
            raise GoneError("One of these faces is not there any more. Load the page again.")
        return ids

    def photo(self) -> tuple[str, PhotoRef]:
        """Its image_id, and how the ledger names it."""
        image_id = self.text("photo")
        if image_id not in (found := self.people.photos.refs([image_id])):
            raise GoneError("This photo is not there any more.")
        return image_id, found[image_id]

    def record(self, said: Sequence[Fact]) -> None:
        self.ledger.record(edits.in_spite(self.ledger, said) if self.sent.get("in_spite") else said, self.by)


def name(editor: Editor) -> Answer:
    card, wanted = editor.person(), checked_name(editor.text("name"))
    other = called(editor.moment, wanted, card) if wanted else None
    if other is not None and not editor.sent.get("anyway"):
        raise NamedAlreadyError(other)
    editor.record(edits.named(editor.people, card.cluster_id, wanted))
    return {"done": f"{card.title} is now called {wanted}." if wanted else f"{card.title} has no name any more."}


def called(moment: Moment, wanted: str, but: Card | None = None) -> Card | None:
    """Whoever has this name, in any case of letters."""
    folded = normal(wanted).casefold()
    for person in moment.said.people.values():
        if person.name and normal(person.name).casefold() == folded:
            card = moment.card(person.person_id)
            if card is not None and (but is None or card.cluster_id != but.cluster_id):
                return card
    return None


def merge(editor: Editor) -> Answer:
    """`other` is `person`: by the name of the one who has one; where both have, by that of `other`."""
    card, other = editor.person(), editor.person("other")
    kept, gone = (card, other) if card.name and not other.name else (other, card)
    editor.record(edits.merged(editor.people, kept.cluster_id, gone.cluster_id))
    known = editor.ledger.known
    return {
        "done": f"{gone.title} and {kept.title} are one person now.",
        "go": page_of(known.person(kept.cluster_id)),
    }


def differ(editor: Editor) -> Answer:
    card, other = editor.person(), editor.person("other")
    editor.record(edits.different(editor.people, card.cluster_id, other.cluster_id))
    return {"done": f"{card.title} and {other.title} are two people."}


def is_not(editor: Editor) -> Answer:
    card, faces = editor.person(), editor.faces()
    editor.record(edits.barred(editor.people, faces, card.cluster_id))
    return {"done": f"{count(len(faces), 'face')} not of {card.title} any more."}


def split(editor: Editor) -> Answer:
    """The faces become somebody new, who is not the person that they were taken from."""
    card, faces = editor.person(), editor.faces()
    if len(faces) >= len(card.faces):
        raise InputError(f"These are all faces of {card.title}: leave one, or give this person another name.")
    new = edits.new_person()
    before = edits.introduced(editor.people, card.cluster_id)
    taken = facts.Is(new, edits.refs(editor.people, faces))
    editor.record([*before, taken, facts.Different(card.cluster_id, new)])
    return {"done": f"{count(len(faces), 'face')} split off from {card.title}.", "go": page_of(new)}


def give(editor: Editor) -> Answer:
    """The faces to a person, by id or name; whoever is not known by that name is new."""
    faces = editor.faces()
    if editor.text("person"):
        card: Card | None = editor.person()
    else:
        wanted = checked_name(editor.text("name"))
        if not wanted:
            raise InputError("Say whose faces these are.")
        card = called(editor.moment, wanted)
    person, title = (card.cluster_id, card.title) if card else (edits.new_person(), wanted)
    named = [] if card else [facts.Named(person, title)]
    editor.record([*edits.moved(editor.people, faces, person), *named])
    return {"done": f"{count(len(faces), 'face')} given to {title}.", "person": person}


def hide(editor: Editor) -> Answer:
    card = editor.person()
    editor.record(edits.hidden(editor.people, [card.cluster_id]))
    return {"done": f"{card.title} is hidden."}


def show(editor: Editor) -> Answer:
    card = editor.person()
    again = edits.shown_again(editor.ledger, card.cluster_id)
    if not again:
        raise InputError(f"{card.title} is not hidden.")
    editor.record(again)
    return {"done": f"{card.title} is shown again."}


def cover(editor: Editor) -> Answer:
    card, faces = editor.person(), editor.faces()
    editor.record(edits.cover(editor.people, card.cluster_id, faces[0]))
    return {"done": f"This face stands for {card.title} now."}


def born(editor: Editor) -> Answer:
    card, date = editor.person(), editor.text("date").strip()
    editor.record(edits.born(editor.people, card.cluster_id, date))
    return {"done": f"{card.title} was born {date}." if date else f"{card.title} has no birth date any more."}


def draw(editor: Editor) -> Answer:
    """A face that was missed: `box`, [x0, y0, x1, y1] in pixels of the full-size upright photo; `name` says whose."""
    _, photo = editor.photo()
    face, wanted = FaceRef(photo, _box(editor.sent.get("box"), photo.size)), checked_name(editor.text("name"))
    said: list[Fact] = [facts.Missed(face)]
    if wanted:
        card = called(editor.moment, wanted)
        person = card.cluster_id if card else edits.new_person()
        before = edits.introduced(editor.people, person) if card else []
        said = [*before, *said, facts.Is(person, (face,)), *([] if card else [facts.Named(person, wanted)])]
    editor.record(said)
    return {"done": f"A face of {wanted} was added." if wanted else "A face was added."}


def _box(sent: Any, size: tuple[int, int]) -> facts.Box:
    if (
        not isinstance(sent, list)
        or len(sent) != 4
        or not all(isinstance(v, int | float) and abs(v) < facts.FAR for v in sent)
    ):
        raise InputError("Draw a box around the face.")
    x0, y0, x1, y1 = (min(max(0.0, float(v)), float(end)) for v, end in zip(sent, size * 2, strict=True))
    if not (x1 - x0 >= SMALLEST and y1 - y0 >= SMALLEST):
        raise InputError("That box is too small for a face: draw one around the head.")
    return x0, y0, x1, y1


def favourite(editor: Editor) -> Answer:
    _, photo = editor.photo()
    if editor.sent.get("on", True):
        editor.record([facts.Favourite(photo)])
        return {"done": "A favourite now."}
    if said := edits.no_favourite(editor.ledger, photo.sha256):
        editor.record(said)
    return {"done": "No favourite any more."}


def take_back(editor: Editor) -> Answer:
    return _taken_back(editor, editor.text("edit"))


def undo(editor: Editor) -> Answer:
    edit = edits.to_undo(editor.ledger)
    if edit is None:
        raise InputError("There is nothing to undo.")
    return _taken_back(editor, edit.edit_id)


def redo(editor: Editor) -> Answer:
    edit = edits.to_redo(editor.ledger)
    if edit is None:
        raise InputError("There is nothing to do again.")
    [undone] = [fact.edit for fact in edit.facts if isinstance(fact, facts.TakeBack)][:1]
    return {**_taken_back(editor, edit.edit_id), "done": f"Done again: {_sentence(editor, undone)}."}


def _taken_back(editor: Editor, edit: str) -> Answer:
    done = f"Taken back: {_sentence(editor, edit)}."
    editor.record(edits.undone(editor.ledger, edit))
    return {"done": done}


def _sentence(editor: Editor, edit: str) -> str:
    known = editor.ledger.edits
    return "; ".join(said(editor.ledger, editor.moment, known[edit])) if edit in known else edit


def page_of(person: str) -> str:
    return f"/people/{person}.html"


# ---- over HTTP -------------------------------------------------------------------------------------------------------


def route(path: str, made: Callable[[Editor], Answer]) -> Route:
    async def answer(request: Request) -> Response:
        try:
            sent = json.loads(await request.body())
            if not isinstance(sent, dict):
                raise ValueError
            json.dumps(sent, ensure_ascii=False).encode()  # no halves of letters
        except (ValueError, RecursionError):
            return JSONResponse({"error": "That was no JSON object."}, 400)
        return await run_in_threadpool(_edited, request, made, sent)

    return Route(f"/api/{path}", answer, methods=["POST"])


def _edited(request: Request, made: Callable[[Editor], Answer], sent: dict[str, Any]) -> Response:
    album = request.app.state.album
    if request.app.state.readonly:
        return JSONResponse({"error": request.app.state.readonly}, 503)
    try:
        with album.editing() as (moment, ledger):
            if album.source.library.has(layout.FORGETTING):
                raise MusterError(FORGETTING)
            answer = made(Editor(moment, ledger, sent, _by(request), request.app.state.guesses))
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
    return user_at_host() + ("" if is_loopback(client) else f" from {client}")


def version(request: Request) -> Response:
    return JSONResponse({"version": request.app.state.album.now().version})


def names(request: Request) -> Response:
    """Everybody who has a name, most photos first: for completion."""
    moment = request.app.state.album.now()
    named = [person for person in (*moment.visible, *moment.hidden) if moment.said.person(person).name]
    found = [{"person": c.cluster_id, "name": c.name, "photos": len(c.photos)} for c in moment.cards(named)]
    return JSONResponse({"names": found, "version": moment.version})


EDITS = (name, merge, differ, split, give, hide, show, cover, born, draw, favourite, take_back, undo, redo)
ROUTES = [
    Route("/api/version", version),
    Route("/api/names", names),
    *(route(edit.__name__, edit) for edit in EDITS),
    route("not", is_not),
]
