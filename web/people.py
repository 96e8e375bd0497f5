"""The people pages: a static site of the people in a library. It opens from disk, without a server or a network.

index.html, index-2.html …          people, most photos first
people/<person_id>.html, .2.html    one person's photos, the face marked; of a former id, where the person is now
duplicates.html, moments.html …     photos that are there more than once, where somebody looked
unclustered.html, errors.html …     what no person could be found for, what failed
faces/xx/<face_id>.jpg, photos/xx/<image_id>.jpg, static/
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from muster.web.album import Album, Face, PagesSource, load_album
from muster.web.crops import face_crop
from muster.web.duplicates import GROUPS_PER_PAGE, PAGES, Groups
from muster.web.filters import Filters, filters_of
from muster.web.render import (
    ERRORS_PER_PAGE,
    FACES_PER_PAGE,
    HERE,
    PEOPLE_PER_PAGE,
    PHOTOS_PER_PAGE,
    Page,
    face_file,
    photo_file,
    renderer,
    safe,
)
from muster.web.site import Site

__all__ = ["PagesSource", "PagesSummary", "write_pages"]

PICTURED = ("faces", "images", "previews")  # what the pictures are made of

T = TypeVar("T")


@dataclass(frozen=True)
class PagesSummary:
    """What was written. `people`: those who are shown, of whom `named` have a name; `hidden`: those who are not.
    `photos`: images that could be read; `errors`: rows of the errors page."""

    people: int
    faces: int
    photos: int
    unclustered: int
    errors: int
    pages: int
    named: int = 0
    hidden: int = 0


def write_pages(source: PagesSource, out: Path) -> PagesSummary:
    """Write the site into the folder `out`, in place of the one that Muster wrote there before.

    Raises InputError where `out` holds anything else, MusterError when it cannot be written.
    """
    site = Site(out, {table: source.fingerprints[table] for table in PICTURED})
    album = load_album(source)
    groups = None if source.duplicates is None else Groups(source.duplicates, pa.array(album.photos, pa.string()))
    pages = [*_pages(album), *(_duplicates(groups, album) if groups else ())]
    statics = {f"static/{path.name}": path for path in sorted((HERE / "static").glob("*.*"))}
    every = [face for found in album.faces.values() for face in found]
    faces = {face_file(f.face_id): (f.face_id, album.photos[f.image_id].shard) for f in every if not f.drawn}
    drawn = {face_file(f.face_id): f for f in every if f.drawn}
    shown = [photo for person in album.people for photo in person.photos]
    shown += [album.photos[image] for image in (groups.images() if groups else ())]
    photos = {photo_file(p.image_id): (p.image_id, p.shard) for p in shown}
    names = {*statics, *faces, *drawn, *photos, *(page.name for page in pages)}
    site.begin(names)
    _write_images(source, site, "faces", ("face_id", "thumbnail"), faces)
    _write_images(source, site, "previews", ("image_id", "jpeg"), photos)
    _write_drawn(source, site, album, drawn)
    for name, path in statics.items():
        site.write(name, path.read_bytes())
    nav = [("duplicates.html", "Duplicates", groups.count("picture"))] if groups else []
    render = renderer(album, photos.keys() - site.missing(photos.keys()), nav)
    for page in reversed(pages):  # the index last, so that its links always lead to finished pages
        site.write(page.name, render(page))
    site.finish(names)
    lone = len(album.unclustered)
    return PagesSummary(
        people=len(album.people),
        faces=album.face_count,
        photos=len(album.photos),
        unclustered=lone,
        errors=len(album.failures),
        pages=len(pages),
        named=sum(bool(person.name) for person in album.people),
        hidden=album.hidden,
    )


def _pages(album: Album) -> Iterator[Page]:
    """Every page of the site, the index first."""
    people = list(_split("index.html", "index-{}.html", album.people, PEOPLE_PER_PAGE))
    photos = [[photo for person in page.content["items"] for photo in person.photos] for page in people]
    yield from _filtered(people, filters_of(photos, album.labels))
    yield from _split("unclustered.html", "unclustered-{}.html", album.unclustered, FACES_PER_PAGE)
    yield from _split("errors.html", "errors-{}.html", album.failures, ERRORS_PER_PAGE)
    for index, person in enumerate(album.people):
        around = {
            "person": person,
            "before": album.people[index - 1] if index else None,
            "after": album.people[index + 1] if index + 1 < len(album.people) else None,
            "home": _page_name("index.html", "index-{}.html", index // PEOPLE_PER_PAGE + 1),
        }
        first = f"people/{safe(person.cluster_id)}.html"
        pages = list(_split(first, first.replace(".html", ".{}.html"), person.photos, PHOTOS_PER_PAGE))
        for page in _filtered(pages, filters_of([page.content["items"] for page in pages], album.labels)):
            style = "".join(f"#p-{p.image_id}{{--ratio:{p.width / p.height:.4f}}}" for p in page.content["items"])
            yield Page("person.html", page.names, page.number, {**page.content, **around, "style": style})
    for old, new in album.moved.items():
        yield Page("moved.html", [f"people/{safe(old)}.html"], 1, {"person": album.by_cluster[new]})


def _duplicates(groups: Groups, album: Album) -> Iterator[Page]:
    counts = {kind: groups.count(kind) for kind in PAGES}
    for kind, names in PAGES.items():
        for page in _split(*names, range(counts[kind]), GROUPS_PER_PAGE):
            places = page.content["items"]
            found = groups.page(kind, slice(places.start, places.stop), album.photos.get)
            content = {"kind": kind, "items": found, "counts": counts, "missing": False}
            yield Page("duplicates.html", page.names, page.number, content)


def _filtered(pages: Iterable[Page], filters: Filters) -> Iterator[Page]:
    for page in pages:
        yield replace(page, content={**page.content, "filters": filters})


def _split(first: str, others: str, items: Sequence[T], size: int) -> Iterator[Page]:
    """Pages of `size` items; one page where there are none."""
    total = max(1, -(-len(items) // size))
    names = [_page_name(first, others, number) for number in range(1, total + 1)]
    for number in range(1, total + 1):
        yield Page(first, names, number, {"items": items[(number - 1) * size : number * size]})


def _page_name(first: str, others: str, number: int) -> str:
    return first if number == 1 else others.format(number)


def _write_drawn(source: PagesSource, site: Site, album: Album, drawn: Mapping[str, Face]) -> None:
    """Write the pictures of faces that no model has found, cut from previews, where they are not there yet."""
    wanted = {name: (drawn[name], album.photos[drawn[name].image_id]) for name in site.missing(drawn.keys())}
    shards = {photo.shard for _, photo in wanted.values()} & set(source.done(source.fingerprints["previews"]))
    previews: dict[str, bytes] = {}
    for shard in sorted(shards):
        part = source.part("previews", ["image_id", "jpeg"], shard)
        if part is not None:
            rows = part.filter(pc.is_in(part["image_id"], pa.array([face.image_id for face, _ in wanted.values()])))
            previews |= dict(zip(rows["image_id"].to_pylist(), rows["jpeg"].to_pylist(), strict=True))
    for name, (face, photo) in wanted.items():
        site.write(name, face_crop(previews.get(face.image_id), face.box, (photo.width, photo.height)))


def _write_images(
    source: PagesSource, site: Site, table: str, columns: tuple[str, str], wanted: Mapping[str, tuple[str, str]]
) -> None:
    """Write the pictures that are not there yet, one shard in memory at a time. `wanted`: file name → (id, shard)."""
    missing = site.missing(wanted.keys())
    shards = {wanted[name][1] for name in missing}
    file_of = {wanted[name][0]: name for name in missing}
    for shard in source.done(source.fingerprints[table]):
        part = source.part(table, columns, shard) if shard in shards else None
        if part is None:
            continue
        for key, data in zip(part.column(columns[0]).to_pylist(), part.column(columns[1]), strict=True):
            if key in file_of:
                site.write(file_of[key], data.as_py())
