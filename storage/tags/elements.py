"""An XMP document as a tree that knows where in the bytes its elements stand, so that the rest can stay as it is.

No document type is read, and so no entity is expanded: neither XMP nor RDF in it needs one.
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

MAX_ELEMENTS = 200_000  # each takes about 500 bytes of memory; sidecars of programs that keep every step have thousands

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_DECLARED = re.compile(rb"""\s*<\?xml[^>]*?\sencoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")
_CODECS = {"utf-8": "utf-8", "us-ascii": "ascii", "ascii": "ascii", "iso-8859-1": "latin-1"}  # those that expat knows
_ATTRIBUTE = re.compile(rb"""(\s+)([^\s=/>]+)\s*=\s*("[^"]*"|'[^']*')""")
_TAG = re.compile(rb"""<[^\s/>]+(?:\s+[^\s=/>]+\s*=\s*(?:"[^"]*"|'[^']*'))*\s*(/?)>""")


class SidecarError(ValueError):
    """A document that cannot be understood, or not changed without harm: str(error) says why, for people."""


@dataclass(slots=True)
class Attribute:
    """`name`: as that of an element. `start`: where the blanks before it begin. `value_start`: of its first quote."""

    name: str
    value: str
    start: int
    value_start: int
    end: int


@dataclass(slots=True)
class Element:
    """`name`: "namespace local". `start`, `end`: of all of it, in bytes; `inside`, `close`: of what is in it.

    Of an empty-element tag `inside`, `close` and `end` are one. `prefixes`: prefix → namespace, where its content is.
    `text`: its own, without that of its children.
    """

    name: str
    start: int
    inside: int
    empty: bool
    prefixes: dict[str, str]
    attributes: list[Attribute]
    parent: "Element | None" = None
    close: int = -1
    end: int = -1
    text: str = ""
    children: list["Element"] = field(default_factory=list)

    def below(self, name: str) -> Iterator["Element"]:
        return (child for child in self.children if child.name == name)


# ---- encodings -------------------------------------------------------------------------------------------------------


def to_utf8(data: bytes) -> tuple[bytes, str]:
    """The document in UTF-8, and the codec that it was in. SidecarError where it cannot be brought back to the byte."""
    codec = _codec(data)
    try:
        text = data.decode(codec)
        if text.encode(codec) == data:
            return text.encode(), codec
    except UnicodeError:
        pass
    raise SidecarError(f"it is not the {codec} that it says it is")


def from_utf8(data: bytes, codec: str) -> bytes:
    """The way back. Characters that the encoding lacks are written by their number, as XML has it."""
    return data.decode().encode(codec, "xmlcharrefreplace")


def _codec(data: bytes) -> str:
    for mark, codec in _MARKS:
        if data.startswith(mark):
            return codec
    for start, codec in ((b"<\0", "utf-16-le"), (b"\0<", "utf-16-be")):
        if data.startswith(start):
            return codec
    declared = _DECLARED.match(data)
    name = declared[1].decode().lower() if declared else "utf-8"
    if name not in _CODECS:
        raise SidecarError(f"its encoding, {name}, is not read")
    return _CODECS[name]


# ---- parsing ---------------------------------------------------------------------------------------------------------


def parse(data: bytes) -> Element:
    """The root of a document in UTF-8, whatever encoding it declares. SidecarError where it is not well-formed, has a
    document type, or more than MAX_ELEMENTS elements."""
    return _Builder(data).root()


class _Builder:
    def __init__(self, data: bytes) -> None:
        self._data, self._open, self._count = data, list[Element](), 0
        self._root: Element | None = None
        self._declared: dict[str, str] = {}
        self._parser = parser = expat.ParserCreate("utf-8", namespace_separator=" ")
        parser.ordered_attributes = parser.buffer_text = True
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.StartNamespaceDeclHandler, parser.CharacterDataHandler = self._namespace, self._text
        parser.StartDoctypeDeclHandler = self._refuse

    def root(self) -> Element:
        try:
            self._parser.Parse(self._data, True)
        except expat.ExpatError as error:
            raise SidecarError(f"it is not well-formed XML: {error}") from None
        assert self._root is not None  # expat has no document without one
        return self._root

    def _refuse(self, *_: object) -> None:
        raise SidecarError("it has a document type, which XMP does not need and a bomb does")

    def _namespace(self, prefix: str | None, uri: str | None) -> None:
        self._declared[prefix or ""] = uri or ""

    def _start(self, name: str, values: list[str]) -> None:
        self._count += 1
        if self._count > MAX_ELEMENTS:
            raise SidecarError(f"it has more than {MAX_ELEMENTS} elements")
        start, above = self._parser.CurrentByteIndex, self._open[-1] if self._open else None
        tag = _TAG.match(self._data, start)
        if tag is None:
            raise SidecarError(f"a tag in it is not understood (byte {start})")
        prefixes = above.prefixes if above else {}
        if self._declared:
            prefixes, self._declared = prefixes | self._declared, {}
        attributes = _attributes(self._data, tag.start(), tag.end(), values)
        element = Element(name, start, tag.end(), bool(tag[1]), prefixes, attributes, above)
        if above:
            above.children.append(element)
        else:
            self._root = element
        self._open.append(element)

    def _end(self, _: str) -> None:
        element = self._open.pop()
        if element.empty:
            element.close = element.end = element.inside
        else:
            element.close = self._parser.CurrentByteIndex
            element.end = self._data.index(b">", element.close) + 1

    def _text(self, text: str) -> None:
        if self._open:
            self._open[-1].text += text


def _attributes(data: bytes, start: int, end: int, values: list[str]) -> list[Attribute]:
    """Where those stand that expat has named: all but declarations of namespaces, in the order of the document."""
    found = [each for each in _ATTRIBUTE.finditer(data, start, end) if not re.match(rb"xmlns(:|$)", each[2])]
    return [
        Attribute(name, value, each.start(), each.start(3), each.end())
        for each, name, value in zip(found, values[::2], values[1::2], strict=True)
    ]
