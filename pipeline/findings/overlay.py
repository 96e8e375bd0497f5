"""Pictures to look at: what tasks found, drawn into copies of a sample of photos, and all of these on one sheet."""

import colorsys
import hashlib
import heapq
import math
import os
import textwrap
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from muster.arrays import Pixels
from muster.colour import in_srgb
from muster.errors import ImageError, InputError, NotYetError
from muster.pipeline.findings.annotations import Annotations, annotations_of
from muster.pipeline.findings.sources import require_tasks, tasks_of
from muster.storage.exchange.formats import check_out
from muster.storage.exchange.photo import AnnotatedPhoto, Finding, public_uri
from muster.storage.library import LibraryFiles, open_library
from muster.storage.new_files import new_folder
from muster.storage.photos import decode
from muster.storage.photos.reader import Reader
from muster.tasks.geometry import rle

SIDES = (640, 1280)  # longest side of a picture, pixels: smaller photos are enlarged, or the text would cover them
TILE = 480  # of one on the sheet
ON_SHEET = 100  # at most
NAME = 30  # letters of a person's name that are drawn

Colour = tuple[int, int, int]
Rectangle = tuple[float, float, float, float]
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def overlay(
    uri: str, out: Path, tasks: Sequence[str], models: Mapping[str, str], count: int, seed: int
) -> dict[str, Any]:
    """Draw `count` photos, chosen by `seed`, into the folder `out`; `tasks`: those that the library has, where empty.

    The sheet shows the first ON_SHEET. `unreadable`: photos of the sample that are gone or changed since. InputError
    before anything is written.
    """
    if count < 1:
        raise InputError(f"`sample` {count}: at least 1 photo is needed")
    out = Path(os.path.expanduser(out))
    library = open_library(uri)
    check_out(out, library, folder=True)
    require_tasks(library, tasks, lambda findings: findings.drawn)
    annotations = annotations_of(library, tasks or tasks_there(library), models)
    pictures: list[Image.Image] = []
    reader, drawings, finds, unreadable = Reader(), 0, 0, []
    with new_folder(out) as folder:
        for photo in sample(annotations, count, seed):
            try:
                pixels = _pixels(reader, photo)
            except ImageError as error:
                unreadable.append({"uri": public_uri(photo.uri), "error": str(error)})
                continue
            drawings += 1
            name = f"{drawings:03d}-{PurePosixPath(photo.name).stem[:60]}.jpg"
            _save(drawn(within(pixels, *SIDES), photo), folder / name)
            if drawings <= ON_SHEET:
                pictures.append(drawn(within(pixels, TILE, TILE), photo))
            finds += len(photo.findings)
        _save(sheet(pictures), folder / "overview.jpg")
    return {
        "out": str(out),
        "overview": str(out / "overview.jpg"),
        "images": drawings,
        "things": finds,
        "unreadable": unreadable,
        "library": public_uri(library.uri),
        "sources": [vars(source) for source in annotations.sources],
    }


def _pixels(reader: Reader, photo: AnnotatedPhoto) -> Pixels:
    """Of the file as it was looked at, in sRGB; ImageError where it is gone or another one."""
    decoded = decode.decode(reader.read(photo.uri, photo.source), SIDES[1])
    if photo.sha256 not in (None, decoded.sha256):
        raise ImageError("changed", f"{photo.uri} is another file than when it was looked at")
    return in_srgb(decoded.pixels, decoded.profile)


def _save(picture: Image.Image, path: Path) -> None:
    with open(path, "xb") as file:
        picture.save(file, "JPEG", quality=90)


def tasks_there(library: LibraryFiles) -> tuple[str, ...]:
    """The tasks that can be drawn and that this library has rows of, as they are drawn; InputError for none."""
    there = tuple(tasks_of(library, lambda findings: findings.drawn))
    if not there:
        raise NotYetError(f"library {library.uri} has nothing to draw yet", "run", library.uri)
    return there


def sample(annotations: Annotations, count: int, seed: int) -> list[AnnotatedPhoto]:
    """As many photos as that, in order of their names: the same for the same seed, whatever the shards."""
    ranked = (
        (hashlib.sha256(f"{seed} {photo.image_id}".encode()).digest(), shard, photo.image_id)
        for shard, _ in annotations.shards
        for photo in annotations.empty_photos(shard)
    )
    best = heapq.nsmallest(count, ranked)
    chosen = {image_id for *_, image_id in best}
    found = annotations.photos(sorted({shard for _, shard, _ in best}))
    return sorted((photo for photo in found if photo.image_id in chosen), key=lambda photo: photo.name)


# ---- drawing ---------------------------------------------------------------------------------------------------------


def drawn(pixels: Pixels, photo: AnnotatedPhoto) -> Image.Image:
    """uint8 RGB (H, W, 3), the photo at any size → the same with its findings drawn into it."""
    height, width = pixels.shape[:2]
    factor = width / photo.width, height / photo.height
    findings = sorted(photo.findings, key=_layer)
    for finding in findings:
        if finding.rle is not None:
            pixels = tinted(pixels, rle.decode(rle.resized(finding.rle, height, width)) == 1, colour_of(finding.label))
    picture = Image.fromarray(pixels)
    pen = _Pen(picture)
    for finding in findings:
        if finding.rle is None and not finding.whole:
            pen.rectangle(_scaled(finding.box, factor), colour_of(finding.label))
        for x, y in finding.landmarks:
            pen.dot(x * factor[0], y * factor[1], colour_of(finding.label))
    for finding in sorted(findings, key=lambda finding: -(finding.score or 1)):  # the surest find their places first
        if finding.whole:
            pen.corner(finding.label)
        else:
            pen.label(_text(finding), _scaled(finding.box, factor), colour_of(finding.label))
    return picture


def _layer(finding: Finding) -> int:
    """Masks come first, boxes upon them, and boxes with points in them upon these."""
    return 0 if finding.whole else 1 if finding.rle is not None else 3 if finding.landmarks else 2


def within(pixels: Pixels, least: int, most: int) -> Pixels:
    """uint8 RGB (H, W, 3) → the same with its longest side between these."""
    height, width = pixels.shape[:2]
    side = max(height, width)
    factor = min(max(side, least), most) / side
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC, reducing_gap=2))


def _text(finding: Finding) -> str:
    score = "" if finding.score is None else f" {finding.score:.2f}"
    if finding.person_name:
        return textwrap.shorten(finding.person_name, NAME, placeholder="…")
    return f"{finding.label}{'' if finding.rle is None else ' mask'}{score}"


def _scaled(box: Rectangle, factor: tuple[float, float]) -> Rectangle:
    across, down = factor
    return box[0] * across, box[1] * down, box[2] * across, box[3] * down


def colour_of(label: str) -> Colour:
    """A bright colour that is always the same for one class."""
    red, green, blue = colorsys.hsv_to_rgb(zlib.crc32(label.encode()) / 2**32, 0.85, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def tinted(pixels: Pixels, mask: np.ndarray[Any, np.dtype[np.bool_]], colour: Colour) -> Pixels:
    """With the pixels of the mask, (H, W), mixed with a colour, and its outline in it, black outside."""
    mixed = pixels.copy()
    mixed[mask] = (0.65 * pixels[mask] + 0.35 * np.array(colour)).astype(np.uint8)
    mixed[_grown(mask, 2) & ~mask] = BLACK
    mixed[mask & _grown(~mask, 2)] = colour
    return mixed


def _grown(mask: np.ndarray[Any, np.dtype[np.bool_]], by: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """The mask and what lies at most `by` pixels beside it: 3 ms for 1280 x 1280 pixels, where
    scipy.ndimage.binary_dilation takes 180."""
    for _ in range(by):
        grown = mask.copy()
        grown[1:] |= mask[:-1]
        grown[:-1] |= mask[1:]
        grown[:, 1:] |= mask[:, :-1]
        grown[:, :-1] |= mask[:, 1:]
        mask = grown
    return mask


class _Pen:
    """Draws so that it can be seen on light and dark: colours have a black rim, and text a ground of its own."""

    def __init__(self, picture: Image.Image) -> None:
        self.draw, self.width, self.height = ImageDraw.Draw(picture), picture.width, picture.height
        self.font = ImageFont.load_default(max(11, round(max(picture.size) / 70)))
        self.taken: list[Rectangle] = []

    def rectangle(self, box: Rectangle, colour: Colour) -> None:
        # Pillow refuses a rectangle whose right side is left of its left one, and its lines grow inwards.
        x0, y0, x1, y1 = (
            round(box[0]),
            round(box[1]),
            max(round(box[2]), round(box[0])),
            max(round(box[3]), round(box[1])),
        )
        self.draw.rectangle((x0 - 1, y0 - 1, x1 + 1, y1 + 1), outline=BLACK, width=5)
        self.draw.rectangle((x0, y0, x1, y1), outline=colour, width=3)

    def dot(self, x: float, y: float, colour: Colour) -> None:
        self.draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=colour, outline=BLACK)

    def corner(self, text: str) -> None:
        self._write(text, self._around(text, 4, 4), BLACK)

    def label(self, text: str, box: Rectangle, colour: Colour) -> None:
        """Above the box, in it at the top or the bottom, or below it: where no other text is, and else in it."""
        x0, y0, x1, y1 = box
        _, _, wide, high = self._around(text, 0, 0)
        places = [self._around(text, x, y) for y in (y0 - high, y0, y1 - high, y1) for x in (x0, x1 - wide)]
        free = [place for place in places if self._is_free(place)]
        self._write(text, free[0] if free else places[2], colour)

    def _around(self, text: str, x: float, y: float) -> Rectangle:
        """The ground of a text, moved into the picture from the right."""
        _, _, right, bottom = self.draw.textbbox((0, 0), text, font=self.font)
        wide, high = right + 6, bottom + 5
        x = max(0, min(x, self.width - wide))
        return x, y, x + wide, y + high

    def _is_free(self, place: Rectangle) -> bool:
        x0, y0, x1, y1 = place
        inside = y0 >= 0 and y1 <= self.height
        return inside and not any(x0 < b[2] and b[0] < x1 and y0 < b[3] and b[1] < y1 for b in self.taken)

    def _write(self, text: str, place: Rectangle, colour: Colour) -> None:
        self.taken.append(place)
        self.draw.rectangle(place, fill=colour, outline=BLACK)
        bright = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 128
        at = round(place[0]) + 3, round(place[1]) + 2  # between pixels Pillow refuses some texts without ink
        self.draw.text(at, text, fill=BLACK if bright else WHITE, font=self.font)


def sheet(pictures: Sequence[Image.Image]) -> Image.Image:
    """All on one picture, in rows, as near to a square as whole rows allow."""
    across = math.ceil(math.sqrt(len(pictures))) or 1
    down = math.ceil(len(pictures) / across) or 1
    page = Image.new("RGB", (across * TILE, down * TILE), (32, 32, 32))
    for i, picture in enumerate(pictures):
        x, y = i % across * TILE, i // across * TILE
        page.paste(picture, (x + (TILE - picture.width) // 2, y + (TILE - picture.height) // 2))
    return page
