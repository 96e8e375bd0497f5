"""Names of people as regions in an XMP document, beside what others wrote there (docs/adr/0036-sidecars.md).

Nothing is written anew: pieces are put in and taken out by their place in the bytes. What is ours is known by a digest
of its name and place that stands in it; so it can be taken out to the byte, and is no longer ours where somebody has
changed it. `merged` takes out all of ours before it puts in what is to be there now: so it gives the same again.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from xml.sax.saxutils import escape, quoteattr

from muster.storage.tags.elements import Attribute, Element, SidecarError, from_utf8, parse, to_utf8
from muster.storage.tags.mwg import (
    AREA,
    MWG,
    OWN,
    RDF,
    SIZE,
    Area,
    Box,
    Frame,
    Region,
    RegionList,
    digest,
    lists_of,
    overlap,
    rdf_of,
    stored_area,
    value_of,
)
from muster.storage.texts import normal

SAME_FACE = 0.3  # of two boxes, intersection over union: some programs draw them from the eyes, some around all hair
_PREFIXES = {"rdf": RDF, "mwg-rs": MWG, "stArea": AREA, "stDim": SIZE, "muster": OWN}
_OF_A_REGION = ("rdf", "mwg-rs", "stArea", "muster")
_DECLARATION = f' xmlns:muster="{OWN}"'.encode()
_NEW = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Muster">
<rdf:RDF xmlns:rdf="{RDF}">
</rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
""".encode()
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, 2.2
_BLANKS = {"\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}  # that a parser would make other blanks of
_INDENT = re.compile(rb"(?:\r\n|\n|\r)[ \t]*\Z")
_LONGEST_INDENT = 1000  # bytes
_EMPTY_BEFORE = b" >"  # how the end tag ends that we gave to an element which had none

Edit = tuple[int, int, bytes]  # start, end, what stands there then


@dataclass(frozen=True, slots=True)
class NamedFace:
    """`box_xyxy`: in pixels of the full-size upright image."""

    name: str
    box_xyxy: Box


@dataclass(slots=True)
class Merged:
    """`data`: the document; None where there is to be none. `written`, `there` (others wrote the same), `renamed` (the
    name of others gave way) and `outside` (the image) count faces; `otherwise`: names that stay, (theirs, ours)."""

    data: bytes | None = None
    written: int = 0
    there: int = 0
    renamed: int = 0
    outside: int = 0
    otherwise: list[tuple[str, str]] = field(default_factory=list)


def merged(existing: bytes | None, faces: Sequence[NamedFace], frame: Frame, overruled: Collection[str] = ()) -> Merged:
    """The document with these faces, and with no others of ours.

    Regions of others stay. One that calls the same face by another name keeps that, and ours is left out (`otherwise`),
    unless the name is in `overruled`: then it gives way, and comes back when ours is taken back. SidecarError where the
    document cannot be understood, or not be changed without harm.
    """
    utf8, codec = to_utf8(_NEW if existing is None else existing)
    base, before = _without_ours(utf8)
    result, edits = _additions(base, faces, frame, {normal(name).strip() for name in (*overruled, *before)})
    now = _edited(base, edits)
    if now != base and _without_ours(now)[0] != base:
        raise SidecarError("it cannot be changed so that the change could be taken back")
    result.data = None if now == _NEW else from_utf8(now, codec)
    return result


def _edited(data: bytes, edits: Iterable[Edit]) -> bytes:
    """All at once; edits at one place in their order."""
    pieces, at = [], 0
    for start, end, new in sorted(edits, key=lambda edit: edit[:2]):
        pieces += [data[at:start], new]
        at = end
    return b"".join([*pieces, data[at:]])


def _indent(data: bytes, at: int) -> bytes:
    """The line break and blanks before `at`; empty where something else stands on its line."""
    found = _INDENT.search(data[max(0, at - _LONGEST_INDENT) : at])
    return found[0] if found else b""


# ---- taking ours out -------------------------------------------------------------------------------------------------


def _without_ours(data: bytes) -> tuple[bytes, list[str]]:
    """The document as if we had never been there, and the names of others that ours stand in the place of."""
    if OWN.encode() not in data:
        return data, []
    rdf = rdf_of(parse(data))
    edits, names = list[Edit](), list[str]()
    for each in lists_of(rdf):
        ours = [region for region in each.regions if region.is_ours]
        names += [value_of(region.was) for region in ours if region.was]
        edits += _removals(data, rdf, each, [region.element for region in ours if not region.was])
        edits += [edit for region in ours if region.was for edit in _restored(data, region)]
    return _edited(data, edits), names


def _removals(data: bytes, rdf: Element, each: RegionList, ours: Sequence[Element]) -> list[Edit]:
    description = each.description
    made = {attribute.name for attribute in description.attributes} == {f"{RDF} about", f"{OWN} Made"}
    if made and len(ours) == len(each.bag.children) and len(description.children) == 1:
        return _pieces(data, rdf, [description])
    return _pieces(data, each.bag, ours)


def _pieces(data: bytes, holder: Element, gone: Sequence[Element]) -> list[Edit]:
    """Where these elements stand, with what was put in with them."""
    pieces = []
    for element in gone:
        indent = _indent(data, element.start)
        pieces.append((element.start, element.end + len(indent) * data.startswith(indent, element.end), b""))
    bounds = [(-1, holder.inside), *((start, end) for start, end, _ in pieces), (holder.close, -1)]
    alone = all(one[1] == next[0] for one, next in pairwise(bounds))
    if gone and alone and data[holder.close : holder.end].endswith(_EMPTY_BEFORE):
        return [(holder.inside - 1, holder.end, b"/>")]
    return pieces


def _restored(data: bytes, region: Region) -> list[Edit]:
    """The name that others gave, in the place of ours."""
    name, was, wrote = region.name, region.was, region.wrote
    if isinstance(name, Attribute) and isinstance(was, Attribute) and isinstance(wrote, Attribute):
        declared = was.start - len(_DECLARATION) * data.endswith(_DECLARATION, 0, was.start)
        return [
            (name.value_start, name.end, data[was.value_start : was.end]),
            (declared, was.end, b""),
            (wrote.start, wrote.end, b""),
        ]
    assert isinstance(name, Element)  # all three are of one kind: `is_ours`
    assert isinstance(was, Element)
    assert isinstance(wrote, Element)
    old = data[was.inside : was.close]
    return [(name.inside, name.close, old), (was.start, was.end, b""), (wrote.start, wrote.end, b"")]


# ---- putting ours in -------------------------------------------------------------------------------------------------


def _additions(
    data: bytes, faces: Sequence[NamedFace], frame: Frame, overruled: Collection[str]
) -> tuple[Merged, list[Edit]]:
    rdf = rdf_of(parse(data))
    lists = list(lists_of(rdf)) if faces else []
    named = [
        (_NO_XML.sub("\ufffd", face.name), stored_area(face.box_xyxy, frame)) for face in faces if face.name.strip()
    ]
    known = sorted((name, area) for name, area in named if area is not None)
    result, edits, new = Merged(outside=len(named) - len(known)), list[Edit](), list[tuple[str, Area]]()
    theirs = dict(_same_faces(known, [region for each in lists for region in each.regions]))
    for number, (name, area) in enumerate(known):
        region = theirs.get(number)
        if region is None:
            new.append((name, area))
        elif _is_same(region.said, name):
            result.there += 1
        elif normal(region.said).strip() in overruled and (renaming := _renaming(data, region, name)):
            edits += renaming
            result.renamed += 1
        else:
            result.otherwise.append((region.said, name))
    result.written = len(new)
    return result, [*edits, *_insertion(data, rdf, lists, new, frame)]


def _is_same(one: str, other: str) -> bool:
    return normal(one).strip() == normal(other).strip()


def _same_faces(known: Sequence[tuple[str, Area]], regions: Sequence[Region]) -> Iterator[tuple[int, Region]]:
    """Which region of others is which of our faces, one of each: those of one name first, then the most alike."""
    pairs = [
        (not _is_same(region.said, name), -shared, number, index)
        for index, region in enumerate(regions)
        if region.area and region.said.strip()
        for number, (name, area) in enumerate(known)
        if (shared := overlap(area, region.area)) >= SAME_FACE
    ]
    faces, taken = set[int](), set[int]()
    for _, _, number, index in sorted(pairs):
        if number not in faces and index not in taken:
            faces.add(number)
            taken.add(index)
            yield number, regions[index]


def _renaming(data: bytes, region: Region, name: str) -> list[Edit]:
    """Nothing where there is no telling how to come back."""
    assert region.area is not None  # `_same_faces`
    if region.was or region.wrote:
        return []
    mark, where = digest(name, region.area), region.name
    if isinstance(where, Attribute):
        if b"xmlns:muster" in data[region.element.start : region.element.inside]:
            return []
        was = data[where.value_start : where.end]
        marks = _DECLARATION + b" muster:Was=" + was + f' muster:Wrote="{mark}"'.encode()
        return [(where.value_start, where.end, quoteattr(name, _BLANKS).encode() + marks)]
    assert isinstance(where, Element)
    marks = _element("Was", data[where.inside : where.close]) + _element("Wrote", mark.encode())
    return [(where.inside, where.close, escape(name, _BLANKS).encode()), (where.end, where.end, marks)]


def _element(name: str, content: bytes) -> bytes:
    return b"<muster:%s%s>%s</muster:%s>" % (name.encode(), _DECLARATION, content, name.encode())


def _insertion(
    data: bytes, rdf: Element, lists: Sequence[RegionList], new: Sequence[tuple[str, Area]], frame: Frame
) -> list[Edit]:
    """At the end of the first list; where there is none, one of our own at the end of all."""
    if not new:
        return []
    holder = lists[0].bag if lists else rdf
    indent = _indent(data, holder.start if holder.empty else holder.close)
    if lists:
        elements = [_region_lines(name, area, _declared(holder, _OF_A_REGION)) for name, area in new]
    else:
        elements = [_description_lines(data, rdf, new, frame)]
    pieces = [indent.join(line.encode() for line in lines) + indent * (not holder.empty) for lines in elements]
    if not holder.empty:
        return [(holder.close, holder.close, b"".join(pieces))]
    tag = re.match(rb"<[^\s/>]+", data[holder.start : holder.inside])
    assert tag is not None
    closed = b">%s</%s%s" % (b"".join(pieces), tag[0][1:], _EMPTY_BEFORE)
    return [(holder.inside - len(b"/>"), holder.inside, closed)]


def _declared(holder: Element, prefixes: Iterable[str]) -> str:
    """Declarations of those prefixes that mean nothing there, or something else."""
    missing = (prefix for prefix in prefixes if holder.prefixes.get(prefix) != _PREFIXES[prefix])
    return "".join(f' xmlns:{prefix}="{_PREFIXES[prefix]}"' for prefix in missing)


def _description_lines(data: bytes, rdf: Element, new: Sequence[tuple[str, Area]], frame: Frame) -> list[str]:
    abouts = (each for one in rdf.below(f"{RDF} Description") for each in one.attributes if each.name == f"{RDF} about")
    about = next((data[each.value_start : each.end].decode() for each in abouts), '""')  # one for all: XMP, 7.4
    width, height = frame.stored
    return [
        f'<rdf:Description{_declared(rdf, _PREFIXES)} rdf:about={about} muster:Made="1">',
        ' <mwg-rs:Regions rdf:parseType="Resource">',
        '  <mwg-rs:AppliedToDimensions rdf:parseType="Resource">',
        f"   <stDim:w>{width}</stDim:w>",
        f"   <stDim:h>{height}</stDim:h>",
        "   <stDim:unit>pixel</stDim:unit>",
        "  </mwg-rs:AppliedToDimensions>",
        "  <mwg-rs:RegionList>",
        "   <rdf:Bag>",
        *(f"    {line}" for name, area in new for line in _region_lines(name, area, "")),
        "   </rdf:Bag>",
        "  </mwg-rs:RegionList>",
        " </mwg-rs:Regions>",
        "</rdf:Description>",
    ]


def _region_lines(name: str, area: Area, declared: str) -> list[str]:
    return [
        f'<rdf:li{declared} rdf:parseType="Resource">',
        f" <mwg-rs:Name>{escape(name, _BLANKS)}</mwg-rs:Name>",
        " <mwg-rs:Type>Face</mwg-rs:Type>",
        ' <mwg-rs:Area rdf:parseType="Resource">',
        *(f"  <stArea:{key}>{value:.6f}</stArea:{key}>" for key, value in zip("xywh", area, strict=True)),
        "  <stArea:unit>normalized</stArea:unit>",
        " </mwg-rs:Area>",
        f" <muster:Wrote>{digest(name, area)}</muster:Wrote>",
        "</rdf:li>",
    ]
