"""The people pages, served: people, one person, faces that are nobody's, errors, and the pictures on them."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from muster.web.album import Photo
from muster.web.filters import Filters
from muster.web.live.album import Card, Moment
from muster.web.live.render import Nav, paged, photo_page, show, within
from muster.web.render import ERRORS_PER_PAGE, FACES_PER_PAGE, HERE, PEOPLE_PER_PAGE, PHOTOS_PER_PAGE

NO_FILTERS = Filters((), "", (), lambda photos: "")
KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def number_of(request: Request) -> int:
    return int(request.path_params.get("number", 1))


def missing(request: Request, text: str) -> Response:
    """A page that says what is not there any more."""
    return show(request, "gone.html", ["gone.html"], status=404, text=text)


def index(request: Request) -> Response:
    moment, number = request.app.state.album.now(), number_of(request)
    names = paged("index.html", "index-{}.html", len(moment.visible), PEOPLE_PER_PAGE)
    part = within(number, names, PEOPLE_PER_PAGE)
    if part is None:
        return missing(request, "There are not so many people any more.")
    items = moment.cards(moment.visible[part])
    return show(request, "index.html", names, number, moment=moment, items=items, filters=NO_FILTERS)


def hidden(request: Request) -> Response:
    moment = request.app.state.album.now()
    items = moment.people(hidden=True)
    return show(request, "index.html", ["hidden.html"], moment=moment, items=items, filters=NO_FILTERS, hidden=True)


def person(request: Request) -> Response:
    moment, number, asked = request.app.state.album.now(), number_of(request), request.path_params["person"]
    card = moment.card(asked)
    if card is None:
        return missing(request, "This person is not there any more: the faces were given to others, or forgotten.")
    if card.cluster_id != asked:
        return RedirectResponse(f"/people/{card.cluster_id}.html", 303)
    first = f"people/{asked}.html"
    names = paged(first, first.replace(".html", ".{}.html"), len(card.photos), PHOTOS_PER_PAGE)
    part = within(number, names, PHOTOS_PER_PAGE)
    if part is None:
        return missing(request, "This person does not have so many photos any more.")
    items = moment.photos(moment.photos_of(card)[part])
    before, after, home = _around(moment, card)
    return show(
        request,
        "person.html",
        names,
        number,
        moment=moment,
        items=items,
        person=card,
        before=before,
        after=after,
        home=home,
        filters=NO_FILTERS,
        previews=Every(),
        link_of=partial(photo_page, key=f"person.{asked}"),
        style=ratios(items),
    )


def ratios(photos: Sequence[Photo]) -> str:
    """The style element of a page with these photos: rows of one height."""
    return "".join(f"#p-{p.image_id}{{--ratio:{p.width / p.height:.4f}}}" for p in photos)


class Every:
    """Any photo may have a preview; one that has none is answered by an icon."""

    def __contains__(self, name: object) -> bool:
        return True


def _around(moment: Moment, card: Card) -> tuple[Card | None, Card | None, str]:
    """The people before and after, and the page of all people that this one is on."""
    people = moment.hidden if card.hidden else moment.visible
    place = people.index(card.cluster_id)
    before, after = (moment.card(people[at]) if 0 <= at < len(people) else None for at in (place - 1, place + 1))
    names = paged("index.html", "index-{}.html", len(people), PEOPLE_PER_PAGE)
    home = names[place // PEOPLE_PER_PAGE] if not card.hidden else "hidden.html"
    return before, after, home


def unclustered(request: Request) -> Response:
    moment, number = request.app.state.album.now(), number_of(request)
    names = paged("unclustered.html", "unclustered-{}.html", len(moment.unclustered), FACES_PER_PAGE)
    part = within(number, names, FACES_PER_PAGE)
    if part is None:
        return missing(request, "There are not so many faces any more.")
    groups = _groups(request) if number == 1 else []
    items = [moment.face(row) for row in moment.unclustered[part].tolist()]
    photos = {face.image_id: moment.photo(face.image_id) for face in items}
    return show(request, "unclustered.html", names, number, moment=moment, items=items, photos=photos, groups=groups)


def _groups(request: Request) -> list[dict[str, Any]] | None:
    """Faces that may be assigned at once; None where they are still being found."""
    album, guesses = request.app.state.album, request.app.state.guesses
    guesses.start()
    with album.editing() as (moment, ledger):
        found = guesses.groups(moment, ledger.known)
    return found and [
        {
            "who": moment.person_of(group.like) if group.like >= 0 else None,
            "faces": [moment.face(row) for row in group.faces.tolist()],
        }
        for group in found
    ]


def errors(request: Request) -> Response:
    album, number = request.app.state.album, number_of(request)
    failures = album.failures
    names = paged("errors.html", "errors-{}.html", len(failures), ERRORS_PER_PAGE)
    part = within(number, names, ERRORS_PER_PAGE)
    if part is None:
        return missing(request, "There are not so many errors any more.")
    return show(request, "errors.html", names, number, items=failures[part], failures=failures)


def face_picture(request: Request) -> Response:
    return _picture(request, "faces")


def photo_picture(request: Request) -> Response:
    return _picture(request, "previews")


def _picture(request: Request, table: str) -> Response:
    data = request.app.state.album.picture(table, request.path_params["key"])
    return Response(data or b"", 200 if data else 404, media_type="image/jpeg" if data else "text/plain")


def static(request: Request) -> Response:
    """One of our own files, by a name that is looked up, and never opened as it is."""
    path = STATIC.get(request.path_params["path"])
    if path is None:
        return Response(b"", 404, media_type="text/plain")
    return Response(path.read_bytes(), media_type=KINDS[path.suffix])


STATIC = {
    str(path.relative_to(HERE / "static")): path for path in (HERE / "static").rglob("*.*") if path.suffix in KINDS
}
NAV = [
    Nav("index.html", "People", lambda moment: len(moment.visible)),
    Nav("unclustered.html", "Unclustered", lambda moment: len(moment.unclustered)),
    Nav("errors.html", "Errors"),
]
ROUTES = [
    Route("/", index),
    Route("/index.html", index),
    Route("/index-{number:int}.html", index),
    Route("/hidden.html", hidden),
    Route("/people/{person}.{number:int}.html", person),
    Route("/people/{person}.html", person),
    Route("/unclustered.html", unclustered),
    Route("/unclustered-{number:int}.html", unclustered),
    Route("/errors.html", errors),
    Route("/errors-{number:int}.html", errors),
    Route("/faces/{folder}/{key}.jpg", face_picture),
    Route("/photos/{folder}/{key}.jpg", photo_picture),
    Route("/static/{path:path}", static),
]
