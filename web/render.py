"""From what the pages show to HTML: the templates' environment, the names of files, the security policy."""

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from muster.errors import MusterError
from muster.web import words
from muster.web.album import Album, Photo

HERE = Path(__file__).parent
PEOPLE_PER_PAGE = 200
PHOTOS_PER_PAGE = 200
FACES_PER_PAGE = 400
ERRORS_PER_PAGE = 500
PREVIEW_SIDE = 512
SAFE = re.compile(r"[A-Za-z0-9_-]{1,128}")  # ids that may be file names as they are


@dataclass(frozen=True)
class Page:
    """One page to be rendered. `names`: the pages it was split into, itself at `number` − 1."""

    template: str
    names: Sequence[str]
    number: int
    content: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.names[self.number - 1]


def environment() -> jinja2.Environment:
    """The templates, with what the static pages and the live ones share."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        auto_reload=False,  # to look whether files have changed takes a tenth of the time of a page
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {
        "face_file": face_file,
        "photo_file": photo_file,
        "person_page": lambda person: f"people/{person.cluster_id}.html",
        "fitted": _fitted,
        "window": _window,
        **{f.__name__: f for f in (words.count, words.day, words.span, words.sureness, words.file_name, words.folder)},
        "printable": words.printable,
    }
    return made


def renderer(album: Album, previews: Set[str], nav: Sequence[tuple[str, str, int]] = ()) -> Callable[[Page], bytes]:
    """`nav`: further entries of the bar on top: file, text, how many."""
    templates = environment()
    lone = len(album.unclustered)
    templates.globals |= {
        "live": False,
        "album": album,
        "photos": album.photos,
        "failures": album.failures,
        "people": album.by_cluster,
        "lone": lone,
        "nav": [
            ("index.html", "People", len(album.people)),
            ("unclustered.html", "Unclustered", lone),
            *nav,
            ("errors.html", "Errors", len(album.failures)),
        ],
        "previews": previews,
        "original": words.original,
        "link_of": lambda photo: words.original(photo.uri),
    }

    def render(page: Page) -> bytes:
        root = "../" * page.name.count("/")
        policy = style_policy(page.content.get("style", ""))
        text = templates.get_template(page.template).render(page.content, page=page, root=root, policy=policy)
        return text.encode()

    return render


def style_policy(style: str) -> str:
    """Nothing from elsewhere, nothing inline but the one style element whose digest is given."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    styles = f"'self' 'sha256-{digest}'" if style else "'self'"
    limits = "base-uri 'none'; form-action 'none'"
    return f"default-src 'none'; img-src 'self'; style-src {styles}; script-src 'self'; {limits}"


def _window(number: int, total: int) -> Iterable[int | None]:
    """The page numbers worth linking: first, last, and two around `number`; None stands for a gap."""
    shown = [n for n in range(1, total + 1) if n in (1, total) or abs(n - number) <= 2]
    for before, n in zip([0, *shown], shown, strict=False):
        if n - before > 1:
            yield None
        yield n


def _fitted(photo: Photo) -> tuple[int, int]:
    """Width and height of a photo's preview."""
    scale = min(1.0, PREVIEW_SIDE / max(photo.width, photo.height))
    return max(1, round(photo.width * scale)), max(1, round(photo.height * scale))


def face_file(face_id: str) -> str:
    return f"faces/{safe(face_id)[:2]}/{face_id}.jpg"


def photo_file(image_id: str) -> str:
    return f"photos/{safe(image_id)[:2]}/{image_id}.jpg"


def safe(name: str) -> str:
    if not SAFE.fullmatch(name):
        raise MusterError(f"{name!r} cannot be the id of an image, face or cluster: the library is damaged")
    return name
