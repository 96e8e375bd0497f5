"""The map: where photos were taken, near ones together, over a coastline that comes with Muster. No tiles, no network.

A view is a part of the map around a middle: `?x=&y=&w=&h=`, in units of muster.web.live.projection, on so many pixels
from left to right: `&px=`. All of it works without a script: to zoom and to move are links.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from muster.arrays import F64, I64, Bools
from muster.errors import InputError
from muster.storage.search.index import Index
from muster.storage.search.search import run
from muster.web.live import lists
from muster.web.live.album import Moment
from muster.web.live.lists import PhotoList
from muster.web.live.pages import missing
from muster.web.live.projection import SIDE, projected
from muster.web.live.render import Nav, show
from muster.web.live.search import LONGEST
from muster.web.live.searching import MOST_RANKED
from muster.web.live.timeline import NO_LIST, shown

AREA = "area"
SHAPE, PIXELS = 0.625, 1000.0  # height of a view, of its width, and pixels across, where they are not said
NARROWEST = 20.0  # units: 0.4 degrees
CELL = 72.0  # pixels, at most, of the squares that photos are put together in
FEW = 40  # clusters that are listed in words


@dataclass(frozen=True, slots=True)
class View:
    """`x`, `y`: its middle; `width`: in units; `shape`: height ÷ width; `pixels`: across."""

    x: float
    y: float
    width: float
    shape: float = SHAPE
    pixels: float = PIXELS

    @property
    def box(self) -> tuple[float, float, float, float]:
        half = self.width / 2
        return self.x - half, self.y - half * self.shape, self.x + half, self.y + half * self.shape

    @property
    def unit(self) -> float:
        """Units a pixel."""
        return self.width / self.pixels

    def moved(self, right: float = 0, down: float = 0, by: float = 1.0) -> "View":
        """By shares of its width, and that much wider; within the map."""
        width = float(np.clip(self.width * by, NARROWEST, SIDE / SHAPE))
        x, y = (float(np.clip(at, 0, SIDE)) for at in (self.x + right * self.width, self.y + down * self.width))
        return View(x, y, width, self.shape, self.pixels)


@dataclass(frozen=True, slots=True)
class Cluster:
    """Photos near each other. `box`: around them. `place`: where most of them are. `zoom`: what shows them larger;
    "" where that shows no more. `photos`: the page of them."""

    x: float
    y: float
    number: int
    place: str
    radius: float
    zoom: str
    photos: str


@dataclass(frozen=True)
class Points:
    """Photos with coordinates that a query finds: rows of the index, and where they are on the map."""

    index: Index
    rows: I64
    x: F64
    y: F64

    def within(self, box: Sequence[float]) -> Bools:
        return (self.x >= box[0]) & (self.y >= box[1]) & (self.x <= box[2]) & (self.y <= box[3])

    def where(self, rows: I64) -> str:
        """The place of most of these."""
        where = self.index.where
        numbers = np.where(where.cities[rows] >= 0, where.cities[rows], where.places[rows])
        values, counts = np.unique(numbers[numbers >= 0], return_counts=True)
        return str(where.known[int(values[counts.argmax()])]) if len(values) else ""


def page(request: Request) -> Response:
    return _shown(request, "map.html")


def part(request: Request) -> Response:
    """What the script puts into the page where the view has changed."""
    return _shown(request, "live/clusters.html")


def _shown(request: Request, template: str) -> Response:
    moment, query = request.app.state.album.now(), request.query_params.get("q", "")[:LONGEST]
    points = _points(moment, query)
    everything = _around(points.x, points.y)
    view = _view(request) or everything
    clusters = sorted(_clusters(points, view, query), key=lambda each: -each.number)
    return show(
        request,
        template,
        ["map.html"],
        moment=moment,
        asked=query,
        view=view,
        clusters=clusters[::-1],  # the largest are drawn last, above the others
        listed=clusters[:FEW],
        unlisted=max(0, len(clusters) - FEW),
        inside=sum(each.number for each in clusters),
        total=len(points.rows),
        found=len(_found(points.index, query)),
        links=_links(view, everything, query),
    )


def _points(moment: Moment, query: str) -> Points:
    index = moment.album.search.index(moment)
    rows = _found(index, query)
    latitudes, longitudes = index.columns.latitudes[rows], index.columns.longitudes[rows]
    known = (np.abs(latitudes) <= 90) & (np.abs(longitudes) <= 180)  # NaN is not
    return Points(index, rows[known], *projected(latitudes[known], longitudes[known]))


def _found(index: Index, query: str) -> I64:
    """Rows of the index; none where the query cannot be."""
    try:
        return run(index, query, MOST_RANKED).rows
    except InputError:
        return np.empty(0, np.int64)


def _around(x: F64, y: F64, margin: float = 1.25) -> View:
    """A view of all these points; the world where there are none."""
    if not len(x):
        return View(SIDE / 2, SIDE / 2, SIDE)
    width = max(float(np.ptp(x)), float(np.ptp(y)) / SHAPE) * margin
    middle = (float(x.min() + x.max()) / 2, float(y.min() + y.max()) / 2)
    return View(*middle, max(width, 5 * NARROWEST)).moved()


def _view(request: Request) -> View | None:
    try:
        x, y, width = (float(request.query_params[name]) for name in ("x", "y", "w"))
        height = float(request.query_params.get("h", width * SHAPE))
        pixels = float(request.query_params.get("px", PIXELS))
    except (KeyError, ValueError):
        return None
    if not np.isfinite([x, y, width, height, pixels]).all() or min(width, height) <= 0:
        return None
    return View(x, y, width, float(np.clip(height / width, 0.1, 10)), float(np.clip(pixels, 100, 10_000))).moved()


def _clusters(points: Points, view: View, query: str) -> Iterator[Cluster]:
    """Photos of one cell of a grid that stays where it is when the view moves."""
    cell = 2.0 ** np.floor(np.log2(CELL * view.unit))
    inside = np.flatnonzero(points.within(view.box))
    cells = np.floor(points.x[inside] / cell).astype(np.int64) * 1_000_003 + np.floor(points.y[inside] / cell).astype(
        np.int64
    )
    order = np.argsort(cells, kind="stable")
    starts = np.flatnonzero(np.diff(cells[order], prepend=-1))
    for own in np.split(inside[order], starts[1:]) if len(inside) else ():
        x, y = points.x[own], points.y[own]
        box = (int(np.floor(x.min())), int(np.floor(y.min())), int(np.ceil(x.max())), int(np.ceil(y.max())))
        closer = _around(x, y, 1.6)
        grows = view.width > 5 * NARROWEST and closer.width < view.width
        yield Cluster(
            x=round(float(x.mean()), 1),
            y=round(float(y.mean()), 1),
            number=len(own),
            place=points.where(points.rows[own]),
            radius=round(view.unit * (14 + 4.5 * np.log10(len(own))), 2),
            zoom=_href(closer, query) if grows else "",
            photos=area_href(box, query),
        )


def _href(view: View, query: str) -> str:
    place = {"x": round(view.x, 1), "y": round(view.y, 1), "w": round(view.width, 1)}
    return f"/map.html?{urlencode({**({'q': query} if query else {}), **place})}"


def _links(view: View, everything: View, query: str) -> list[tuple[str, str, str, str]]:
    """What moves the view: key, sign, in words, address."""
    moves = [
        ("+", "+", "Zoom in", view.moved(by=0.5)),
        ("-", "−", "Zoom out", view.moved(by=2)),
        ("ArrowLeft", "←", "West", view.moved(right=-0.3)),
        ("ArrowRight", "→", "East", view.moved(right=0.3)),
        ("ArrowUp", "↑", "North", view.moved(down=-0.2)),
        ("ArrowDown", "↓", "South", view.moved(down=0.2)),
        ("0", "⤢", "All photos", everything),
    ]
    return [(key, sign, text, _href(to, query)) for key, sign, text, to in moves]


# ---- photos of an area -----------------------------------------------------------------------------------------------


def area_href(box: Sequence[int], query: str) -> str:
    return f"/area/{'_'.join(map(str, box))}/{quote(query, safe='')}.html"


def area(request: Request) -> Response:
    moment = request.app.state.album.now()
    found = find(moment, f"{request.path_params['box']}.{request.path_params['query']}")
    if found is None:
        return missing(request, NO_LIST)
    return show(request, "timeline.html", ["map.html"], moment=moment, **shown(request, moment, found))


def find(moment: Moment, about: str) -> PhotoList | None:
    """`about`: a box in whole units, and a query."""
    text, _, query = about.partition(".")
    corners = text.split("_")
    if len(corners) != 4 or not all(each.isascii() and each.isdigit() and len(each) < 6 for each in corners):
        return None
    box = [int(each) for each in corners]
    points = _points(moment, query[:LONGEST])
    rows = points.rows[points.within(box)]
    here = moment.album.search.rows(moment, points.index, rows)
    place = points.where(rows)
    title = f"Near {place}" if place else "Photos of this part of the map"
    return PhotoList(f"{AREA}.{text}.{query}", title, area_href(box, query), lists.among(moment, here))


lists.KINDS[AREA] = find
NAV = [Nav("map.html", "Map")]
ROUTES = [
    Route("/map.html", page),
    Route("/map/part", part),
    Route("/area/{box}/{query:path}.html", area),
]
