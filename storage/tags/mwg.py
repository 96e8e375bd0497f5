"""Regions of the Metadata Working Group: where they stand in a document, and where in the photo.

Guidelines for Handling Image Metadata 2.0 (2010), 5.9: a region's `Area` has its centre, width and height as parts of
the image. "Region metadata is applied to the stored image", so before EXIF's orientation turns it.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from muster.storage.tags.elements import Attribute, Element, SidecarError

RDF, MWG = "http://www.w3.org/1999/02/22-rdf-syntax-ns#", "http://www.metadataworkinggroup.com/schemas/regions/"
AREA, SIZE = "http://ns.adobe.com/xmp/sType/Area#", "http://ns.adobe.com/xap/1.0/sType/Dimensions#"
OWN = "urn:muster:regions#"  # of the marks by which ours are known

Area = tuple[float, float, float, float]  # x, y of the centre, width, height; parts of the stored image
Box = tuple[float, float, float, float]  # x0, y0, x1, y1
Field = Attribute | Element


@dataclass(frozen=True, slots=True)
class Frame:
    """`width`, `height`: of the full-size upright image. `orientation`: 1..8, as EXIF counts."""

    width: int
    height: int
    orientation: int = 1

    @property
    def stored(self) -> tuple[int, int]:
        """Width and height before the orientation turns it."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def stored_area(box_xyxy: Box, frame: Frame) -> Area | None:
    """Where a box of upright pixels is in the stored image, to a millionth; what reaches past its edge is cut off. None
    where nothing of it is in the image."""
    x0, x1 = (min(max(x / frame.width, 0.0), 1.0) for x in (box_xyxy[0], box_xyxy[2]))
    y0, y1 = (min(max(y / frame.height, 0.0), 1.0) for y in (box_xyxy[1], box_xyxy[3]))
    if not (x1 > x0 and y1 > y0):
        return None
    corners = [_turned_back(frame.orientation, x, y) for x, y in ((x0, y0), (x1, y1))]
    (left, right), (top, bottom) = (sorted(values) for values in zip(*corners, strict=True))
    x, y, width, height = (round(v, 6) for v in ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top))
    return (x, y, width, height) if width and height else None


def _turned_back(orientation: int, x: float, y: float) -> tuple[float, float]:
    """Where an upright point is stored: the way back of EXIF 2.3, 4.6.4 (Orientation). Both as parts of the image."""
    match orientation:
        case 2:
            return 1 - x, y
        case 3:
            return 1 - x, 1 - y
        case 4:
            return x, 1 - y
        case 5:
            return y, x
        case 6:
            return y, 1 - x
        case 7:
            return 1 - y, 1 - x
        case 8:
            return 1 - y, x
    return x, y


def overlap(one: Area, other: Area) -> float:
    """Intersection over union."""
    sides = [
        min(one[at] + one[at + 2] / 2, other[at] + other[at + 2] / 2)
        - max(one[at] - one[at + 2] / 2, other[at] - other[at + 2] / 2)
        for at in (0, 1)
    ]
    both = max(0.0, sides[0]) * max(0.0, sides[1])
    union = one[2] * one[3] + other[2] * other[3] - both
    return both / union if union > 0 else 0.0


# ---- in a document ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Region:
    """A region of a document, and where its fields stand. `was`, `wrote`: our marks, see `is_ours`."""

    element: Element
    name: Field | None
    area: Area | None
    was: Field | None
    wrote: Field | None

    @property
    def said(self) -> str:
        return value_of(self.name)

    @property
    def is_ours(self) -> bool:
        """Whether it is as we wrote it, or as we named it (`was`: what it was called before)."""
        kinds = {type(each) for each in (self.name, self.wrote, self.was or self.wrote)}
        return self.area is not None and value_of(self.wrote) == digest(self.said, self.area) and len(kinds) == 1


@dataclass(slots=True)
class RegionList:
    """`description`: the rdf:Description that it is a property of. `bag`: what the regions stand in."""

    description: Element
    bag: Element
    regions: list[Region]


def rdf_of(root: Element) -> Element:
    """The element that all of XMP stands in."""
    name = f"{RDF} RDF"
    found = root if root.name == name else next(root.below(name), None)
    if found is None:
        raise SidecarError("it is no XMP: there is no rdf:RDF in it")
    return found


def lists_of(rdf: Element) -> Iterator[RegionList]:
    """All lists of regions. SidecarError where one has a form that has no place for more."""
    for description in rdf.below(f"{RDF} Description"):
        if any(each.name == f"{MWG} Regions" for each in description.attributes):
            raise SidecarError("its regions stand elsewhere (rdf:resource)")
        for regions in description.below(f"{MWG} Regions"):
            above = _field(regions, f"{MWG} RegionList")
            bags = above.children if isinstance(above, Element) else []
            if len(bags) != 1 or bags[0].name not in {f"{RDF} {kind}" for kind in ("Bag", "Seq", "Alt")}:
                raise SidecarError("its list of regions has a form that has no place for more")
            yield RegionList(description, bags[0], [_region(each) for each in bags[0].below(f"{RDF} li")])


def _region(element: Element) -> Region:
    name, was, wrote = (_field(element, each) for each in (f"{MWG} Name", f"{OWN} Was", f"{OWN} Wrote"))
    return Region(element, name, _area(_field(element, f"{MWG} Area")), was, wrote)


def _field(struct: Element, name: str) -> Field | None:
    """A field of a structure: an attribute or element in it, or in the rdf:Description in it."""
    for holder in (struct, *struct.below(f"{RDF} Description")):
        attribute = next((each for each in holder.attributes if each.name == name), None)
        if (found := attribute or next(holder.below(name), None)) is not None:
            return found
    return None


def value_of(found: Field | None) -> str:
    """Its text; "" also where it holds more than text."""
    if isinstance(found, Element):
        return "" if found.children else found.text
    return found.value if found else ""


def _area(found: Field | None) -> Area | None:
    if not isinstance(found, Element):
        return None
    try:
        x, y, width, height = (float(value_of(_field(found, f"{AREA} {key}"))) for key in "xywh")
    except ValueError:
        return None
    return (x, y, width, height)


def digest(name: str, area: Area) -> str:
    """By which a region is known as ours, as long as nobody changes its name or place."""
    return hashlib.sha256("\n".join([*(f"{value:.6f}" for value in area), name]).encode()).hexdigest()[:16]
