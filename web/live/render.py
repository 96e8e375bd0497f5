"""From what a page shows to an answer: the templates of the static pages, with what only the live ones have."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from muster.web.album import Photo
from muster.web.live.album import LiveAlbum, Moment
from muster.web.live.guard import POLICY
from muster.web.render import Page, environment, style_policy


@dataclass(frozen=True)
class Nav:
    """An entry of the bar on top. `href`: without a slash in front. `count`: how many there are, None: not said."""

    href: str
    text: str
    count: Callable[[Moment], int | None] = lambda moment: None


class Renderer:
    def __init__(self, album: LiveAlbum, nav: Sequence[Nav], readonly: str) -> None:
        """`readonly`: why nothing can be edited; "": it can."""
        self.album, self._nav = album, nav
        self._templates = environment()
        self._templates.globals |= {
            "live": True,
            "readonly": readonly,
            "root": "/",
            "original": lambda uri: None,
            "link_of": photo_page,
            "search": True,
        }

    def alone(self, template: str, **content: Any) -> str:
        """A page that shows nothing of the library."""
        return self._templates.get_template(template).render(content)

    def __call__(self, template: str, page: Page, moment: Moment, status: int = 200) -> Response:
        shown = Facade(moment)
        text = self._templates.get_template(template).render(
            page.content,
            page=page,
            album=shown,
            people=shown,
            lone=len(moment.unclustered),
            hidden_people=len(moment.hidden),
            favourites=moment.said.favourites,
            nav=[(each.href, each.text, each.count(moment)) for each in self._nav],
            version=moment.version,
        )
        headers = {"content-security-policy": _policy(page.content.get("style", ""))}
        return HTMLResponse(text, status, headers)


def photo_page(photo: Photo, key: str = "") -> str:
    return photo_href(photo.image_id, key)


def photo_href(image_id: str, key: str = "") -> str:
    """Of a photo's page. `key`: of the list of photos that one comes from, see muster.web.live.lists."""
    return f"/photo/{image_id}.html" + (f"?in={quote(key)}" if key else "")


def _policy(style: str) -> str:
    """POLICY, and the one style element of a page."""
    allowed = next(part for part in style_policy(style).split("; ") if part.startswith("style-src"))
    return POLICY.replace("style-src 'self'", allowed)


@dataclass(frozen=True)
class Facade:
    """A moment, as the templates of the static pages look at an album."""

    moment: Moment

    @property
    def people(self) -> Sequence[str]:
        return self.moment.visible

    @property
    def faces(self) -> "Faces":
        return Faces(self.moment)

    @property
    def photos(self) -> Any:
        return self.moment.columns.image_id

    @property
    def face_count(self) -> int:
        return len(self.moment.columns.face_id)

    @property
    def copies(self) -> "Copies":
        return Copies(self.moment)

    @property
    def labels(self) -> Mapping[str, Any]:
        return {}

    def __getitem__(self, person_id: str) -> Any:
        return self.moment.card(person_id)


@dataclass(frozen=True)
class Faces:
    """image_id → its faces; as long as there are photos with faces."""

    moment: Moment

    def __getitem__(self, image_id: str) -> Any:
        return self.moment.faces(image_id)

    def __len__(self) -> int:
        return self.moment.photos_with_faces


@dataclass(frozen=True)
class Copies:
    """sha256 → how many images have it."""

    moment: Moment

    def __getitem__(self, sha256: str) -> int:
        return self.moment.copies(sha256)


def show(
    request: Request, template: str, names: Sequence[str], number: int = 1, status: int = 200, **content: Any
) -> Response:
    """The page that a template makes of `content`, at this moment. `names`: the paths of the pages that it was split
    into, without a slash in front; the first is the one that the bar on top marks."""
    state = request.app.state
    moment = content.pop("moment", None) or state.album.now()
    return state.render(template, Page(template, names, number, content), moment, status)


def paged(first: str, others: str, total: int, size: int) -> list[str]:
    """The paths of the pages of `total` items; `others` with `{}` for the number."""
    pages = max(1, -(-total // size))
    return [first if number == 1 else others.format(number) for number in range(1, pages + 1)]


def within(number: int, names: Sequence[str], size: int) -> slice | None:
    """The items of a page; None where there is no such page."""
    return slice((number - 1) * size, number * size) if 1 <= number <= len(names) else None
