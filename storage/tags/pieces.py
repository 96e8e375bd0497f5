"""What is put into an XMP document: regions, and the property that holds them, as lines of text."""

import re
from collections.abc import Iterable, Mapping, Sequence
from xml.sax.saxutils import escape, quoteattr

from muster.storage.tags.mwg import AREA, MWG, OWN, RDF, SIZE, Area, mark

NEW = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Muster">
<rdf:RDF xmlns:rdf="{RDF}">
</rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
""".encode()
DECLARATION = f' xmlns:muster="{OWN}"'

_PREFIXES = {"rdf": RDF, "mwg-rs": MWG, "stArea": AREA, "stDim": SIZE, "muster": OWN}
_OF_A_REGION = ("rdf", "mwg-rs", "stArea", "muster")
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, 2.2
_BLANKS = {"\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}  # that a parser would make other blanks of

Names = Sequence[tuple[str, Area]]


def allowed(name: str) -> str:
    """Characters that XML has not, such as NUL, are shown as missing: \ufffd."""
    return _NO_XML.sub("\ufffd", name)


def property_lines(
    faces: Names, size: tuple[int, int], writer: str, about: str, prefixes: Mapping[str, str]
) -> list[str]:
    """A description of its own with all of them. `size`: of the stored image. `about`: the value of rdf:about, quoted.
    `prefixes`: prefix → namespace, where it will stand."""
    return [
        f'<rdf:Description{_declared(_PREFIXES, prefixes)} rdf:about={about} muster:Made="1">',
        ' <mwg-rs:Regions rdf:parseType="Resource">',
        '  <mwg-rs:AppliedToDimensions rdf:parseType="Resource">',
        f"   <stDim:w>{size[0]}</stDim:w>",
        f"   <stDim:h>{size[1]}</stDim:h>",
        "   <stDim:unit>pixel</stDim:unit>",
        "  </mwg-rs:AppliedToDimensions>",
        "  <mwg-rs:RegionList>",
        "   <rdf:Bag>",
        *(f"    {line}" for name, area in faces for line in region_lines(name, area, writer, _PREFIXES)),
        "   </rdf:Bag>",
        "  </mwg-rs:RegionList>",
        " </mwg-rs:Regions>",
        "</rdf:Description>",
    ]


def region_lines(name: str, area: Area, writer: str, prefixes: Mapping[str, str]) -> list[str]:
    """An item of the list."""
    return [
        f'<rdf:li{_declared(_OF_A_REGION, prefixes)} rdf:parseType="Resource">',
        f" <mwg-rs:Name>{text(name)}</mwg-rs:Name>",
        " <mwg-rs:Type>Face</mwg-rs:Type>",
        ' <mwg-rs:Area rdf:parseType="Resource">',
        *(f"  <stArea:{key}>{value:.6f}</stArea:{key}>" for key, value in zip("xywh", area, strict=True)),
        "  <stArea:unit>normalized</stArea:unit>",
        " </mwg-rs:Area>",
        f" <muster:Wrote>{mark(name, area, writer)}</muster:Wrote>",
        "</rdf:li>",
    ]


def text(name: str) -> str:
    return escape(name, _BLANKS)


def quoted(name: str) -> str:
    return quoteattr(name)  # line breaks and tabs by their numbers too


def _declared(wanted: Iterable[str], prefixes: Mapping[str, str]) -> str:
    """Declarations of those that mean nothing there, or something else."""
    missing = (prefix for prefix in wanted if prefixes.get(prefix) != _PREFIXES[prefix])
    return "".join(f' xmlns:{prefix}="{_PREFIXES[prefix]}"' for prefix in missing)
