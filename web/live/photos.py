"""The page of one photo: large, with everybody and everything that was found in it, and all that is known of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

import numpy as np
import pyarrow.compute as pc
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from muster.storage import duplicates
from muster.web.album import Face, Photo
from muster.web.live import lists
from muster.web.live.album import Card, LiveAlbum, Moment
from muster.web.live.described import sentence
from muster.web.live.details import Details, Thing, details_of
from muster.web.live.lists import PhotoList
from muster.web.live.pages import missing
from muster.web.live.places import names_of
from muster.web.live.projection import projected
from muster.web.live.render import Nav, photo_href, show
from muster.web.live.timeline import place_in

MAP_WIDTH = 60  # units of muster.web.live.projection: 1.2 degrees
EDGE = 0.15  # of the photo's width
MANY = 8  # faces from which on names stand beside the one that is pointed at alone
GONE = "This photo is not in the library any more: it was moved out of its folder, or forgotten."


@dataclass(frozen=True, slots=True)
class Marked:
    """A face on the photo. `card`: who it is; None: nobody yet. `side`: the class of one near an edge, whose name is
    not to reach past it."""

    face: Face
    card: Card | None
    side: str


@dataclass(frozen=True, slots=True)
class Kind:
    """Things of one label. `marks`: ids of their elements, by blanks."""

    label: str
    number: int
    score: float
    marks: str


@dataclass(frozen=True, slots=True)
class Around:
    """Where one came from: the way back, and the photos before and after; None at the ends."""

    back: str
    title: str
    before: str | None
    after: str | None
    place: int
    total: int
    key: str


def photo(request: Request) -> Response:
    album = request.app.state.album
    moment, image_id = album.now(), request.path_params["image_id"]
    found = moment.photo(image_id)
    details = None if found is None else details_of(album.source, found)
    if found is None or details is None:
        return missing(request, GONE)
    row, (city, place) = moment.columns.row_of_photo(image_id), _place(details)
    faces = list(filter(_shown, (_marked(moment, face, found.width) for face in moment.faces(image_id))))
    return show(
        request,
        "photo.html",
        [f"photo/{image_id}.html"],
        moment=moment,
        photo=found,
        details=details,
        faces=faces,
        many=len(faces) > MANY,
        alt=sentence(moment, row, found, city),
        place=place,
        on_map=_on_map(details),
        favourite=bool(lists.favourites(moment)[row]),
        kinds=_kinds(details.things),
        around=_around(request, moment, image_id),
        copies=_copies(moment, row),
        alike={kind: _alike(album, moment, image_id, kind) for kind in (duplicates.PICTURE, duplicates.MOMENT)},
        original=f"/original/{image_id}",
        style=_style(found, faces, details.things),
    )


def _marked(moment: Moment, face: Face, width: int) -> Marked:
    middle = (face.box[0] + face.box[2]) / 2 / width
    side = " left" if middle < EDGE else " right" if middle > 1 - EDGE else ""
    return Marked(face, moment.card(face.cluster_id) if face.cluster_id else None, side)


def _shown(marked: Marked) -> bool:
    """Nobody who is hidden."""
    return marked.card is None or not marked.card.hidden


def _place(details: Details) -> tuple[str, str]:
    """The city, and all that is known of the place."""
    if details.position is None:
        return "", ""
    latitude, longitude = details.position
    return names_of(np.array([latitude]), np.array([longitude]))[0]


def _on_map(details: Details) -> str:
    """The address of the map around it; "" where its place is not known."""
    if details.position is None:
        return ""
    latitude, longitude = details.position
    x, y = projected(np.array([latitude]), np.array([longitude]))
    return f"/map.html?x={x[0]:.1f}&y={y[0]:.1f}&w={MAP_WIDTH}"


def _around(request: Request, moment: Moment, image_id: str) -> Around:
    found = lists.find(moment, request.query_params.get("in", lists.ALL))
    place = None if found is None else place_in(moment, found, image_id)
    if found is None or place is None:  # not of that list any more
        found = lists.find(moment, lists.ALL)
        assert found is not None
        place = place_in(moment, found, image_id) or 0
    before, after = (_href(moment, found, at) for at in (place - 1, place + 1))
    back = f"{found.href}?at={quote(image_id)}#p-{quote(image_id)}"
    return Around(back, found.title, before, after, place, len(found.rows), found.key)


def _href(moment: Moment, found: PhotoList, place: int) -> str | None:
    if not 0 <= place < len(found.rows):
        return None
    return photo_href(moment.columns.image_id[int(found.rows[place])].as_py(), found.key)


def _kinds(things: Sequence[Thing]) -> list[Kind]:
    """The surest first."""
    groups: dict[str, list[int]] = {}
    for number, thing in enumerate(things):
        groups.setdefault(thing.label, []).append(number)
    return [
        Kind(label, len(them), things[them[0]].score, " ".join(f"t{n}" for n in them)) for label, them in groups.items()
    ]


def _copies(moment: Moment, row: int) -> list[Photo]:
    """The other files with the same bytes."""
    same = np.flatnonzero(moment.columns.content == moment.columns.content[row])
    return moment.photos(same[same != row])


def _alike(album: LiveAlbum, moment: Moment, image_id: str, kind: str) -> list[Photo]:
    """The other photos of the same picture, or moment, as `muster duplicates` found them; no exact copies."""
    rows = duplicates.read(album.source.library)
    if rows is None:
        return []
    rows = rows.filter(pc.equal(rows["kind"], kind))
    own = pc.index(rows["image_id"], image_id).as_py()
    if own < 0:
        return []
    group = rows.filter(pc.equal(rows["group"], rows["group"][own]))["image_id"].to_pylist()
    found = [photo for each in group if (photo := moment.photo(each)) is not None]
    content = next((photo.sha256 for photo in found if photo.image_id == image_id), "")
    return [photo for photo in found if photo.sha256 != content]


def _style(found: Photo, faces: Sequence[Marked], things: Sequence[Thing]) -> str:
    """Where everything is on the picture, and what lights up where somebody points at its entry in a list."""
    rules = [f"#stage{{--w:{found.width};--h:{found.height}}}"]
    boxes = [(f"f{n}", each.face.box) for n, each in enumerate(faces)]
    boxes += [(f"t{n}", each.box) for n, each in enumerate(things)]
    for name, box in boxes:
        rules.append(f"#{name}{{{_placed(box, found)}}}")
    return "".join(rules)


def _placed(box: Sequence[float], found: Photo) -> str:
    """Middle and size of a box, in hundredths of the picture; what reaches past its edge is cut."""
    x0, x1 = (min(max(x / found.width, 0), 1) for x in box[::2])
    y0, y1 = (min(max(y / found.height, 0), 1) for y in box[1::2])
    share = {"x": (x0 + x1) / 2, "y": (y0 + y1) / 2, "bw": x1 - x0, "bh": y1 - y0}
    return ";".join(f"--{name}:{100 * value:.2f}%" for name, value in share.items())


NAV: list[Nav] = []
ROUTES = [Route("/photo/{image_id}.html", photo)]
