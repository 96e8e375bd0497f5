"""The pages of a network's units: a static site that opens from disk, without a server or a network.

index.html                       the layers, and the filters of the first
layers/<layer>.html, .2.html …   the units of one, each with its patches
units/<layer>/<unit>.html        one unit: its patches, and beside each the photo that it was cut from
patches/xx/…, photos/xx/…, filters/, ascents/, static/
"""

import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from muster.arrays import F32, Pixels
from muster.colour import in_srgb
from muster.errors import ImageError
from muster.storage import manifest, tables
from muster.storage.library import LibraryFiles
from muster.storage.photos import decode
from muster.storage.photos.reader import Reader
from muster.web import words
from muster.web.render import HERE, Page, environment, photo_file, safe, style_policy
from muster.web.site import Site

UNITS_PER_PAGE = 60
PATCH, THUMB = 96, 256  # pixels of the longest side
STATICS = ("icon.svg", "people.css", "units.css")

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Patch:
    """The part of a photo that excites a unit. `box`: xyxy in full-size upright pixels."""

    image_id: str
    value: float
    box: Box

    @property
    def file(self) -> str:
        place = "-".join(f"{each:.0f}" for each in self.box)
        return f"patches/{safe(self.image_id)[:2]}/{self.image_id}-{place}.jpg"


@dataclass(frozen=True, slots=True)
class Unit:
    """`label`: what it stands for, if anything. `patches`: best first; none where it never fires."""

    number: int
    label: str
    patches: Sequence[Patch]


@dataclass(frozen=True)
class Layer:
    """`about`: what it is and sees, for people to read."""

    number: int
    name: str
    about: str
    units: Sequence[Unit]

    @cached_property
    def slug(self) -> str:
        return f"{self.number:03}-{re.sub(r'[^A-Za-z0-9_]+', '-', self.name)[:80]}"

    @cached_property
    def silent(self) -> int:
        return sum(not unit.patches for unit in self.units)

    def ascent_of(self, unit: Unit) -> str:
        """The file of the picture that was made to excite a unit."""
        return f"ascents/{self.slug}/{unit.number}.png"

    def page_of(self, unit: Unit) -> str:
        return f"units/{self.slug}/{unit.number}.html"


@dataclass(frozen=True)
class Photo:
    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class UnitsSource:
    """What the pages are made from. `network`: its name; `photos`: image_id → photo, of all that can be seen, of
    `looked_at` that were; `shards`: of the manifest; `previews`: the fingerprint of that table, None where there is
    none. `filters`: (units, height, width, 3) in -1..1, of the first layer; None where that is not shown. `ascents`: a
    file for each unit, as `Layer.ascent_of` has it, and the picture, made while they are asked for; None: none."""

    library: LibraryFiles
    network: str
    layers: Sequence[Layer]
    photos: Mapping[str, Photo]
    looked_at: int
    shards: Sequence[str]
    previews: str | None
    filters: F32 | None
    ascents: Iterable[tuple[str, Pixels]] | None = None


@dataclass(frozen=True)
class UnitsSummary:
    """What was written. `units`: in `layers`, of which `silent` never fire; `patches`: cut from `photos`, of which
    `gone` are not there any more."""

    layers: int
    units: int
    silent: int
    patches: int
    photos: int
    gone: int
    pages: int


def write_units(source: UnitsSource, out: Path) -> UnitsSummary:
    """Write the site into the folder `out`, in place of the one that Muster wrote there before.

    Raises InputError where `out` holds anything else, MusterError when it cannot be written.
    """
    site = Site(out, {"previews": source.previews or "none", "units": source.network})
    cut: dict[str, set[Patch]] = {}
    for patch in _patches(source):
        cut.setdefault(patch.image_id, set()).add(patch)
    pictures = {photo_file(image) for image in cut} | {patch.file for each in cut.values() for patch in each}
    filters = {
        f"filters/{number}.png": each
        for number, each in enumerate(source.filters if source.filters is not None else ())
    }
    pages, statics = list(_pages(source)), {f"static/{name}": HERE / "static" / name for name in STATICS}
    made = {layer.ascent_of(unit) for layer in source.layers for unit in layer.units if source.ascents is not None}
    site.begin({*pictures, *filters, *statics, *made, *(page.name for page in pages)})
    gone = _write_pictures(source, site, cut)
    for name, values in filters.items():
        site.write(name, _png((values * 127.5 + 127.5).round().astype(np.uint8)))
    for name, pixels in source.ascents or ():
        site.write(name, _png(pixels))
    for name, path in statics.items():
        site.write(name, path.read_bytes())
    render = _renderer(source, gone)
    for page in reversed(pages):  # the index last, so that its links always lead to finished pages
        site.write(page.name, render(page))
    lost = {photo_file(image) for image in gone} | {patch.file for image in gone for patch in cut[image]}
    site.finish({*(pictures - lost), *filters, *statics, *made, *(page.name for page in pages)})
    units = [unit for layer in source.layers for unit in layer.units]
    return UnitsSummary(
        layers=len(source.layers),
        units=len(units),
        silent=sum(layer.silent for layer in source.layers),
        patches=sum(len(unit.patches) for unit in units),
        photos=len(cut),
        gone=len(gone),
        pages=len(pages),
    )


def _patches(source: UnitsSource) -> Iterator[Patch]:
    return (patch for layer in source.layers for unit in layer.units for patch in unit.patches)


# ---- pages -----------------------------------------------------------------------------------------------------------


def _pages(source: UnitsSource) -> Iterator[Page]:
    """Every page of the site, the index first."""
    yield Page("units.html", ["index.html"], 1, {})
    for layer in source.layers:
        first = f"layers/{layer.slug}"
        count = max(1, -(-len(layer.units) // UNITS_PER_PAGE))
        names = [f"{first}.html", *(f"{first}.{number}.html" for number in range(2, count + 1))]
        for number in range(1, count + 1):
            shown = layer.units[(number - 1) * UNITS_PER_PAGE : number * UNITS_PER_PAGE]
            yield Page("units_layer.html", names, number, {"layer": layer, "items": shown})
            for place, unit in enumerate(shown, (number - 1) * UNITS_PER_PAGE):
                around = {
                    "before": layer.units[place - 1] if place else None,
                    "after": layer.units[place + 1] if place + 1 < len(layer.units) else None,
                    "home": names[number - 1],
                }
                yield Page("units_unit.html", [layer.page_of(unit)], 1, {"layer": layer, "unit": unit, **around})


def _renderer(source: UnitsSource, gone: set[str]) -> Callable[[Page], bytes]:
    templates = environment()
    links = {image: words.original(photo.uri) for image, photo in source.photos.items()}
    templates.globals |= {"source": source, "gone": gone, "links": links, "policy": style_policy("")}

    def render(page: Page) -> bytes:
        root = "../" * page.name.count("/")
        return templates.get_template(page.template).render(page.content, page=page, root=root).encode()

    return render


# ---- pictures --------------------------------------------------------------------------------------------------------


def _write_pictures(source: UnitsSource, site: Site, cut: Mapping[str, Iterable[Patch]]) -> set[str]:
    """Cut what is not there yet, one photo after the other. The image_ids of those that are gone."""
    files = {image: {photo_file(image), *(patch.file for patch in patches)} for image, patches in cut.items()}
    missing = site.missing(set().union(*files.values()))
    wanted = {image for image, names in files.items() if names & missing}
    left = set(wanted)
    for image, picture in _pictures(source, wanted):
        left.discard(image)
        photo = source.photos[image]
        site.write(photo_file(image), _jpeg(_fitted(picture, THUMB)))
        for patch in cut[image]:
            if patch.file in missing:
                site.write(patch.file, _jpeg(_cut(picture, patch.box, photo)))
    return left


def _pictures(source: UnitsSource, wanted: set[str]) -> Iterator[tuple[str, Image.Image]]:
    """Photos by their previews; those without one from where they lie. What cannot be read is left out."""
    done = set(tables.committed(source.library, source.previews)) if source.previews else set()
    for shard in source.shards:
        seen = set()
        if shard in done and source.previews:
            rows = tables.read(source.library, "previews", source.previews, ["image_id", "jpeg"], [shard])
            for image, data in (
                zip(*(rows[name].to_pylist() for name in ("image_id", "jpeg")), strict=True) if rows else ()
            ):
                if image in wanted:
                    seen.add(image)
                    yield image, Image.open(io.BytesIO(data)).convert("RGB")
        yield from _originals(source.library, shard, wanted - seen)


def _originals(library: LibraryFiles, shard: str, wanted: set[str]) -> Iterator[tuple[str, Image.Image]]:
    table = manifest.read_shard(library, shard)
    reader = Reader(table["uri"].to_pylist())
    for image, (uri, origin) in zip(table["image_id"].to_pylist(), manifest.named(library, table), strict=True):
        if image in wanted:
            try:
                photo = decode.decode(reader.read(uri, origin), THUMB * 2)
            except ImageError:
                continue
            yield image, Image.fromarray(in_srgb(photo.pixels, photo.profile))


def _cut(picture: Image.Image, box: Box, photo: Photo) -> Image.Image:
    """The box of a photo, from a copy of it of any size."""
    scale = picture.width / photo.width, picture.height / photo.height
    x0, y0 = (min(max(0.0, each * s), side - 1) for each, s, side in zip(box[:2], scale, picture.size, strict=True))
    x1, y1 = (
        min(side, max(low + 1, each * s))
        for each, s, side, low in zip(box[2:], scale, picture.size, (x0, y0), strict=True)
    )
    factor = PATCH / max(x1 - x0, y1 - y0)
    size = max(1, round((x1 - x0) * factor)), max(1, round((y1 - y0) * factor))
    return picture.resize(size, Image.Resampling.BICUBIC, (x0, y0, x1, y1))


def _fitted(picture: Image.Image, side: int) -> Image.Image:
    small = picture.copy()
    small.thumbnail((side, side))
    return small


def _jpeg(picture: Image.Image) -> bytes:
    sink = io.BytesIO()
    picture.save(sink, "JPEG", quality=85)
    return sink.getvalue()


def _png(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()
