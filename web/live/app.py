"""The live page: a library's people pages, served, where people can be told apart and named."""

import json

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from muster.errors import MusterError
from muster.web.live import (
    duplicates,
    edits,
    history,
    login,
    originals,
    pages,
    photos,
    search,
    suggested,
    timeline,
    worldmap,
)
from muster.web.live.album import LiveAlbum
from muster.web.live.guard import Doors, Guard
from muster.web.live.guesses import Guesses
from muster.web.live.render import Renderer

# Each has ROUTES, and NAV for the bar on top
PARTS = (pages, timeline, worldmap, photos, originals, search, duplicates, suggested, history, edits, login)
# The bar on top: what people come for first
BAR = ("People", "Photos", "Map", "Unclustered", "Questions", "Duplicates", "History", "Errors")


def app(album: LiveAlbum, doors: Doors, readonly: str = "") -> Guard:
    """`readonly`: why nothing can be edited; "": it can."""
    routes = [route for part in PARTS for route in part.ROUTES]
    handlers = {404: _missing, MusterError: _failed}
    made = Starlette(routes=routes, exception_handlers=handlers)
    made.state.guesses = Guesses(album)
    made.state.album, made.state.readonly, made.state.doors = album, readonly, doors
    nav = sorted((nav for part in PARTS for nav in part.NAV), key=lambda nav: BAR.index(nav.text))
    made.state.render = Renderer(album, nav, readonly)
    return Guard(made, doors, _refused)


def _missing(request: Request, error: Exception) -> Response:
    if request.url.path.startswith("/api/"):
        return JSONResponse({"error": "no such thing to do"}, 404)
    return pages.missing(request, "There is no such page.")


def _failed(request: Request, error: Exception) -> Response:
    """What somebody can do something about, in its own words."""
    if request.url.path.startswith("/api/"):
        return JSONResponse({"error": str(error)}, 400)
    return Response(str(error), 500, media_type="text/plain")


REFUSAL = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Not open · Muster</title>
<h1>This page is not open</h1>
<p>{}</p>
</html>
"""


def _refused(status: int, text: str, as_json: bool) -> tuple[bytes, str]:
    if as_json:
        return json.dumps({"error": text}).encode(), "application/json"
    return REFUSAL.format(
        text.replace("`muster serve`", "<code>muster serve</code>")
    ).encode(), "text/html; charset=utf-8"
