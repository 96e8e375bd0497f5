"""XMP (ISO 16684-1): a packet or sidecar as typed facts. Nothing is raised; what is odd is said.

XMP is RDF. A property is an attribute, or an element with a text, a structure (its properties as attributes, as
elements, or within an `rdf:Description`), or a list (`rdf:Bag`, `rdf:Seq` or `rdf:Alt` of `rdf:li`).
"""

import codecs
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from math import isfinite
from typing import Any
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from muster.storage import texts
from muster.storage.photos.exif import local_time
from muster.storage.tags.embedded import MOST
from muster.storage.tags.said import MANY, Area, Box, Said, name_of, names_of, position_of, text_of

MWG, MP = "mwg-rs", "mp"  # origins of regions
ELEMENTS, DEPTH = 300_000, 64  # at most, with attributes; programs write some hundred, a dozen deep

# Without the sign that they end in: MicrosoftPhoto's is written with and without one.
_NAMESPACES = {
    "http://www.w3.org/1999/02/22-rdf-syntax-ns": "rdf",
    "http://www.w3.org/XML/1998/namespace": "xml",
    "http://www.metadataworkinggroup.com/schemas/regions": "mwg",
    "http://ns.adobe.com/xmp/sType/Area": "area",
    "http://ns.adobe.com/xap/1.0/sType/Area": "area",
    "http://ns.adobe.com/xap/1.0/sType/Dimensions": "dim",
    "http://ns.microsoft.com/photo/1.2": "mp",
    "http://ns.microsoft.com/photo/1.2/t/RegionInfo": "mpri",
    "http://ns.microsoft.com/photo/1.2/t/Region": "mpreg",
    "http://ns.microsoft.com/photo/1.0": "ms",
    "http://purl.org/dc/elements/1.1": "dc",
    "http://ns.adobe.com/lightroom/1.0": "lr",
    "http://www.digikam.org/ns/1.0": "digikam",
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29": "iptc",
    "http://ns.adobe.com/xap/1.0": "xmp",
    "http://ns.adobe.com/photoshop/1.0": "photoshop",
    "http://ns.adobe.com/exif/1.0": "exif",
}
# What a packet holds that is read here at all: others, as cameras write them, are not parsed.
_TOLD = re.compile(
    rb"RegionList|RegionInfo|subject|TagsList|LastKeywordXMP|PersonInImage|title|description|Rating"
    rb"|DateCreated|DateTimeOriginal|CreateDate|GPSLatitude"
)
_DATES = ("exif:DateTimeOriginal", "photoshop:DateCreated", "xmp:CreateDate")
_WORDS = {"dc:subject": "", "lr:hierarchicalSubject": "|", "digikam:TagsList": "/", "ms:LastKeywordXMP": "/"}
_NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
_DECLARED = re.compile(r"\A\s*<\?xml[^>]*\?>")
_MARKS = ((codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"))
_DEGREES = re.compile(r"[-+]?\d+(?:\.\d+)?")
_HUGE = 1e9  # parts or pixels: nothing drawn is as large

Value = Element | str


def read_xmp(packet: bytes) -> Said:
    """What a packet says. Raises nothing."""
    if len(packet) > MOST:
        return Said(remarks=(f"XMP of {len(packet) >> 20} MiB is not read (limit {MOST >> 20})",))
    if not packet.strip(b"\0 \t\r\n"):
        return Said()
    if b"\0" not in packet.rstrip(b"\0") and not _TOLD.search(packet):
        return Said()
    try:
        root = _parsed(packet)
    except DefusedXmlException:
        return Said(remarks=("XMP with entities of its own, or a document type, is not read",))
    except _TooMuchError as error:
        return Said(remarks=(str(error),))
    except (ParseError, ValueError, LookupError, RecursionError, MemoryError):
        return Said(remarks=("its XMP is broken, and is not read",))
    return _said(_properties(root))


# ---- XML -------------------------------------------------------------------------------------------------------------


class _TooMuchError(Exception):
    """XML of more elements, or deeper, than any program writes."""


class _Builder(TreeBuilder):
    """Of what is in the RDF only properties that are known here: strokes of brushes are most of some sidecars."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = self._count = self._skipped = 0
        self._in_rdf = False

    def start(self, tag: str, attributes: Any) -> Any:
        self._depth += 1
        self._count += 1 + len(attributes)
        if self._depth > DEPTH or self._count > ELEMENTS:
            raise _TooMuchError("XMP that is nested too deep, or has too many elements, is not read")
        if self._skipped or (self._in_rdf and not _key(tag)):
            self._skipped += 1
            return None
        self._in_rdf = self._in_rdf or _key(tag) == "rdf:RDF"
        return super().start(tag, attributes)

    def data(self, data: str) -> None:
        if not self._skipped:
            super().data(data)

    def end(self, tag: str) -> Any:
        self._depth -= 1
        if self._skipped:
            self._skipped -= 1
            return None
        return super().end(tag)


def _parsed(packet: bytes) -> Element:
    """Raises what the parser raises, ValueError for bytes that are no text."""
    plain = _plain(packet)
    try:
        return _tree(plain)
    except ParseError:  # control characters, another encoding than is declared, rubbish behind the end
        text = plain if isinstance(plain, str) else texts.decoded(plain.rstrip(b"\0"))[0]
        mended = _DECLARED.sub("", _NOT_XML.sub("", text))
        end = max((mended.rfind(tag) + len(tag) for tag in ("</x:xmpmeta>", "</rdf:RDF>") if tag in mended), default=0)
        return _tree(mended[: end or None])


def _plain(packet: bytes) -> str | bytes:
    """UTF-16 and UTF-32 as text: their packets may lack the mark that expat goes by. All else as it is."""
    for mark, codec in _MARKS:
        if packet.startswith(mark):
            return packet.decode(codec).lstrip("\ufeff").rstrip("\0")
    written = packet.rstrip(b"\0")  # and the second half of its last letter
    if 4 * written.count(0) < len(written) and not written.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return written.replace(b"\0", b"").lstrip(b" \t\r\n")
    return texts.decoded(written + b"\0" * (len(written) % 2))[0].strip()


def _tree(text: str | bytes) -> Element:
    parser = DefusedXMLParser(target=_Builder(), forbid_dtd=True)
    parser.feed(text)
    root: Element = parser.close()
    return root


@lru_cache(maxsize=4096)
def _key(tag: str) -> str:
    """`dc:subject` and the like; "" for what is not known here."""
    if not tag.startswith("{"):
        return ""
    namespace, _, name = tag[1:].partition("}")
    prefix = _NAMESPACES.get(namespace.rstrip("/#"))
    return f"{prefix}:{name}" if prefix else ""


# ---- RDF -------------------------------------------------------------------------------------------------------------


def _properties(root: Element) -> dict[str, Value]:
    """Of all descriptions in a packet; the first of each name."""
    found: dict[str, Value] = {}
    for rdf in root.iter():
        if _key(rdf.tag) == "rdf:RDF":
            for description in rdf:
                for key, value in _fields(description).items():
                    found.setdefault(key, value)
    return found


def _fields(value: Value | None) -> dict[str, Value]:
    """The properties of a structure."""
    if not isinstance(value, Element):
        return {}
    inner = next((child for child in value if _key(child.tag) == "rdf:Description"), None)
    of = value if inner is None else inner
    found: dict[str, Value] = {key: text for tag, text in of.attrib.items() if (key := _key(tag))}
    for child in of:
        if key := _key(child.tag):
            found.setdefault(key, child)
    return found


def _items(value: Value | None) -> list[Value]:
    """Of a list; the value itself where it is none."""
    if not isinstance(value, Element):
        return [] if value is None else [value]
    for child in value:
        if _key(child.tag) in ("rdf:Bag", "rdf:Seq", "rdf:Alt"):
            return list[Value](each for each in child if _key(each.tag) == "rdf:li")[:MANY]
    return [value]


def _text(value: Value | None) -> str | None:
    if isinstance(value, str) or value is None:
        return value
    if value.text and value.text.strip():
        return value.text
    inner = _fields(value).get("rdf:value")
    return inner if isinstance(inner, str) or inner is None else inner.text


def _alternative(value: Value | None) -> str | None:
    """Of several languages the default, else the first that says something."""
    some = [(each, text) for each in _items(value) if (text := text_of(_text(each)))]
    return next((text for each, text in some if _language(each) == "x-default"), some[0][1] if some else None)


def _language(value: Value) -> str:
    return str(_fields(value).get("xml:lang", "")).lower()


def _number(value: Value | None) -> float | None:
    try:
        number = float(_text(value) or "")
    except ValueError:
        return None
    return number if isfinite(number) and abs(number) <= _HUGE else None


# ---- facts -----------------------------------------------------------------------------------------------------------


def _said(properties: dict[str, Value]) -> Said:
    areas = [*_mwg_areas(properties.get("mwg:Regions")), *_mp_areas(properties.get("mp:RegionInfo"))]
    remarks = ["a region has no place, or one of no size"] if any(area.box is None for area in areas) else []
    return Said(
        areas=tuple(areas),
        keywords=_keywords(properties),
        people=names_of(map(_text, _people(properties))),
        title=name_of(_alternative(properties.get("dc:title"))),
        description=_alternative(properties.get("dc:description")),
        taken_at=_taken_at(properties),
        position=position_of(*(_degrees(properties, which) for which in ("Latitude", "Longitude"))),
        rating=_rating(properties.get("xmp:Rating")),
        remarks=tuple(remarks),
    )


def _people(properties: dict[str, Value]) -> Iterator[Value | None]:
    yield from _items(properties.get("iptc:PersonInImage"))
    for person in _items(properties.get("iptc:PersonInImageWDetails")):
        yield _alternative(_fields(person).get("iptc:PersonName"))


def _keywords(properties: dict[str, Value]) -> tuple[str, ...]:
    """Words; of a path each part, unless the whole is a word of its own ("AC/DC")."""
    whole = {name_of(_text(each)) for each in _items(properties.get("dc:subject"))}

    def words() -> Iterator[str | None]:
        for key, sign in _WORDS.items():
            for each in _items(properties.get(key)):
                word = _text(each)
                yield from word.split(sign) if word and sign and name_of(word) not in whole else [word]

    return names_of(words())


def _taken_at(properties: dict[str, Value]) -> datetime | None:
    for key in _DATES:
        try:
            if found := local_time((_text(properties.get(key)) or "").strip()[:64]):
                return found
        except (ValueError, OverflowError):
            continue
    return None


def _degrees(properties: dict[str, Value], which: str) -> float | None:
    """`52,31.50486N` or `52,31,30N` (XMP part 2, 1.2.2.4), or decimal degrees, perhaps with a reference beside them."""
    text = (_text(properties.get(f"exif:GPS{which}")) or "").strip()[:64]
    side = re.search(r"[NSEW]", (text + (_text(properties.get(f"exif:GPS{which}Ref")) or "")[:8]).upper())
    try:
        parts = [float(part) for part in _DEGREES.findall(text)[:3]]
    except ValueError:
        return None
    if not parts or any(abs(part) >= 60 for part in parts[1:]):
        return None
    degrees = sum(abs(part) / 60**i for i, part in enumerate(parts))
    return -degrees if parts[0] < 0 or (side is not None and side[0] in "SW") else degrees


def _rating(value: Value | None) -> int | None:
    """0 says that there is none: cameras write it into every photo."""
    number = _number(value)
    return None if number is None else int(min(max(round(number), -1), 5)) or None


# ---- regions ---------------------------------------------------------------------------------------------------------


def _mwg_areas(value: Value | None) -> Iterator[Area]:
    """Metadata Working Group, Guidelines 2.0, 5.9: centre and size, as parts of the picture."""
    info = _fields(value)
    applied = _fields(info.get("mwg:AppliedToDimensions"))
    width, height = (_number(applied.get(f"dim:{side}")) for side in "wh")
    size = (width, height) if width and height and min(width, height) > 0 else None
    for item in _items(info.get("mwg:RegionList")):
        region = _fields(item)
        area = _fields(region.get("mwg:Area"))
        yield Area(
            origin=MWG,
            name=name_of(_text(region.get("mwg:Name"))),
            type=name_of(_text(region.get("mwg:Type"))) or "",
            box=_around({name: _number(area.get(f"area:{name}")) for name in "xywhd"}, size),
            pixels=(_text(area.get("area:unit")) or "").strip().lower().startswith("pixel"),
            applied_to=size,
        )


def _around(area: Mapping[str, float | None], size: tuple[float, float] | None) -> Box | None:
    """The box around a centre. A circle's diameter is a part of the picture's shorter side."""
    x, y, width, height, diameter = (area[name] for name in "xywhd")
    if diameter is not None and width is None and height is None:
        shorter = min(size) if size else 1.0
        width, height = (diameter * shorter / side for side in (size or (1.0, 1.0)))
    if x is None or y is None or width is None or height is None or min(width, height) <= 0:
        return None
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _mp_areas(value: Value | None) -> Iterator[Area]:
    """Microsoft's People Tagging: left, top, width and height, as parts of the picture."""
    for item in _items(_fields(value).get("mpri:Regions")):
        region = _fields(item)
        name = name_of(_text(region.get("mpreg:PersonDisplayName")))
        yield Area(origin=MP, name=name, type="Face", box=_rectangle(_text(region.get("mpreg:Rectangle"))))


def _rectangle(text: str | None) -> Box | None:
    numbers = [_number(part) for part in (text or "").split(",")[:5]]
    known = [number for number in numbers if number is not None]
    if len(known) != 4 or len(numbers) != 4 or min(known[2:]) <= 0:
        return None
    return known[0], known[1], known[0] + known[2], known[1] + known[3]
