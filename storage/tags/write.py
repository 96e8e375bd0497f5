"""Names of people as regions in an XMP document, beside what others wrote there (docs/adr/0036-sidecars.md).

Nothing is written anew: pieces are put in and taken out by their place in the bytes. What is ours is known by a digest
of its name and place that stands in it; so it can be taken out to the byte, and is no longer ours where somebody has
changed it. `merged` takes out all of ours before it puts in what is to be there now: so it gives the same again.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from muster.storage.tags.document import Region, RegionList, lists_of, rdf_of, value_of
from muster.storage.tags.elements import Attribute, Element, SidecarError, from_utf8, parse, to_utf8
from muster.storage.tags.mwg import FACES, OWN, RDF, Area, Box, Frame, mark, overlap, stored_area
from muster.storage.tags.pieces import DECLARATION, NEW, allowed, property_lines, quoted, region_lines, text
from muster.storage.texts import normal

SAME_FACE = 0.3  # of two boxes, intersection over union: some programs draw them from the eyes, some around all hair
_DECLARED = DECLARATION.encode()
_INDENT = re.compile(rb"(?:\r\n|\n|\r)[ \t]*\Z")
_LONGEST_INDENT = 1000  # bytes
_EMPTY_BEFORE = b" >"  # how the end tag ends that we gave to an element which had none

Edit = tuple[int, int, bytes]  # start, end, what stands there then


@dataclass(frozen=True, slots=True)
class NamedFace:
    """`box_xyxy`: in pixels of the full-size upright image. Which names that others gave the face give way to `name`:
    all where it is `certain`, else those in `former`, which the person had before."""

    name: str
    box_xyxy: Box
    certain: bool = False
    former: Collection[str] = ()


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


def merged(existing: bytes | None, faces: Sequence[NamedFace], frame: Frame, writer: str) -> Merged:
    """The document with these faces, and with no others of ours, which are those of this `writer`.

    Regions of others stay. One that calls the same face by another name keeps that, and ours is left out (`otherwise`),
    unless it gives way: then it comes back when ours is taken back. SidecarError where the document cannot be
    understood, or not be changed without harm.
    """
    utf8, codec = to_utf8(NEW if existing is None else existing)
    base, before = _without_ours(utf8, writer)
    result, edits = _Target(base, frame, writer, before).with_faces(faces) if faces else (Merged(), [])
    now = _edited(base, edits)
    if now not in (base, utf8) and _without_ours(now, writer)[0] != base:
        raise SidecarError("it cannot be changed so that the change could be taken back")
    result.data = None if now == NEW else from_utf8(now, codec)
    return result


def without(data: bytes, writer: str) -> bytes:
    """A sidecar as it would be if this writer had never been there; as it is where it is not understood."""
    if not any(OWN.encode(codec) in data for codec in ("utf-8", "utf-16-le", "utf-16-be")):
        return data
    try:
        utf8, codec = to_utf8(data)
        return from_utf8(_without_ours(utf8, writer)[0], codec)
    except SidecarError:
        return data


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


def _without_ours(data: bytes, writer: str) -> tuple[bytes, list[str]]:
    """The document as if we had never been there, and the names of others that ours stand in the place of."""
    if OWN.encode() not in data:
        return data, []
    rdf = rdf_of(parse(data))
    edits, names = list[Edit](), list[str]()
    for each in lists_of(rdf):
        ours = [region for region in each.regions if region.is_of(writer)]
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
        declared = was.start - len(_DECLARED) * data.endswith(_DECLARED, 0, was.start)
        return [
            (name.value_start, name.end, data[was.value_start : was.end]),
            (declared, was.end, b""),
            (wrote.start, wrote.end, b""),
        ]
    assert isinstance(name, Element)  # all three are of one kind: `is_of`
    assert isinstance(was, Element)
    assert isinstance(wrote, Element)
    old = data[was.inside : was.close]
    return [(name.inside, name.close, old), (was.start, was.end, b""), (wrote.start, wrote.end, b"")]


# ---- putting ours in -------------------------------------------------------------------------------------------------


class _Placed(NamedTuple):
    name: str
    area: Area
    face: NamedFace


class _Target:
    """A document without ours, and what to put into it."""

    def __init__(self, data: bytes, frame: Frame, writer: str, before: Collection[str]) -> None:
        """`before`: names that had given way to ours."""
        self._data, self._writer, self._before = data, writer, set(map(_plain, before))
        self._rdf = rdf_of(parse(data))
        self._lists = list(lists_of(self._rdf))
        self._frame = frame.of(self._lists[0].applied_to) if self._lists else frame

    def with_faces(self, faces: Sequence[NamedFace]) -> tuple[Merged, list[Edit]]:
        placed = [(stored_area(face.box_xyxy, self._frame), face) for face in faces if face.name.strip()]
        known = [_Placed(allowed(face.name), area, face) for area, face in placed if area is not None]
        known.sort(key=lambda each: each[:2])
        result, edits, new = Merged(outside=len(placed) - len(known)), list[Edit](), list[tuple[str, Area]]()
        theirs = dict(_same_faces(known, [region for each in self._lists for region in each.regions]))
        for number, (name, area, face) in enumerate(known):
            region = theirs.get(number)
            if region is None:
                new.append((name, area))
            elif _plain(region.said) == _plain(name):
                result.there += 1
            elif self._gives_way(region, face) and (renaming := self._renaming(region, name)):
                edits += renaming
                result.renamed += 1
            else:
                result.otherwise.append((region.said, name))
        result.written = len(new)
        return result, [*edits, *(self._insertion(new) if new else [])]

    def _gives_way(self, region: Region, face: NamedFace) -> bool:
        return face.certain or _plain(region.said) in {*self._before, *map(_plain, face.former)}

    def _renaming(self, region: Region, name: str) -> list[Edit]:
        """Nothing where there would be no telling how to come back."""
        data, where = self._data, region.name
        if region.area is None or region.was or region.wrote:
            return []
        ours = mark(name, region.area, self._writer)
        if isinstance(where, Attribute):
            if b"xmlns:muster" in data[region.element.start : region.element.end]:
                return []
            was = data[where.value_start : where.end]
            marks = _DECLARED + b" muster:Was=" + was + f' muster:Wrote="{ours}"'.encode()
            return [(where.value_start, where.end, quoted(name).encode() + marks)]
        assert isinstance(where, Element)  # it says a name
        marks = _marked("Was", data[where.inside : where.close]) + _marked("Wrote", ours.encode())
        return [(where.inside, where.close, text(name).encode()), (where.end, where.end, marks)]

    def _insertion(self, new: Sequence[tuple[str, Area]]) -> list[Edit]:
        """At the end of the first list; where there is none, one of our own at the end of all."""
        holder = self._lists[0].bag if self._lists else self._rdf
        indent = b"" if holder.empty else _indent(self._data, holder.close)
        if self._lists:
            items = [region_lines(name, area, self._writer, holder.prefixes) for name, area in new]
        else:
            items = [property_lines(new, self._frame.stored, self._writer, self._about(), holder.prefixes)]
        pieces = b"".join(indent.join(line.encode() for line in lines) + indent for lines in items)
        if not holder.empty:
            return [(holder.close, holder.close, pieces)]
        tag = re.match(rb"<([^\s/>]+)", self._data[holder.start : holder.inside])
        assert tag is not None
        return [(holder.inside - len(b"/>"), holder.inside, b">%s</%s%s" % (pieces, tag[1], _EMPTY_BEFORE))]

    def _about(self) -> str:
        """What all descriptions of a document are about: one thing (XMP 1, 7.4)."""
        descriptions = self._rdf.below(f"{RDF} Description")
        said = (each for one in descriptions for each in one.attributes if each.name == f"{RDF} about")
        return next((self._data[each.value_start : each.end].decode() for each in said), '""')


def _plain(name: str) -> str:
    return normal(name).strip()


def _same_faces(known: Sequence[_Placed], regions: Sequence[Region]) -> Iterator[tuple[int, Region]]:
    """Which region of others is which of our faces, one of each: those of one name first, then the most alike."""
    pairs = [
        (_plain(region.said) != _plain(name), -shared, number, index)
        for index, region in enumerate(regions)
        if region.area and region.said.strip() and region.kind.casefold() in FACES
        for number, (name, area, _) in enumerate(known)
        if (shared := overlap(area, region.area)) >= SAME_FACE
    ]
    faces, taken = set[int](), set[int]()
    for _, _, number, index in sorted(pairs):
        if number not in faces and index not in taken:
            faces.add(number)
            taken.add(index)
            yield number, regions[index]


def _marked(name: str, content: bytes) -> bytes:
    return b"<muster:%s%s>%s</muster:%s>" % (name.encode(), _DECLARED, content, name.encode())
