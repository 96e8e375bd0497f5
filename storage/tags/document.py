"""Where the regions of an XMP document stand in it, in whichever of RDF's forms they were written."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from muster.storage.tags.elements import Attribute, Element, SidecarError
from muster.storage.tags.mwg import AREA, MWG, OWN, RDF, SIZE, Area, mark

Field = Attribute | Element


@dataclass(slots=True)
class Region:
    """A region of a document, and where its fields stand. `kind`: Face, Pet, …; "" where it does not say. `was`,
    `wrote`: our marks, see `is_of`."""

    element: Element
    name: Field | None
    area: Area | None
    kind: str
    was: Field | None
    wrote: Field | None

    @property
    def said(self) -> str:
        return value_of(self.name)

    def is_of(self, writer: str) -> bool:
        """Whether it is as this writer wrote it, or as it named it (`was`: what it was called before)."""
        kinds = {type(each) for each in (self.name, self.wrote, self.was or self.wrote)}
        marked = self.area is not None and value_of(self.wrote) == mark(self.said, self.area, writer)
        return marked and len(kinds) == 1


@dataclass(slots=True)
class RegionList:
    """`description`: the rdf:Description that it is a property of. `bag`: what the regions stand in. `applied_to`:
    width and height of the picture that they were drawn in; empty where they are no numbers."""

    description: Element
    bag: Element
    regions: list[Region]
    applied_to: tuple[float, ...]


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
            applied_to = _numbers(_field(regions, f"{MWG} AppliedToDimensions"), (f"{SIZE} w", f"{SIZE} h"))
            yield RegionList(description, bags[0], [_region(each) for each in bags[0].below(f"{RDF} li")], applied_to)


def _region(element: Element) -> Region:
    name, was, wrote = (_field(element, each) for each in (f"{MWG} Name", f"{OWN} Was", f"{OWN} Wrote"))
    area, kind = _area(_field(element, f"{MWG} Area")), value_of(_field(element, f"{MWG} Type")).strip()
    return Region(element, name, area, kind, was, wrote)


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
    numbers = _numbers(found, [f"{AREA} {key}" for key in "xywh"])
    return (numbers[0], numbers[1], numbers[2], numbers[3]) if numbers else None


def _numbers(struct: Field | None, names: Sequence[str]) -> tuple[float, ...]:
    """Those fields of a structure; empty where one is no number."""
    if not isinstance(struct, Element):
        return ()
    try:
        return tuple(float(value_of(_field(struct, name))) for name in names)
    except ValueError:
        return ()
