"""Photos by month: all of them, favourites, those without a face, a person's album. A page has every month and the
photos of a few; the others are sent where they come into sight.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from muster.arrays import I64
from muster.web.album import Photo
from muster.web.live import lists
from muster.web.live.album import Card, Moment
from muster.web.live.described import people_in, sentence
from muster.web.live.lists import Part, PhotoList
from muster.web.live.pages import missing
from muster.web.live.places import names_of
from muster.web.live.render import Nav, photo_href, show
from muster.web.render import photo_file
from muster.web.words import day, file_name

AT_ONCE = 120  # photos that a page begins with, at least
MOST_LISTED = 200  # photos that the large view is told of at once
COMPANIONS = 40
SECTIONS = {lists.UNDATED: "Undated", lists.RANKED: "Best first"}
NO_LIST = "There is no such list of photos, or no more."


@dataclass(frozen=True, slots=True)
class Tile:
    photo: Photo
    alt: str
    href: str
    favourite: bool


@dataclass(frozen=True, slots=True)
class Month:
    """`key`: 2019-05, "undated" or "ranked". `parts`: each with its tiles, None where they are sent later."""

    key: str
    title: str
    total: int
    first_of_year: bool
    parts: Sequence[tuple[Part, Sequence[Tile] | None]]

    @property
    def year(self) -> str:
        return self.key.partition("-")[0]


def all_photos(request: Request) -> Response:
    return _page(request, lists.ALL, "photos.html")


def favourites(request: Request) -> Response:
    return _page(request, lists.FAVOURITES, "favourites.html")


def without_faces(request: Request) -> Response:
    return _page(request, lists.WITHOUT_FACES, "photos.html")


def album(request: Request) -> Response:
    key = f"{lists.PERSON}.{request.path_params['people']}"
    return _page(request, key, f"albums/{request.path_params['people']}.html")


def _page(request: Request, key: str, name: str) -> Response:
    moment = request.app.state.album.now()
    found = lists.find(moment, key)
    if found is None:
        return missing(request, NO_LIST)
    return show(request, "timeline.html", [name], moment=moment, **shown(request, moment, found))


def shown(request: Request, moment: Moment, found: PhotoList) -> dict[str, Any]:
    """What timeline.html shows of a list."""
    parts = lists.parts_of(moment, found)
    people = _people(moment, found)
    return {
        "listed": found,
        "months": list(_months(moment, found, parts, _begun(parts, _first(request, moment, found, parts)))),
        "dates": _dates(moment, found),
        "person": people[0] if len(people) == 1 else None,
        "chosen": people,
        "companions": _companions(moment, found, people) if people else [],
    }


def _first(request: Request, moment: Moment, found: PhotoList, parts: Sequence[Part]) -> int:
    """The place of the part that was asked for: `?at=` a photo, `?from=` a part."""
    place = place_in(moment, found, request.query_params.get("at", ""))
    wanted = request.query_params.get("from", "")
    holds = ((place is not None and each.start <= place < each.stop) or each.key == wanted for each in parts)
    return next((number for number, it in enumerate(holds) if it), 0)


def _begun(parts: Sequence[Part], first: int) -> range:
    """Places of the parts that are sent with the page: from the one before `first` on."""
    stop = first
    while stop < len(parts) and (stop == first or parts[stop - 1].stop - parts[first].start < AT_ONCE):
        stop += 1
    return range(max(0, first - 1), stop)


def _months(moment: Moment, found: PhotoList, parts: Sequence[Part], shown: range) -> Iterator[Month]:
    years = set()
    for key, group in groupby(enumerate(parts), lambda each: each[1].month):
        there = [(part, tiles(moment, found, part) if place in shown else None) for place, part in group]
        year = there[0][0].year
        yield Month(key, month_title(key), there[0][0].total, year not in years, there)
        years.add(year)


def tiles(moment: Moment, found: PhotoList, part: Part) -> list[Tile]:
    rows, favourite = found.rows[part.start : part.stop], lists.favourites(moment)
    return [
        Tile(photo, sentence(moment, row, photo, place), photo_href(photo.image_id, found.key), bool(favourite[row]))
        for row, photo, place in _with(moment, rows)
    ]


def month_title(key: str) -> str:
    if key in SECTIONS:
        return SECTIONS[key]
    year, month = map(int, key.split("-"))
    return f"{date(year, month, 1):%B} {year}"


def _dates(moment: Moment, found: PhotoList) -> list[object]:
    taken = moment.columns.taken[found.rows]
    dated = taken[~np.isnat(taken)]
    return [dated.min().item(), dated.max().item()] if len(dated) else []


def _people(moment: Moment, found: PhotoList) -> list[Card]:
    """Whose album it is."""
    kind, *people = found.key.split(".")
    return [card for each in people if (card := moment.card(each))] if kind == lists.PERSON else []


def _companions(moment: Moment, found: PhotoList, people: Sequence[Card]) -> list[tuple[Card, int, str]]:
    """Who else is on photos of an album, on how many, and the address of those."""
    ids = [card.cluster_id for card in people]
    others = [(p, n) for p, n in lists.companions(moment, found.rows) if p not in ids][:COMPANIONS]
    return [(card, n, f"/albums/{'.'.join([*ids, p])}.html") for p, n in others if (card := moment.card(p))]


def part(request: Request) -> Response:
    """The photos of a part, to be put into the page that has asked."""
    moment = request.app.state.album.now()
    found = lists.find(moment, request.query_params.get("in", ""))
    parts = [] if found is None else lists.parts_of(moment, found)
    wanted = next((each for each in parts if each.key == request.query_params.get("part")), None)
    if found is None or wanted is None:
        return Response("", 404, media_type="text/html")
    return show(request, "tiles.html", ["photos.html"], moment=moment, tiles=tiles(moment, found, wanted))


def listing(request: Request) -> Response:
    """Photos of a list around one of them, for the large view. `?in=`, `?at=` its image_id or `?place=`, `?count=`."""
    moment = request.app.state.album.now()
    found = lists.find(moment, request.query_params.get("in", ""))
    if found is None:
        return JSONResponse({"error": NO_LIST}, 404)
    place = _place(request, moment, found)
    most = min(_number(request, "count", MOST_LISTED), MOST_LISTED)
    start = max(0, min(place - most // 2, len(found.rows) - most))
    rows, favourite = found.rows[start : start + most], lists.favourites(moment)
    photos = [_said(moment, *each, bool(favourite[each[0]])) for each in _with(moment, rows)]
    return JSONResponse({"total": len(found.rows), "start": start, "place": place, "photos": photos})


def _place(request: Request, moment: Moment, found: PhotoList) -> int:
    """Of the photo that was asked for in the list: by its id, or else by its number."""
    place = place_in(moment, found, request.query_params.get("at", ""))
    return place if place is not None else min(_number(request, "place", 0), max(0, len(found.rows) - 1))


def place_in(moment: Moment, found: PhotoList, image_id: str) -> int | None:
    """Of a photo in a list, or of the copy that stands there for it."""
    content = moment.columns.content
    row = moment.columns.row_of_photo(image_id)
    places = np.flatnonzero(content[found.rows] == content[row]) if row >= 0 else np.empty(0, np.int64)
    return int(places[0]) if len(places) else None


def _number(request: Request, name: str, otherwise: int) -> int:
    text = request.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else otherwise


def _with(moment: Moment, rows: I64) -> Iterator[tuple[int, Photo, str]]:
    """Rows with their photos, and where each was taken."""
    images = moment.album.images
    latitude, longitude = (images[name].take(pa.array(rows)).to_numpy() for name in ("latitude", "longitude"))
    places = [city for city, _ in names_of(latitude.astype(np.float64), longitude.astype(np.float64), wait=False)]
    return zip(rows.tolist(), moment.photos(rows), places, strict=True)


def _said(moment: Moment, row: int, photo: Photo, place: str, favourite: bool) -> Mapping[str, object]:
    people = [{"name": card.title, "href": f"/people/{card.cluster_id}.html"} for card in people_in(moment, row)]
    return {
        "id": photo.image_id,
        "alt": sentence(moment, row, photo, place),
        "preview": f"/{photo_file(photo.image_id)}",
        "width": photo.width,
        "height": photo.height,
        "favourite": favourite,
        "people": people,
        "when": photo.taken_at and day(photo.taken_at),
        "place": place,
        "camera": photo.camera,
        "file": file_name(photo.uri),
    }


NAV = [
    Nav("photos.html", "Photos", lambda moment: len(moment.columns.image_id)),
]
ROUTES = [
    Route("/photos.html", all_photos),
    Route("/photos-without-faces.html", without_faces),
    Route("/favourites.html", favourites),
    Route("/albums/{people}.html", album),
    Route("/photos/part", part),
    Route("/api/list", listing),
]
