"""Where regions are in the upright picture, whichever way they were written.

Guidelines 2.0 of the Metadata Working Group (5.9): "Region metadata is applied to the stored image", so regions count
from the corner where the stored pixels begin. digiKam keeps to it; others write regions of the picture that they show.
What tells them apart: see ADR 35.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

from muster.storage.people.boxes import overlap
from muster.storage.tags.said import Area, Box

SHAPE = 0.02  # by which shapes (width ÷ height) may differ and be one: 320×213 is a small copy of 6000×4000
SAME_PLACE = 0.5  # IoU from which on two regions are one that two schemas have
CUT = 0.01  # of a region's area that may lie outside of the image without a word: rounding

STORED, UPRIGHT = False, True


@dataclass(frozen=True)
class Picture:
    """`width`, `height`: full-size upright pixels. `orientation`: EXIF's 1..8, how the stored pixels are turned."""

    width: int
    height: int
    orientation: int = 1

    @property
    def swapped(self) -> bool:
        return self.orientation >= 5


@dataclass(frozen=True)
class Region:
    """`box`: x0, y0, x1, y1 in full-size upright pixels, inside the image. `name`: None where nobody is named."""

    name: str | None
    type: str
    box: Box
    origin: str


@dataclass
class Placed:
    """`people`: names of regions that have no place in this picture."""

    regions: list[Region] = field(default_factory=list)
    people: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def place(areas: Sequence[Area], picture: Picture | None) -> Placed:
    """The regions of one file in a picture, each once; `picture`: None where it cannot be read."""
    placed = Placed()
    if picture is None and areas:
        placed.remarks.append("regions without a place: the size of the image is not known")
    fits = [picture is not None and _fits(area, picture, placed) for area in areas]
    placed.people += [area.name for area, fit in zip(areas, fits, strict=True) if area.name is not None and not fit]
    if picture is not None:
        fitting = [area for area, fit in zip(areas, fits, strict=True) if fit]
        _add(placed, _turned(fitting, picture), picture)
    named = {region.name.casefold() for region in placed.regions if region.name}
    placed.people = [name for name in dict.fromkeys(placed.people) if name.casefold() not in named]
    placed.remarks = list(dict.fromkeys(placed.remarks))
    return placed


def upright(box: Box, orientation: int) -> Box:
    """A box in parts of the stored picture, in parts of the upright one."""
    x0, y0, x1, y1 = box
    if orientation >= 5:
        x0, y0, x1, y1 = y0, x0, y1, x1
    if orientation in (2, 3, 6, 7):
        x0, x1 = 1 - x1, 1 - x0
    if orientation in (3, 4, 7, 8):
        y0, y1 = 1 - y1, 1 - y0
    return x0, y0, x1, y1


def _size(box: Box) -> float:
    return max(box[2] - box[0], 0) * max(box[3] - box[1], 0)


# ---- which way ------------------------------------------------------------------------------------------------------


def _shapes(picture: Picture) -> tuple[float, float]:
    """Width ÷ height of the stored picture, and of the upright one."""
    ratio = picture.width / picture.height
    return (1 / ratio if picture.swapped else ratio), ratio


def _alike(one: float, other: float) -> bool:
    return abs(one / other - 1) <= SHAPE


def _fits(area: Area, picture: Picture, placed: Placed) -> bool:
    """Whether it has a place in this picture; what is odd of its dimensions is said."""
    if area.box is None:
        return False
    if area.applied_to is None:
        return True
    width, height = area.applied_to
    said = f"regions were drawn in a picture of {width:g}×{height:g}, and this one is {picture.width}×{picture.height}"
    if not any(_alike(width / height, shape) for shape in _shapes(picture)):
        turned = _alike(height / width, _shapes(picture)[1])
        placed.remarks.append(f"{said}: {'turned' if turned else 'cropped'} since, so that they have no place")
        return False
    if sorted((width, height)) != sorted((picture.width, picture.height)):
        placed.remarks.append(said)
    return True


def _frames(areas: Sequence[Area], picture: Picture) -> tuple[bool, ...]:
    """Which pictures regions of one schema may be of, the likelier one first: the one whose shape they have."""
    if picture.orientation == 1:
        return (STORED,)
    for area in areas:
        if area.applied_to is not None:
            stored, shown = (_alike(area.applied_to[0] / area.applied_to[1], shape) for shape in _shapes(picture))
            if stored != shown:
                return (STORED,) if stored else (UPRIGHT,)
    return STORED, UPRIGHT


def _turned(areas: Sequence[Area], picture: Picture) -> list[tuple[Area, Box]]:
    """Each with its box in parts of the upright picture: of the ways that may be, the first in which the schemas agree
    best."""
    origins = list(dict.fromkeys(area.origin for area in areas))
    ways = product(*(_frames([area for area in areas if area.origin == each], picture) for each in origins))
    turned = [[(area, _box(area, picture, dict(zip(origins, way, strict=True)))) for area in areas] for way in ways]
    return max(turned, key=_agreement) if turned else []


def _box(area: Area, picture: Picture, frames: dict[str, bool]) -> Box:
    assert area.box is not None
    frame = frames[area.origin]
    box = _in_parts(area.box, area.applied_to or _dimensions(picture, frame)) if area.pixels else area.box
    return box if frame is UPRIGHT else upright(box, picture.orientation)


def _dimensions(picture: Picture, frame: bool) -> tuple[float, float]:
    size = float(picture.width), float(picture.height)
    return size[::-1] if picture.swapped and frame is STORED else size


def _in_parts(box: Box, size: tuple[float, float]) -> Box:
    return box[0] / size[0], box[1] / size[1], box[2] / size[0], box[3] / size[1]


def _agreement(turned: Sequence[tuple[Area, Box]]) -> float:
    """How much regions of several schemas overlap that have one name."""
    named: dict[str, list[tuple[Area, Box]]] = {}
    for area, box in turned:
        named.setdefault(area.name or "", []).append((area, box))
    pairs = ((a, b) for some in named.values() for a, b in _pairs(some))
    return round(sum(overlap(a[1], b[1]) for a, b in pairs if a[0].origin != b[0].origin), 6)


def _pairs(some: Sequence[tuple[Area, Box]]) -> Iterator[tuple[tuple[Area, Box], tuple[Area, Box]]]:
    few = some[:32]  # of one name: more is nobody's photo
    return ((a, b) for i, a in enumerate(few) for b in few[i + 1 :])


# ---- pixels ---------------------------------------------------------------------------------------------------------


def _add(placed: Placed, turned: Iterable[tuple[Area, Box]], picture: Picture) -> None:
    for area, box in turned:
        whole = box[0] * picture.width, box[1] * picture.height, box[2] * picture.width, box[3] * picture.height
        inside = _inside(whole, picture)
        if _size(inside) < max(_size(whole) * CUT, 1):
            placed.remarks.append("a region lies outside the image")
            placed.people += [area.name] if area.name else []
            continue
        if _size(inside) < (1 - CUT) * _size(whole):
            placed.remarks.append("a region reaches out of the image")
        _join(placed, Region(area.name, area.type, inside, area.origin))


def _inside(box: Box, picture: Picture) -> Box:
    x0, x1 = (min(max(x, 0.0), float(picture.width)) for x in (box[0], box[2]))
    y0, y1 = (min(max(y, 0.0), float(picture.height)) for y in (box[1], box[3]))
    return x0, y0, x1, y1


def _join(placed: Placed, region: Region) -> None:
    """Add a region that was not said already, by another schema or twice."""
    others = (each for each in placed.regions if each.origin != region.origin or each.name == region.name)
    same = max(others, key=lambda each: overlap(each.box, region.box), default=None)
    if same is None or overlap(same.box, region.box) < SAME_PLACE:
        placed.regions.append(region)
    elif same.name is None and region.name is not None:
        placed.regions[placed.regions.index(same)] = Region(region.name, same.type, same.box, same.origin)
    elif region.name is not None and same.name is not None and same.name.casefold() != region.name.casefold():
        placed.remarks.append("two names for one place: the first counts")
