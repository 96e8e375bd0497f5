"""Regions of the Metadata Working Group: their names in XML, where they are in a photo, and how ours are known.

Guidelines for Handling Image Metadata 2.0 (2010), 5.9: a region's `Area` has its centre, width and height as parts of
the image. "Region metadata is applied to the stored image", so before EXIF's orientation turns it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

RDF, MWG = "http://www.w3.org/1999/02/22-rdf-syntax-ns#", "http://www.metadataworkinggroup.com/schemas/regions/"
AREA, SIZE = "http://ns.adobe.com/xmp/sType/Area#", "http://ns.adobe.com/xap/1.0/sType/Dimensions#"
FACES = ("face", "")  # types of regions that are of a person; others are pets, what was in focus, bar codes
OWN = "urn:muster:regions#"  # of the marks by which ours are known

SHAPE = 0.02  # by which shapes (width ÷ height) may differ and be one

Area = tuple[float, float, float, float]  # x, y of the centre, width, height; parts of the stored image
Box = tuple[float, float, float, float]  # x0, y0, x1, y1


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

    def of(self, applied_to: Sequence[float]) -> "Frame":
        """The frame of regions that were drawn in a picture of this size: upright already, where only that fits. So
        write some, and readers (ours in `regions`) tell it by the size."""
        if self.orientation < 5 or not applied_to or min(applied_to) <= 0:
            return self
        shape, upright = applied_to[0] / applied_to[1], self.width / self.height
        stands = abs(shape / upright - 1) <= SHAPE < abs(shape * upright - 1)
        return Frame(self.width, self.height) if stands else self


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


def mark(name: str, area: Area, writer: str) -> str:
    """By which a region is known as written by `writer`, as long as nobody changes its name or place."""
    said = "\n".join([writer, *(f"{value:.6f}" for value in area), name])
    return hashlib.sha256(said.encode()).hexdigest()[:16]
