"""Photos that are there more than once, served: what `muster duplicates` found last."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from muster.storage import duplicates
from muster.web.duplicates import GROUPS_PER_PAGE, PAGES, Groups
from muster.web.live.album import LiveAlbum, Moment
from muster.web.live.pages import Every, missing
from muster.web.live.render import Nav, paged, show, within


def groups(album: LiveAlbum, moment: Moment) -> Groups | None:
    """None where nobody has looked."""
    rows = duplicates.read(album.source.library)
    return None if rows is None else Groups(rows, moment.columns.image_id)


def pictures(request: Request) -> Response:
    return _page(request, duplicates.PICTURE)


def moments(request: Request) -> Response:
    return _page(request, duplicates.MOMENT)


def _page(request: Request, kind: str) -> Response:
    album, number = request.app.state.album, int(request.path_params.get("number", 1))
    moment = album.now()
    found = groups(album, moment)
    counts = {each: 0 if found is None else found.count(each) for each in PAGES}
    names = paged(*PAGES[kind], counts[kind], GROUPS_PER_PAGE)
    part = within(number, names, GROUPS_PER_PAGE)
    if part is None:
        return missing(request, "There are not so many duplicates any more.")
    items = [] if found is None else found.page(kind, part, moment.photo)
    return show(
        request,
        "duplicates.html",
        names,
        number,
        moment=moment,
        kind=kind,
        items=items,
        counts=counts,
        missing=found is None,
        previews=Every(),
    )


NAV = [Nav("duplicates.html", "Duplicates")]
ROUTES = [
    Route("/duplicates.html", pictures),
    Route("/duplicates-{number:int}.html", pictures),
    Route("/moments.html", moments),
    Route("/moments-{number:int}.html", moments),
]
