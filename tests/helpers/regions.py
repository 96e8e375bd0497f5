"""Photos with regions in XMP, and a reader of its own for what Muster wrote: it shares no code with it.

What is upright is asked of Pillow, which turns a picture of the box.
"""

import io
from collections.abc import Iterable, Sequence
from typing import Any

from defusedxml import ElementTree
from PIL import Image, ImageOps

Box = tuple[int, int, int, int]
Tagged = tuple[str, Box]

RDF, MWG = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}", "{http://www.metadataworkinggroup.com/schemas/regions/}"
AREA, SIZE = "{http://ns.adobe.com/xmp/sType/Area#}", "{http://ns.adobe.com/xap/1.0/sType/Dimensions#}"
PREFIXES = {
    "rdf": RDF,
    "mwg-rs": MWG,
    "stArea": AREA,
    "stDim": SIZE,
    "MP": "{http://ns.microsoft.com/photo/1.2/}",
    "MPRI": "{http://ns.microsoft.com/photo/1.2/t/RegionInfo#}",
    "MPReg": "{http://ns.microsoft.com/photo/1.2/t/Region#}",
}
DECLARED = " ".join(f'xmlns:{prefix}="{uri[1:-1]}"' for prefix, uri in PREFIXES.items())
# What no program but its own knows; it is to stay to the byte.
UNKNOWN = """<rdf:Description rdf:about='' xmlns:odd='http://example.com/odd/' odd:one = '1 &lt; 2'>
  <!-- kept --> <odd:two><![CDATA[<3>]]></odd:two>\t<odd:three xml:lang="el">τρία</odd:three>
</rdf:Description>"""


# ---- photos ----------------------------------------------------------------------------------------------------------


def upright(box: Box, stored: tuple[int, int], orientation: int) -> Box:
    """Where a box of a stored image is, once its EXIF has turned it."""
    image = Image.new("L", stored)
    image.paste(255, box)
    image.getexif()[0x0112] = orientation
    found = ImageOps.exif_transpose(image).getbbox()
    assert found
    return found


def jpeg(stored: tuple[int, int], orientation: int = 1, xmp: bytes | None = None) -> bytes:
    image, exif, file = Image.radial_gradient("L").resize(stored), Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    image.save(file, "JPEG", exif=exif.tobytes(), **({} if xmp is None else {"xmp": xmp}))
    return file.getvalue()


def mwg(regions: Iterable[Tagged], size: tuple[int, int], attributes: bool = False) -> str:
    """A property. `size`: of the image that the boxes are of."""
    form = _mwg_attributes if attributes else _mwg_elements
    return f"""<rdf:Description rdf:about="">
 <mwg-rs:Regions rdf:parseType="Resource">
  <mwg-rs:AppliedToDimensions stDim:w="{size[0]}" stDim:h="{size[1]}" stDim:unit="pixel"/>
  <mwg-rs:RegionList><rdf:Bag>
   {"".join(form(name, *_area(box, size)) for name, box in regions)}
  </rdf:Bag></mwg-rs:RegionList>
 </mwg-rs:Regions>
</rdf:Description>"""


def _area(box: Box, size: tuple[int, int]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = box[0] / size[0], box[1] / size[1], box[2] / size[0], box[3] / size[1]
    return (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0


def _mwg_elements(name: str, x: float, y: float, w: float, h: float) -> str:
    return f"""<rdf:li rdf:parseType='Resource'><mwg-rs:Area rdf:parseType='Resource'>
    <stArea:x>{x}</stArea:x><stArea:y>{y}</stArea:y><stArea:w>{w}</stArea:w><stArea:h>{h}</stArea:h>
    <stArea:unit>normalized</stArea:unit></mwg-rs:Area>
    <mwg-rs:Name>{name}</mwg-rs:Name><mwg-rs:Type>Face</mwg-rs:Type></rdf:li>"""


def _mwg_attributes(name: str, x: float, y: float, w: float, h: float) -> str:
    return f"""<rdf:li><rdf:Description mwg-rs:Name='{name}' mwg-rs:Type="Face">
    <mwg-rs:Area stArea:x="{x}" stArea:y="{y}" stArea:w="{w}" stArea:h="{h}" stArea:unit="normalized"/>
    </rdf:Description></rdf:li>"""


def mp(regions: Iterable[Tagged], size: tuple[int, int], attributes: bool = False) -> str:
    """The same by Microsoft: left, top, width, height."""
    items = ""
    for name, box in regions:
        x, y, w, h = _area(box, size)
        fields = {"PersonDisplayName": name, "Rectangle": f"{x - w / 2}, {y - h / 2}, {w}, {h}"}
        if attributes:
            inside = " ".join(f"MPReg:{key}='{value}'" for key, value in fields.items())
            items += f"<rdf:li {inside}/>"
        else:
            inside = "".join(f"<MPReg:{key}>{value}</MPReg:{key}>" for key, value in fields.items())
            items += f"<rdf:li rdf:parseType='Resource'>{inside}</rdf:li>"
    return f"""<rdf:Description rdf:about=""><MP:RegionInfo rdf:parseType="Resource"><MPRI:Regions><rdf:Bag>
 {items}
</rdf:Bag></MPRI:Regions></MP:RegionInfo></rdf:Description>"""


def document(*properties: str) -> bytes:
    inside = "\n".join(properties)
    return f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF {DECLARED}>
{inside}
</rdf:RDF></x:xmpmeta>
{" " * 200}
<?xpacket end='w'?>""".encode()


# ---- reading ---------------------------------------------------------------------------------------------------------


def regions_in(xmp: bytes, photo: bytes) -> list[tuple[str, Box]]:
    """Names and upright boxes of the regions of the Metadata Working Group, which are of the stored image."""
    with Image.open(io.BytesIO(photo)) as image:
        stored, orientation = image.size, image.getexif().get(0x0112, 1)
    return [(name, upright(_pixels(area, stored), stored, orientation)) for name, area in raw_regions(xmp)]


def raw_regions(xmp: bytes) -> list[tuple[str, tuple[float, float, float, float]]]:
    """Names, and areas as they are written."""
    return [
        (_field(item, f"{MWG}Name"), _written(_field(item, f"{MWG}Area")))
        for regions in ElementTree.fromstring(xmp).iter(f"{MWG}Regions")
        for item in regions.iter(f"{RDF}li")
    ]


def _written(area: Any) -> tuple[float, float, float, float]:
    x, y, w, h = (float(_field(area, AREA + key)) for key in "xywh")
    return x, y, w, h


def _field(element: Any, name: str) -> Any:
    for holder in (element, *element.findall(f"{RDF}Description")):
        if name in holder.attrib:
            return holder.attrib[name]
        if (child := holder.find(name)) is not None:
            return child if len(child) or child.attrib else child.text or ""
    raise AssertionError(f"no {name}")


def _pixels(area: Sequence[float], size: tuple[int, int]) -> Box:
    x, y, w, h = area
    sides = ((x - w / 2) * size[0], (y - h / 2) * size[1], (x + w / 2) * size[0], (y + h / 2) * size[1])
    x0, y0, x1, y1 = map(round, sides)
    return x0, y0, x1, y1


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of x0, y0, x1, y1."""

    def size(box: Sequence[float]) -> float:
        return max(0, box[2] - box[0]) * max(0, box[3] - box[1])

    both = size([*map(max, one[:2], other[:2]), *map(min, one[2:], other[2:])])
    return both / (size(one) + size(other) - both)
