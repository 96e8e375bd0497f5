"""Search: one box on every page, and the photos that a query finds, by month as all lists of photos are."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from muster.arrays import I64
from muster.errors import InputError
from muster.storage.search.completion import completions
from muster.storage.search.search import Result
from muster.web.live import lists
from muster.web.live.album import Moment
from muster.web.live.lists import PhotoList
from muster.web.live.render import Nav, show
from muster.web.live.timeline import shown

SEARCH = "search"
LONGEST = 1000  # letters
KINDS = {  # how the page calls the fields
    **{name: name for name in ("person", "place", "date", "object", "scene", "camera", "folder", "file", "album")},
    "tag": "keyword",
    "looks": "looks like",
    "similar": "",
    "is": "",
}


@dataclass(frozen=True, slots=True)
class Chip:
    """Words of a query, what they mean, how many photos they mean alone, and the address without them."""

    text: str
    negated: bool
    meanings: Sequence[tuple[str, str]]
    photos: int
    without: str


def asked(request: Request) -> Response:
    """What was typed into the box."""
    return _answer(request, request.query_params.get("q", "")[:LONGEST])


def page(request: Request) -> Response:
    """The same, at the address that lists of photos have."""
    return _answer(request, request.path_params["query"])


def _answer(request: Request, text: str) -> Response:
    moment = request.app.state.album.now()
    try:
        result, rows = moment.album.search.run(moment, text)
    except InputError as error:
        return _page(request, moment, _listed(moment, text, np.empty(0, np.int64)), None, [str(error)])
    return _page(request, moment, _listed(moment, text, rows, result), result, result.notes)


def _page(request: Request, moment: Moment, found: PhotoList, result: Result | None, notes: Sequence[str]) -> Response:
    unknown = result.unknown if result else ()
    return show(
        request,
        "search.html",
        ["search.html"],
        asked=found.key.partition(".")[2],
        chips=_chips(result) if result else [],
        unknown=[(each, list(zip(each.suggestions, map(href, each.instead), strict=True))) for each in unknown],
        notes=notes,
        textless=bool(result and result.textless),
        kinds=KINDS,
        moment=moment,
        **shown(request, moment, found),
    )


def _chips(result: Result) -> list[Chip]:
    return [
        Chip(each.text, each.negated, each.meanings, each.photos, href(result.without(each)))
        for each in result.understood
    ]


def href(text: str) -> str:
    """Of the page of a query."""
    return f"/search/{quote(text[:LONGEST], safe='')}.html"


def find(moment: Moment, about: str) -> PhotoList | None:
    try:
        result, rows = moment.album.search.run(moment, about)
    except InputError:
        return None
    return _listed(moment, about, rows, result)


def _listed(moment: Moment, text: str, rows: I64, result: Result | None = None) -> PhotoList:
    ranked = result is not None and result.similarities is not None
    shown = lists.among(moment, rows, ranked)
    return PhotoList(f"{SEARCH}.{text}", text or "Search", href(text), shown, ranked)


def complete(request: Request) -> Response:
    moment = request.app.state.album.now()
    index = moment.album.search.index(moment)
    try:
        return JSONResponse({"queries": completions(index, request.query_params.get("q", "")[:LONGEST])})
    except InputError:
        return JSONResponse({"queries": []})


lists.KINDS[SEARCH] = find
NAV: list[Nav] = []
ROUTES = [
    Route("/search.html", asked),
    Route("/search/{query:path}.html", page),
    Route("/api/complete", complete),
]
